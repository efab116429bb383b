//! What idle pools cost: 300 databases and 300 users make 90,000 possible pools, of which some
//! thousands were used once. Neither a turn of the loop nor a sweep may take longer for them.

use std::time::{Duration, Instant};

use super::by_hand::{come, core_of, step};
use crate::pool::core::Core;
use crate::pool::records::calendar::STEP;

/// Databases, and users.
const NAMES: usize = 300;

/// A core in which so many pools were used once: each has a server, and a client that does nothing.
fn with_pools(count: usize) -> Core {
    let databases: String = (0..NAMES).map(|n| format!("d{n} = host=10.0.0.1\n")).collect();
    let text = format!(
        "[databases]\n{databases}[pgbouncer]\nlisten_addr = 127.0.0.1\nauth_type = trust\n\
         pool_mode = transaction\nmax_client_conn = 10000\n"
    );
    let mut core = core_of(&text, NAMES);
    for pool in 0..count {
        come(&mut core, pool % NAMES, (pool + pool / NAMES) % NAMES);
        core.take_lines();
    }
    assert_eq!(core.pools.len(), count);
    core
}

#[test]
fn idle_pools_are_off_the_sweeps_way() {
    let mut core = with_pools(5_000);
    step(&mut core);
    step(&mut core);
    assert_eq!(core.live_pools.len(), 0, "pools that the sweep visits");
    let sleep = core.next_sweep().since(core.now.mono);
    assert!(sleep > Duration::from_secs(20), "the loop may sleep for {sleep:?}");
}

#[test]
fn the_end_of_a_period_of_statistics_does_not_keep_the_loop_from_sleeping() {
    let mut core = with_pools(1);
    let period = core.settings().stats_period;
    for is_live in [true, false] {
        step(&mut core);
        if is_live {
            come(&mut core, 0, 0);
        }
        assert_eq!(core.live_pools.is_empty(), !is_live);
        // The period ends between two sweeps.
        core.stats.period_start = core.now.mono + STEP / 3 - period;
        core.now.mono = core.now.mono + STEP / 2;
        core.sweep();
        let next = core.next_sweep();
        assert!(next > core.now.mono, "the sweep would not run now");
        core.now.mono = next;
        core.sweep();
        assert_eq!(core.stats.period_start, next);
    }
}

#[test]
#[ignore = "prints figures, for an optimised build"]
fn cost_of_idle_pools() {
    const ROUNDS: u32 = 500;
    for count in [10, 1_000, 5_000] {
        let mut core = with_pools(count);
        // Past the time in which idle servers come to be tested before their next use.
        (0..100).for_each(|_| step(&mut core));
        let start = Instant::now();
        for _ in 0..ROUNDS * 100 {
            core.sweep();
            std::hint::black_box(core.next_sweep());
        }
        let turn = start.elapsed() / (ROUNDS * 100);
        let start = Instant::now();
        for _ in 0..ROUNDS {
            step(&mut core);
        }
        let sweep = start.elapsed() / ROUNDS;
        println!("{count:>5} idle pools: {turn:?} for a turn, {sweep:?} for a sweep");
    }
}

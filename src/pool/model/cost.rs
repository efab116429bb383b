//! What idle pools cost: 300 databases and 300 users make 90,000 possible pools, of which some
//! thousands were used once. Neither a turn of the loop nor a sweep may take longer for them.

use std::time::{Duration, Instant};

use super::world::HERE;
use crate::auth::secret::Secret;
use crate::base::rng::SeededRng;
use crate::base::time::{Moment, Now};
use crate::config;
use crate::pool::access::{Access, Host};
use crate::pool::calendar::STEP;
use crate::pool::core::{Action, Core};
use crate::pool::entry::Arrival;
use crate::pool::ids::ServerId;
use crate::wire::head::Head;
use crate::wire::startup;

/// Databases, and users.
const NAMES: usize = 300;

/// A core in which so many pools were used once: each has a server, and a client that does nothing.
fn with_pools(count: usize) -> Core {
    let databases: String = (0..NAMES).map(|n| format!("d{n} = host=10.0.0.1\n")).collect();
    let text = format!(
        "[databases]\n{databases}[pgbouncer]\nlisten_addr = 127.0.0.1\nauth_type = trust\n\
         pool_mode = transaction\nmax_client_conn = 10000\n"
    );
    let config = config::load_text("cost.ini", &text).expect("a good file");
    let users = (0..NAMES).map(|user| (format!("u{user}"), Secret::parse(b"secret")));
    let access = Access { users: users.collect(), ..Access::default() };
    let host = Host { uid: 1000, uid_name: |_| None };
    let now = Now { mono: Moment(1_000_000_000), wall_us: 1_700_000_000_000_000 };
    let mut core = Core::new(config, access, host, Box::new(SeededRng::new(1)), now);
    for pool in 0..count {
        use_once(&mut core, pool % NAMES, (pool + pool / NAMES) % NAMES);
        core.take_lines();
    }
    assert_eq!(core.pools.len(), count);
    core
}

fn use_once(core: &mut Core, database: usize, user: usize) {
    let id = core.client_arrived(Arrival { peer: HERE, local: HERE, uid: None });
    let (database, user) = (format!("d{database}"), format!("u{user}"));
    let mut packet = Vec::new();
    startup::startup_message(&mut packet, 0, &[("user", &user), ("database", &database)]);
    core.client_opening(id, &packet);
    while let Some(action) = core.poll_action() {
        if let Action::Connect { server, .. } = action {
            core.server_connected(server, HERE, HERE);
            reply(core, server, b'R', &[0; 4]);
            reply(core, server, b'K', &[0, 0, 0, 42, 1, 2, 3, 4]);
            reply(core, server, b'Z', b"I");
        }
    }
    core.sweep();
}

fn reply(core: &mut Core, server: ServerId, kind: u8, body: &[u8]) {
    core.judge_server(server, Head { kind, body: body.len() }, body);
}

fn step(core: &mut Core) {
    core.now.mono = core.now.mono + STEP;
    core.sweep();
    while core.poll_action().is_some() {}
    core.take_lines();
}

#[test]
fn idle_pools_are_off_the_sweeps_way() {
    let mut core = with_pools(5_000);
    step(&mut core);
    step(&mut core);
    assert_eq!(core.live_pools.len(), 0, "pools that the sweep visits");
    let next = core.next_sweep().expect("servers will be idle for too long");
    let sleep = next.since(core.now.mono);
    assert!(sleep > Duration::from_secs(20), "the loop may sleep for {sleep:?}");
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

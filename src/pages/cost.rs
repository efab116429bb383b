//! Measures how long a scrape holds up each turn of the loop, with hundreds and thousands of pools
//! (`make scrape`). With 500 pools no turn takes a millisecond.

use super::HttpReply;
use super::answer::OutgoingResponse;
use super::request::HttpRequest;
use super::route;
use super::tests::World;
use crate::sys::clock::process_us;

/// The processor time that each turn of an answer takes, in microseconds.
fn turns(world: &World, path: &str) -> Vec<u64> {
    let request = HttpRequest { path: path.into(), ..HttpRequest::default() };
    let view = world.view();
    let mut all = Vec::new();
    let mut note = |begun: u64| all.push(process_us() - begun);
    let mut out = Vec::new();
    let begun = process_us();
    let mut reply = route::reply(view, &request);
    note(begun);
    let answer = loop {
        match reply {
            HttpReply::Now(answer) => break answer,
            HttpReply::Later(mut gathering) => {
                let begun = process_us();
                let is_done = gathering.go_on(view);
                note(begun);
                reply = match is_done {
                    true => HttpReply::Now(gathering.into_answer()),
                    false => HttpReply::Later(gathering),
                };
            }
        }
    };
    let begun = process_us();
    let mut outgoing = OutgoingResponse::begin(answer, Some(&request), &mut out);
    note(begun);
    loop {
        out.clear();
        let begun = process_us();
        let is_whole = outgoing.push(&mut out);
        note(begun);
        if is_whole {
            return all;
        }
    }
}

#[test]
#[ignore = "a measurement of the released program: make scrape"]
fn cost_of_a_scrape() {
    for pools in [500, 5_000] {
        let mut world = World::with_databases(pools);
        for at in 0..pools {
            world.client(&format!("database_{at}"), &format!("application {}", at % 20));
        }
        for path in ["/metrics", "/status.json"] {
            // The best of several runs for each turn: other processes disturb some of them.
            let mut best = turns(&world, path);
            for _ in 0..20 {
                let pairs = best.iter_mut().zip(turns(&world, path));
                pairs.for_each(|(best, us)| *best = us.min(*best));
            }
            let (longest, all) = (best.iter().max().expect("a turn"), best.iter().sum::<u64>());
            let count = best.len();
            println!(
                "{pools} pools, {path}: {longest} us the longest of {count} turns, {all} us all"
            );
            assert!(pools > 500 || *longest <= 1_000, "a turn of more than a millisecond");
        }
    }
}

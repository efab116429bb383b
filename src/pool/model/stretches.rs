//! Requests that are taken by the stretch go out, and are noted, as if each had been judged; and so
//! are the first requests of a transaction, which bring their server with them.

use super::by_hand::{come, core_of, reply};
use crate::base::rng::{Rng, SeededRng};
use crate::pool::core::Core;
use crate::pool::ids::ClientId;
use crate::pool::owed::said::{Room, Said};
use crate::pool::owed::verdict::Verdict;
use crate::pool::records::server::Server;
use crate::wire::build::Message;
use crate::wire::head::{self, HEAD_BYTES, Head};
use crate::wire::kind::Front;

/// What comes of a run of a client's.
#[derive(PartialEq, Eq, Debug)]
struct Outcome {
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    /// Up to the first message that must wait, or ends the client.
    taken: usize,
    may_repeat: bool,
    /// What the server owes, what may be left in its session, and what is counted.
    noted: String,
}

/// Judges whole messages, and passes them on as the relay does.
fn run(core: &mut Core, client: ClientId, data: &[u8], by_stretch: bool) -> (Outcome, usize) {
    let said = Said::of(data, &mut Room::default());
    run_from(core, client, (data, 0), said, by_stretch)
}

/// Judges what follows the messages that are passed on already.
fn run_from<'a>(
    core: &mut Core,
    client: ClientId,
    (data, mut at): (&'a [u8], usize),
    mut said: Said<'a>,
    by_stretch: bool,
) -> (Outcome, usize) {
    let mut unjudged = at;
    while let Some((kind, body, _)) = head::split_whole(&data[at..]) {
        let end = at + HEAD_BYTES + body.len();
        let head = Head { kind, body: body.len() };
        match core.judge_client(client, head, body, &mut said) {
            Verdict::Forward(_) => said.to_server.forward(at..end),
            Verdict::Replace { taken, .. } => {
                said.to_server.forward(at.saturating_add(taken).min(end)..end);
            }
            Verdict::Drop => {}
            Verdict::Closed | Verdict::Console | Verdict::Hold(_) | Verdict::Need(_) => break,
        }
        at = end;
        if by_stretch {
            let taken = core.routine_requests(client, (data, at), &mut said);
            (at, unjudged) = (at + taken, unjudged + taken);
        }
    }
    let noted = noted(core, client);
    let (to_server, to_client) = (said.to_server.bytes().to_vec(), said.to_client.bytes().to_vec());
    (Outcome { to_server, to_client, taken: at, may_repeat: said.may_repeat, noted }, unjudged)
}

fn noted(core: &Core, id: ClientId) -> String {
    let client = &core.clients[id];
    let times = (client.query_start, client.requested, client.since);
    let of_client = format!("{:?} {times:?} {:?}", client.state(), client.hold);
    let Some(server) = client.server() else { return of_client };
    let server = &core.servers[server];
    let Server { replies, session, unnamed, kept, mode, .. } = server;
    let stats = &core.pools[server.pool].stats;
    let counts = (stats.binds, stats.assignments, stats.wait_us);
    let times = (server.xact_start, server.requested, server.since, server.waited_us);
    let marks = (server.is_untouched, server.is_worn, server.last_client, server.half_sent);
    format!(
        "{of_client} {replies:?} {session:?} {unnamed:?} {kept:?} {mode:?} \
         {counts:?} {times:?} {marks:?}"
    )
}

fn message(kind: Front, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Message::front(&mut bytes, kind).bytes(body).end();
    bytes
}

/// A client that has a server, on which it has prepared `a` and `b`.
fn prepared(settings: &str) -> (Core, ClientId) {
    let ini = format!(
        "[databases]\nd0 = host=127.0.0.1\n[pgbouncer]\nauth_type = trust\n\
         pool_mode = transaction\n{settings}\n"
    );
    let mut core = core_of(&ini, 1);
    let client = come(&mut core, 0, 0);
    let requests = [
        message(Front::Parse, b"a\0select 1\0\0\0"),
        message(Front::Parse, b"b\0set role x\0\0\0"),
        message(Front::Sync, b""),
    ];
    let requests = requests.concat();
    let (outcome, _) = run(&mut core, client, &requests, false);
    assert_eq!(outcome.taken, requests.len());
    let server = core.clients[client].server().expect("it has one");
    for (kind, body) in [(b'1', &b""[..]), (b'1', b""), (b'Z', b"I")] {
        reply(&mut core, server, kind, body);
    }
    (core, client)
}

fn one_of(kinds: &[(Front, &[u8])], rng: &mut SeededRng) -> Vec<u8> {
    let (kind, body) = kinds[rng.below(kinds.len() as u64) as usize];
    message(kind, body)
}

fn any_message(rng: &mut SeededRng) -> Vec<u8> {
    let kinds: [(Front, &[u8]); 12] = [
        (Front::Bind, b"\0a\0\0\0\0\0\0\0"),
        (Front::Bind, b"portal\0a\0\0\0\0\0\0\0"),
        (Front::Bind, b"\0b\0\0\0\0\0\0\0"),
        (Front::Bind, b"\0nobody\0\0\0\0\0\0\0"),
        (Front::Bind, b"\0\0\0\0\0\0\0\0"),
        (Front::Bind, b"\0a\0"),
        (Front::Describe, b"P\0"),
        (Front::Describe, b"Sa\0"),
        (Front::Execute, b"\0\0\0\0\0"),
        (Front::Parse, b"\0select 2\0\0\0"),
        (Front::Sync, b""),
        (Front::Close, b"P\0"),
    ];
    one_of(&kinds, rng)
}

#[test]
fn requests_taken_by_the_stretch_come_to_the_same_as_judged_ones() {
    for session_state in ["allow", "reset"] {
        let mut all_unjudged = 0;
        for seed in 0..300 {
            let mut rng = SeededRng::new(seed);
            let length = 1 + rng.below(20);
            let data: Vec<u8> = (0..length).flat_map(|_| any_message(&mut rng)).collect();
            let [(judged, _), (taken, unjudged)] = [false, true].map(|by_stretch| {
                let (mut core, client) = prepared(&format!("session_state = {session_state}"));
                run(&mut core, client, &data, by_stretch)
            });
            assert_eq!(taken, judged, "seed {seed}, {session_state}");
            all_unjudged += unjudged;
        }
        assert!(all_unjudged > 10_000, "{all_unjudged} bytes without a judge, {session_state}");
    }
}

/// What a client that has no server may begin with, besides what a pipeline is made of.
fn any_first(rng: &mut SeededRng) -> Vec<u8> {
    let kinds: [(Front, &[u8]); 15] = [
        (Front::Query, b"select 3\0"),
        (Front::Query, b"set x = 1\0"),
        (Front::Query, b"deallocate a\0"),
        (Front::Query, b"discard all\0"),
        (Front::Query, b"select 3, this is longer\0"),
        (Front::Query, b"no end"),
        (Front::Query, b""),
        (Front::Parse, b"\0set x = 1\0\0\0"),
        (Front::Parse, b"\0discard all\0\0\0"),
        (Front::Parse, b"c\0select 4\0\0\0"),
        (Front::Parse, b"no end"),
        (Front::Bind, b"\0"),
        (Front::Bind, b""),
        (Front::FunctionCall, b"\0\0\0\x01"),
        (Front::CopyData, b"late"),
    ];
    one_of(&kinds, rng)
}

/// The server has answered all that it was asked, and its client lets go of it.
fn part(core: &mut Core, client: ClientId, replies: &[(u8, &[u8])]) {
    let server = core.clients[client].server().expect("it has one");
    for (kind, body) in replies {
        reply(core, server, *kind, body);
    }
    core.part_if_done(server);
    assert_eq!(core.clients[client].server(), None);
}

/// A client without a server, which has had one before, and perhaps left its unnamed statement
/// there; and perhaps another client has had that server since.
fn without_server(rng: &mut SeededRng, settings: &str) -> (Core, ClientId) {
    let (mut core, client) = prepared(settings);
    part(&mut core, client, &[]);
    let other = come(&mut core, 0, 0);
    for (id, goes) in [(client, rng.one_in(2)), (other, rng.one_in(2))] {
        if goes {
            let data = [message(Front::Parse, b"\0select 5\0\0\0"), message(Front::Sync, b"")];
            run(&mut core, id, &data.concat(), false);
            part(&mut core, id, &[(b'1', b""), (b'Z', b"I")]);
        }
    }
    core.now.mono = core.now.mono + std::time::Duration::from_millis(7);
    (core, client)
}

#[test]
fn the_first_requests_of_a_transaction_come_to_the_same_as_judged_ones() {
    for settings in [
        "",
        "max_prepared_statements = 0",
        "session_state = reset",
        "session_state = pin",
        "session_state = warn\nmax_prepared_statements = 0",
        "session_state = warn",
        "max_packet_size = 20",
        "disable_pqexec = 1",
    ] {
        let mut all_unjudged = 0;
        for seed in 0..500 {
            let [judged, begun] = [true, false].map(|is_thorough| {
                let mut rng = SeededRng::new(seed);
                let (mut core, client) = without_server(&mut rng, settings);
                core.is_thorough = is_thorough;
                let length = rng.below(6);
                let first = if rng.one_in(2) { any_first } else { any_message };
                let rest = (0..length).flat_map(|_| match rng.one_in(8) {
                    true => any_first(&mut rng),
                    false => any_message(&mut rng),
                });
                let rest: Vec<u8> = rest.collect();
                let mut data = [first(&mut rng), rest].concat();
                if rng.one_in(4) {
                    data.truncate(rng.below(data.len() as u64 + 1) as usize);
                }
                let mut said = Said::of(&data, &mut Room::default());
                let begun = match data.first() {
                    Some(b'Q') => core.begin_query(client, &data),
                    _ => core.begin_extended(client, &data, &mut said),
                };
                assert!(begun.is_none() || !is_thorough);
                let taken = begun.map_or(0, |begun| begun.taken);
                if data.first() == Some(&b'Q') {
                    said.to_server.forward(0..taken);
                }
                let outcome = run_from(&mut core, client, (&data, taken), said, !is_thorough);
                core.check();
                outcome
            });
            assert_eq!(begun.0, judged.0, "seed {seed}, {settings}");
            all_unjudged += begun.1;
        }
        assert!(all_unjudged > 2_000, "{all_unjudged} bytes without a judge, {settings}");
    }
}

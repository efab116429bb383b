//! Requests that are taken by the stretch go out, and are noted, as if each had been judged.

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
    /// Up to the first message that must wait, or ends the client.
    taken: usize,
    may_repeat: bool,
    /// What the server owes, what may be left in its session, and what is counted.
    noted: String,
}

/// Judges whole messages, and passes them on as the relay does.
fn run(core: &mut Core, client: ClientId, data: &[u8], by_stretch: bool) -> (Outcome, usize) {
    let mut said = Said::of(data, &mut Room::default());
    let (mut at, mut unjudged) = (0, 0);
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
    let server = core.clients[client].server().expect("it has one");
    let Server { replies, session, unnamed, kept, pool, .. } = &core.servers[server];
    let binds = core.pools[*pool].stats.binds;
    let noted = format!("{replies:?} {session:?} {unnamed:?} {kept:?} {binds}");
    let to_server = said.to_server.bytes().to_vec();
    (Outcome { to_server, taken: at, may_repeat: said.may_repeat, noted }, unjudged)
}

fn message(kind: Front, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Message::front(&mut bytes, kind).bytes(body).end();
    bytes
}

/// A client that has a server, on which it has prepared `a` and `b`.
fn prepared(session_state: &str) -> (Core, ClientId) {
    let ini = format!(
        "[databases]\nd0 = host=127.0.0.1\n[pgbouncer]\nauth_type = trust\n\
         pool_mode = transaction\nsession_state = {session_state}\n"
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
    let (kind, body) = kinds[rng.below(kinds.len() as u64) as usize];
    message(kind, body)
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
                let (mut core, client) = prepared(session_state);
                run(&mut core, client, &data, by_stretch)
            });
            assert_eq!(taken, judged, "seed {seed}, {session_state}");
            all_unjudged += unjudged;
        }
        assert!(all_unjudged > 10_000, "{all_unjudged} bytes without a judge, {session_state}");
    }
}

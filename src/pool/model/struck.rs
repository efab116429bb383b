//! A cancel request that comes late, and strikes what the pooler asks of a session at the end of a
//! transaction.

use super::by_hand::{come, core_of, reply, step};
use crate::pool::core::own_query::MOST_STEPS;
use crate::pool::core::{Action, Core};
use crate::pool::ids::{ClientId, ServerId};
use crate::pool::owed::said::Said;
use crate::wire::head::Head;

const CANCELED: &[u8] = b"SERROR\0VERROR\0C57014\0Mcanceling statement due to user request\0\0";

/// A client whose transaction leaves a channel, and its server, which is being asked about that.
fn asked(settings: &str) -> (Core, ClientId, ServerId) {
    let text = format!(
        "[databases]\nd0 = host=10.0.0.1\n[pgbouncer]\nauth_type = trust\n\
         listen_addr = 127.0.0.1\npool_mode = transaction\n{settings}\n"
    );
    let mut core = core_of(&text, 1);
    let client = come(&mut core, 0, 0);
    query(&mut core, client, b"select 1\0");
    let server = core.clients[client].server().expect("a server");
    reply(&mut core, server, b'C', b"LISTEN\0");
    reply(&mut core, server, b'Z', b"I");
    (core, client, server)
}

fn query(core: &mut Core, client: ClientId, text: &[u8]) {
    core.judge_client(client, Head { kind: b'Q', body: text.len() }, text, &mut Said::default());
}

/// A client that listens to a channel, and has a server with an open transaction.
fn listening() -> (Core, ClientId, ServerId) {
    let (mut core, client, server) = asked("shared_listen = 1");
    reply(&mut core, server, b'D', b"\0\x01\0\0\0\x01a");
    reply(&mut core, server, b'C', b"SELECT 1\0");
    reply(&mut core, server, b'C', b"UNLISTEN\0");
    reply(&mut core, server, b'Z', b"I");
    step(&mut core);
    core.sweep();
    let is_listener = |id: &ServerId| *id != server;
    let listener = core.servers.ids().into_iter().find(is_listener).expect("a listener");
    reply(&mut core, listener, b'C', b"LISTEN\0");
    reply(&mut core, listener, b'Z', b"I");
    core.sweep();
    query(&mut core, client, b"begin\0");
    let server = core.clients[client].server().expect("a server");
    reply(&mut core, server, b'C', b"BEGIN\0");
    reply(&mut core, server, b'Z', b"T");
    sent(&mut core);
    (core, client, server)
}

/// What the pooler has sent to a server since this was asked.
fn sent(core: &mut Core) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(action) = core.poll_action() {
        if let Action::SendServer { bytes, .. } = action {
            all.push(bytes);
        }
    }
    all
}

#[test]
fn what_a_late_cancel_request_strikes_is_asked_once_more() {
    for settings in ["shared_listen = 1", "session_state = error"] {
        let (mut core, client, server) = asked(settings);
        let first = sent(&mut core);
        assert_eq!(first.len(), 1, "{settings}");
        let strike = |core: &mut Core| {
            reply(core, server, b'E', CANCELED);
            if !core.servers[server].is_closing() {
                reply(core, server, b'Z', b"I");
            }
        };
        strike(&mut core);
        assert_eq!(sent(&mut core), first, "{settings}");
        assert!(!core.clients[client].is_closing(), "{settings}");
        // A statement_timeout looks the same, and would end no attempt.
        strike(&mut core);
        assert!(sent(&mut core).is_empty(), "{settings}");
        assert!(core.clients[client].is_closing(), "{settings}");
    }
}

/// The transaction has failed by it, as it would have by a query of the client's.
#[test]
fn a_late_cancel_request_that_strikes_a_recall_fails_the_transaction_alone() {
    let (mut core, client, server) = listening();
    query(&mut core, client, b"unlisten *\0");
    let recall = sent(&mut core).concat();
    let recall = String::from_utf8_lossy(&recall);
    assert!(recall.contains("LISTEN \"a\""), "{recall}");
    reply(&mut core, server, b'E', CANCELED);
    reply(&mut core, server, b'Z', b"E");
    assert!(!core.clients[client].is_closing());
    assert_eq!(core.clients[client].hold(), None);

    query(&mut core, client, b"unlisten *\0");
    assert_eq!(core.clients[client].server(), Some(server));
    assert!(!core.servers[server].replies.is_answered(), "nobody has asked it");
    reply(&mut core, server, b'E', b"SERROR\0VERROR\0C25P02\0Mno\0\0");
    reply(&mut core, server, b'Z', b"E");
    query(&mut core, client, b"rollback\0");
    reply(&mut core, server, b'C', b"ROLLBACK\0");
    reply(&mut core, server, b'Z', b"I");
    let asked = sent(&mut core).concat();
    let asked = String::from_utf8_lossy(&asked);
    assert!(asked.contains("pg_listening_channels") && !asked.contains("txid"), "{asked}");
    reply(&mut core, server, b'C', b"SELECT 0\0");
    reply(&mut core, server, b'C', b"UNLISTEN\0");
    reply(&mut core, server, b'Z', b"I");
    let channels = &core.clients[client].listens().expect("it listens still").channels;
    assert_eq!(channels.len(), 1);
}

/// Its client would take the transaction for committed.
#[test]
fn a_text_that_commits_is_not_sent_after_a_recall_was_struck() {
    for (text, is_ended) in [
        (&b"commit; unlisten *\0"[..], true),
        (b"/* a */ END; savepoint s\0", true),
        (b"unlisten a; commit\0", false),
    ] {
        let (mut core, client, server) = listening();
        query(&mut core, client, text);
        assert_eq!(sent(&mut core).len(), 1, "the channels are given back");
        reply(&mut core, server, b'E', CANCELED);
        assert_eq!(core.clients[client].is_closing(), is_ended);
    }
}

#[test]
fn a_recall_outside_of_a_transaction_is_asked_once_more() {
    let (mut core, client, server) = listening();
    query(&mut core, client, b"commit\0");
    reply(&mut core, server, b'C', b"COMMIT\0");
    reply(&mut core, server, b'Z', b"I");
    query(&mut core, client, b"unlisten *\0");
    let server = core.clients[client].server().expect("a server");
    let first = sent(&mut core);
    assert_eq!(first.len(), 1);
    for left in [1, 0] {
        reply(&mut core, server, b'E', CANCELED);
        if !core.servers[server].is_closing() {
            reply(&mut core, server, b'Z', b"I");
        }
        let again = sent(&mut core);
        assert_eq!(again.len(), left);
        assert!(again.iter().all(|bytes| first.contains(bytes)));
    }
    assert!(core.clients[client].is_closing());
}

/// What was undone may have been the client's parameters, too.
#[test]
fn parameters_that_a_late_cancel_request_strikes_are_set_once_more() {
    let (mut core, client, server) = asked("session_state = error");
    sent(&mut core);
    reply(&mut core, server, b'C', b"UNLISTEN\0");
    reply(&mut core, server, b'S', b"application_name\0another\0");
    reply(&mut core, server, b'Z', b"I");
    let first = sent(&mut core);
    let text = String::from_utf8_lossy(&first.concat()).into_owned();
    assert!(first.len() == 1 && text.contains("application_name"), "{text}");
    reply(&mut core, server, b'E', CANCELED);
    reply(&mut core, server, b'Z', b"I");
    assert_eq!(sent(&mut core), first);
    assert!(!core.clients[client].is_closing());
    // A statement_timeout looks the same, and ends no step.
    let mut strikes = 1;
    while !core.clients[client].is_closing() && strikes < 100 {
        reply(&mut core, server, b'E', CANCELED);
        reply(&mut core, server, b'Z', b"I");
        strikes += 1;
    }
    assert_eq!(strikes, usize::from(MOST_STEPS) + 1);
}

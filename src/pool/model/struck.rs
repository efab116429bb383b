//! A cancel request that comes late, and strikes what the pooler asks of a session at the end of a
//! transaction.

use super::by_hand::{come, core_of, reply};
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
    let body = b"select 1\0";
    core.judge_client(client, Head { kind: b'Q', body: body.len() }, body, &mut Said::default());
    let server = core.clients[client].server().expect("a server");
    reply(&mut core, server, b'C', b"LISTEN\0");
    reply(&mut core, server, b'Z', b"I");
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

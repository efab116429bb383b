//! Where a server that nears its end has a successor opened for it.

use super::by_hand::{come, core_of, reply, step};
use crate::pool::core::Core;
use crate::pool::owed::said::Said;
use crate::pool::owed::verdict::Verdict;
use crate::wire::head::Head;

/// The servers of a pool whose only client holds one for longer than server_lifetime.
fn servers_at_the_end(pool_mode: &str) -> usize {
    let mut core = core_of(
        &format!(
            "[databases]\nd0 = host=10.0.0.1 pool_size=2\n[pgbouncer]\nauth_type = trust\n\
             listen_addr = 127.0.0.1\nserver_lifetime = 4\npool_mode = {pool_mode}\n"
        ),
        1,
    );
    begin(&mut core);
    (0..15).for_each(|_| step(&mut core));
    core.check();
    core.servers.len()
}

fn begin(core: &mut Core) {
    let client = come(core, 0, 0);
    let body = b"begin\0";
    let verdict = core.judge_client(
        client,
        Head { kind: b'Q', body: body.len() },
        body,
        &mut Said::default(),
    );
    let Verdict::Forward(server) = verdict else { panic!("there is a server: {verdict:?}") };
    reply(core, server, b'C', b"BEGIN\0");
    reply(core, server, b'Z', b"T");
}

#[test]
fn a_server_that_transactions_share_has_a_successor() {
    assert_eq!(servers_at_the_end("transaction"), 2);
}

#[test]
fn a_server_of_a_session_has_none() {
    assert_eq!(servers_at_the_end("session"), 1);
}

//! At whom the end of a turn looks. Pools that wait for a place of others may be thousands, and
//! whoever asks in one pool must not have all of them looked at.

use super::by_hand::{come, come_for, core_of, let_in};
use crate::pool::core::Core;
use crate::pool::ids::ClientId;
use crate::pool::owed::said::Said;
use crate::pool::owed::verdict::{Hold, Verdict};
use crate::wire::head::Head;

const USERS: usize = 50;

fn begin(core: &mut Core, client: ClientId) -> Verdict {
    let body = b"begin\0";
    core.judge_client(client, Head { kind: b'Q', body: body.len() }, body, &mut Said::default())
}

#[test]
fn who_asks_in_one_pool_has_that_one_looked_at() {
    let text = "[databases]\nd0 = host=10.0.0.1 max_db_connections=1\n\
                d1 = host=10.0.0.1 pool_size=1\n[pgbouncer]\nauth_type = trust\n\
                listen_addr = 127.0.0.1\npool_mode = transaction\n";
    let mut core = core_of(text, USERS);
    for database in [0, 1] {
        let busy = come(&mut core, database, 0);
        assert!(matches!(begin(&mut core, busy), Verdict::Forward(_)));
    }
    for user in 1..USERS {
        come(&mut core, 0, user);
    }
    assert_eq!(core.awaiting_place.len(), USERS - 1, "each pool waits for the one server");
    let late = come(&mut core, 1, 0);
    assert_eq!(begin(&mut core, late), Verdict::Hold(Hold::Server { is_told: false }));
    assert_eq!(core.fill_places(), 1, "pools looked at");
    core.check();
}

/// Nothing here waits for a sweep by time.
#[test]
fn a_replication_client_has_the_place_that_becomes_free_in_that_turn() {
    for limit in ["pool_size=1", "max_db_connections=1"] {
        let text = format!(
            "[databases]\nd0 = host=10.0.0.1 {limit}\n[pgbouncer]\nauth_type = trust\n\
             listen_addr = 127.0.0.1\npool_mode = transaction\n"
        );
        let mut core = core_of(&text, 1);
        let ordinary = come(&mut core, 0, 0);
        let has_server = |core: &Core, client| core.clients[client].server().is_some();
        let first = come_for(&mut core, 0, 0, "database");
        turn(&mut core);
        assert!(has_server(&core, first), "{limit}: the idle server gives way");
        let second = come_for(&mut core, 0, 0, "true");
        assert!(matches!(begin(&mut core, ordinary), Verdict::Hold(Hold::Server { .. })));
        turn(&mut core);
        assert!(!has_server(&core, second), "{limit}: its place is taken");
        let pool = core.clients[second].pool().expect("it is in a pool");
        let why = core.why_no_server(pool);
        assert!(why.contains("1 servers busy, oldest transaction 0s"), "{why}");
        core.client_gone(first, None);
        turn(&mut core);
        assert!(has_server(&core, second), "{limit}");
        core.check();
    }
}

#[test]
fn a_replication_client_gets_no_server_during_pause() {
    let text = "[databases]\nd0 = host=10.0.0.1\n[pgbouncer]\nauth_type = trust\n\
                listen_addr = 127.0.0.1\npool_mode = transaction\n";
    let mut core = core_of(text, 1);
    for database in [None, core.directory.find_database("d0")] {
        core.pause(database);
        let client = come_for(&mut core, 0, 0, "database");
        turn(&mut core);
        assert_eq!(core.clients[client].server(), None, "{database:?}");
        let pool = core.clients[client].pool().expect("it is in a pool");
        assert_eq!(core.pools[pool].server_count(), 0, "PAUSE would wait for it: {database:?}");
        assert!(core.resume(database));
        turn(&mut core);
        assert!(core.clients[client].server().is_some(), "{database:?}");
        core.client_gone(client, None);
        turn(&mut core);
        core.check();
    }
}

fn turn(core: &mut Core) {
    core.sweep();
    let_in(core);
}

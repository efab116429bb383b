//! What shared connections (`shared_listen`) are told, and what becomes of those who wait for it.
//!
//! The functions take the core whole, and nobody but the sweep calls them.

use crate::log::Level;
use crate::pool::core::Core;
use crate::pool::ids::{ClientId, PoolId};
use crate::pool::records::server::{ServerState, Test};

/// Opens the shared connections that are missing, and tells each what has changed.
pub(super) fn tune_all(core: &mut Core) {
    core.forget_listeners();
    for pool in std::mem::take(&mut core.untuned) {
        if core.pools.contains(pool) {
            tune(core, pool);
        }
    }
}

fn tune(core: &mut Core, id: PoolId) {
    let Some(all) = &mut core.pools[id].listening else { return };
    if std::mem::take(&mut all.is_told) {
        core.channels_told(id);
    }
    if core.pools[id].working_count() == 0 {
        tell_of_loss(core, id);
        return core.launch(id);
    }
    let pool = &mut core.pools[id];
    let Some(server) = pool.idle.first().or(pool.used.first()) else { return };
    let Some(all) = &mut pool.listening else { return };
    match all.next_query() {
        Some(sql) => {
            core.move_server(server, ServerState::Tested(Test::Listen));
            core.run_own_query(server, sql);
        }
        None => {
            if core.pools[id].listens() {
                // It counts as used while somebody listens. After that, server_idle_timeout ends
                // it.
                core.servers[server].requested = core.mono();
            }
            tell_of_return(core, id);
        }
    }
    core.wake_pool(id);
}

/// Without a connection no channel is heard, and what others notify of is lost.
fn tell_of_loss(core: &mut Core, id: PoolId) {
    let Some(all) = &mut core.pools[id].listening else { return };
    let count = all.lost();
    if count > 0 {
        let text = format!(
            "shared_listen: the connection of {} is lost, which listened to {count} channels; \
             notifications are lost until there is another",
            core.pool_name(id)
        );
        core.log(Level::Warning, text);
    }
}

fn tell_of_return(core: &mut Core, id: PoolId) {
    let Some(all) = &mut core.pools[id].listening else { return };
    if !std::mem::take(&mut all.is_lost) {
        return;
    }
    let count = all.count();
    let text = format!(
        "shared_listen: {} listens again to {count} channels; notifications may have been lost \
         meanwhile",
        core.pool_name(id)
    );
    core.log(Level::Warning, text);
}

/// Clients that wait for their channels are told that it is in vain, when one of them has waited as
/// long as a connection may take: they wait for the same connection. In a shutdown nobody opens
/// another.
pub(super) fn sweep(core: &mut Core, id: PoolId) {
    let Some(all) = &core.pools[id].listening else { return };
    let has_waited = |bits: &u64| {
        let client = core.clients.get(ClientId::from_bits(*bits));
        client.is_some_and(|client| core.mono() >= core.due_times().channels_due(client))
    };
    if core.is_winding_down() || all.awaiting.iter().any(has_waited) {
        let why = core.why_no_server(id);
        core.release_listeners(id, Some(&why));
    }
    core.untuned.push(id);
}

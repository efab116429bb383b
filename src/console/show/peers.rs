//! SHOW PEERS and PEER_POOLS: other processes that cancel requests may belong to.

use super::super::table::{Scene, Sheet, Value, int4, label, text};
use crate::base::order;
use crate::pool::core::Core;
use crate::pool::ids::PoolId;
use crate::pool::records::pool::Pool;
use crate::pool::records::server::ServerState;

/// Rows are places in the configuration's list of peers.
pub static PEERS: Sheet<usize> = Sheet {
    columns: &[&[
        label(label(int4("peer_id", |scene, &at| {
            Value::Number(scene.core.config.peers[at].id.into())
        }))),
        text("host", |scene, &at| {
            let hosts = scene.core.config.peers[at].host.iter().map(ToString::to_string);
            Value::owned(hosts.collect::<Vec<_>>().join(","))
        }),
        label(int4("port", |scene, &at| {
            Value::Number(scene.core.config.peers[at].port.of(0).into())
        })),
        int4("pool_size", |scene, &at| {
            let size = scene.core.config.peers[at].pool_size;
            Value::Number(size.unwrap_or(scene.core.settings().default_pool_size).into())
        }),
    ]],
    rows: |scene| {
        let peers = &scene.core.config.peers;
        let rows: Vec<usize> = (0..peers.len()).collect();
        order::sorted(&rows, |&a, &b| peers[a].id.cmp(&peers[b].id))
    },
};

/// Peers that requests were passed on to, by number.
pub static PEER_POOLS: Sheet<(u16, PoolId)> = Sheet {
    columns: &[&[
        int4("peer_id", |_, row| Value::Number(row.0.into())),
        int4("cl_active_cancel_req", |scene, row| count(scene, row, |c| c.has_client && c.is_sent)),
        int4("cl_waiting_cancel_req", |scene, row| {
            count(scene, row, |carrier| carrier.has_client && !carrier.is_sent)
        }),
        int4("sv_active_cancel", |scene, row| count(scene, row, |carrier| carrier.is_sent)),
        int4("sv_login", |scene, row| count(scene, row, |c| !c.is_sent && !c.is_waiting)),
    ]],
    rows: |scene| used(scene.core),
};

/// The pools of requests to peers.
pub fn used(core: &Core) -> Vec<(u16, PoolId)> {
    let peer = |pool: &Pool| core.databases[pool.database].peer;
    let pools = core.pools.iter().filter_map(|(id, pool)| Some((peer(pool)?, id)));
    order::sorted(&pools.collect::<Vec<_>>(), |a, b| a.0.cmp(&b.0))
}

/// A connection that carries a request to a peer.
struct Carrier {
    has_client: bool,
    is_sent: bool,
    /// For its turn, when more are wanted than the peer's pool_size.
    is_waiting: bool,
}

fn count(scene: Scene<'_>, row: &(u16, PoolId), is_it: fn(&Carrier) -> bool) -> Value<'static> {
    let core = scene.core;
    let carriers = core.pools[row.1].cancels.iter(&core.servers).filter_map(|id| {
        let server = &core.servers[id];
        let ServerState::Cancel(carrier) = server.state() else { return None };
        let (has_client, is_sent) = (carrier.client.is_some(), carrier.is_sent);
        Some(Carrier { has_client, is_sent, is_waiting: server.is_waiting })
    });
    Value::count(carriers.filter(is_it).count())
}

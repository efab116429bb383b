//! SHOW PEERS and PEER_POOLS: other processes that cancel requests may belong to.

use super::super::table::{Scene, Sheet, Value, int4, label, text};
use crate::base::order;
use crate::pool::core::Core;
use crate::pool::ids::PeerId;
use crate::pool::records::carrier::Carrier;

/// A row is an index into the configuration's list of peers.
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

/// The peers to which cancel requests were passed on, by `peer_id`.
pub static PEER_POOLS: Sheet<PeerId> = Sheet {
    columns: &[&[
        int4("peer_id", |scene, row| Value::Number(scene.core.peers[*row].number.into())),
        int4("cl_active_cancel_req", |scene, row| {
            count(scene, row, |carrier| carrier.client.is_some() && carrier.is_sent())
        }),
        int4("cl_waiting_cancel_req", |scene, row| {
            count(scene, row, |carrier| carrier.client.is_some() && !carrier.is_sent())
        }),
        int4("sv_active_cancel", |scene, row| count(scene, row, Carrier::is_sent)),
        int4("sv_login", |scene, row| {
            count(scene, row, |carrier| !carrier.is_sent() && !carrier.is_queued())
        }),
    ]],
    rows: |scene| used(scene.core),
};

/// The peers to which cancel requests were passed on, by `peer_id`.
pub fn used(core: &Core) -> Vec<PeerId> {
    order::sorted(&core.peers.ids(), |a, b| core.peers[*a].number.cmp(&core.peers[*b].number))
}

fn count(scene: Scene<'_>, row: &PeerId, is_it: fn(&Carrier) -> bool) -> Value<'static> {
    let core = scene.core;
    let carriers = core.peers[*row].carriers.iter(&core.carriers);
    Value::count(carriers.filter(|&id| is_it(&core.carriers[id])).count())
}

//! SHOW PEERS and PEER_POOLS: other processes that cancel requests may belong to.

use super::super::table::{Sheet, Value, int4, text};
use crate::base::order;

/// Rows are places in the configuration's list of peers.
pub static PEERS: Sheet<usize> = Sheet {
    columns: &[&[
        int4("peer_id", |scene, &at| Value::Number(scene.core.config.peers[at].id.into())),
        text("host", |scene, &at| {
            let hosts = scene.core.config.peers[at].host.iter().map(ToString::to_string);
            Value::owned(hosts.collect::<Vec<_>>().join(","))
        }),
        int4("port", |scene, &at| Value::Number(scene.core.config.peers[at].port.of(0).into())),
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

/// Cancel requests are not passed on to peers so far, so that there is never a row.
pub static PEER_POOLS: Sheet<()> = Sheet {
    columns: &[&[
        int4("peer_id", |_, _| Value::Null),
        int4("cl_active_cancel_req", |_, _| Value::Null),
        int4("cl_waiting_cancel_req", |_, _| Value::Null),
        int4("sv_active_cancel", |_, _| Value::Null),
        int4("sv_login", |_, _| Value::Null),
    ]],
    rows: |_| Vec::new(),
};

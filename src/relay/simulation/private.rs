//! The servers of replication clients are nobody else's, end with them, and count as any other.
//! Whether a server is a walsender is taken from what it was sent, not from the pooler's records.

use super::world::World;
use crate::pool::ids::{ClientId, Outbound};
use crate::pool::records::server::{Server, ServerState};

impl World {
    /// A walsender has its client from its login on, and is closed when the client goes. All other
    /// servers have ordinary clients.
    pub(super) fn check_private(&mut self) -> Result<(), String> {
        let all = self.clients.iter().filter(|client| client.character.replication.is_some());
        let replicas: Vec<ClientId> = all.map(|client| client.id).collect();
        for backend in self.backends.values_mut() {
            let Outbound::Server(id) = backend.outbound else { continue };
            let Some(session) = backend.session() else { continue };
            let (is_walsender, is_streaming) =
                (session.walsender.is_some(), session.is_streaming());
            let state = self.engine.core.servers.get(id).map(Server::state);
            match (is_walsender, state) {
                (true, Some(ServerState::Login(_))) => {}
                (true, Some(ServerState::Active { client })) if replicas.contains(client) => {
                    let owner = *backend.owner.get_or_insert(*client);
                    if owner != *client {
                        return Err(format!("walsender {id:?} of {owner:?} has {client:?}"));
                    }
                }
                (true, None | Some(ServerState::Closing)) => {
                    let is_torn = backend.owner.take().is_some() && is_streaming;
                    self.figures.torn += usize::from(is_torn);
                }
                (true, Some(state)) => return Err(format!("walsender {id:?} is {state:?}")),
                (false, Some(ServerState::Active { client })) if replicas.contains(client) => {
                    return Err(format!("{client:?} replicates on {id:?}, which is no walsender"));
                }
                (false, _) => {}
            }
        }
        Ok(())
    }

    /// No pool, database or user has more servers than its limits allow, whatever the servers are
    /// for. A RELOAD may lower the limits below what there is.
    pub(super) fn check_places(&self) -> Result<(), String> {
        let core = &self.engine.core;
        // The last RELOAD takes all databases away, and the limits with them.
        if self.setup.weather.reloads > 0 || core.config.databases.is_empty() {
            return Ok(());
        }
        let servers = core.servers.iter().filter(|(_, server)| !server.is_closing());
        let pools: Vec<_> = servers.map(|(_, server)| server.pool).collect();
        for (id, pool) in core.pools.iter() {
            let of_database = |other: &&_| core.pools[**other].database == pool.database;
            let of_user = |other: &&_| core.pools[**other].user == pool.user;
            let size = core.limits().pool_size(id);
            let reserve = core.limits().reserve_pool_size(id);
            let counts = [
                (pools.iter().filter(|other| **other == id).count(), size, reserve),
                (
                    pools.iter().filter(of_database).count(),
                    core.limits().max_db_connections(pool.database),
                    0,
                ),
                (
                    pools.iter().filter(of_user).count(),
                    core.limits().max_user_connections(pool.user),
                    0,
                ),
            ];
            let is_over = |(count, size, reserve): &(usize, _, _)| {
                *size > 0 && *count > (size + reserve) as usize
            };
            if counts.iter().any(is_over) {
                return Err(format!("pool {id:?}: servers, limit and reserve are {counts:?}"));
            }
        }
        Ok(())
    }
}

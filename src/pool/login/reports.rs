//! What servers report of their parameters, and what new clients are told on their behalf.

use crate::log::Level;
use crate::pool::core::Core;
use crate::pool::ids::{DatabaseId, PoolId, ServerId};
use crate::pool::records::server::State;
use crate::pool::telling::reason::Reason;
use crate::wire::fields::Fields;

/// Parameters that one server may report at its login; more end it.
const MOST_REPORTED: usize = 200;

impl Core {
    /// ParameterStatus, in login or later.
    pub(in crate::pool) fn server_reported(&mut self, id: ServerId, body: &[u8]) {
        let mut fields = Fields::new(body);
        let (Some(name), Some(value)) = (fields.str(), fields.cstr()) else {
            return self.server_failed(id, Reason::BrokenParameterStatus);
        };
        let value = String::from_utf8_lossy(value);
        self.log_server(Level::Noise, id, format_args!("reports {name}={value}"));
        match self.vars.track(name) {
            Some(place) => self.vars.set(&mut self.servers[id].vars, place, &value),
            None => {
                let State::Login(login) = &mut self.servers[id].state else { return };
                if login.reported.len() >= MOST_REPORTED {
                    return self.server_failed(id, Reason::BrokenParameterStatus);
                }
                login.reported.push((name.into(), value.into()));
            }
        }
    }

    /// Clients are told nothing of what servers have reported so far: they wait for the next one.
    pub(in crate::pool) fn forget_welcomes(&mut self, database: Option<DatabaseId>) {
        for id in self.pools.ids() {
            if database.is_none_or(|database| self.pools[id].database == database) {
                self.forget_welcome(id);
            }
        }
    }

    pub(in crate::pool) fn forget_welcome(&mut self, pool: PoolId) {
        if let Some(mut welcome) = self.pools[pool].welcome.take() {
            self.vars.clear(&mut welcome.vars);
        }
    }
}

//! Parameters that servers report, and what new clients are told of them.

use crate::log::Level;
use crate::pool::core::Core;
use crate::pool::ids::ServerId;
use crate::pool::telling::reason::Reason;
use crate::wire::fields::Fields;

/// Untracked parameters that one server may report at its login; a server that reports more is
/// closed.
const MOST_REPORTED_PARAMETERS: usize = 200;

/// Bytes of names and values that one server may report at its login; a server that reports more is
/// closed. Every client of its pool is told them.
const MOST_REPORTED_BYTES: usize = 32 * 1024;

/// A parameter that no client sets. It changes when a standby is promoted, and new clients are told
/// its new value.
const IN_HOT_STANDBY: &str = "in_hot_standby";

/// The longest value of `in_hot_standby` that is accepted, in bytes.
const LONGEST_STANDBY_BYTES: usize = 16;

/// The longest value of a tracked parameter, in bytes; a server that reports a longer one is
/// closed.
const LONGEST_VALUE_BYTES: usize = 16 * 1024;

impl Core {
    /// A ParameterStatus has come, in login or later.
    pub(in crate::pool) fn server_reported(&mut self, id: ServerId, body: &[u8]) {
        let mut fields = Fields::new(body);
        let (Some(name), Some(value)) = (fields.str(), fields.cstr()) else {
            return self.server_failed(id, Reason::BrokenParameterStatus);
        };
        if self.hears(Level::Noise) {
            let value = String::from_utf8_lossy(value).into_owned();
            self.log_server(Level::Noise, id, format_args!("reports {name}={value}"));
        }
        let place = self.vars.find(name);
        let is_too_long = place.is_some() && value.len() > LONGEST_VALUE_BYTES;
        if is_too_long || !self.may_report(id, body.len()) {
            return self.server_failed(id, Reason::BrokenParameterStatus);
        }
        match place {
            Some(place) => self.vars.set(&mut self.servers[id].vars.present, place, value),
            None => self.reported_untracked(id, name, value),
        }
    }

    /// Whether a server may report this many more bytes. Only those of its login are counted.
    fn may_report(&mut self, id: ServerId, bytes: usize) -> bool {
        let Some(login) = self.servers[id].login_mut() else { return true };
        login.reported_bytes += bytes;
        login.reported_bytes <= MOST_REPORTED_BYTES
            && login.reported.len() <= MOST_REPORTED_PARAMETERS
    }

    /// A server reports a parameter that does not follow clients: new clients are told it.
    fn reported_untracked(&mut self, id: ServerId, name: &str, value: &[u8]) {
        let server = &mut self.servers[id];
        if let Some(login) = server.login_mut() {
            return login.reported.push((name.into(), value.into()));
        }
        let Some(welcome) = &mut self.pools[server.pool].welcome else { return };
        let is_told = name == IN_HOT_STANDBY && value.len() <= LONGEST_STANDBY_BYTES;
        if is_told {
            welcome.renew(name, value);
        }
    }
}

//! Logins to the console: who may log in, and which parameters such a session is told.

use crate::config::AuthType;
use crate::pool::core::{Action, Core};
use crate::pool::ids::ClientId;
use crate::pool::login::account::{VERSION, push_key};
use crate::pool::records::client::{ClientState, ConsoleSession, ConsoleState};
use crate::pool::telling::reason::Reason;
use crate::wire::build;

/// The parameters that a console session is told, in PgBouncer's order.
const CONSOLE_PARAMETERS: [(&str, &str); 7] = [
    ("server_version", "1.26.1/bouncer"),
    ("client_encoding", "UTF8"),
    ("server_encoding", "UTF8"),
    ("DateStyle", "ISO"),
    ("TimeZone", "GMT"),
    ("standard_conforming_strings", "on"),
    ("is_superuser", "on"),
];

impl Core {
    pub(super) fn admit_to_console(&mut self, id: ClientId, user: String) -> Result<(), Reason> {
        let settings = self.settings();
        let is_any = settings.auth_type == AuthType::Any;
        let is_admin = is_any || settings.admin_users.contains(&user);
        if !is_admin && !settings.stats_users.contains(&user) {
            return Err(Reason::NotAllowed);
        }
        if !is_admin {
            self.check_console_limits(&user)?;
        }
        self.enter_console(id, user, is_admin)
    }

    /// The limits of clients apply to the console too, except to its admins: they are counted, and
    /// never refused.
    fn check_console_limits(&mut self, name: &str) -> Result<(), Reason> {
        let limit = self.settings().max_db_client_connections as usize;
        if limit > 0 && self.consoles.len() >= limit {
            return Err(Reason::DatabaseClientsExceeded);
        }
        self.check_user_client_limit(name)
    }

    pub(super) fn enter_console(
        &mut self,
        id: ClientId,
        user: String,
        is_admin: bool,
    ) -> Result<(), Reason> {
        let session = ConsoleSession::default();
        let is_own_user = self.is_own_user(id);
        let console = ConsoleState {
            user,
            is_admin,
            is_own_user,
            answered: (self.mono(), 0),
            wait: None,
            pending: None,
            session,
        };
        self.move_client(id, ClientState::Console(Box::new(console)));
        self.console_stats.logins += 1;
        let key = self.give_key(id);
        let mut bytes = Vec::new();
        build::authentication(&mut bytes, 0, b"");
        build::parameter_status(&mut bytes, "pgbouncer.version", VERSION);
        for (name, value) in CONSOLE_PARAMETERS {
            build::parameter_status(&mut bytes, name, value);
        }
        push_key(&mut bytes, &key);
        self.push_notify_message(&mut bytes);
        build::ready_for_query(&mut bytes, b'I');
        self.act(Action::SendClient { client: id, bytes });
        Ok(())
    }
}

//! Lines of the `[users]` section: what holds for one user only.

use std::time::Duration;

use super::choice::{PoolMode, SessionState};
use super::table::{RELOAD, table};
use super::value::{Kind, LIMIT, SIZE, TIMEOUT, WAIT};

table! {
    /// One line of `[users]`. An override that is `None` leaves the one of the database, or the
    /// setting of the `[pgbouncer]` section, in force.
    pub struct UserLine (name: String) {
        /// Instead of the setting `pool_mode`.
        pool_mode: Option<PoolMode> = Kind::Choice(PoolMode::WORDS), None, RELOAD;
        /// Instead of the setting `session_state`.
        session_state: Option<SessionState> = Kind::Choice(SessionState::WORDS), None, RELOAD;
        /// Server connections per database, instead of `default_pool_size`.
        pool_size: Option<u32> = SIZE, None, RELOAD;
        /// Instead of the setting `reserve_pool_size`.
        reserve_pool_size: Option<u32> = SIZE, None, RELOAD;
        /// Instead of the setting `max_user_connections`; 0 leaves the setting in force.
        max_user_connections: Option<u32> = LIMIT, None, RELOAD;
        /// Instead of the setting `max_user_client_connections`; 0 leaves the setting in force.
        max_user_client_connections: Option<u32> = LIMIT, None, RELOAD;
        /// Instead of the setting `query_timeout`; 0 leaves the setting in force, -1 is no limit.
        query_timeout: Option<Duration> = TIMEOUT, None, RELOAD;
        /// Instead of the setting `query_wait_timeout`; -1 leaves the setting in force, 0 is no
        /// limit.
        query_wait_timeout: Option<Duration> = WAIT, None, RELOAD;
        /// Instead of the setting `idle_transaction_timeout`; 0 leaves the setting in force, -1 is
        /// no limit.
        idle_transaction_timeout: Option<Duration> = TIMEOUT, None, RELOAD;
        /// Instead of the setting `transaction_timeout`; 0 leaves the setting in force, -1 is no
        /// limit.
        transaction_timeout: Option<Duration> = TIMEOUT, None, RELOAD;
        /// Instead of the setting `client_idle_timeout`; 0 leaves the setting in force, -1 is no
        /// limit.
        client_idle_timeout: Option<Duration> = TIMEOUT, None, RELOAD;
    }
}

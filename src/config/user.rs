//! Lines of the `[users]` section: what holds for one user only.

use std::time::Duration;

use super::table::{RELOAD, table};
use super::value::{COUNT, Kind, PoolMode};

table! {
    /// One line of `[users]`. An override that is `None` leaves the one of the database, or the
    /// setting of the `[pgbouncer]` section, in force.
    pub struct UserLine (name: String) {
        /// Instead of the setting `pool_mode`.
        pool_mode: Option<PoolMode> = Kind::Choice(PoolMode::WORDS), None, RELOAD;
        /// Server connections per database, instead of `default_pool_size`.
        pool_size: Option<u32> = COUNT, None, RELOAD;
        /// Instead of the setting `reserve_pool_size`.
        reserve_pool_size: Option<u32> = COUNT, None, RELOAD;
        /// Instead of the setting `max_user_connections`.
        max_user_connections: Option<u32> = COUNT, None, RELOAD;
        /// Instead of the setting `max_user_client_connections`.
        max_user_client_connections: Option<u32> = COUNT, None, RELOAD;
        /// Instead of the setting `query_timeout`.
        query_timeout: Option<Duration> = Kind::Seconds, None, RELOAD;
        /// Instead of the setting `query_wait_timeout`.
        query_wait_timeout: Option<Duration> = Kind::Seconds, None, RELOAD;
        /// Instead of the setting `idle_transaction_timeout`.
        idle_transaction_timeout: Option<Duration> = Kind::Seconds, None, RELOAD;
        /// Instead of the setting `transaction_timeout`.
        transaction_timeout: Option<Duration> = Kind::Seconds, None, RELOAD;
        /// Instead of the setting `client_idle_timeout`.
        client_idle_timeout: Option<Duration> = Kind::Seconds, None, RELOAD;
    }
}

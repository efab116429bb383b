//! Lines of the `[databases]` section: which database a client may ask for, and where it is.

use std::time::Duration;

use super::line::Hosts;
use super::table::{RELOAD, table};
use super::value::{COUNT, Kind, LoadBalanceHosts, PoolMode, Secret};

table! {
    /// One line of `[databases]`. An override that is `None` leaves the setting of the
    /// `[pgbouncer]` section in force.
    pub struct DatabaseLine (name: String) {
        /// The name of the database on the server. When not set, the name that the client uses.
        dbname: Option<String> = Kind::Text, None, RELOAD;
        /// Names, addresses, or directories of Unix sockets, separated by commas. When not set,
        /// the Unix socket in `unix_socket_dir`.
        host: Hosts = Kind::Hosts, None, RELOAD;
        /// The server's port.
        port: u16 = Kind::Integer { min: 1, max: u16::MAX as u32 }, Some("5432"), RELOAD;
        /// The user who logs in to the server for every client. When not set, each client's own.
        user: Option<String> = Kind::Text, None, RELOAD;
        /// The password of `user`. When not set, the one of `auth_file`.
        password: Option<Secret> = Kind::Secret, None, RELOAD;
        /// Instead of the setting `auth_user`.
        auth_user: Option<String> = Kind::Text, None, RELOAD;
        /// Instead of the setting `auth_query`.
        auth_query: Option<String> = Kind::Text, None, RELOAD;
        /// Instead of the setting `auth_dbname`.
        auth_dbname: Option<String> = Kind::Text, None, RELOAD;
        /// Server connections per user, instead of `default_pool_size`.
        pool_size: Option<u32> = COUNT, None, RELOAD;
        /// Instead of the setting `min_pool_size`.
        min_pool_size: Option<u32> = COUNT, None, RELOAD;
        /// Instead of the setting `reserve_pool_size`.
        reserve_pool_size: Option<u32> = COUNT, None, RELOAD;
        /// A query that each new server connection runs before its first client.
        connect_query: Option<String> = Kind::Text, None, RELOAD;
        /// Instead of the setting `pool_mode`.
        pool_mode: Option<PoolMode> = Kind::Choice(PoolMode::WORDS), None, RELOAD;
        /// Which host of a list is used for the next connection: each in turn, or the same one
        /// until it fails.
        load_balance_hosts: LoadBalanceHosts =
            Kind::Choice(LoadBalanceHosts::WORDS), Some("round-robin"), RELOAD;
        /// Instead of the setting `max_db_connections`.
        max_db_connections: Option<u32> = COUNT, None, RELOAD;
        /// Instead of the setting `max_db_client_connections`.
        max_db_client_connections: Option<u32> = COUNT, None, RELOAD;
        /// Instead of the setting `server_lifetime`.
        server_lifetime: Option<Duration> = Kind::Seconds, None, RELOAD;
        /// Instead of the setting `query_wait_timeout`.
        query_wait_timeout: Option<Duration> = Kind::Seconds, None, RELOAD;
        /// The `client_encoding` that servers are started with.
        client_encoding: Option<String> = Kind::Text, None, RELOAD;
        /// The `datestyle` that servers are started with.
        datestyle: Option<String> = Kind::Text, None, RELOAD;
        /// The `timezone` that servers are started with.
        timezone: Option<String> = Kind::Text, None, RELOAD;
        /// The `application_name` that servers are started with.
        application_name: Option<String> = Kind::Text, None, RELOAD;
    }
}

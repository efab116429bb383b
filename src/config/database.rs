//! Lines of the `[databases]` section: which database a client may ask for, and where it is.

use std::time::Duration;

use super::choice::{
    ChannelBinding, LoadBalanceHosts, Negotiation, PoolMode, SessionState, TlsMode,
};
use super::choices::Choices;
use super::host::{Host, Hosts, Ports};
use super::methods::AuthMethods;
use super::table::{RELOAD, table};
use super::text::HiddenText;
use super::value::{Kind, LIFETIME, LIMIT, SIZE, WAIT};

table! {
    /// One line of `[databases]`. An override that is `None` leaves the setting of the
    /// `[pgbouncer]` section in force.
    pub struct DatabaseLine (name: String) {
        /// The name of the database on the server. When not set, the name that the client uses.
        dbname: Option<String> = Kind::Text, None, RELOAD;
        /// Names, addresses, or directories of Unix sockets, separated by commas. When not set,
        /// the Unix socket in `unix_socket_dir`.
        host: Hosts = Kind::Hosts, None, RELOAD;
        /// The server's port, or a port for each host, separated by commas.
        port: Ports = Kind::Ports, Some("5432"), RELOAD;
        /// The user who logs in to the server for every client. When not set, each client's own.
        user: Option<String> = Kind::Text, None, RELOAD;
        /// The password of `user`. When not set, the one of `auth_file`.
        password: Option<HiddenText> = Kind::Secret, None, RELOAD;
        /// Instead of the setting `auth_user`.
        auth_user: Option<String> = Kind::Text, None, RELOAD;
        /// Instead of the setting `auth_query`.
        auth_query: Option<String> = Kind::Text, None, RELOAD;
        /// Instead of the setting `auth_dbname`.
        auth_dbname: Option<String> = Kind::Text, None, RELOAD;
        /// Server connections per user, instead of `default_pool_size`.
        pool_size: Option<u32> = SIZE, None, RELOAD;
        /// Instead of the setting `min_pool_size`.
        min_pool_size: Option<u32> = SIZE, None, RELOAD;
        /// Instead of the setting `reserve_pool_size`.
        reserve_pool_size: Option<u32> = SIZE, None, RELOAD;
        /// A query that each new server connection runs before its first client.
        connect_query: Option<String> = Kind::Text, None, RELOAD;
        /// Instead of the setting `pool_mode`.
        pool_mode: Option<PoolMode> = Kind::Choice(PoolMode::WORDS), None, RELOAD;
        /// Instead of the setting `pool_modes`.
        pool_modes: Option<Choices<PoolMode>> = Kind::Choices(PoolMode::WORDS), None, RELOAD;
        /// Instead of the setting `shared_listen`.
        shared_listen: Option<bool> = Kind::Flag, None, RELOAD;
        /// Instead of the setting `server_auth_methods`.
        server_auth_methods: Option<AuthMethods> = Kind::Methods, None, RELOAD;
        /// Instead of the setting `session_state`.
        session_state: Option<SessionState> = Kind::Choice(SessionState::WORDS), None, RELOAD;
        /// Instead of the setting `session_states`.
        session_states: Option<Choices<SessionState>> =
            Kind::Choices(SessionState::WORDS), None, RELOAD;
        /// Which host of a list is used for the next connection: each in turn (`round-robin`, also
        /// when not set), or the same one until it fails (`disable`).
        load_balance_hosts: Option<LoadBalanceHosts> =
            Kind::Choice(LoadBalanceHosts::WORDS), None, RELOAD;
        /// Instead of the setting `max_db_connections`; 0 leaves the setting in force.
        max_db_connections: Option<u32> = LIMIT, None, RELOAD;
        /// Instead of the setting `max_db_client_connections`; 0 leaves the setting in force.
        max_db_client_connections: Option<u32> = LIMIT, None, RELOAD;
        /// Instead of the setting `server_lifetime`; 0 leaves the setting in force.
        server_lifetime: Option<Duration> = LIFETIME, None, RELOAD;
        /// Instead of the setting `query_wait_timeout`; -1 leaves the setting in force.
        query_wait_timeout: Option<Duration> = WAIT, None, RELOAD;
        /// Instead of the setting `server_tls_sslmode`.
        sslmode: Option<TlsMode> = Kind::Choice(TlsMode::WORDS), None, RELOAD;
        /// Instead of the setting `server_tls_ca_file`; `system` stands for the authorities that
        /// the system trusts, and needs `sslmode=verify-full`.
        sslrootcert: Option<String> = Kind::Text, None, RELOAD;
        /// Instead of the setting `server_tls_cert_file`.
        sslcert: Option<String> = Kind::Text, None, RELOAD;
        /// Instead of the setting `server_tls_key_file`.
        sslkey: Option<String> = Kind::Text, None, RELOAD;
        /// How TLS begins: after an SSLRequest, which the server may refuse (`postgres`, also when
        /// not set), or at once (`direct`, from PostgreSQL 17 on). `direct` needs an `sslmode` of
        /// `require` or more.
        sslnegotiation: Option<Negotiation> = Kind::Choice(Negotiation::WORDS), None, RELOAD;
        /// Whether a login by SCRAM is bound to the server's certificate: where the server offers
        /// it (`prefer`, also when not set), always, so that any other login fails (`require`), or
        /// never (`disable`).
        channel_binding: Option<ChannelBinding> =
            Kind::Choice(ChannelBinding::WORDS), None, RELOAD;
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

/// The name of the line for databases that have none.
pub const FALLBACK: &str = "*";

/// Old names of keys, which are still accepted.
pub const ALIASES: &[(&str, &str)] = &[("reserve_pool", "reserve_pool_size")];

impl DatabaseLine {
    /// The line that stands for every database without a line of its own.
    pub fn is_fallback(&self) -> bool {
        self.name == FALLBACK
    }

    /// Where the servers are, in order; `socket_dir` is the setting `unix_socket_dir`.
    pub fn targets(&self, socket_dir: &str) -> Vec<(Host, u16)> {
        let hosts = self.host.or_socket_in(socket_dir).into_iter().enumerate();
        hosts.map(|(index, host)| (host, self.port.of(index))).collect()
    }
}

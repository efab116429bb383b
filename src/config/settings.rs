//! The settings of the `[pgbouncer]` section: one table, and everything else comes from it.
//!
//! The order is that of SHOW CONFIG, which tools read; settings that PgBouncer does not have come
//! last, and are not listed there. To add a setting, add a row.

use std::time::Duration;

use super::choice::{AuthType, LogFormat, PoolMode, ServerAbandon, SessionState, TlsMode};
use super::choices::Choices;
use super::methods::AuthMethods;
use super::table::{
    self, Flags, OURS, PER_DATABASE, PER_USER, RELOAD, RESTART, SettingRow, UNBUILT, table,
};
use super::text::{HiddenText, NameList};
use super::value::{COUNT, INTEGER_MAX, Kind};

/// Ports, and the peer_id, for which cancel keys have two bytes.
pub(super) const SIXTEEN_BITS: Kind = Kind::Integer { min: 0, max: u16::MAX as u32 };
const AUTH_TYPES: Kind =
    Kind::Choice(&["any", "cert", "hba", "ldap", "md5", "pam", "plain", "scram-sha-256", "trust"]);
const POOL_MODES: Kind = Kind::Choice(PoolMode::WORDS);
const TLS_MODES: Kind = Kind::Choice(TlsMode::WORDS);
/// Settings that have no effect in a program without the feature `tls`.
const TLS: Flags = if cfg!(feature = "tls") { RELOAD } else { UNBUILT };
const PER_BOTH: Flags = PER_DATABASE.and(PER_USER);

/// The query that finds a user's secret unless the file names another. It runs in databases whose
/// owners may have set any search_path, so every name in it has its schema, operators too.
const AUTH_QUERY: &str = "SELECT rolname, CASE WHEN rolvaliduntil OPERATOR(pg_catalog.<) \
     pg_catalog.now() THEN NULL ELSE rolpassword END FROM pg_catalog.pg_authid WHERE rolname \
     OPERATOR(pg_catalog.=) $1 AND rolcanlogin";

table! {
    /// Every setting of the `[pgbouncer]` section, as typed values.
    pub struct Settings () {
        /// Users who may log in to the console and run every command there, separated by commas.
        /// With `auth_type = any` the list has no effect: every user is an admin then.
        admin_users: NameList = Kind::Names, Some(""), RELOAD;
        /// Append the client's address and port to the `application_name` that it logs in with, so
        /// that PostgreSQL's own views show where a query comes from. A later SET is left alone.
        application_name_add_host: bool = Kind::Flag, Some("0"), RELOAD;
        /// The database of the `[databases]` section in which `auth_query` runs. When not set, the
        /// query runs in the database that the client asks for.
        auth_dbname: Option<String> = Kind::Text, None, PER_DATABASE;
        /// The file of user names and secrets. When not set, only users that `auth_query` finds are
        /// known.
        auth_file: Option<String> = Kind::Text, None, RELOAD;
        /// The file that says, by database, user and address, how clients prove who they are.
        /// Read with `auth_type = hba` only.
        auth_hba_file: String = Kind::Text, Some(""), RELOAD;
        /// The file that maps names of the system to names of PostgreSQL, for `peer` and `cert`
        /// entries of the HBA file.
        auth_ident_file: Option<String> = Kind::Text, None, RELOAD;
        /// Where the LDAP directory is, with `auth_type = ldap`, and how users are found in it: the
        /// options of an `ldap` line of the HBA file.
        auth_ldap_options: Option<HiddenText> = Kind::Secret, None, RELOAD;
        /// The query that finds the secret of a user whom `auth_file` does not list. `$1` is the
        /// user's name; the answer is one row of name and secret.
        auth_query: String = Kind::Text, Some(AUTH_QUERY), PER_DATABASE;
        /// How clients prove who they are. `any` asks for no proof, and needs a `user=` in the line
        /// of the database.
        auth_type: AuthType = AUTH_TYPES, Some("md5"), RELOAD;
        /// The user who runs `auth_query`. When not set, no such query is run.
        auth_user: Option<String> = Kind::Text, None, PER_DATABASE;
        /// A database that was made from the `*` line is forgotten, with its statistics, when
        /// nobody has used it for this time.
        autodb_idle_timeout: Duration = Kind::Seconds, Some("3600"), RELOAD;
        /// How long a cancel request may wait to be sent to the server; 0 is no limit.
        cancel_wait_timeout: Duration = Kind::Seconds, Some("10"), RELOAD;
        /// A client that sends nothing for this time is closed; 0 is no limit. Meant for clients
        /// that the network has lost, so keep it longer than the application's own limits.
        client_idle_timeout: Duration = Kind::Seconds, Some("0"), PER_USER;
        /// A client that has not logged in after this time is closed; 0 is no limit.
        client_login_timeout: Duration = Kind::Seconds, Some("60"), RELOAD;
        /// Ciphers for TLS 1.3 to clients, separated by colons. When not set, the library's own
        /// choice.
        client_tls13_ciphers: Option<String> = Kind::Text, None, TLS;
        /// Certificates of the authorities that clients' certificates are checked against.
        client_tls_ca_file: String = Kind::Text, Some(""), TLS;
        /// The certificate shown to clients.
        client_tls_cert_file: String = Kind::Text, Some(""), TLS;
        /// Ciphers for TLS up to 1.2 to clients, in OpenSSL's notation; `default`, `secure`,
        /// `fast` and `normal` are the library's own choice.
        client_tls_ciphers: String = Kind::Text, Some("default"), TLS;
        /// Parameters of the Diffie-Hellman exchange with clients: `auto`, `legacy` or `none`.
        client_tls_dheparams: String = Kind::Text, Some("auto"), TLS;
        /// The curve of the exchange with clients: `auto`, `none`, or a curve's name.
        client_tls_ecdhcurve: String = Kind::Text, Some("auto"), TLS;
        /// The private key of `client_tls_cert_file`.
        client_tls_key_file: String = Kind::Text, Some(""), TLS;
        /// Versions of TLS that clients may use: `secure` (1.2 and 1.3), `all`, or a list such as
        /// `tlsv1.2,tlsv1.3`.
        client_tls_protocols: String = Kind::Text, Some("secure"), TLS;
        /// Whether clients may, or must, use TLS.
        client_tls_sslmode: TlsMode = TLS_MODES, Some("disable"), TLS;
        /// The configuration file. When this setting is changed, the next RELOAD reads the new
        /// file.
        conffile: Option<String> = Kind::Text, None, RELOAD;
        /// The most server connections for each pair of user and database, unless the line of the
        /// database or of the user says otherwise; 0 is no limit.
        default_pool_size: u32 = COUNT, Some("20"), PER_BOTH;
        /// Refuse the simple query protocol, so that one message holds one statement. This closes a
        /// way of SQL injection, and shuts out clients that need that protocol.
        disable_pqexec: bool = Kind::Flag, Some("0"), RESTART;
        /// How long the addresses found for a host name are used before the name is looked up
        /// again.
        dns_max_ttl: Duration = Kind::Seconds, Some("15"), RELOAD;
        /// How long a failed lookup of a host name is remembered.
        dns_nxdomain_ttl: Duration = Kind::Seconds, Some("15"), RELOAD;
        /// How often the serial number of a host name's zone would be asked for. Names are looked
        /// up again after `dns_max_ttl` instead, whether their zone has changed or not.
        dns_zone_check_period: Duration = Kind::Seconds, Some("0"), UNBUILT;
        /// A client that is idle inside a transaction for this time is closed; 0 is no limit.
        idle_transaction_timeout: Duration = Kind::Seconds, Some("0"), PER_USER;
        /// Startup parameters that are dropped when a client sends them, separated by commas. Other
        /// parameters that are not tracked are refused. The word `options` drops unknown parameters
        /// within `options`.
        ignore_startup_parameters: NameList = Kind::Names, Some(""), RELOAD;
        /// A name of this process, for the operator's own use.
        job_name: String = Kind::Text, Some("pgbouncer"), RESTART;
        /// Addresses to listen on, separated by commas; `*` is all. When empty, only Unix sockets
        /// are served.
        listen_addr: NameList = Kind::Names, Some(""), RESTART;
        /// How many connections the kernel holds until the pooler accepts them; further ones are
        /// refused.
        listen_backlog: u32 = COUNT, Some("128"), RESTART;
        /// The port to listen on, over TCP and in the name of the Unix socket.
        listen_port: u16 = SIXTEEN_BITS, Some("6432"), RESTART;
        /// Log each login of a client and each new connection to a server.
        log_connections: bool = Kind::Flag, Some("1"), RELOAD;
        /// Log why each connection ends.
        log_disconnections: bool = Kind::Flag, Some("1"), RELOAD;
        /// Log the errors that clients are told.
        log_pooler_errors: bool = Kind::Flag, Some("1"), RELOAD;
        /// Log a line of figures every `stats_period`.
        log_stats: bool = Kind::Flag, Some("1"), RELOAD;
        /// The log file. It stays open; RELOAD opens it anew, as rotation needs.
        logfile: String = Kind::Text, Some(""), RELOAD;
        /// A notice that each client gets after its login; empty is none.
        login_notify_message: String = Kind::Text, Some(""), RELOAD;
        /// The most clients that may be connected. Sessions on the console, and connections that
        /// have not logged in yet, do not count. A higher number may need a higher limit of open
        /// files.
        max_client_conn: u32 = COUNT, Some("100"), RELOAD;
        /// The most clients that may be connected to one database; 0 is no limit. The limit holds
        /// for `stats_users` on the console too; `admin_users` count there, but are never refused.
        max_db_client_connections: u32 = COUNT, Some("0"), PER_DATABASE;
        /// Server connections to one database, over all users; 0 is no limit.
        max_db_connections: u32 = COUNT, Some("0"), PER_DATABASE;
        /// The largest message that is let through, in bytes.
        max_packet_size: u32 =
            Kind::Integer { min: 1024, max: INTEGER_MAX }, Some("2147483647"), RELOAD;
        /// The most prepared statements kept on each server connection, so that clients can use
        /// theirs in transaction and statement pooling; with 0 the pooler does not track prepared
        /// statements.
        max_prepared_statements: u32 = COUNT, Some("200"), RELOAD;
        /// The most clients of one user that may be connected, sessions on the console included; 0
        /// is no limit. On the console `admin_users` are never refused.
        max_user_client_connections: u32 = COUNT, Some("0"), PER_USER;
        /// Server connections of one user, over all databases; 0 is no limit.
        max_user_connections: u32 = COUNT, Some("0"), PER_USER;
        /// Server connections that are kept open in a pool even without work, when clients are
        /// connected or the database names its user.
        min_pool_size: u32 = COUNT, Some("0"), PER_DATABASE;
        /// The number of this process among its peers, by which cancel requests find the right
        /// process; 0 means that there are no peers.
        peer_id: u16 = SIXTEEN_BITS, Some("0"), RELOAD;
        /// The file that holds the process's number while it runs.
        pidfile: String = Kind::Text, Some(""), RESTART;
        /// How many bytes of one client are held while it waits for a server.
        pkt_buf: u32 = Kind::Integer { min: 64, max: 0x100_0000 }, Some("4096"), RESTART;
        /// A pool without any connection is forgotten after this time, with its statistics; 0 is
        /// never.
        pool_idle_timeout: Duration = Kind::Seconds, Some("0"), RELOAD;
        /// When a server goes back to the pool: at the end of the client's session, of its
        /// transaction, or of its statement.
        pool_mode: PoolMode = POOL_MODES, Some("session"), PER_BOTH;
        /// A query that runs for longer is ended by closing the connections of its client and its
        /// server; 0 is no limit. Set it above PostgreSQL's own `statement_timeout`.
        query_timeout: Duration = Kind::Seconds, Some("0"), PER_USER;
        /// A client that has waited this long for a server gets a notice that says so; 0 is never.
        query_wait_notify: Duration = Kind::WholeSeconds, Some("5"), RELOAD;
        /// A client that has waited this long for a server is closed; 0 is no limit.
        query_wait_timeout: Duration = Kind::Seconds, Some("120"), PER_BOTH;
        /// Server connections that a pool may open beyond its size when clients wait too long.
        reserve_pool_size: u32 = COUNT, Some("0"), PER_BOTH;
        /// How long a client must wait before the reserve is used; with 0 it is never used.
        reserve_pool_timeout: Duration = Kind::Seconds, Some("5"), RELOAD;
        /// A file to be read in place of /etc/resolv.conf, which the system's resolver reads in any
        /// case. `BindReadOnlyPaths` in its systemd unit gives a service a resolv.conf of its own.
        resolv_conf: String = Kind::Text, Some(""), RESTART.and(UNBUILT);
        /// How many times one connection is read before the others have their turn; 0 is no limit.
        sbuf_loopcnt: u32 = COUNT, Some("5"), RELOAD;
        /// The number of SCRAM iterations for clients whose secret is stored as plain text.
        scram_iterations: u32 =
            Kind::Integer { min: 1, max: 1_000_000 }, Some("4096"), RELOAD;
        /// A server that was released no longer ago than this is used again without a check; with 0
        /// each server is checked every time.
        server_check_delay: Duration = Kind::Seconds, Some("30"), RELOAD;
        /// The query that checks a server before it is used again; `<empty>` stands for an empty
        /// query. With no value at all there is no check.
        server_check_query: String = Kind::Text, Some("<empty>"), RELOAD;
        /// A connection to a server that is not logged in after this time is given up; 0 is no
        /// limit.
        server_connect_timeout: Duration = Kind::Seconds, Some("15"), RELOAD;
        /// In session pooling, a server that must be replaced is closed at the end of its
        /// transaction, together with its client, instead of at the end of the session.
        server_fast_close: bool = Kind::Flag, Some("0"), RELOAD;
        /// A server that nobody has used for this time is closed; 0 is no limit.
        server_idle_timeout: Duration = Kind::Seconds, Some("600"), RELOAD;
        /// A server that was opened longer ago than this is closed once no client uses it; with 0
        /// each server is used once.
        server_lifetime: Duration = Kind::Seconds, Some("3600"), PER_DATABASE;
        /// The longest time from a failed login to a server to the next attempt. The first retry
        /// comes after 100 ms, each further one after twice the time. When a server refuses the
        /// user (SQLSTATE class 28, as for a wrong password), the whole time passes, unless
        /// RECONNECT, or a RELOAD with another secret, comes before. Meanwhile a client that has
        /// logged in and needs a server gets the error at once; a client that logs in waits.
        server_login_retry: Duration = Kind::Seconds, Some("15"), RELOAD;
        /// The query that cleans a server between two clients in session pooling; empty is none.
        server_reset_query: String = Kind::Text, Some("DISCARD ALL"), RELOAD;
        /// Run `server_reset_query` in the other pool modes too, after each transaction or
        /// statement.
        server_reset_query_always: bool = Kind::Flag, Some("0"), RELOAD;
        /// Take the server that has been idle longest, instead of the one used last.
        server_round_robin: bool = Kind::Flag, Some("0"), RELOAD;
        /// Ciphers for TLS 1.3 to servers, separated by colons. When not set, the library's own
        /// choice.
        server_tls13_ciphers: Option<String> = Kind::Text, None, TLS;
        /// Certificates of the authorities that servers' certificates are checked against.
        server_tls_ca_file: String = Kind::Text, Some(""), TLS;
        /// The certificate shown to servers.
        server_tls_cert_file: String = Kind::Text, Some(""), TLS;
        /// Ciphers for TLS up to 1.2 to servers, in OpenSSL's notation.
        server_tls_ciphers: String = Kind::Text, Some("default"), TLS;
        /// The private key of `server_tls_cert_file`.
        server_tls_key_file: String = Kind::Text, Some(""), TLS;
        /// Versions of TLS that may be used with servers, as in `client_tls_protocols`.
        server_tls_protocols: String = Kind::Text, Some("secure"), TLS;
        /// Whether connections to servers may, or must, use TLS.
        server_tls_sslmode: TlsMode = TLS_MODES, Some("prefer"), TLS;
        /// Let several processes listen on one port; the kernel spreads the clients over them.
        /// Give each a `unix_socket_dir`, `pidfile`, `logfile` and `peer_id` of its own.
        so_reuseport: bool = Kind::Flag, Some("0"), RESTART;
        /// How often averages are taken and, with `log_stats`, logged; 0 counts as 1.
        stats_period: Duration = Kind::WholeSeconds, Some("60"), RELOAD;
        /// Users who may log in to the console and run its SHOW commands, separated by commas.
        stats_users: NameList = Kind::Names, Some(""), RELOAD;
        /// Log to syslog too.
        syslog: bool = Kind::Flag, Some("0"), RELOAD;
        /// The facility for syslog: auth, authpriv, daemon, user, or local0 to local7.
        syslog_facility: String = Kind::Text, Some("daemon"), RELOAD;
        /// The name under which syslog gets the lines.
        syslog_ident: String = Kind::Text, Some("pgbouncer"), RELOAD;
        /// Have the kernel hand over TCP connections only when their first bytes have come, or 45
        /// seconds have passed.
        tcp_defer_accept: bool = Kind::Flag, Some("1"), RELOAD;
        /// Have the kernel find out, by TCP keepalive probes, which peers are gone.
        tcp_keepalive: bool = Kind::Flag, Some("1"), RELOAD;
        /// How many probes without an answer make a peer count as gone; 0 is the system's default.
        tcp_keepcnt: u32 = COUNT, Some("0"), RELOAD;
        /// Seconds of silence before the first probe; 0 is the system's default.
        tcp_keepidle: u32 = COUNT, Some("0"), RELOAD;
        /// Seconds between two probes; 0 is the system's default.
        tcp_keepintvl: u32 = COUNT, Some("0"), RELOAD;
        /// The size of the kernel's buffers for a connection, in bytes; 0 is the system's default.
        tcp_socket_buffer: u32 = COUNT, Some("0"), RELOAD;
        /// Milliseconds that sent bytes may stay unacknowledged before the connection is given up;
        /// 0 is the system's default.
        tcp_user_timeout: u32 = COUNT, Some("0"), RELOAD;
        /// Parameters that follow the client from server to server besides the usual ones,
        /// separated by commas. A later change is noticed only for parameters that PostgreSQL
        /// reports (ParameterStatus).
        track_extra_parameters: NameList = Kind::Names, Some(""), RESTART;
        /// A client that is inside one transaction for this time is closed; 0 is no limit.
        transaction_timeout: Duration = Kind::Seconds, Some("0"), PER_USER;
        /// The directory of the pooler's Unix socket, and of those of servers without a `host`. If
        /// it begins with `@`, the sockets are in the abstract namespace. When empty, there is no
        /// Unix socket.
        unix_socket_dir: String = Kind::Text, Some("/tmp"), RESTART;
        /// The group of the Unix socket; empty is the process's own.
        unix_socket_group: String = Kind::Text, Some(""), RESTART;
        /// The mode of the Unix socket; octal with a 0 in front, as `0770`.
        unix_socket_mode: u32 = Kind::Octal, Some("0777"), RESTART;
        /// The system user that the process becomes at its start, once it has read the files that
        /// the configuration names. What only root may read, a RELOAD cannot read again.
        user: Option<String> = Kind::Text, None, RESTART;
        /// How much more is logged: 0 to 3, like that many `-v` on the command line.
        verbose: u32 = COUNT, None, RELOAD;
        /// How many connections of all pools may be logging in to one host and port at a time. A
        /// pool without a server that has logged in may have one, and so may a host to which the
        /// last connection failed. 0 means one for each pool, as in PgBouncer.
        server_login_concurrency: u32 = COUNT, Some("10"), OURS;
        /// What is done with a server whose client leaves in the middle of a query or a
        /// transaction. `close` closes the connection. `rollback` cancels the query, rolls the
        /// transaction back, resets the session in every pool mode (by DISCARD ALL where
        /// `server_reset_query` is empty), and keeps the connection.
        server_abandon: ServerAbandon = Kind::Choice(ServerAbandon::WORDS), Some("close"), OURS;
        /// How long a server may take for the rollback of `server_abandon`, and for the reset after
        /// it, before it is closed.
        server_abandon_timeout: Duration = Kind::Seconds, Some("1"), OURS;
        /// The ways in which servers may ask the pooler for a proof, separated by commas:
        /// `password` (in clear), `md5`, `scram-sha-256`, `none`; with a `!` before each, all ways
        /// but these. A server that asks in another way is not used. When not set, all ways are
        /// allowed, with one exception: a server by TCP without verified TLS does not get a
        /// password in clear after another server of its pool has proved itself by SCRAM. RECONNECT
        /// lifts that. Where such a server does get a password in clear, the log has a WARNING.
        server_auth_methods: AuthMethods = Kind::Methods, Some(""), OURS.and(PER_DATABASE);
        /// The most prepared statements that one client may have.
        max_client_prepared_statements: u32 = COUNT, Some("10000"), OURS;
        /// Refuse to start, and to RELOAD, when the HBA file or the ident map, or a line in one of
        /// them, cannot be read. Otherwise such lines are left out, and named in the log.
        strict_files: bool = Kind::Flag, Some("0"), OURS;
        /// Give clients the long cancel keys of protocol 3.2 although there are peers. All peers
        /// must know such keys, which PgBouncer does not, since a cancel request may come to any of
        /// them.
        peers_take_long_keys: bool = Kind::Flag, Some("0"), OURS;
        /// The most bytes that the names and texts of one client's prepared statements may take. A
        /// longer Parse is refused before all of it has come. 0 is no limit.
        max_client_prepared_bytes: u32 = COUNT, Some("33554432"), OURS;
        /// The most bytes that the prepared statements of all clients may take together; a text
        /// that many clients use counts once. 0 is no limit.
        max_prepared_bytes: u32 = COUNT, Some("536870912"), OURS;
        /// Whether the system may write the memory of the process to a file when the process
        /// crashes, and other processes of the same user may read that memory. It holds the
        /// passwords of users. With 1, the limit that the process was started with (`LimitCORE=` of
        /// systemd, `ulimit -c`) decides.
        core_dumps: bool = Kind::Flag, Some("0"), RESTART.and(OURS);
        /// The form of log lines, wherever they go: `plain`, as in PgBouncer, or `json`, one object
        /// a line. LOG in pgbouncer(1) lists its members.
        log_format: LogFormat = Kind::Choice(LogFormat::WORDS), Some("plain"), OURS;
        /// Log each query, and each transaction, that took so many milliseconds or longer: for
        /// which client, how long it ran, how long the client waited for a server, and the process
        /// id of the server that ran it. 0 logs none.
        log_min_duration: u32 = COUNT, Some("0"), OURS;
        /// With `log_min_duration`, log the first 200 bytes of the query's text too. The text may
        /// hold what nobody but the client should know.
        log_query_text: bool = Kind::Flag, Some("0"), OURS;
        /// Add the 99th percentiles of the times of transactions, queries and waits to the end of
        /// the `log_stats` line.
        log_stats_percentiles: bool = Kind::Flag, Some("0"), OURS;
        /// Addresses on which /metrics, /healthz, /readyz and a page for people are served over
        /// HTTP, separated by commas, such as `127.0.0.1`; `*` is all. When empty, there is no HTTP
        /// over TCP.
        metrics_listen_addr: NameList = Kind::Names, Some(""), RESTART.and(OURS);
        /// The port of `metrics_listen_addr`; 9127 is the port of pgbouncer_exporter, which
        /// scrapers know.
        metrics_listen_port: u16 = SIXTEEN_BITS, Some("9127"), RESTART.and(OURS);
        /// The whole path of a Unix socket for the same HTTP service. `unix_socket_mode` and
        /// `unix_socket_group` hold for it too. When empty, there is none.
        metrics_unix_socket: String = Kind::Text, Some(""), RESTART.and(OURS);
        /// Ask for the name and password of one of `stats_users` or `admin_users` before anything
        /// but /healthz and /readyz is served over HTTP. Their secrets must be in `auth_file`.
        metrics_auth: bool = Kind::Flag, Some("0"), OURS;
        /// Serve HTTP over TLS, with the certificate, key, versions and ciphers of the
        /// `client_tls_` settings; not on the Unix socket.
        metrics_tls: bool = Kind::Flag, Some("0"), TLS.and(OURS);
        /// In transaction and statement pooling, what is done about state that a client leaves in
        /// the session of its server, where the next client would find it: parameters, roles,
        /// LISTEN, temporary tables, advisory locks, cursors WITH HOLD, SQL's PREPARE. `allow` does
        /// nothing, as in PgBouncer; `warn` logs it; `reset` undoes it before another client gets
        /// the server; `pin` keeps the server with its client until the client has cleaned up or
        /// has ended; `error` refuses the statement. See STATE THAT OUTLIVES A TRANSACTION.
        session_state: SessionState =
            Kind::Choice(SessionState::WORDS), Some("allow"), OURS.and(PER_BOTH);
        /// With `session_state = pin`, how many of a pool's servers may be pinned at a time, in
        /// percent of the pool's size; one may always be pinned. A client that sends more messages
        /// before it has received the end of its transaction may be pinned beyond that, since it
        /// could be refused only in the middle of its work.
        pin_limit: u32 = Kind::Integer { min: 1, max: 100 }, Some("50"), OURS;
        /// The policies that a client may choose from at its login, separated by commas. A client
        /// chooses by the startup parameter `session_state`, also within `options`. The choice
        /// holds for that client until it ends, unless it is weaker than what is configured for the
        /// client: each of `allow`, `warn`, `reset`, `pin` and `error` is stricter than the one
        /// before it. When empty, there is no choice, and the parameter is unknown. Before a client
        /// with `reset`, `pin` or `error` gets a server that clients with a weaker policy have
        /// used, the state that they may have left is undone.
        session_states: Choices<SessionState> =
            Kind::Choices(SessionState::WORDS), Some(""), OURS.and(PER_DATABASE);
        /// The pool modes that a client may choose from at its login, separated by commas. A client
        /// chooses by the startup parameter `pool_mode`, also within `options`, or by a suffix of
        /// the database name, as in `app.session` for `app`, where that database has a line of its
        /// own. A line with the whole name comes first. Clients of all modes share the servers of
        /// the pool, and its limits. A server that was used in transaction or statement pooling is
        /// reset before a client gets it for its whole session. When empty, there is no choice.
        pool_modes: Choices<PoolMode> =
            Kind::Choices(PoolMode::WORDS), Some(""), OURS.and(PER_DATABASE);
        /// In transaction and statement pooling, let one connection for each pool, in addition to
        /// the pool's size, LISTEN for all clients. Clients are then notified whether they have a
        /// server or not, and LISTEN does not keep a server. See LISTEN WITHOUT A SERVER.
        shared_listen: bool = Kind::Flag, Some("0"), OURS.and(PER_DATABASE);
    }
}

/// Settings that once had an effect; they are accepted and have none.
pub const GONE: &[&str] = &["suspend_timeout"];

/// Other names of settings.
pub const ALIASES: &[(&str, &str)] = &[("service_name", "job_name")];

impl Settings {
    /// The row of this name.
    pub fn row(name: &str) -> Option<&'static SettingRow> {
        table::row(Self::rows(), name)
    }

    /// Takes over from `new` what RELOAD changes, and leaves what is read at start only.
    pub fn reload(&mut self, new: &Settings) {
        self.adopt(new, SettingRow::is_changeable);
    }
}

#[cfg(test)]
mod tests {
    use super::super::database::DatabaseLine;
    use super::super::user::UserLine;
    use super::*;

    /// What PgBouncer's SHOW CONFIG lists: name, default, changeable.
    const LISTED: &str = include_str!("../../tests/reference/settings.tsv");

    const THEIR_AUTH_QUERY: &str = "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL \
         ELSE rolpassword END FROM pg_authid WHERE rolname=$1 AND rolcanlogin";

    #[test]
    fn the_default_auth_query_is_theirs_with_every_schema_named() {
        let bare = AUTH_QUERY
            .replace("OPERATOR(pg_catalog.<)", "<")
            .replace(" OPERATOR(pg_catalog.=) ", "=")
            .replace("pg_catalog.", "");
        assert_eq!(bare, THEIR_AUTH_QUERY);
    }

    #[test]
    fn names_defaults_and_order_are_those_of_the_reference() {
        let listed = LISTED.lines().filter(|line| !line.starts_with('#')).skip(1);
        let listed: Vec<Vec<&str>> = listed.map(|line| line.split('\t').collect()).collect();
        let ours = Settings::rows().iter().filter(|row| !row.is_ours());
        let ours: Vec<Vec<&str>> = ours
            .map(|row| {
                let changeable = if row.is_changeable() { "yes" } else { "no" };
                let default = match row.name {
                    // PgBouncer's query finds what the owner of a database puts before pg_catalog.
                    "auth_query" => THEIR_AUTH_QUERY,
                    _ => row.default.unwrap_or_default(),
                };
                vec![row.name, default, changeable]
            })
            .collect();
        assert_eq!(ours.len(), 99);
        assert_eq!(ours, listed);
        assert!(!Settings::rows()[..99].iter().any(SettingRow::is_ours), "ours stand at the end");
    }

    #[test]
    fn defaults_are_shown_as_the_reference_shows_them() {
        let settings = Settings::default();
        for row in Settings::rows() {
            let shown = settings.show(row.name);
            match row.name {
                "unix_socket_mode" => assert_eq!(shown.as_deref(), Some("511")),
                "verbose" => assert_eq!(shown.as_deref(), Some("0")),
                name => assert_eq!(shown.as_deref(), row.default, "{name}"),
            }
        }
    }

    #[test]
    fn values_are_shown_as_the_reference_shows_them() {
        let cases = [
            ("default_pool_size", "0x10", "16"),
            ("default_pool_size", "010", "8"),
            ("log_stats", "01", "1"),
            ("query_timeout", "1e3", "1000"),
            ("query_timeout", "1234567", "1.23457e+06"),
            ("stats_period", "1234567", "1234567"),
            ("pool_mode", "TRANSACTION", "transaction"),
            ("auth_type", "Scram-SHA-256", "scram-sha-256"),
            ("client_tls_sslmode", "REQUIRE", "require"),
            ("admin_users", " a ,, b ", " a ,, b "),
            ("syslog_facility", "LOCAL3", "LOCAL3"),
            ("unix_socket_mode", "0700", "448"),
            ("auth_user", "", ""),
            ("server_check_query", "<empty>", "<empty>"),
        ];
        let mut settings = Settings::default();
        for (key, text, shown) in cases {
            settings.set(key, text).unwrap_or_else(|error| panic!("{key} = {text}: {error}"));
            assert_eq!(settings.show(key).as_deref(), Some(shown), "{key} = {text}");
        }
    }

    #[test]
    fn what_is_no_value_changes_nothing_and_says_what_was_expected() {
        let cases = [
            ("max_client_conn", "-1", "expected a whole number from 0 to 2147483647"),
            ("max_client_conn", "2147483648", "expected a whole number from 0 to 2147483647"),
            ("max_client_conn", "many", "expected a whole number"),
            ("peer_id", "65536", "expected a whole number from 0 to 65535"),
            ("listen_port", "65536", "expected a whole number from 0 to 65535"),
            ("log_stats", "yes", "expected 0 or 1"),
            ("query_timeout", "5s", "expected a number of seconds, such as 15 or 0.5"),
            ("query_wait_notify", "0.5", "expected a whole number of seconds"),
            ("unix_socket_mode", "rwx", "expected a file mode, such as 0777"),
            ("server_abandon", "keep", "expected one of close, rollback"),
            ("litsen_port", "1", "unknown parameter, did you mean listen_port?"),
            ("colour", "red", "unknown parameter"),
        ];
        for (key, text, expected) in cases {
            let mut settings = Settings::default();
            let error = settings.set(key, text).expect_err(key);
            assert_eq!(error.to_string(), expected, "{key} = {text}");
            assert_eq!(settings, Settings::default());
        }
        let mut settings = Settings::default();
        assert!(settings.set("auth_type", "peer").is_err(), "peer is for HBA files");
    }

    #[test]
    fn a_reload_leaves_what_is_read_at_start_only() {
        let mut running = Settings::default();
        let mut new = Settings::default();
        for settings in ["default_pool_size", "listen_port"] {
            new.set(settings, "7").expect("a number");
        }
        running.reload(&new);
        assert_eq!(running.default_pool_size, 7);
        assert_eq!(running.listen_port, 6432);
    }

    #[test]
    fn marks_agree_with_the_keys_of_databases_and_users() {
        for row in Settings::rows() {
            let key = row.name.strip_prefix("default_").unwrap_or(row.name);
            assert_eq!(
                row.flags.has(PER_DATABASE),
                is_override(table::row(DatabaseLine::rows(), key)),
                "{key}"
            );
            assert_eq!(
                row.flags.has(PER_USER),
                is_override(table::row(UserLine::rows(), key)),
                "{key}"
            );
        }
        fn is_override(row: Option<&SettingRow>) -> bool {
            // A database's `user` is another thing than the setting of that name.
            row.is_some_and(|row| row.name != "user")
        }
    }

    #[test]
    fn every_row_is_explained_and_named_once() {
        for (index, row) in Settings::rows().iter().enumerate() {
            assert!(Settings::docs()[index].concat().trim().ends_with('.'), "{}", row.name);
            assert_eq!(Settings::rows().iter().position(|r| r.name == row.name), Some(index));
        }
        assert_eq!(Settings::rows()[0].flags, RELOAD);
    }
}

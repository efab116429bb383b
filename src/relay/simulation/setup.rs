//! What a seed decides: the configuration, the servers, and what may go wrong.

use super::hostile;
use super::lookup;
use super::system::Tls;
use crate::auth::client::ProofMethod;
use crate::auth::secret::Secret;
use crate::base::rng::{Rng, SeededRng};
use crate::config::{self, Config, SessionState};
use crate::pool::records::access::Access;
use crate::pool::records::wait::Shutdown;

/// The password of every user.
pub const PASSWORD: &[u8] = b"secret";

pub const USERS: [&str; 3] = ["ann", "bob", READER];

/// The user that looks up the others. No client logs in as this user.
pub const READER: &str = "cid";

/// The databases and their pool modes.
pub const DATABASES: [(&str, &str); 4] = [
    ("trans", "transaction"),
    ("other", "transaction"),
    ("sess", "session"),
    ("stmt", "statement"),
];

const POLICIES: [SessionState; 6] = [
    SessionState::Allow,
    SessionState::Allow,
    SessionState::Reset,
    SessionState::Pin,
    SessionState::Pin,
    SessionState::Error,
];

/// Each event happens once in this many steps; 0 means never.
#[derive(Clone, Copy, Default, Debug)]
pub struct Weather {
    /// A client vanishes, or closes its half of the connection.
    pub vanishing: u64,
    /// A cancel request comes, with the key of a client or with a wrong key.
    pub cancels: u64,
    /// A server sends an unsolicited message.
    pub chatter: u64,
    /// A server ends.
    pub crashes: u64,
    /// A connection to a server fails, or its login does.
    pub refusals: u64,
    /// PAUSE or RESUME.
    pub pauses: u64,
    /// RELOAD with another configuration.
    pub reloads: u64,
    /// RECONNECT.
    pub reconnects: u64,
    /// KILL of a client, a database or all.
    pub kills: u64,
    /// The clock leaps.
    pub leaps: u64,
    /// An event comes that means nothing.
    pub spurious: u64,
    /// The table gets other columns.
    pub changes: u64,
    /// How the process is told to end, after everything else has ended.
    pub shutdown: Option<Shutdown>,
}

pub struct Setup {
    pub weather: Weather,
    pub config: Config,
    pub late_reports: bool,
    pub method: ProofMethod,
    pub clients: usize,
    pub steps: u32,
    /// Whether statements are tracked.
    pub tracks: bool,
    /// Whether the statements of a session are dropped at its end.
    pub resets: bool,
    /// The results of lookups in order, where users are looked up.
    pub lookups: Option<String>,
    /// What happens to the state that clients leave in the sessions of servers.
    pub policy: SessionState,
    /// Whether connections can get TLS by a handshake.
    pub shakes: bool,
    /// Whether LISTEN needs no server of its own (`shared_listen`).
    pub shares: bool,
    /// Whether clients prepare unnamed statements behind an error.
    pub skips: bool,
    pub minor: u16,
    /// The form in which servers store secrets, and so the form that lookups find.
    form: &'static str,
    /// Settings that RELOAD does not change.
    fixed: String,
    /// The line of a database that always exists.
    hostile: String,
    /// Whether RELOAD gives it another mode and another policy.
    remodes: bool,
    /// The last lines of the file.
    ends: String,
    /// Whether cancel requests may be for another process.
    pub has_peer: bool,
}

/// Options that follow from the number of a seed and not from its generator. So seeds that were
/// found before an option existed still do the same.
#[derive(Clone, Copy)]
pub struct Kind {
    /// Whether clients may choose their pool mode and their policy on session state.
    pub offers: bool,
    /// Whether LISTEN needs no server of its own (`shared_listen`).
    pub shares: bool,
    pub tls: Tls,
    /// Whether TLS may keep bytes back from a read that has room for them.
    pub keeps_back: bool,
    /// The minor protocol version that clients ask for: from 2 on their cancel keys are long.
    pub minor: u16,
    /// Whether there is another process, to which cancel requests are passed on.
    pub has_peer: bool,
    /// Whether clients prepare unnamed statements behind an error.
    pub skips: bool,
    /// Whether there are replication clients.
    pub replicates: bool,
    /// Whether there are hostile peers.
    pub is_hostile: bool,
    /// Whether servers of the hostile clients answer them, and RELOAD changes the pool mode and the
    /// policy of their database. What a client finds then is up to the moment, so that no database
    /// is changed so whose clients know what to expect.
    pub remodes: bool,
    /// Whether most hand-overs are plain ones (`core::plain_handover`).
    pub is_plain: bool,
    /// Whether clients then may leave what they like.
    pub allows: bool,
}

impl Kind {
    pub fn of(seed: u64) -> Kind {
        let tls = match seed % 8 {
            2 | 3 => Tls::Given,
            6 | 7 => Tls::ByHandshake,
            _ => Tls::None,
        };
        Kind {
            offers: seed / 8 % 3 == 1,
            shares: matches!(seed % 16, 1 | 6 | 9 | 14),
            tls,
            keeps_back: matches!(seed % 8, 2 | 7),
            minor: if matches!(seed % 11, 2 | 8 | 9) { 2 } else { 0 },
            has_peer: seed.is_multiple_of(6),
            skips: matches!(seed % 16, 0 | 7 | 10),
            replicates: matches!(seed % 13, 4 | 6 | 11),
            is_hostile: false,
            remodes: false,
            is_plain: false,
            allows: false,
        }
    }

    /// The same with the settings that most installations have.
    pub fn plain(seed: u64) -> Kind {
        let allows = seed.is_multiple_of(3);
        Kind { offers: false, shares: false, is_plain: true, allows, ..Kind::of(seed) }
    }

    /// The same with hostile peers, which can log in as they are.
    pub fn beside_hostile_peers(seed: u64) -> Kind {
        let remodes = seed.is_multiple_of(5);
        Kind { is_hostile: true, remodes, tls: Tls::None, ..Kind::of(seed) }
    }
}

impl Setup {
    pub fn new(rng: &mut SeededRng, kind: Kind) -> Setup {
        let Kind { offers, shares, tls, minor, has_peer, is_hostile, skips, .. } = kind;
        let shakes = tls == Tls::ByHandshake;
        let tracks = !rng.one_in(6);
        let auth = ["trust", "md5", "scram-sha-256", "plain"][rng.below(4) as usize];
        let auth = if is_hostile { "trust" } else { auth };
        let methods =
            [ProofMethod::Trust, ProofMethod::Md5, ProofMethod::Plain, ProofMethod::ScramSha256];
        let mut fixed = format!("auth_type = {auth}\nscram_iterations = 1\n");
        fixed += &format!("pkt_buf = {}\n", [64, 500, 4096][rng.below(3) as usize]);
        let resets = !rng.one_in(5);
        if !resets {
            fixed += "server_reset_query =\n";
        }
        if !tracks {
            fixed += "max_prepared_statements = 0\n";
        }
        let policy = POLICIES[rng.below(POLICIES.len() as u64) as usize];
        let policy = if kind.is_plain && kind.allows { SessionState::Allow } else { policy };
        fixed += &format!("session_state = {}\n", policy.word());
        if shares {
            fixed += "shared_listen = 1\n";
        }
        if has_peer {
            fixed += "peer_id = 1\npeers_take_long_keys = 1\n";
        }
        if offers {
            fixed += "pool_modes = transaction, session, statement\n";
            fixed += "session_states = reset, pin, error\n";
        }
        let method = methods[rng.below(4) as usize];
        let lookups = (!is_hostile && rng.one_in(2)).then(|| lookup::plan(auth, rng));
        let form = lookup::form(auth, method, rng);
        // LDAP or PAM judges two in three of the setups in which passwords come in clear.
        if auth == "plain" && lookups.is_none() && !fixed.contains("pkt_buf = 64\n") {
            fixed = fixed.replace("auth_type = plain", "auth_type = pam");
        }
        if let Some(plan) = &lookups {
            fixed += &format!("auth_user = {READER}\nauth_query = LOOKUP {plan} {form} $1\n");
            if rng.one_in(3) {
                fixed += &format!("auth_dbname = {}\n", DATABASES[0].0);
            }
        }
        let mut weather = weather(rng);
        if kind.remodes {
            weather.reloads = 20;
        }
        if weather.leaps > 0 {
            fixed += &timeouts(rng);
        }
        let hostile = if is_hostile { hostile_line(rng) } else { String::new() };
        let mut ends = String::from(if kind.is_plain || kind.remodes { PLAIN } else { "" });
        if has_peer {
            ends += &format!("[peers]\n{PEER} = host=peer.sim port=7002 pool_size=1\n");
        }
        let config = load(&text(&[&fixed, &hostile, &ends], &weather, tracks, shakes, rng));
        Setup {
            weather,
            config,
            late_reports: rng.one_in(2),
            method,
            clients: 3 + rng.below(10) as usize,
            steps: 300 + rng.below(700) as u32,
            tracks,
            resets,
            lookups,
            policy,
            shakes,
            shares,
            skips,
            minor,
            form,
            fixed,
            hostile,
            remodes: kind.remodes,
            ends,
            has_peer,
        }
    }

    /// Another configuration in which present clients can go on.
    pub fn changed(&self, rng: &mut SeededRng) -> Config {
        let hostile = match self.remodes {
            true => remoded_line(rng),
            false => self.hostile.clone(),
        };
        let parts = [&*self.fixed, &hostile, &self.ends];
        load(&text(&parts, &self.weather, self.tracks, self.shakes, rng))
    }
}

/// Settings under which a hand-over asks for nothing more, in place of those before.
const PLAIN: &str = "server_round_robin = 0\nserver_check_delay = 30\n\
                     server_reset_query_always = 0\nserver_lifetime = 3600\n";

/// The peer_id of the other process.
pub const PEER: u16 = 2;

/// The faults of a seed. One in three seeds is calm: there every message can be predicted.
fn weather(rng: &mut SeededRng) -> Weather {
    if rng.one_in(3) {
        let (chatter, changes) = (20 * rng.below(2), 15 * rng.below(2));
        return Weather { chatter, changes, spurious: 10, ..Weather::default() };
    }
    let mut some = |often: u64| match rng.below(3) {
        0 => 0,
        1 => often,
        _ => often * 5,
    };
    let mut weather = Weather {
        vanishing: some(40),
        cancels: some(15),
        chatter: some(10),
        spurious: some(10),
        changes: some(15),
        ..Weather::default()
    };
    if rng.one_in(2) {
        return weather;
    }
    let mut some = |often: u64| if rng.one_in(3) { often + rng.below(often * 4) } else { 0 };
    weather.crashes = some(40);
    weather.refusals = some(40);
    weather.pauses = some(40);
    weather.reloads = some(40);
    weather.reconnects = some(40);
    weather.kills = some(60);
    weather.leaps = some(30);
    weather.shutdown = match rng.below(6) {
        0 => Some(Shutdown::WaitForClients),
        1 => Some(Shutdown::WaitForServers),
        _ => None,
    };
    weather
}

/// The line of the database for hostile peers.
fn hostile_line(rng: &mut SeededRng) -> String {
    let mode = ["session", "transaction", "transaction", "statement"][rng.below(4) as usize];
    let name = hostile::DATABASE;
    format!("{name} = host=127.0.0.66 pool_mode={mode} pool_size=3\n")
}

/// The same after a RELOAD that changes what its clients may leave behind, and when they part.
fn remoded_line(rng: &mut SeededRng) -> String {
    let line = hostile_line(rng);
    let policy = POLICIES[rng.below(POLICIES.len() as u64) as usize];
    format!("{} session_state={}\n", line.trim_end(), policy.word())
}

/// Timeouts that end clients, for seeds whose clock leaps.
fn timeouts(rng: &mut SeededRng) -> String {
    let mut text = String::new();
    for name in TIMEOUTS {
        if rng.one_in(4) {
            text += &format!("{name} = 1\n");
        }
    }
    text
}

const TIMEOUTS: [&str; 6] = [
    "client_idle_timeout",
    "client_login_timeout",
    "idle_transaction_timeout",
    "query_timeout",
    "query_wait_timeout",
    "transaction_timeout",
];

/// TLS options of database lines.
const LINES: [&str; 5] =
    ["", "", " sslmode=disable", " sslmode=require", " sslmode=require sslnegotiation=direct"];

fn text(
    [fixed, line, ends]: &[&str; 3],
    weather: &Weather,
    tracks: bool,
    shakes: bool,
    rng: &mut SeededRng,
) -> String {
    let changes = weather.reloads > 0;
    let mut text = String::from("[databases]\n");
    for (name, mode) in DATABASES {
        if changes && rng.one_in(10) {
            continue;
        }
        let host = if name == "other" { "db.sim" } else { "127.0.0.1" };
        let elsewhere = if changes && rng.one_in(4) { " dbname=elsewhere" } else { "" };
        let size = 1 + rng.below(3);
        let tls = if shakes { LINES[rng.below(LINES.len() as u64) as usize] } else { "" };
        text += &format!(
            "{name} = host={host} port=5432 pool_mode={mode} pool_size={size}{elsewhere}{tls}\n"
        );
    }
    text += line;
    text += "[pgbouncer]\nlisten_addr = 127.0.0.1\nunix_socket_dir =\n";
    text += fixed;
    let mut line = |name: &str, values: &[&str]| {
        text += &format!("{name} = {}\n", values[rng.below(values.len() as u64) as usize]);
    };
    if tracks {
        line("max_prepared_statements", &["2", "5", "200"]);
    }
    line("sbuf_loopcnt", &["1", "5", "0"]);
    line("server_round_robin", &["0", "1"]);
    line("server_check_delay", &["0", "0.01", "30"]);
    line("server_check_query", &["", "<empty>", "SELECT 1"]);
    line("server_reset_query_always", &["0", "0", "0", "1"]);
    line("server_lifetime", &["3600", "3600", "1"]);
    line("server_idle_timeout", &["600", "1"]);
    line("server_login_concurrency", &["0", "1", "10"]);
    line("server_abandon", &["close", "rollback"]);
    line("query_wait_notify", &["0", "5"]);
    line("server_login_retry", &["0.01", "0.3"]);
    line("server_connect_timeout", &["0.2", "1"]);
    line("dns_max_ttl", &["0.1", "15"]);
    line("dns_nxdomain_ttl", &["0", "0.1"]);
    line("server_fast_close", &["0", "1"]);
    line("pin_limit", &["50", "100"]);
    line("pool_idle_timeout", &["0", "0.5"]);
    line("min_pool_size", &["0", "0", "2"]);
    line("reserve_pool_size", &["0", "1"]);
    line("reserve_pool_timeout", &["0.1", "5"]);
    line("max_db_connections", &["0", "0", "3"]);
    line("max_user_connections", &["0", "0", "5"]);
    text + ends
}

pub fn load(text: &str) -> Config {
    config::load_text("sim.ini", text)
        .unwrap_or_else(|errors| panic!("a bad configuration: {errors:?}\n{text}"))
}

impl Setup {
    /// All users with the password, or only the one that looks up the others.
    pub fn access(&self) -> Access {
        let is_listed = |user: &&&str| self.lookups.is_none() || **user == READER;
        let users = USERS.iter().filter(is_listed);
        let users = users.map(|user| ((*user).to_owned(), Secret::parse(PASSWORD)));
        // No other user has this name.
        let hostile = [(hostile::USER.to_owned(), Secret::parse(PASSWORD))];
        Access { users: users.chain(hostile).collect(), ..Access::default() }
    }

    /// The secret that a server stores for every user.
    pub fn stored_secret(&self) -> Secret {
        match (&self.lookups, self.form) {
            (Some(_), "scram") => Secret::parse(&lookup::stored(self.form, b"")),
            _ => Secret::parse(PASSWORD),
        }
    }

    /// Whether the result of a lookup explains that a client is told these words.
    pub fn lookup_explains(&self, words: &str) -> bool {
        let Some(plan) = &self.lookups else { return false };
        let (may_crash, may_miss) = (self.weather.crashes > 0, self.weather.reloads > 0);
        match words {
            "bouncer config error" => {
                may_crash || may_miss || lookup::has_one_of(plan, lookup::FAULTS)
            }
            "SASL authentication failed"
            | "password authentication failed"
            | "\"trust\" authentication failed" => {
                may_miss || lookup::has_one_of(plan, lookup::NOBODY)
            }
            _ => false,
        }
    }
}

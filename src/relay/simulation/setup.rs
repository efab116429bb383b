//! What a seed chooses: the configuration, the servers, and what may go wrong.

use super::hostile;
use super::lookup;
use super::system::Tls;
use crate::auth::client::ProofMethod;
use crate::auth::secret::Secret;
use crate::base::rng::{Rng, SeededRng};
use crate::config::{self, Config, SessionState};
use crate::pool::records::access::Access;
use crate::pool::records::wait::Shutdown;

/// The password of everybody.
pub const PASSWORD: &[u8] = b"secret";

pub const USERS: [&str; 3] = ["ann", "bob", READER];

/// Who looks up the others, where they are looked up. No client is this one.
pub const READER: &str = "cid";

/// A database by its pool mode.
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

/// Once in how many steps something happens; 0 is never.
#[derive(Clone, Copy, Default, Debug)]
pub struct Weather {
    /// A client vanishes, or closes half of its connection.
    pub vanishing: u64,
    /// A client's query is cancelled, by its owner or with a key that is nobody's.
    pub cancels: u64,
    /// A server says what nobody has asked.
    pub chatter: u64,
    /// A server ends.
    pub crashes: u64,
    /// A connection to a server does not come about, or its login fails.
    pub refusals: u64,
    /// PAUSE or RESUME.
    pub pauses: u64,
    /// Another configuration is put in force.
    pub reloads: u64,
    /// RECONNECT.
    pub reconnects: u64,
    /// KILL, of a client, a database or all.
    pub kills: u64,
    /// The clock leaps.
    pub leaps: u64,
    /// An event that means nothing.
    pub spurious: u64,
    /// The table gets other columns.
    pub changes: u64,
    /// How the process is told to end, when the others have come to their end.
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
    /// Whether a session's statements end with it.
    pub resets: bool,
    /// What becomes of one lookup after the other, where users are looked up.
    pub lookups: Option<String>,
    /// What becomes of what clients leave in the sessions of servers.
    pub policy: SessionState,
    /// Whether connections can be put under TLS.
    pub shakes: bool,
    /// LISTEN needs no server of its own.
    pub shares: bool,
    pub minor: u16,
    /// How secrets are stored, at the servers and so in what a lookup finds.
    form: &'static str,
    /// Settings that RELOAD leaves alone.
    fixed: String,
    /// The line of a database that is always there, and that of the peer.
    hostile: String,
    /// Cancel requests may be for another process.
    pub has_peer: bool,
}

/// What follows from the number of a seed, and not from its generator: seeds that were found before
/// there was a choice bring about the same.
#[derive(Clone, Copy)]
pub struct Kind {
    /// Clients may choose how they use servers, and how clean they leave them.
    pub offers: bool,
    /// LISTEN needs no server of its own.
    pub shares: bool,
    pub tls: Tls,
    /// The minor version of the protocol that clients ask for: from 2 on their cancel keys are
    /// long.
    pub minor: u16,
    /// There is another process, to which cancel requests are passed on.
    pub has_peer: bool,
    /// Peers that mean ill are there, too.
    pub is_hostile: bool,
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
            minor: if matches!(seed % 11, 2 | 8 | 9) { 2 } else { 0 },
            has_peer: seed.is_multiple_of(6),
            is_hostile: false,
        }
    }

    /// The same beside peers that mean ill, who can log in as they are.
    pub fn beside_hostile_peers(seed: u64) -> Kind {
        Kind { is_hostile: true, tls: Tls::None, ..Kind::of(seed) }
    }
}

impl Setup {
    pub fn new(rng: &mut SeededRng, kind: Kind) -> Setup {
        let Kind { offers, shares, tls, minor, has_peer, is_hostile } = kind;
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
        // Two in three of those whose passwords come in clear have them judged by somebody else.
        if auth == "plain" && lookups.is_none() && !fixed.contains("pkt_buf = 64\n") {
            fixed = fixed.replace("auth_type = plain", "auth_type = pam");
        }
        if let Some(plan) = &lookups {
            fixed += &format!("auth_user = {READER}\nauth_query = LOOKUP {plan} {form} $1\n");
            if rng.one_in(3) {
                fixed += &format!("auth_dbname = {}\n", DATABASES[0].0);
            }
        }
        let weather = weather(rng);
        if weather.leaps > 0 {
            fixed += &timeouts(rng);
        }
        let mut hostile = if is_hostile { hostile_line(rng) } else { String::new() };
        if has_peer {
            hostile += &format!("[peers]\n{PEER} = host=peer.sim port=7002 pool_size=1\n");
        }
        let config = load(&text(&[&fixed, &hostile], &weather, tracks, shakes, rng));
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
            minor,
            form,
            fixed,
            hostile,
            has_peer,
        }
    }

    /// Another configuration in which the clients that are there can go on.
    pub fn changed(&self, rng: &mut SeededRng) -> Config {
        load(&text(&[&self.fixed, &self.hostile], &self.weather, self.tracks, self.shakes, rng))
    }
}

/// The number of the other process.
pub const PEER: u16 = 2;

/// One in three seeds is calm: there every message can be told beforehand.
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

/// The line of the database that hostile peers use.
fn hostile_line(rng: &mut SeededRng) -> String {
    let mode = ["session", "transaction", "transaction", "statement"][rng.below(4) as usize];
    let name = hostile::DATABASE;
    format!("{name} = host=127.0.0.66 pool_mode={mode} pool_size=3\n")
}

/// Times after which somebody is ended, for seeds whose clock leaps.
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

/// What lines of databases say on TLS.
const LINES: [&str; 5] =
    ["", "", " sslmode=disable", " sslmode=require", " sslmode=require sslnegotiation=direct"];

fn text(
    [fixed, line]: &[&str; 2],
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
    text
}

pub fn load(text: &str) -> Config {
    config::load_text("sim.ini", text)
        .unwrap_or_else(|errors| panic!("a bad configuration: {errors:?}\n{text}"))
}

impl Setup {
    /// Everybody, with the password; or the one who looks up the others.
    pub fn access(&self) -> Access {
        let is_listed = |user: &&&str| self.lookups.is_none() || **user == READER;
        let users = USERS.iter().filter(is_listed);
        let users = users.map(|user| ((*user).to_owned(), Secret::parse(PASSWORD)));
        // Nobody else has this name.
        let hostile = [(hostile::USER.to_owned(), Secret::parse(PASSWORD))];
        Access { users: users.chain(hostile).collect(), ..Access::default() }
    }

    /// What a server has of everybody.
    pub fn stored_secret(&self) -> Secret {
        match (&self.lookups, self.form) {
            (Some(_), "scram") => Secret::parse(&lookup::stored(self.form, b"")),
            _ => Secret::parse(PASSWORD),
        }
    }

    /// Whether what a lookup finds, or does not, explains that a client is told this.
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

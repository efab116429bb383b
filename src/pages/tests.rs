//! The pages over a core of its own: no I/O, the clock and the peers played by the test.

use base64::prelude::{BASE64_STANDARD, Engine};
use sha2::{Digest, Sha256};

use super::answer::{self, Body, HttpResponse};
use super::history::History;
use super::login::{Admission, Keeper};
use super::request::{HttpRequest, HttpStatus};
use super::{Facts, HttpReply, View, route};
use crate::auth::secret::{Password, Secret};
use crate::base::rng::SeededRng;
use crate::base::time::{Moment, Now};
use crate::config::load_text;
use crate::crypto::md5::stored;
use crate::crypto::scram::{ScramKeys, Verifier};
use crate::log::PeerAddress;
use crate::pool::core::{Action, Core};
use crate::pool::ids::{ClientId, Outbound, ServerId};
use crate::pool::login::entry::Arrival;
use crate::pool::owed::outgoing::OutgoingBytes;
use crate::pool::owed::said::Said;
use crate::pool::owed::verdict::{Hold, Verdict};
use crate::pool::records::access::{Access, SystemFacts};
use crate::pool::records::secured::{TlsContext, TlsFile, TlsTally, Whose};
use crate::wire::head::Head;
use crate::wire::startup;

/// The exporter's families, one a line: name, labels and type.
const EXPORTER: &str = include_str!("../../tests/reference/exporter-metrics.tsv");

/// The names that Grafana's mixin asks for, and the labels that it groups by.
const MIXIN: &str = include_str!("../../tests/reference/mixin-metrics.tsv");

const INI: &str = "
[databases]
app = host=127.0.0.1 max_db_connections=9 pool_mode=transaction
\"odd name\" = host=127.0.0.1
* = host=127.0.0.1
[pgbouncer]
listen_addr = 127.0.0.1
auth_type = trust
max_client_conn = 1000
pool_mode = transaction
stats_period = 10
";

/// A configuration with a line for each of `database_0`, `database_1` and so on that `has` accepts.
fn ini_with(count: usize, has: impl Fn(usize) -> bool) -> String {
    let numbers = (0..count).filter(|at| has(*at));
    let lines: String = numbers.map(|at| format!("database_{at} = host=127.0.0.1\n")).collect();
    let ini = INI.replace("[pgbouncer]", &format!("{lines}[pgbouncer]"));
    ini.replace("max_client_conn = 1000", "max_client_conn = 10000")
}

pub(super) struct World {
    pub core: Core,
    pub facts: Facts,
    pub history: History,
    connecting: Vec<ServerId>,
}

impl World {
    fn new() -> World {
        World::of(INI)
    }

    /// A world whose configuration has lines for `database_0`, `database_1` and so on.
    pub fn with_databases(count: usize) -> World {
        World::of(&ini_with(count, |_| true))
    }

    pub fn view(&self) -> View<'_> {
        View { core: &self.core, facts: &self.facts, history: &self.history }
    }

    fn of(ini: &str) -> World {
        let config = load_text("test.ini", ini).expect("a good configuration");
        let now = Now { mono: Moment(1_000_000), wall_us: 1_800_000_000_000_000 };
        let host = SystemFacts { uid: 1000, uid_name: |_| None, name: || None, descriptors: 1024 };
        let rng = Box::new(SeededRng::new(1));
        let users = vec![("me".to_owned(), Secret::parse(b"me"))];
        let core = Core::new(
            config,
            Access { users: users.into_iter().collect(), ..Access::default() },
            host,
            rng,
            now,
        );
        let facts = Facts { is_listening: true, open_fds: 9, most_fds: 1024, ..Facts::default() };
        World { core, facts, history: History::default(), connecting: Vec::new() }
    }

    fn get(&self, path: &str) -> (HttpStatus, String) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let request =
            HttpRequest { path: path.into(), query: query.into(), ..HttpRequest::default() };
        self.answer(&request)
    }

    fn answer(&self, request: &HttpRequest) -> (HttpStatus, String) {
        let HttpResponse { status, body, .. } = whole(self.view(), request);
        let bytes = match body {
            Body::Whole(bytes) => bytes,
            Body::Slices(mut rendering) => {
                let mut bytes = Vec::new();
                assert!(rendering.push(&mut bytes, usize::MAX));
                bytes
            }
        };
        (status, String::from_utf8(bytes).expect("text"))
    }

    fn metrics(&self) -> String {
        self.get("/metrics").1
    }

    fn pass(&mut self, us: u64) {
        self.core.now.mono.0 += us;
        self.core.now.wall_us += us;
        self.core.sweep();
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.core.poll_action() {
            match action {
                Action::Connect { id: Outbound::Server(id), .. } => self.connecting.push(id),
                Action::Connect { id: Outbound::Carrier(_), .. } => {}
                Action::CloseCarrier(id) => self.core.free_carrier(id),
                Action::CloseClient { client, .. } => self.core.free_client(client),
                Action::CloseServer(id) => self.core.free_server(id),
                Action::PartIfDrained(id) => self.core.part_if_done(id),
                _ => {}
            }
        }
    }

    fn judge(&mut self, client: ClientId, sql: &str) -> Verdict {
        let body = format!("{sql}\0").into_bytes();
        let head = Head { kind: b'Q', body: body.len() };
        self.core.judge_client(client, head, &body, &mut Said::default())
    }

    fn reply(&mut self, server: ServerId, kind: u8, body: &[u8]) {
        let head = Head { kind, body: body.len() };
        self.core.judge_server(server, head, body, &mut OutgoingBytes::default());
        self.carry_out();
    }

    /// A client of that database and application, whose query has been answered.
    pub fn client(&mut self, database: &str, application: &str) -> ClientId {
        let ip = [127, 0, 0, 1].into();
        let peer = PeerAddress::Tcp { ip, port: 50_000 };
        let id = self.core.client_arrived(Arrival { peer, local: peer, uid: None });
        let parameters =
            [("user", "me"), ("database", database), ("application_name", application)];
        let mut packet = Vec::new();
        startup::startup_message(&mut packet, 0, &parameters);
        self.core.client_opening(id, &packet);
        self.carry_out();
        let mut verdict = Verdict::Hold(Hold::Welcome);
        for _ in 0..100 {
            if !matches!(verdict, Verdict::Hold(_)) {
                break;
            }
            self.pass(1_000);
            for server in std::mem::take(&mut self.connecting) {
                self.core.connected(Outbound::Server(server), (peer, peer), None);
                self.reply(server, b'R', &[0; 4]);
                self.reply(server, b'K', &[0, 0, 0, 42, 1, 2, 3, 4]);
                self.reply(server, b'Z', b"I");
            }
            if let (Verdict::Hold(Hold::Parameters), Some(server)) =
                (verdict, self.core.clients[id].server())
            {
                let report = format!("application_name\0{application}\0");
                self.reply(server, b'C', b"SET\0");
                self.reply(server, b'S', report.as_bytes());
                self.reply(server, b'Z', b"I");
            }
            verdict = self.judge(id, "select 1");
            self.carry_out();
        }
        let Verdict::Forward(server) = verdict else { panic!("{verdict:?}") };
        self.pass(2_000);
        self.reply(server, b'C', b"SELECT 1\0");
        self.reply(server, b'Z', b"I");
        self.core.part_if_done(server);
        self.carry_out();
        id
    }
}

/// The answer, however many turns it takes.
pub(super) fn whole(view: View<'_>, request: &HttpRequest) -> HttpResponse {
    match route::reply(view, request) {
        HttpReply::Now(answer) => answer,
        HttpReply::Later(mut gathering) => {
            while !gathering.go_on(view) {}
            gathering.into_answer()
        }
    }
}

/// The samples of a family: labels and values.
fn samples<'a>(text: &'a str, name: &str) -> Vec<(&'a str, &'a str)> {
    let of_it = |line: &'a str| {
        let rest = line.strip_prefix(name)?;
        match rest.strip_prefix('{') {
            Some(rest) => rest.rsplit_once("} "),
            None => Some(("", rest.strip_prefix(' ')?)),
        }
    };
    text.lines().filter_map(of_it).collect()
}

/// The names of the labels, without regard to what their values hold.
fn label_names(labels: &str) -> String {
    let mut names = Vec::new();
    let mut rest = labels;
    while let Some((name, value)) = rest.split_once("=\"") {
        names.push(name.trim_start_matches(','));
        let mut is_escaped = false;
        let end = value.find(|c: char| {
            let is_end = c == '"' && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            is_end
        });
        rest = &value[end.expect("a quote at the end") + 1..];
    }
    names.join(",")
}

#[test]
fn every_family_of_the_exporter_is_there_with_its_labels_and_type() {
    let mut world = World::new();
    world.client("app", "psql");
    let text = world.metrics();
    for line in EXPORTER.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, kind, labels] = fields[..] else { panic!("{line}") };
        assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name} is a {kind}");
        assert!(text.contains(&format!("# HELP {name} ")), "{name} has a help");
        let samples = samples(&text, name);
        assert!(!samples.is_empty(), "{name} has samples");
        for (found, value) in samples {
            assert_eq!(label_names(found), labels, "{name}");
            assert!(value.parse::<f64>().is_ok(), "{name} {value}");
        }
    }
}

#[test]
fn the_boards_of_grafana_find_what_they_ask_for() {
    let mut world = World::new();
    world.client("app", "psql");
    let text = world.metrics();
    assert_eq!(MIXIN.lines().filter(|line| !line.starts_with('#')).count(), 18);
    for line in MIXIN.lines().filter(|line| !line.starts_with('#')) {
        let (name, labels) = line.split_once('\t').unwrap_or((line, ""));
        let samples = samples(&text, name);
        assert!(!samples.is_empty(), "{name}");
        for (found, _) in samples {
            let names = label_names(found);
            let has = |label: &str| names.split(',').any(|name| name == label);
            assert!(labels.split(',').filter(|l| !l.is_empty()).all(has), "{name}: {found}");
        }
    }
}

#[test]
fn values_are_those_of_the_console_and_times_are_seconds() {
    let mut world = World::new();
    world.client("app", "psql");
    world.client("app", "psql");
    let text = world.metrics();
    let value = |name: &str, labels: &str| {
        let found = samples(&text, name).into_iter().find(|(found, _)| *found == labels);
        found.unwrap_or_else(|| panic!("{name}{{{labels}}}")).1.to_owned()
    };
    let app = "database=\"app\"";
    for prefix in ["pgbouncer_stats_", "pgbouncer_stats_totals_"] {
        assert_eq!(value(&format!("{prefix}queries_pooled_total"), app), "2");
        assert_eq!(value(&format!("{prefix}queries_duration_seconds_total"), app), "0.004");
    }
    let pool = "database=\"app\",user=\"me\"";
    assert_eq!(value("pgbouncer_pools_client_active_connections", pool), "2");
    assert_eq!(value("pgbouncer_pools_server_idle_connections", pool), "1");
    let name = "pgbouncer_query_duration_seconds";
    assert_eq!(value(&format!("{name}_count"), app), "2");
    assert_eq!(value(&format!("{name}_sum"), app), "0.004");
    assert_eq!(value(&format!("{name}_bucket"), "database=\"app\",le=\"0.001\""), "0");
    assert_eq!(value(&format!("{name}_bucket"), "database=\"app\",le=\"0.0025\""), "2");
    assert_eq!(value(&format!("{name}_bucket"), "database=\"app\",le=\"+Inf\""), "2");
    let client = "database=\"app\",user=\"me\",application_name=\"psql\",state=\"idle\"";
    assert_eq!(value("pgbouncer_client_connections", client), "2");
    assert_eq!(value("pgbouncer_client_logins_total", "result=\"ok\""), "2");
}

#[test]
fn certificates_tell_their_ends_and_handshakes_their_results() {
    let mut world = World::new();
    let file = TlsFile {
        path: "/etc/ssl/own.pem".into(),
        subject: "CN=db".into(),
        names: "".into(),
        not_after: 1_800_000_000,
    };
    let context = TlsContext {
        whose: Whose::Clients,
        certificate: Some(file.clone()),
        authorities: None,
        tally: TlsTally { handshakes: 7, failures: 2, resumptions: 0 },
    };
    // A second context made of the same file.
    world.core.tls_contexts = vec![context.clone(), context];
    let text = world.metrics();
    let name = "pgbouncer_tls_certificate_expiry_seconds";
    assert_eq!(samples(&text, name), [("file=\"/etc/ssl/own.pem\"", "1800000000")]);
    let handshakes = samples(&text, "pgbouncer_tls_handshakes_total");
    assert_eq!(handshakes[0], ("side=\"client\",result=\"failed\"", "4"));
    assert_eq!(handshakes[1], ("side=\"client\",result=\"ok\"", "14"));
    assert_eq!(handshakes[3], ("side=\"server\",result=\"ok\"", "0"));
}

#[test]
fn no_two_samples_have_the_same_name_and_labels() {
    let mut world = World::new();
    for at in 0..60 {
        world.client(&format!("made_up_{at}"), &format!("application {at}"));
    }
    let text = world.metrics();
    let mut seen = std::collections::HashSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let series = line.rsplit_once(' ').expect("a value").0;
        assert!(seen.insert(series), "{series} comes twice");
    }
}

#[test]
fn what_clients_choose_makes_no_more_than_so_many_series() {
    let mut world = World::new();
    for at in 0..70 {
        world.client(&format!("made_up_{at}"), &format!("application {at}"));
    }
    let text = world.metrics();
    let databases = samples(&text, "pgbouncer_pools_client_active_connections");
    assert_eq!(databases.len(), 50 + 2, "and the console, and all the others");
    let others = databases.iter().find(|(labels, _)| labels.contains("\"other\""));
    assert_eq!(others.expect("one stands for many").1, "20");
    let applications: std::collections::HashSet<&str> =
        samples(&text, "pgbouncer_client_connections")
            .into_iter()
            .filter_map(|(labels, _)| labels.split("application_name=").nth(1))
            .collect();
    assert_eq!(applications.len(), 50 + 1);
}

#[test]
fn what_names_hold_ends_no_label_and_no_line() {
    let mut world = World::new();
    world.client("app", "a\"b\\c\nd{}");
    let text = world.metrics();
    assert!(text.contains("application_name=\"a\\\"b\\\\c\\nd{}\",state=\"idle\"} 1\n"));
    let (_, json) = world.get("/status.json");
    assert!(!json.contains('\n'));
}

#[test]
fn a_database_that_is_gone_takes_its_series_along() {
    let mut world = World::new();
    let client = world.client("gone", "psql");
    assert!(world.metrics().contains("\"gone\""));
    world.core.client_gone(client, None);
    world.carry_out();
    for _ in 0..4 {
        world.pass(3_700_000_000);
    }
    assert!(!world.metrics().contains("\"gone\""));
}

#[test]
fn health_and_readiness_say_why_not() {
    let mut world = World::new();
    world.client("app", "psql");
    let ready = |world: &World, query: &str| {
        let (status, text) = world.get(&format!("/readyz{query}"));
        (status, text.trim_end().to_owned())
    };
    assert_eq!(ready(&world, ""), (HttpStatus::Ok, "ready".into()));
    assert_eq!(ready(&world, "?db=app"), (HttpStatus::Ok, "ready".into()));
    assert_eq!(ready(&world, "?db=none").0, HttpStatus::NotFound);
    assert_eq!(ready(&world, "?db=%").0, HttpStatus::BadRequest);
    world.core.pause(None);
    assert_eq!(ready(&world, ""), (HttpStatus::Unavailable, "paused".into()));
    assert_eq!(world.get("/healthz").0, HttpStatus::Ok, "the loop turns");
    assert!(world.get("/status.json").1.contains("\"state\":\"paused\""));
    assert!(world.metrics().contains("\npgbouncer_paused 1\n"));
    world.core.resume(None);
    world.core.shut_down(crate::pool::records::wait::Shutdown::WaitForClients);
    assert_eq!(ready(&world, "").0, HttpStatus::Unavailable);
    assert!(ready(&world, "").1.starts_with("draining"));
}

#[test]
fn the_history_has_a_point_for_each_step_and_no_more_than_it_may() {
    let mut world = World::new();
    for _ in 0..400 {
        world.client("app", "psql");
        world.pass(5_000_000);
        world.history.record(&world.core);
        world.history.record(&world.core);
    }
    let points: Vec<_> = world.history.points().collect();
    assert_eq!(points.len(), 180);
    let last = points.last().unwrap();
    assert_eq!(last.queries_ds, 1, "one in five seconds");
    assert_eq!((last.servers, last.clients), (1, 400));
    assert!((1_900..2_100).contains(&last.query_us[2]), "{last:?}");
    assert!(world.get("/status.json").1.contains("\"step\":5,\"history_age\":0,"));
}

#[test]
fn the_page_is_small_loads_nothing_and_runs_nothing_but_its_own_script() {
    let page = include_str!("page.html");
    assert!(page.len() <= 20_000, "{}", page.len());
    for foreign in ["http://", "https://", "//", "@import", "src=", "onclick", "innerHTML", "eval("]
    {
        let found = page.match_indices(foreign).map(|(at, _)| &page[at..page.len().min(at + 30)]);
        let found: Vec<&str> =
            found.filter(|text| !text.starts_with("http://www.w3.org")).collect();
        let found: Vec<&&str> =
            found.iter().filter(|text| !text.starts_with("//www.w3.org")).collect();
        assert!(found.is_empty(), "{foreign}: {found:?}");
    }
    let between = |tag: &str| {
        let (_, rest) = page.split_once(&format!("<{tag}>")).expect(tag);
        rest.split_once(&format!("</{tag}>")).expect(tag).0
    };
    for tag in ["script", "style"] {
        let hash = BASE64_STANDARD.encode(Sha256::digest(between(tag)));
        let source = format!("{tag}-src 'sha256-{hash}'");
        assert!(route::POLICY.contains(&source), "the policy lacks {source}");
    }
}

#[test]
fn a_long_answer_goes_out_in_slices_that_make_one_text() {
    let mut world = World::new();
    for at in 0..300 {
        let text = format!("application {at} {}", "x".repeat(40));
        world.client(if at % 2 == 0 { "app" } else { "odd name" }, &text);
    }
    let whole = |is_newer: bool, is_head: bool| {
        let request =
            HttpRequest { path: "/metrics".into(), is_newer, is_head, ..HttpRequest::default() };
        let view = View { core: &world.core, facts: &world.facts, history: &world.history };
        let mut out = Vec::new();
        let mut outgoing =
            answer::OutgoingResponse::begin(self::whole(view, &request), Some(&request), &mut out);
        while !outgoing.push(&mut out) {}
        let text = String::from_utf8(out).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    };
    let (head, body) = whole(false, false);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("Connection: close"));
    assert_eq!(body, world.metrics());
    let (_, nothing) = whole(true, true);
    assert_eq!(nothing, "");
}

#[test]
fn a_scrape_takes_turns_and_survives_what_comes_and_goes_meanwhile() {
    let mut world = World::with_databases(300);
    let mut client = |at: usize| world.client(&format!("database_{at}"), "psql");
    let clients: Vec<ClientId> = (0..200).map(&mut client).collect();
    let request = HttpRequest { path: "/metrics".into(), ..HttpRequest::default() };
    for turns in [1, 5, 9, 15, 19] {
        let HttpReply::Later(mut gathering) = route::reply(world.view(), &request) else {
            panic!("a scrape takes time")
        };
        for _ in 0..turns {
            assert!(!gathering.go_on(world.view()), "200 pools take more than {turns} turns");
        }
        // Every other database is taken out of the file, and the clients of others leave.
        let ini = ini_with(300, |at| at % (turns + 1) != 0);
        let config = load_text("test.ini", &ini).expect("a good configuration");
        world.core.adopt(config, Access::default());
        world.core.client_gone(clients[turns], None);
        world.carry_out();
        world.pass(1_000);
        while !gathering.go_on(world.view()) {}
        let Body::Slices(mut rendering) = gathering.into_answer().body else { panic!("slices") };
        let mut bytes = Vec::new();
        assert!(rendering.push(&mut bytes, usize::MAX) && bytes.len() > 10_000);
    }
}

#[test]
fn what_became_of_session_state_is_told_for_each_pool() {
    let mut world = World::new();
    world.client("app", "psql");
    let id = world.core.pools.ids()[0];
    let undone = &mut world.core.pools[id].undone;
    (undone.pins, undone.resets, undone.reset_us, undone.refusals) = (2, 3, 4_500, 5);
    world.core.statements.evictions += 1;
    let text = world.metrics();
    for (name, value) in [
        ("pinned_servers", "0"),
        ("pins_total", "2"),
        ("state_resets_total", "3"),
        ("state_reset_seconds_total", "0.0045"),
        ("state_refusals_total", "5"),
        ("oldest_pin_seconds", "0"),
    ] {
        let labels = "{database=\"app\",user=\"me\"}";
        let line = format!("\npgbouncer_pools_{name}{labels} {value}\n");
        assert!(text.contains(&line), "{line}");
    }
    assert!(text.contains("\npgbouncer_prepared_statement_evictions_total 1\n"));
}

/// A core with `metrics_auth`, and users with the three kinds of secrets who may read.
fn guarded() -> World {
    let ini = INI.replace(
        "[pgbouncer]",
        "[pgbouncer]\nmetrics_auth = 1\nadmin_users = a, m\n\
        stats_users = s",
    );
    let config = load_text("test.ini", &ini).expect("a good configuration");
    let mut world = World::new();
    let keys = ScramKeys::derive(b"scram-word", b"salt", 4096);
    let verifier = Verifier::derive(&keys, b"salt", 4096);
    let md5 = stored(b"md5-word", b"m");
    let users = vec![
        ("a".to_owned(), Secret::Plain(Password::new(b"plain:word"))),
        ("m".to_owned(), Secret::Md5(md5)),
        ("s".to_owned(), Secret::Scram(verifier)),
        ("nobody".to_owned(), Secret::Plain(Password::new(b"x"))),
    ];
    world.core.adopt(config, Access { users: users.into_iter().collect(), ..Access::default() });
    world
}

#[test]
fn with_metrics_auth_only_those_of_the_console_may_read() {
    let world = guarded();
    let mut keeper = Keeper::default();
    let mut admit = |path: &str, login: Option<(&str, &str)>| {
        let login = login.map(|(u, p)| (u.as_bytes().to_vec(), Password::new(p.as_bytes())));
        let request = HttpRequest { path: path.into(), login, ..HttpRequest::default() };
        match keeper.admit(&world.core, &request, &mut |bytes| bytes.fill(7)) {
            Admission::Granted => "granted",
            Admission::Refused => "refused",
            Admission::Check(mut check) => {
                let found = std::iter::repeat_with(|| check.advance()).take(100).flatten().next();
                match found.expect("it comes to an end") {
                    true => keeper.remember(&check),
                    false => return "refused late",
                }
                "granted late"
            }
        }
    };
    assert_eq!(admit("/healthz", None), "granted");
    assert_eq!(admit("/readyz", None), "granted");
    for path in ["/", "/metrics", "/status.json", "/else"] {
        assert_eq!(admit(path, None), "refused");
    }
    let mut login = |user: &str, password: &str| admit("/metrics", Some((user, password)));
    assert_eq!(login("a", "plain:word"), "granted");
    assert_eq!(login("a", "plain:wor"), "refused");
    assert_eq!(login("m", "md5-word"), "granted");
    assert_eq!(login("m", "x"), "refused");
    assert_eq!(login("s", "scram-word"), "granted late");
    assert_eq!(login("s", "scram-word"), "granted", "its keys are derived once");
    assert_eq!(login("s", "scram-wor"), "refused late");
    assert_eq!(login("nobody", "x"), "refused", "it may not log in to the console");
    assert_eq!(login("", ""), "refused");
}

//! The console over a core of its own: no I/O, the clock and the shell played by the test.

use std::time::Duration;

use super::command::{COMMANDS, CommandHandler, Permission};
use super::show::{SHOWS, Show, ShowOutput};
use super::table::{Nature, TableReader, Value};
use super::*;
use crate::base::rng::{Rng, SeededRng};
use crate::base::time::{Moment, Now};
use crate::config::load_text;
use crate::log::PeerAddress;
use crate::pool::core::{Action, ProcessAction};
use crate::pool::ids::{CarrierId, Outbound, ServerId};
use crate::pool::login::entry::Arrival;
use crate::pool::owed::outgoing::OutgoingBytes;
use crate::pool::owed::said::Said;
use crate::pool::owed::verdict::{Hold, Verdict};
use crate::pool::records::access::{Access, SystemFacts};
use crate::wire::fields::{Fields, ReportFields};
use crate::wire::formats::Formats;
use crate::wire::head::{self, HEAD_BYTES, ParsedHead};
use crate::wire::startup;

/// The tables as PgBouncer sends them.
const COLUMNS: &str = include_str!("../../tests/reference/console-columns.tsv");

const INI: &str = "
[databases]
app = host=127.0.0.1
bob = host=127.0.0.1 user=bob pool_size=7 min_pool_size=1 reserve_pool=3 server_lifetime=120 \
    pool_mode=session max_db_connections=9 max_db_client_connections=8
hosts = host=127.0.0.1,localhost load_balance_hosts=round-robin
local = dbname=x
named = host=db.example
* = host=127.0.0.1
[users]
bob = pool_size=11 reserve_pool_size=2
[peers]
2 = host=/tmp port=7002 pool_size=5
1 = host=127.0.0.1 port=7001
[pgbouncer]
listen_addr = 127.0.0.1
auth_type = trust
admin_users = admin
stats_users = stats
pool_mode = transaction
stats_period = 10
";

/// A core, and what it has sent.
struct World {
    core: Core,
    /// Messages to clients, in order.
    sent: Vec<(ClientId, Message)>,
    connecting: Vec<ServerId>,
    reloads: Vec<ClientId>,
    lookups: Vec<String>,
    /// Sessions that wait for the next turn of the loop.
    next_turn: Vec<ClientId>,
    is_over: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Message {
    kind: char,
    body: Vec<u8>,
}

struct NoBuffers;

impl Buffers for NoBuffers {
    fn client(&self, _: ClientId) -> BufferedBytes {
        BufferedBytes { received: 3, unsent: 0 }
    }
    fn carrier(&self, _: CarrierId) -> BufferedBytes {
        BufferedBytes::default()
    }

    fn server(&self, _: ServerId) -> BufferedBytes {
        BufferedBytes::default()
    }
}

impl World {
    fn new() -> World {
        let config = load_text("test.ini", INI).expect("a good file");
        let secrets = ["app", "admin", "stats"]
            .map(|name| (name.to_owned(), crate::auth::secret::Secret::parse(name.as_bytes())));
        let access = Access { users: secrets.into_iter().collect(), ..Access::default() };
        let now = Now { mono: Moment(5_000_000), wall_us: 1_769_871_940_000_000 };
        let host = SystemFacts { uid: 1, uid_name: |_| None, name: || None, descriptors: 100_000 };
        let core = Core::new(config, access, host, Box::new(SeededRng::new(1)), now);
        let mut world = World {
            core,
            sent: Vec::new(),
            connecting: Vec::new(),
            reloads: Vec::new(),
            lookups: Vec::new(),
            next_turn: Vec::new(),
            is_over: false,
        };
        world.carry_out();
        world.connecting.clear();
        world
    }

    /// A client that has sent its startup packet.
    fn client(&mut self, user: &str, database: &str) -> ClientId {
        let ip = [127, 0, 0, 1].into();
        let arrival = Arrival {
            peer: PeerAddress::Tcp { ip, port: 40_000 },
            local: PeerAddress::Tcp { ip, port: 6432 },
            uid: None,
        };
        let id = self.core.client_arrived(arrival);
        let mut packet = Vec::new();
        startup::startup_message(&mut packet, 0, &[("user", user), ("database", database)]);
        self.core.client_opening(id, &packet);
        self.carry_out();
        id
    }

    /// A console session whose greeting is read.
    fn console(&mut self, user: &str) -> ClientId {
        let id = self.client(user, "pgbouncer");
        assert!(self.heard(id).iter().any(|m| m.kind == 'Z'), "{user} is let in");
        id
    }

    /// A client in a transaction, with a server.
    fn busy_client(&mut self) -> (ClientId, ServerId) {
        self.busy_client_of("app")
    }

    fn busy_client_of(&mut self, database: &str) -> (ClientId, ServerId) {
        let client = self.client("app", database);
        // Every host name resolves to this machine.
        for name in std::mem::take(&mut self.lookups) {
            self.core.resolved(&name, Ok(vec![[127, 0, 0, 1].into()]));
            self.carry_out();
        }
        let mut verdict = Verdict::Hold(Hold::Server { is_told: false });
        // The first client of a pool waits for a server when it logs in, a later one when it sends
        // a query.
        while let Verdict::Hold(_) = verdict {
            if let Some(server) = self.connecting.pop() {
                self.serve(server);
            }
            verdict = self.core.judge_client(
                client,
                head(b'Q', b"begin\0"),
                b"begin\0",
                &mut Said::default(),
            );
            self.carry_out();
        }
        let Verdict::Forward(server) = verdict else { panic!("{verdict:?}") };
        assert!(self.heard(client).iter().any(|m| m.kind == 'Z'));
        self.reply(server, b'C', b"BEGIN\0");
        self.reply(server, b'Z', b"T");
        (client, server)
    }

    /// The server lets the pooler in.
    fn serve(&mut self, server: ServerId) {
        let ip = [127, 0, 0, 1].into();
        let peer = PeerAddress::Tcp { ip, port: 5432 };
        self.core.connected(
            Outbound::Server(server),
            (peer, PeerAddress::Tcp { ip, port: 50_000 }),
            None,
        );
        self.reply(server, b'R', &[0; 4]);
        self.reply(server, b'S', b"server_version\x0015\0");
        self.reply(server, b'K', &[0, 0, 0, 42, 1, 2, 3, 4]);
        self.reply(server, b'Z', b"I");
    }

    fn reply(&mut self, server: ServerId, kind: u8, body: &[u8]) {
        self.core.judge_server(server, head(kind, body), body, &mut OutgoingBytes::default());
        self.carry_out();
    }

    /// A query of a client that has a server.
    fn tell_server(&mut self, client: ClientId, sql: &str) {
        let body = format!("{sql}\0");
        let head = head(b'Q', body.as_bytes());
        self.core.judge_client(client, head, body.as_bytes(), &mut Said::default());
        self.carry_out();
    }

    /// The transaction ends, and the server is free.
    fn release(&mut self, client: ClientId, server: ServerId) {
        self.core.judge_client(client, head(b'Q', b"commit\0"), b"commit\0", &mut Said::default());
        self.reply(server, b'C', b"COMMIT\0");
        self.reply(server, b'Z', b"I");
        self.core.part_if_done(server);
        self.carry_out();
    }

    /// Sends a message of the console's, and a Flush where it needs one, and gives the answers,
    /// however many turns they take.
    fn say(&mut self, id: ClientId, kind: u8, body: &[u8]) -> Vec<Message> {
        self.tell(id, kind, body);
        self.let_turns_pass(id);
        if matches!(kind, b'P' | b'B' | b'D' | b'E' | b'C') {
            self.tell(id, b'H', b"");
            self.let_turns_pass(id);
        }
        self.heard(id)
    }

    fn let_turns_pass(&mut self, id: ClientId) {
        while self.next_turn.contains(&id) {
            self.pass(Duration::from_micros(1));
        }
    }

    /// The answers to a query that come in one turn.
    fn query_in_a_turn(&mut self, id: ClientId, sql: &str) -> Vec<Message> {
        self.tell(id, b'Q', format!("{sql}\0").as_bytes());
        self.heard(id)
    }

    fn tell(&mut self, id: ClientId, kind: u8, body: &[u8]) {
        let verdict = self.core.judge_client(id, head(kind, body), body, &mut Said::default());
        match verdict {
            Verdict::Console => message(&mut self.core, &NoBuffers, id, kind, body),
            Verdict::Hold(_) | Verdict::Closed => {}
            other => panic!("{other:?}"),
        }
        self.carry_out();
    }

    fn query(&mut self, id: ClientId, sql: &str) -> Vec<Message> {
        self.say(id, b'Q', format!("{sql}\0").as_bytes())
    }

    /// What a client was sent since this was last asked.
    fn heard(&mut self, id: ClientId) -> Vec<Message> {
        let (of_it, rest) =
            std::mem::take(&mut self.sent).into_iter().partition(|(of, _)| *of == id);
        self.sent = rest;
        let of_it: Vec<(ClientId, Message)> = of_it;
        of_it.into_iter().map(|(_, message)| message).collect()
    }

    fn pass(&mut self, time: Duration) {
        self.core.now.mono = self.core.now.mono + time;
        self.core.now.wall_us += time.as_micros() as u64;
        for id in std::mem::take(&mut self.next_turn) {
            self.core.turn_has_come(id);
        }
        self.core.sweep();
        self.carry_out();
    }

    /// Plays a turn of the loop: the core's actions, and those that the sweep at its end adds.
    fn carry_out(&mut self) {
        self.carry_out_actions();
        self.core.sweep();
        self.carry_out_actions();
        self.core.check();
    }

    fn carry_out_actions(&mut self) {
        while let Some(action) = self.core.poll_action() {
            match action {
                Action::Connect { id: Outbound::Server(id), .. } => self.connecting.push(id),
                Action::Connect { id: Outbound::Carrier(_), .. } => {}
                Action::CloseCarrier(id) => self.core.free_carrier(id),
                Action::SendClient { client, bytes } => {
                    let messages = messages(&bytes).into_iter();
                    self.sent.extend(messages.map(|message| (client, message)));
                }
                Action::CloseClient { client, .. } => self.core.free_client(client),
                Action::CloseServer(id) => self.core.free_server(id),
                Action::PartIfDrained(id) => self.core.part_if_done(id),
                Action::ConsoleDone { client, outcome } => {
                    finish(&mut self.core, &NoBuffers, client, outcome);
                }
                Action::Resolve(name) => self.lookups.push(name),
                Action::NextTurn(id) => self.next_turn.push(id),
                Action::SendCarrier { .. }
                | Action::SendServer { .. }
                | Action::Inquire { .. }
                | Action::Notify { .. }
                | Action::Repeat { .. }
                | Action::RunClient(_)
                | Action::RunServer(_)
                | Action::SecureClient(_) => {}
            }
        }
        while let Some(action) = self.core.poll_process_action() {
            match action {
                ProcessAction::Exit => self.is_over = true,
                ProcessAction::Reload { client } => self.reloads.extend(client),
                ProcessAction::SettingsChanged
                | ProcessAction::Status(_)
                | ProcessAction::StopListening => {}
            }
        }
    }

    fn app_servers(&self) -> u32 {
        self.core.databases[self.core.directory.find_database("app").expect("in the file")].servers
    }

    /// The rows of a SHOW.
    fn rows(&mut self, id: ClientId, sql: &str) -> Vec<Vec<Option<String>>> {
        let answer = self.query(id, sql);
        assert!(answer.iter().all(|m| m.kind != 'E'), "{sql}: {answer:?}");
        answer.iter().filter(|message| message.kind == 'D').map(Message::values).collect()
    }

    /// The rows of a SHOW, each as `tests/reference` writes them.
    fn lines(&mut self, id: ClientId, sql: &str) -> Vec<String> {
        let join = |row: Vec<Option<String>>| {
            let cells = row.into_iter().map(|cell| cell.unwrap_or("<null>".to_owned()));
            cells.collect::<Vec<_>>().join("|")
        };
        self.rows(id, sql).into_iter().map(join).collect()
    }

    fn log(&mut self) -> Vec<String> {
        self.core.take_lines().into_iter().map(|line| line.text).collect()
    }
}

impl Message {
    /// The values of a DataRow.
    fn bytes(&self) -> Vec<Option<Vec<u8>>> {
        let mut fields = Fields::new(&self.body);
        let count = fields.u16().expect("a count");
        let values = (0..count).map(|_| match fields.u32().expect("a length") {
            u32::MAX => None,
            length => {
                let (value, rest) = fields.rest().split_at(length as usize);
                fields = Fields::new(rest);
                Some(value.to_vec())
            }
        });
        values.collect()
    }

    fn values(&self) -> Vec<Option<String>> {
        let text = |value| String::from_utf8(value).expect("text");
        self.bytes().into_iter().map(|value| value.map(text)).collect()
    }

    /// Name and type oid of each column of a RowDescription that promises text.
    fn columns(&self) -> Vec<(String, u32)> {
        let described = self.described();
        assert!(described.iter().all(|(_, _, format)| *format == 0), "as text");
        described.into_iter().map(|(name, oid, _)| (name, oid)).collect()
    }

    /// The format of each column of a RowDescription.
    fn formats(&self) -> Vec<u8> {
        self.described().into_iter().map(|(_, _, format)| format as u8).collect()
    }

    /// Name, type oid and format of each column of a RowDescription.
    fn described(&self) -> Vec<(String, u32, u16)> {
        let mut fields = Fields::new(&self.body);
        let count = fields.u16().expect("a count");
        let column = |_| {
            let name = fields.str().expect("a name").to_owned();
            assert_eq!((fields.u32(), fields.u16()), (Some(0), Some(0)), "no table");
            let oid = fields.u32().expect("an oid");
            let length = match oid {
                23 => 4,
                20 => 8,
                _ => u16::MAX,
            };
            assert_eq!(fields.u16(), Some(length), "{name}");
            assert_eq!(fields.u32(), Some(u32::MAX), "no modifier");
            (name, oid, fields.u16().expect("a format"))
        };
        (0..count).map(column).collect()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim_end_matches('\0').to_owned()
    }

    /// The field of an error or a notice.
    fn field(&self, code: char) -> Option<String> {
        let mut fields = Fields::new(&self.body);
        while let Some(found) = fields.u8().filter(|&found| found != 0) {
            let text = fields.str().expect("text");
            if char::from(found) == code {
                return Some(text.to_owned());
            }
        }
        None
    }
}

fn messages(mut bytes: &[u8]) -> Vec<Message> {
    let mut found = Vec::new();
    while let ParsedHead::Head(head) = head::parse(bytes) {
        let end = HEAD_BYTES + head.body;
        let body = bytes[HEAD_BYTES..end].to_vec();
        found.push(Message { kind: char::from(head.kind), body });
        bytes = &bytes[end..];
    }
    assert!(bytes.is_empty(), "half a message is sent");
    found
}

fn head(kind: u8, body: &[u8]) -> head::Head {
    head::Head { kind, body: body.len() }
}

/// The kinds of messages, as one word.
fn kinds(messages: &[Message]) -> String {
    messages.iter().map(|message| message.kind).collect()
}

/// The one error of an answer.
fn error(messages: &[Message]) -> ReportFields {
    let error = messages.iter().find(|message| message.kind == 'E').expect("an error");
    ReportFields::parse(&error.body)
}

fn parse_message(name: &str, text: &str) -> Vec<u8> {
    [name.as_bytes(), b"\0", text.as_bytes(), b"\0\0\0"].concat()
}

fn bind_message(portal: &str, name: &str, formats: &[u8]) -> Vec<u8> {
    let mut body = [portal.as_bytes(), b"\0", name.as_bytes(), b"\0\0\0\0\0"].concat();
    body.extend_from_slice(&(formats.len() as u16).to_be_bytes());
    body.extend(formats.iter().flat_map(|&format| [0, format]));
    body
}

fn execute_message(portal: &str, most: u32) -> Vec<u8> {
    [portal.as_bytes(), b"\0", &most.to_be_bytes()].concat()
}

/// The columns of PgBouncer's tables: name and type oid.
fn reference(show: &str) -> Vec<(String, u32)> {
    let name = if show == "ACTIVE_SOCKETS" { "SOCKETS" } else { show };
    let of_it = COLUMNS.lines().filter_map(|line| {
        let mut fields = line.split('\t');
        let command = fields.next()?;
        (command == format!("SHOW {name}"))
            .then(|| (fields.next().unwrap().to_owned(), fields.next().unwrap().parse().unwrap()))
    });
    of_it.collect()
}

#[test]
fn every_table_has_the_columns_of_the_reference() {
    let mut world = World::new();
    let admin = world.console("admin");
    for show in SHOWS.iter().filter(|show| matches!(show.answer, ShowOutput::Table(_))) {
        let answer = world.query(admin, &format!("show {}", show.word));
        assert_eq!(kinds(&answer).replace('D', ""), "TCZ", "{}", show.word);
        let columns = answer[0].columns();
        let expected = reference(show.word);
        let told = TOLD_TO_DRIVERS.iter().find(|(word, _)| *word == show.word);
        match (show.word, told) {
            (word, Some((_, value))) => {
                assert_eq!(columns, [(word.to_lowercase(), 25)]);
                assert_eq!(answer[1].values(), [Some((*value).to_owned())], "{word}");
            }
            (
                "CHOICES" | "ERRORS" | "EVENTS" | "LATENCY" | "PINS" | "SESSION_STATE" | "TLS",
                None,
            ) => assert!(expected.is_empty()),
            (word, None) => assert_eq!(columns, expected, "{word}"),
        }
        assert!(answer.iter().all(|m| m.kind != 'D' || m.values().len() == columns.len()));
    }
    let listed = COLUMNS.lines().filter_map(|line| line.strip_prefix("SHOW "));
    for word in listed.filter_map(|line| line.split('\t').next()) {
        assert!(show::find(word).is_some(), "{word}");
    }
}

/// What drivers ask for at their start, and what PgBouncer tells them.
const TOLD_TO_DRIVERS: [(&str, &str); 5] = [
    ("CLIENT_ENCODING", "UTF-8"),
    ("DATESTYLE", "ISO"),
    ("EXTRA_FLOAT_DIGITS", "2"),
    ("STANDARD_CONFORMING_STRINGS", "on"),
    ("TIMEZONE", "GMT"),
];

/// Takes in one column.
struct OneColumn {
    column: usize,
    values: Vec<String>,
    rows: usize,
}

impl TableReader for OneColumn {
    fn wants(&self, column: usize) -> bool {
        column == self.column
    }

    fn value(&mut self, column: usize, value: &Value<'_>) {
        assert_eq!(column, self.column, "only what is wanted is worked out");
        self.values.push(format!("{value:?}"));
    }

    fn end_row(&mut self) {
        self.rows += 1;
    }
}

#[test]
fn a_table_may_be_read_column_by_column_by_others_than_the_console() {
    let mut world = World::new();
    let (_, _) = world.busy_client();
    let pools = show::find("POOLS").and_then(|show| match show.answer {
        ShowOutput::Table(table) => Some(table),
        ShowOutput::Help => None,
    });
    let heads = pools.unwrap().heads();
    let column = heads.iter().position(|head| head.name == "sv_active").unwrap();
    assert_eq!((heads[0].nature, heads[column].nature), (Nature::Label, Nature::Gauge));
    let mut reader = OneColumn { column, values: Vec::new(), rows: 0 };
    let scene = table::Scene { core: &world.core, buffers: &NoBuffers };
    pools.unwrap().visit(scene, &mut reader);
    // The pools of app and bob, and the console.
    assert_eq!((reader.values.join(" "), reader.rows), ("Number(1) Number(0) Number(0)".into(), 3));
}

#[test]
fn what_a_counter_or_gauge_holds_is_said_in_the_tables_that_others_read() {
    for word in ["POOLS", "DATABASES", "STATS_TOTALS"] {
        let Some(Show { answer: ShowOutput::Table(table), .. }) = show::find(word) else {
            panic!()
        };
        for head in table.heads() {
            assert_eq!(head.help.is_empty(), head.nature == Nature::Label, "{word} {}", head.name);
        }
    }
}

#[test]
fn latency_shows_how_long_things_took_of_late_and_since_the_start() {
    let mut world = World::new();
    let admin = world.console("admin");
    let (client, server) = world.busy_client();
    world.pass(Duration::from_millis(40));
    world.tell_server(client, "select 1");
    world.pass(Duration::from_millis(5));
    world.reply(server, b'Z', b"T");
    world.tell_server(client, "commit");
    world.reply(server, b'Z', b"I");
    let rows = |world: &mut World| world.lines(admin, "SHOW LATENCY");
    let query = "app|query|3|0|4992|4992|4992|5000|3|0|4992|4992|4992|5000";
    let xact = "app|transaction|1|44032|44032|44032|44032|45000|1|44032|44032|44032|44032|45000";
    assert_eq!(rows(&mut world)[..2], [query, xact]);
    let server_and_wait: Vec<String> =
        rows(&mut world)[2..4].iter().map(|row| row[..8].to_owned()).collect();
    assert_eq!(server_and_wait, ["app|wait", "app|logi"]);
    // Two periods later, the recent percentiles leave the query out.
    world.pass(Duration::from_secs(11));
    world.pass(Duration::from_secs(11));
    let query = "app|query|0|0|0|0|0|0|3|0|4992|4992|4992|5000";
    assert_eq!(rows(&mut world)[0], query);
}

#[test]
fn slow_queries_and_transactions_are_told_with_their_text_where_that_is_wanted() {
    let mut world = World::new();
    let admin = world.console("admin");
    let (client, server) = world.busy_client();
    let mut run = |sets: &[&str], sql: &str, ms: u64, status: &[u8]| {
        for set in sets {
            world.query(admin, set);
        }
        world.log();
        world.tell_server(client, sql);
        world.pass(Duration::from_millis(ms));
        world.reply(server, b'Z', status);
        let lines = world.log().into_iter().filter_map(|line| {
            Some(line.split_once(" slow ")?.1.to_owned()).filter(|_| line.contains("app/app"))
        });
        lines.collect::<Vec<_>>()
    };
    assert!(run(&[], "select 1", 10_000, b"T").is_empty(), "off by default");
    let on = ["SET log_min_duration = 20"];
    assert!(run(&on, "select 2", 19, b"T").is_empty());
    let told = "query: 20.000 ms, waited 0.000 ms, server pid 42";
    assert_eq!(run(&[], "select 3", 20, b"T"), [told]);
    let with_text = ["SET log_query_text = 1"];
    let long = format!("select\n'{}'", "x".repeat(300));
    let shown = format!("{told}: select '{}", "x".repeat(192));
    assert_eq!(run(&with_text, &long, 20, b"T"), [shown]);
    let whole = "transaction: 10060.000 ms, waited 0.000 ms, server pid 42";
    assert_eq!(run(&[], "commit", 1, b"I"), [whole], "of quick queries and pauses");
    assert!(run(&[], "select 4", 1, b"I").is_empty());
}

#[test]
fn the_line_of_figures_keeps_its_form_and_has_percentiles_at_its_end_when_asked() {
    let mut world = World::new();
    let admin = world.console("admin");
    let (client, server) = world.busy_client();
    world.query(admin, "SET verbose = 0");
    let mut line = |set: &str| {
        world.query(admin, set);
        world.tell_server(client, "commit");
        world.pass(Duration::from_secs(11));
        world.reply(server, b'Z', b"I");
        world.log();
        world.pass(Duration::from_secs(11));
        world.log().into_iter().find(|line| line.starts_with("stats: ")).expect("a line")
    };
    let plain = line("SET log_stats_percentiles = 0");
    assert!(plain.ends_with("wait 0 us"), "{plain}");
    let longer = line("SET log_stats_percentiles = 1");
    let (known, added) = longer.split_once(", p99 ").expect("percentiles");
    assert!(known.ends_with(" us, wait 0 us"), "{longer}");
    // 11 seconds, to the bound of a bucket.
    assert_eq!(added, "xact 10747904 us, query 10747904 us, wait 0 us");
}

#[test]
fn help_is_a_notice_that_names_every_command() {
    let mut world = World::new();
    let admin = world.console("admin");
    let answer = world.query(admin, "SHOW HELP;");
    assert_eq!(kinds(&answer), "NCZ");
    assert_eq!(answer[0].field('M').as_deref(), Some("Console usage"));
    assert_eq!(answer[1].text(), "SHOW");
    let detail = answer[0].field('D').expect("the commands");
    for word in COMMANDS.iter().map(|command| command.word) {
        assert!(detail.contains(&format!("\n\t{word}")), "{word}");
    }
    for show in SHOWS.iter().filter(|show| !reference(show.word).is_empty()) {
        let is_there = |line: &str| line.split([' ', '|']).any(|word| word == show.word);
        assert!(detail.lines().any(is_there), "{}", show.word);
    }
}

/// A good command for each row of the table.
fn example(command: &command::Command) -> String {
    let arguments = match (&command.run, command.word) {
        (CommandHandler::Show, _) => "VERSION",
        (CommandHandler::Ignored(_), _) => "extra_float_digits = 3",
        (CommandHandler::Setting(_), _) => "max_client_conn = '99'",
        (CommandHandler::Client(_), _) => "4711",
        (CommandHandler::Database(_), _) => "app",
        (CommandHandler::Pause(_), _) => "app TIMEOUT 5",
        (CommandHandler::Shutdown(_), _) => "WAIT_FOR_CLIENTS",
        (CommandHandler::Bare(_), _) => "",
    };
    format!("{} {arguments}", command.word)
}

#[test]
fn stats_users_may_look_and_admins_may_do_everything() {
    for command in COMMANDS {
        let mut world = World::new();
        let (stats, admin) = (world.console("stats"), world.console("admin"));
        let text = example(command);
        let answer = world.query(stats, &text);
        match command.who {
            Permission::Everybody => assert!(!kinds(&answer).contains('E'), "{text}: {answer:?}"),
            Permission::Admins => {
                assert_eq!(kinds(&answer), "EZ", "{text}");
                let report = error(&answer);
                assert_eq!(report.message, "admin access needed", "{text}");
                assert_eq!(report.sqlstate, "08P01");
                assert!(world.core.databases.iter().all(|(_, d)| !d.is_paused && !d.is_disabled));
            }
        }
        let answer = world.query(admin, &text);
        let refused = answer.iter().find(|m| m.kind == 'E').and_then(|m| m.field('M'));
        assert_ne!(refused.as_deref(), Some("admin access needed"), "{text}");
        if command.who == Permission::Admins {
            assert!(!matches!(command.run, CommandHandler::Show), "SHOW is for everybody");
        }
    }
}

#[test]
fn who_is_in_neither_list_is_told_which_lists_there_are() {
    let mut world = World::new();
    let id = world.client("app", "pgbouncer");
    let answer = world.heard(id);
    assert_eq!(error(&answer).message, "not allowed");
    assert!(answer.last().unwrap().field('H').unwrap().contains("admin_users"));
}

#[test]
fn what_is_no_command_is_told_back_with_the_nearest_word() {
    let mut world = World::new();
    let admin = world.console("admin");
    let sql = Some("This is the console of the pooler: for SQL, connect to a database.");
    let cases = [
        ("SHOW", None),
        ("show poolz", Some("Perhaps you meant SHOW POOLS.")),
        ("RELAOD", Some("Perhaps you meant RELOAD.")),
        ("RELOAD now", Some("The command is RELOAD.")),
        ("SHOW STATS extra;", None),
        ("PAUSE a b", Some("The command is PAUSE [<db>] [TIMEOUT <seconds>].")),
        ("SELECT 1", sql),
        ("select 'pools'", sql),
        ("select pools x", sql),
        ("SET", Some("The command is SET parameter = arg.")),
        ("'SHOW' VERSION", None),
        ("copy x from stdin", sql),
        ("= =", None),
    ];
    for (text, hint) in cases {
        let answer = world.query(admin, text);
        assert_eq!(kinds(&answer), "EZ", "{text}");
        let report = error(&answer);
        assert_eq!(report.message, format!("invalid command '{text}', use SHOW HELP;"));
        assert_eq!((report.severity.as_str(), report.sqlstate.as_str()), ("ERROR", "08P01"));
        assert_eq!(answer[0].field('H').as_deref(), hint, "{text}");
    }
    let lines = world.log();
    assert!(lines.iter().any(|line| line == "invalid command 'SHOW', use SHOW HELP;"));
    assert!(
        lines
            .iter()
            .any(|line| line.ends_with("pooler error: invalid command 'SHOW', use SHOW HELP;"))
    );
}

#[test]
fn select_is_show_before_what_can_be_shown() {
    let mut world = World::new();
    let admin = world.console("admin");
    for (select, show) in [
        ("SELECT version;", "SHOW VERSION"),
        ("\"select\" \"Config\"", "SHOW CONFIG"),
        ("select client_encoding", "SHOW client_encoding"),
        ("select help", "SHOW HELP"),
    ] {
        let (select, show) = (world.query(admin, select), world.query(admin, show));
        assert_eq!(format!("{select:?}"), format!("{show:?}"));
    }
    assert_eq!(kinds(&world.query(admin, "SELECT state")), "TDDCZ");
}

#[test]
fn several_commands_in_one_string_are_answered_one_by_one() {
    let mut world = World::new();
    let admin = world.console("admin");
    let answer = world.query(admin, "show version; set extra_float_digits=3 ;; SHOW state");
    assert_eq!(kinds(&answer), "TDCNCTDDCZ");
    let answer = world.query(admin, "show version; nonsense; show version");
    assert_eq!(kinds(&answer), "TDCEZ", "what follows an error is not carried out");
    assert_eq!(kinds(&world.query(admin, " ; ")), "IZ");
    assert_eq!(kinds(&world.query(admin, "")), "IZ");
    let many = "show version;".repeat(200);
    assert_eq!(error(&world.query(admin, &many)).sqlstate, "54000");
    // A zero byte ends the string.
    assert_eq!(kinds(&world.say(admin, b'Q', b"show version\0garbage\0")), "TDCZ");
    assert_eq!(kinds(&world.say(admin, b'Q', b"show version")), "EZ");
    assert_eq!(kinds(&world.say(admin, b'Q', b"\xff\xfe\0")), "EZ");
}

#[test]
fn what_is_not_closed_and_what_is_too_long_does_no_harm() {
    let mut world = World::new();
    let admin = world.console("admin");
    let answer = world.query(admin, "show 'x");
    assert_eq!(answer[0].field('D').as_deref(), Some("A quote or a comment is not closed."));
    for kind in [b'F', b'p', b'y', 0] {
        let answer = world.say(admin, kind, b"");
        assert_eq!(kinds(&answer), "EZ");
        let text = format!("unsupported packet type for admin console: {kind}");
        assert_eq!(error(&answer).message, text);
    }
    for kind in [b'd', b'c', b'f', b'H'] {
        assert_eq!(world.say(admin, kind, b""), []);
    }
    let long = vec![b'x'; 1_000_000];
    let answer = world.say(admin, b'Q', &long);
    assert_eq!(error(&answer).message, "bad packet");
    assert!(world.core.consoles.is_empty());
}

#[test]
fn the_extended_protocol_gives_what_the_simple_one_gives() {
    let mut world = World::new();
    let admin = world.console("admin");
    for show in SHOWS {
        let text = format!("show {}", show.word);
        let simple = world.query(admin, &text);
        world.say(admin, b'P', &parse_message("", &text));
        world.say(admin, b'B', &bind_message("", "", &[]));
        let described = world.say(admin, b'D', b"P\0");
        let executed = world.say(admin, b'E', &execute_message("", 0));
        assert_eq!(kinds(&world.say(admin, b'S', b"")), "Z");
        match show.answer {
            ShowOutput::Help => {
                assert_eq!((kinds(&described), kinds(&executed)), ("n".into(), "NC".into()))
            }
            ShowOutput::Table(_) => {
                assert_eq!(described, simple[..1], "{text}");
                assert_eq!(kinds(&executed) + "Z", kinds(&simple)[1..], "{text}");
            }
        }
    }
}

/// The texts of a row whose columns are in binary where `formats` says so.
fn texts(row: &Message, columns: &[(String, u32)], formats: &[u8]) -> Vec<Option<String>> {
    let text = |(at, value): (usize, Option<Vec<u8>>)| {
        let oid = if formats[at] == 1 { columns[at].1 } else { 25 };
        value.map(|value| match (oid, &value[..]) {
            (23, value) => i32::from_be_bytes(value.try_into().expect("4 bytes")).to_string(),
            (20, value) => i64::from_be_bytes(value.try_into().expect("8 bytes")).to_string(),
            (1700, value) => {
                let words = value.chunks_exact(2).map(|w| u16::from_be_bytes([w[0], w[1]]));
                let words: Vec<u16> = words.collect();
                let [count, weight, 0, 0, digits @ ..] = &words[..] else { panic!("{words:?}") };
                assert_eq!(usize::from(*count), digits.len());
                let digit = |n: u16| u128::from(digits.get(usize::from(n)).copied().unwrap_or(0));
                (0..=*weight).fold(0, |number, n| number * 10_000 + digit(n)).to_string()
            }
            (_, value) => String::from_utf8(value.to_vec()).expect("text"),
        })
    };
    row.bytes().into_iter().enumerate().map(text).collect()
}

#[test]
fn a_result_may_be_binary_in_any_of_its_columns() {
    let mut world = World::new();
    world.busy_client();
    let admin = world.console("admin");
    let tables = SHOWS.iter().filter(|show| matches!(show.answer, ShowOutput::Table(_)));
    for (seed, show) in (0..).zip(tables) {
        let text = format!("show {}", show.word);
        world.say(admin, b'P', &parse_message("", &text));
        let columns = world.say(admin, b'D', b"S\0")[1].columns();
        assert!(columns.len() <= Formats::MOST_COLUMNS);
        let mut rng = SeededRng::new(seed);
        let mixed: Vec<u8> = columns.iter().map(|_| rng.below(2) as u8).collect();
        for codes in [&[1][..], &mixed] {
            let formats =
                if codes.len() == 1 { vec![codes[0]; columns.len()] } else { mixed.clone() };
            world.say(admin, b'B', &bind_message("", "", codes));
            let described = world.say(admin, b'D', b"P\0").remove(0);
            assert_eq!(described.formats(), formats, "{text}");
            let executed = world.say(admin, b'E', &execute_message("", 0));
            let rows = executed.iter().filter(|message| message.kind == 'D');
            let shown: Vec<_> = rows.map(|row| texts(row, &columns, &formats)).collect();
            // STATS and TOTALS count each answer of the console, so a second query would show more.
            if !show.word.contains("STATS") && show.word != "TOTALS" {
                assert_eq!(shown, world.rows(admin, &text), "{text} in {formats:?}");
            }
            assert!(!shown.is_empty() || world.rows(admin, &text).is_empty(), "{text}");
        }
        world.say(admin, b'S', b"");
    }
}

#[test]
fn a_step_of_the_extended_protocol_has_one_answer_and_an_error_skips_to_sync() {
    let mut world = World::new();
    let admin = world.console("admin");
    assert_eq!(kinds(&world.say(admin, b'P', &parse_message("s1", "SHOW STATE"))), "1");
    assert_eq!(kinds(&world.say(admin, b'D', b"Ss1\0")), "tT");
    assert_eq!(kinds(&world.say(admin, b'B', &bind_message("p", "s1", &[0]))), "2");
    assert_eq!(kinds(&world.say(admin, b'E', &execute_message("p", 1))), "Ds");
    assert_eq!(kinds(&world.say(admin, b'E', &execute_message("p", 1))), "DC");
    assert_eq!(kinds(&world.say(admin, b'C', b"Pp\0")), "3");
    assert_eq!(kinds(&world.say(admin, b'H', b"")), "");
    assert_eq!(error(&world.say(admin, b'B', &bind_message("", "s2", &[]))).sqlstate, "26000");
    assert_eq!(kinds(&world.say(admin, b'B', &bind_message("", "s1", &[]))), "", "it is skipped");
    assert_eq!(kinds(&world.query(admin, "show version")), "", "this too");
    assert_eq!(kinds(&world.say(admin, b'S', b"")), "Z");
    let cases: [(u8, Vec<u8>, &str); 11] = [
        (b'P', parse_message("s1", "show version"), "42P05"),
        (b'P', parse_message("", "show version; show state"), "42601"),
        (b'P', parse_message("", "show $1"), "0A000"),
        (b'P', b"\0show version\0\0\x01\0\0\0\x17".to_vec(), "0A000"),
        (b'P', parse_message("", "nonsense"), "08P01"),
        (b'B', b"\0s1\0\0\0\0\x01\0\0\0\x011\0\0".to_vec(), "0A000"),
        (b'B', bind_message("", "s1", &[2]), "22023"),
        (b'B', bind_message("", "s1", &[1, 0, 1]), "08P01"),
        (b'E', execute_message("gone", 0), "34000"),
        (b'D', b"X\0".to_vec(), "08P01"),
        (b'B', b"\0".to_vec(), "08P01"),
    ];
    for (kind, body, sqlstate) in cases {
        let answer = world.say(admin, kind, &body);
        assert_eq!(kinds(&answer), "E", "{}", body.escape_ascii());
        assert_eq!(error(&answer).sqlstate, sqlstate, "{}", body.escape_ascii());
        assert_eq!(kinds(&world.say(admin, b'S', b"")), "Z");
    }
    world.tell(admin, b'B', &bind_message("", "s1", &[]));
    world.tell(admin, b'E', &execute_message("", 0));
    assert_eq!(world.heard(admin), [], "answers wait for Sync");
    assert_eq!(kinds(&world.say(admin, b'S', b"")), "2DDCZ");
    // Portals end with Sync, statements do not.
    world.say(admin, b'B', &bind_message("p", "s1", &[]));
    world.say(admin, b'S', b"");
    assert_eq!(error(&world.say(admin, b'E', &execute_message("p", 0))).sqlstate, "34000");
    world.say(admin, b'S', b"");
    assert_eq!(kinds(&world.say(admin, b'B', &bind_message("p", "s1", &[]))), "2");
    world.say(admin, b'C', b"Ss1\0");
    world.say(admin, b'P', &parse_message("", ""));
    world.say(admin, b'B', &bind_message("q", "", &[]));
    assert_eq!(kinds(&world.say(admin, b'E', &execute_message("q", 0))), "I");
}

#[test]
fn what_a_session_prepares_is_bounded() {
    let mut world = World::new();
    let admin = world.console("admin");
    let mut last = String::new();
    for n in 0..1000 {
        last = kinds(&world.say(admin, b'P', &parse_message(&format!("s{n}"), "show version")));
        if last == "E" {
            break;
        }
    }
    assert_eq!(last, "E");
}

#[test]
fn pause_waits_until_the_servers_are_closed() {
    let mut world = World::new();
    let (client, server) = world.busy_client();
    let admin = world.console("admin");
    assert_eq!(kinds(&world.query(admin, "PAUSE; SHOW STATE")), "");
    assert_eq!(kinds(&world.query(admin, "show version")), "", "the session waits");
    world.pass(Duration::from_secs(1000));
    assert_eq!(kinds(&world.heard(admin)), "");
    world.release(client, server);
    assert_eq!(kinds(&world.heard(client)), "", "its client hears nothing of it");
    let answer = world.heard(admin);
    assert_eq!(kinds(&answer), "CTDDCZ");
    assert_eq!(answer[0].text(), "PAUSE");
    assert!(world.core.servers.is_empty());
    let other = world.console("admin");
    assert_eq!(error(&world.query(other, "pause")).message, "already paused");
    assert_eq!(error(&world.query(other, "pause app")).message, "already paused");
    assert_eq!(world.lines(other, "show state"), ["active|no", "paused|yes"]);
    assert_eq!(kinds(&world.query(other, "resume")), "CZ");
    assert!(world.log().iter().any(|line| line == "PAUSE command issued"));
}

#[test]
fn a_resume_from_elsewhere_ends_a_pause_with_an_error() {
    for database in ["", " app"] {
        let mut world = World::new();
        let (client, server) = world.busy_client();
        let (admin, other) = (world.console("admin"), world.console("admin"));
        assert_eq!(kinds(&world.query(admin, &format!("pause{database}; show version"))), "");
        assert_eq!(kinds(&world.query(other, &format!("resume{database}"))), "CZ");
        let answer = world.heard(admin);
        assert_eq!(kinds(&answer), "EZ", "what follows in the string is not carried out");
        assert_eq!(error(&answer).message, "PAUSE was ended by RESUME");
        assert_eq!(kinds(&world.query(admin, "show version")), "TDCZ");
        world.release(client, server);
        assert_eq!(world.app_servers(), 1, "the server works on");
    }
}

#[test]
fn two_pauses_are_both_answered() {
    let mut world = World::new();
    let (client, server) = world.busy_client();
    let (one, two) = (world.console("admin"), world.console("admin"));
    assert_eq!(kinds(&world.query(one, "pause app")), "");
    assert_eq!(kinds(&world.query(two, "pause app")), "");
    world.release(client, server);
    assert_eq!((kinds(&world.heard(one)), kinds(&world.heard(two))), ("CZ".into(), "CZ".into()));
}

#[test]
fn a_pause_with_a_limit_gives_up_names_the_holders_and_resumes() {
    let mut world = World::new();
    world.busy_client();
    let admin = world.console("admin");
    assert_eq!(kinds(&world.query(admin, "PAUSE app TIMEOUT 5")), "");
    world.pass(Duration::from_secs(4));
    assert_eq!(kinds(&world.heard(admin)), "");
    world.pass(Duration::from_millis(1100));
    let answer = world.heard(admin);
    assert_eq!(kinds(&answer), "EZ");
    assert_eq!(error(&answer).message, "PAUSE gave up after 5.1 s");
    let detail = answer[0].field('D').expect("a detail");
    assert!(detail.contains("app/app@127.0.0.1:40000 for 5s"), "{detail}");
    assert!(detail.ends_with("Work goes on."), "{detail}");
    let paused =
        world.rows(admin, "show databases").iter().any(|row| row[15].as_deref() == Some("1"));
    assert!(!paused);
}

#[test]
fn a_pause_that_gives_up_leaves_what_another_has_paused() {
    let mut world = World::new();
    world.busy_client();
    let (one, two) = (world.console("admin"), world.console("admin"));
    world.query(one, "pause app");
    world.query(two, "pause app timeout 1");
    world.pass(Duration::from_secs(2));
    let answer = world.heard(two);
    assert!(answer[0].field('D').unwrap().ends_with("It stays paused."));
    assert_eq!(kinds(&world.heard(one)), "", "the other one waits on");
    assert_eq!(kinds(&world.query(two, "resume app")), "CZ");
    assert_eq!(kinds(&world.heard(one)), "EZ");
}

#[test]
fn a_client_that_leaves_during_its_pause_leaves_it_in_force() {
    let mut world = World::new();
    let (client, server) = world.busy_client();
    let admin = world.console("admin");
    world.query(admin, "pause app");
    world.say(admin, b'X', b"");
    assert!(world.core.consoles.is_empty());
    world.release(client, server);
    let admin = world.console("admin");
    assert_eq!(world.app_servers(), 0);
    assert_eq!(kinds(&world.query(admin, "resume app")), "CZ");
}

#[test]
fn resume_without_pause_says_what_is_paused() {
    let mut world = World::new();
    let admin = world.console("admin");
    assert_eq!(error(&world.query(admin, "resume")).message, "pooler is not paused");
    assert_eq!(error(&world.query(admin, "resume app")).message, "database app is not paused");
    world.query(admin, "pause app");
    let answer = world.query(admin, "resume");
    assert_eq!(error(&answer).message, "pooler is not paused");
    assert_eq!(answer[0].field('D').as_deref(), Some("Paused by name: app."));
}

#[test]
fn kill_ends_clients_and_servers_and_holds_the_database_back() {
    let mut world = World::new();
    let (client, _) = world.busy_client();
    let admin = world.console("admin");
    world.log();
    assert_eq!(kinds(&world.query(admin, "KILL app")), "CZ");
    assert_eq!(error(&world.heard(client)).message, "database removed");
    assert_eq!(world.app_servers(), 0);
    let lines = world.log();
    let at = |words: &str| lines.iter().position(|line| line.contains(words)).unwrap_or(99);
    assert!(at("closing because: database removed") < at("client disconnect while server was not"));
    assert_eq!(kinds(&world.query(admin, "resume app")), "CZ");
    let (client, _) = world.busy_client();
    assert_eq!(kinds(&world.query(admin, "KILL")), "CZ");
    assert_eq!(error(&world.heard(client)).message, "database removed");
    assert_eq!(error(&world.query(admin, "resume app")).message, "database app is not paused");
}

#[test]
fn kill_client_takes_the_id_and_the_ptr() {
    for column in [20, 14] {
        let mut world = World::new();
        let (client, _) = world.busy_client();
        let admin = world.console("admin");
        let rows = world.rows(admin, "show clients");
        let name = rows[0][column].clone().expect("a name");
        assert_eq!(kinds(&world.query(admin, &format!("kill_client {name}"))), "CZ");
        assert_eq!(error(&world.heard(client)).message, "admin forced disconnect");
        let again = world.query(admin, &format!("kill_client {name}"));
        assert_eq!(error(&again).message, "client not found");
    }
    let mut world = World::new();
    let admin = world.console("admin");
    for text in ["kill_client", "kill_client abc", "kill_client 0xyz", "kill_client -1"] {
        assert_eq!(error(&world.query(admin, text)).message, "invalid client pointer supplied");
    }
    let own = world.rows(admin, "show clients")[0][20].clone().expect("an id");
    let answer = world.query(admin, &format!("kill_client {own}"));
    assert_eq!(error(&answer).message, "admin forced disconnect");
}

#[test]
fn disable_keeps_new_clients_out_and_lets_old_ones_be() {
    let mut world = World::new();
    world.busy_client();
    let admin = world.console("admin");
    assert_eq!(kinds(&world.query(admin, "disable app")), "CZ");
    assert_eq!(kinds(&world.query(admin, "disable app")), "CZ");
    let late = world.client("app", "app");
    assert_eq!(error(&world.heard(late)).message, "database \"app\" is disabled");
    assert_eq!(world.app_servers(), 1);
    assert_eq!(kinds(&world.query(admin, "enable app")), "CZ");
    assert_eq!(error(&world.query(admin, "enable")).message, "a database is required");
    assert_eq!(error(&world.query(admin, "enable nosuch")).message, "no such database: nosuch");
}

#[test]
fn the_console_itself_cannot_be_paused_or_killed() {
    let mut world = World::new();
    let admin = world.console("admin");
    for (word, verb) in [
        ("pause", "pause"),
        ("disable", "disable"),
        ("enable", "enable"),
        ("reconnect", "reconnect"),
        ("kill", "kill"),
        ("wait_close", "wait in"),
    ] {
        let answer = world.query(admin, &format!("{word} pgbouncer"));
        assert_eq!(error(&answer).message, format!("cannot {verb} admin db: pgbouncer"));
    }
    let answer = world.query(admin, "resume pgbouncer");
    assert_eq!(error(&answer).message, "database pgbouncer is not paused");
}

#[test]
fn wait_close_waits_for_the_servers_that_reconnect_has_marked() {
    let mut world = World::new();
    let (client, server) = world.busy_client();
    let admin = world.console("admin");
    assert_eq!(kinds(&world.query(admin, "wait_close")), "CZ", "nothing is marked");
    assert_eq!(kinds(&world.query(admin, "reconnect app; wait_close app")), "C");
    let other = world.console("stats");
    assert_eq!(world.rows(other, "show servers")[0][13].as_deref(), Some("1"), "close_needed");
    world.log();
    world.release(client, server);
    assert_eq!(kinds(&world.heard(client)), "");
    assert_eq!(kinds(&world.heard(admin)), "CZ");
    assert!(world.log().iter().any(|line| line.contains("closing because: close_needed")));
}

#[test]
fn reload_is_answered_when_the_shell_has_done_it() {
    let mut world = World::new();
    let admin = world.console("admin");
    assert_eq!(kinds(&world.query(admin, "reload; show version")), "");
    assert_eq!(world.reloads, [admin]);
    world.core.end_reload(admin, Ok(()));
    world.carry_out();
    assert_eq!(kinds(&world.heard(admin)), "CTDCZ");
    world.say(admin, b'P', &parse_message("", "reload"));
    world.say(admin, b'B', &bind_message("", "", &[]));
    assert_eq!(kinds(&world.say(admin, b'E', &execute_message("", 0))), "");
    world.core.end_reload(admin, Err("x.ini:3: pool_mode: no".into()));
    world.carry_out();
    let answer = world.say(admin, b'H', b"");
    assert_eq!(kinds(&answer), "E");
    assert_eq!(error(&answer).message, "RELOAD failed, see logs for additional details");
    assert_eq!(error(&answer).sqlstate, "F0000");
    assert_eq!(answer[0].field('D').as_deref(), Some("x.ini:3: pool_mode: no"));
    assert_eq!(kinds(&world.say(admin, b'S', b"")), "Z");
}

#[test]
fn set_is_checked_as_the_file_is() {
    let mut world = World::new();
    let admin = world.console("admin");
    let answer = world.query(admin, "SET Default_Pool_Size TO '7'");
    assert_eq!(
        (kinds(&answer).as_str(), answer[0].text().as_str()),
        ("CZ", "SET Default_Pool_Size=7")
    );
    assert_eq!(world.core.settings().default_pool_size, 7);
    let refused = [
        ("set pool_mode = x", "pool_mode: expected one of session, transaction, statement."),
        ("set listen_port = 5", "listen_port: the setting is read at start only."),
        ("set pol_mode = session", "pol_mode: unknown parameter, did you mean pool_mode?"),
        ("set suspend_timeout = 1", "suspend_timeout: the setting has no effect any more."),
    ];
    for (text, detail) in refused {
        let before = world.core.settings().clone();
        let answer = world.query(admin, text);
        assert_eq!(error(&answer).message, "SET failed");
        assert_eq!(answer[0].field('D').as_deref(), Some(detail));
        assert_eq!(*world.core.settings(), before);
    }
    let stats = world.console("stats");
    let answer = world.query(stats, "SET application_name = 'x y', 'z'");
    assert_eq!((kinds(&answer).as_str(), answer[1].text().as_str()), ("NCZ", "SET"));
    assert_eq!(answer[0].field('M').as_deref(), Some("SET ignored"));
}

#[test]
fn shutdown_is_answered_unless_it_is_at_once() {
    let mut world = World::new();
    let (client, server) = world.busy_client();
    let admin = world.console("admin");
    assert_eq!(kinds(&world.query(admin, "shutdown wait_for_servers")), "CZ");
    assert_eq!(world.lines(admin, "show state"), ["active|no", "paused|yes"]);
    assert_eq!(error(&world.query(admin, "resume")).message, "pooler is shutting down");
    assert_eq!(error(&world.query(admin, "pause")).message, "pooler is shutting down");
    world.pass(Duration::from_secs(1));
    assert!(!world.is_over);
    world.release(client, server);
    world.pass(Duration::from_secs(1));
    assert!(world.is_over);
    let told = world.heard(client);
    assert_eq!(error(&told).sqlstate, "57P01", "{told:?}");
    let lines = world.log();
    assert!(lines.iter().any(|line| line == "SHUTDOWN WAIT_FOR_SERVERS command issued"));
    assert!(lines.iter().any(|line| line == "server connections dropped, exiting"));

    let mut world = World::new();
    let admin = world.console("admin");
    assert_eq!(kinds(&world.query(admin, "shutdown wait_for_clients")), "CZ");
    world.pass(Duration::from_secs(1));
    assert!(!world.is_over, "the console's own client is there");
    assert_eq!(kinds(&world.query(admin, "shutdown")), "");
    assert!(world.is_over);
}

#[test]
fn settings_are_shown_as_the_reference_shows_them() {
    let mut world = World::new();
    let admin = world.console("admin");
    let shown = world.lines(admin, "show config");
    let fresh = include_str!("../../tests/reference/show_config_fresh.txt");
    let fresh: Vec<&str> = fresh.lines().skip(2).collect();
    assert_eq!(shown.len(), fresh.len());
    let own = ["auth_file", "conffile", "logfile", "pidfile", "unix_socket_dir", "stats_period"];
    for (ours, theirs) in shown.iter().zip(fresh) {
        let key = |line: &str| line.split('|').next().unwrap_or_default().to_owned();
        assert_eq!(key(ours), key(theirs));
        let differs = ["auth_query", "server_tls_sslmode"].contains(&key(ours).as_str());
        if !own.contains(&key(ours).as_str()) && !differs {
            assert_eq!(ours, theirs);
        }
    }
}

#[test]
fn databases_users_and_peers_are_shown_as_the_reference_shows_them() {
    let mut world = World::new();
    let admin = world.console("admin");
    assert_eq!(
        world.lines(admin, "show databases"),
        [
            "app|127.0.0.1|5432|app|<null>|20|0|0|3600|<null>|<null>|0|0|0|0|0|0",
            "bob|127.0.0.1|5432|bob|bob|7|1|3|120|session|<null>|9|1|8|0|0|0",
            "hosts|127.0.0.1,localhost|5432|hosts|<null>|20|0|0|3600|<null>|round-robin|\
             0|0|0|0|0|0",
            "local|<null>|5432|x|<null>|20|0|0|3600|<null>|<null>|0|0|0|0|0|0",
            "named|db.example|5432|named|<null>|20|0|0|3600|<null>|<null>|0|0|0|0|0|0",
            "pgbouncer|<null>|6432|pgbouncer|pgbouncer|2|0|0|3600|statement|<null>|0|0|0|1|0|0",
        ]
    );
    assert_eq!(
        world.lines(admin, "show users"),
        [
            "admin|||<null>|0|0|0|1",
            "app|||<null>|0|0|0|0",
            "bob|       11|        2|<null>|0|1|0|0",
            "pgbouncer|||<null>|0|0|0|0",
            "stats|||<null>|0|0|0|0",
        ]
    );
    assert_eq!(world.lines(admin, "show peers"), ["1|127.0.0.1|7001|20", "2|/tmp|7002|5"]);
    assert_eq!(world.lines(admin, "show version"), ["PgBouncer 1.26.1"]);
}

#[test]
fn clients_servers_and_pools_are_shown_as_the_reference_shows_them() {
    let mut world = World::new();
    world.busy_client();
    world.core.now.mono = world.core.now.mono + Duration::from_secs(2);
    world.core.now.wall_us += 2_000_000;
    let admin = world.console("admin");
    let clients = world.lines(admin, "show clients");
    assert_eq!(clients.len(), 2, "{clients:?}");
    assert_eq!(
        clients[0],
        "C|app|app|none|active|127.0.0.1|40000|127.0.0.1|6432|2026-01-31 15:05:40 UTC|\
         2026-01-31 15:05:40 UTC|0|0|0|0x550000000080|0x5500000000e0|0|||0|2"
    );
    assert!(clients[1].starts_with("C|admin|pgbouncer|none|idle|"), "{}", clients[1]);
    let servers = world.lines(admin, "show servers");
    assert!(servers[0].starts_with("S|app|app|none|active|127.0.0.1|5432|127.0.0.1|50000|"));
    assert!(
        servers[0].ends_with("|0|0|0|0x5500000000e0|0x550000000080|42|||0|3"),
        "{}",
        servers[0]
    );
    assert!(servers[1].starts_with("S|bob|bob|none|new|"), "{}", servers[1]);
    let pools = world.lines(admin, "show pools");
    assert_eq!(pools[0], "app|app|1|0|0|0|1|0|0|0|0|0|0|0|0|transaction|<null>");
    assert_eq!(pools[1], "bob|bob|0|0|0|0|0|0|0|0|0|0|1|0|0|session|<null>");
    assert_eq!(pools[2], "pgbouncer|pgbouncer|1|0|0|0|0|0|0|0|0|0|0|0|0|statement|<null>");
    let sockets = world.lines(admin, "show sockets");
    assert!(sockets[0].contains("|cl_active|") && sockets[0].ends_with("|3|0|0|0|0|3|0"));
    assert!(sockets.iter().any(|line| line.contains("|sv_login|")));
    assert_eq!(world.lines(admin, "show active_sockets").len(), 2, "bytes of clients are held");
    let lists = world.lines(admin, "show lists");
    assert_eq!(lists[..4], ["databases|6", "users|5", "peers|2", "pools|3"]);
}

#[test]
fn names_are_shown_and_servers_at_addresses_that_are_gone_are_retired() {
    let mut world = World::new();
    let (client, server) = world.busy_client_of("named");
    let (_, other) = world.busy_client();
    let admin = world.console("admin");
    assert_eq!(world.lines(admin, "show dns_hosts"), ["db.example|15|127.0.0.1:0"]);
    assert_eq!(world.lines(admin, "show dns_zones"), Vec::<String>::new());
    // While the addresses are valid, the resolver is not asked again.
    world.pass(Duration::from_secs(10));
    assert_eq!(world.lines(admin, "show dns_hosts"), ["db.example|5|127.0.0.1:0"]);
    assert!(world.lookups.is_empty());
    world.pass(Duration::from_secs(10));
    assert_eq!(std::mem::take(&mut world.lookups), ["db.example"]);
    // The answer has the same address and one more: no server's address is gone.
    let close_needed = |world: &mut World| -> Vec<String> {
        let rows = world.rows(admin, "show servers").into_iter();
        let active = rows.filter(|row| row[4].as_deref() == Some("active"));
        active.map(|row| format!("{:?} {:?}", row[2], row[13])).collect()
    };
    let both = |of_named: &str| {
        let line = |database: &str, flag: &str| format!("{:?} {:?}", Some(database), Some(flag));
        [line("app", "0"), line("named", of_named)]
    };
    let answer = vec![[127, 0, 0, 1].into(), [10, 0, 0, 9].into()];
    world.core.resolved("db.example", Ok(answer));
    world.carry_out();
    assert_eq!(close_needed(&mut world), both("0"));
    world.pass(Duration::from_secs(20));
    assert_eq!(std::mem::take(&mut world.lookups), ["db.example"]);
    world.core.resolved("db.example", Ok(vec![[10, 0, 0, 9].into()]));
    world.carry_out();
    assert_eq!(close_needed(&mut world), both("1"), "busy as it is, its time has come");
    assert_eq!(world.lines(admin, "show dns_hosts"), ["db.example|15|10.0.0.9:0"]);
    world.release(client, server);
    assert!(!world.core.servers.contains(server) && world.core.servers.contains(other));
}

#[test]
fn the_consoles_own_work_is_counted() {
    let mut world = World::new();
    let admin = world.console("admin");
    world.query(admin, "show version");
    world.say(admin, b'P', &parse_message("", "show version"));
    world.say(admin, b'B', &bind_message("", "", &[]));
    world.say(admin, b'E', &execute_message("", 0));
    world.say(admin, b'S', b"");
    let row = world.rows(admin, "show stats_totals").pop().expect("the console's row");
    let row: Vec<&str> = row.iter().map(|cell| cell.as_deref().unwrap_or_default()).collect();
    assert_eq!(row, ["pgbouncer", "0", "3", "3", "0", "0", "0", "0", "0", "0", "0", "0", "1"]);
    let totals = world.rows(admin, "show totals");
    assert_eq!(totals.len(), 24);
    assert_eq!(totals[11], [Some("total_client_login_count".into()), Some("1".into())]);
}

#[test]
fn errors_are_counted_and_events_are_kept() {
    let mut world = World::new();
    world.busy_client();
    let admin = world.console("admin");
    world.query(admin, "nonsense");
    world.query(admin, "set default_pool_size = 3");
    world.query(admin, "disable bob");
    world.query(admin, "kill app");
    let late = world.client("app", "nosuch/");
    world.heard(late);
    let errors = world.lines(admin, "show errors");
    let has = |start: &str| errors.iter().any(|line| line.starts_with(start));
    assert!(has("client|invalid command|1|2026-01-31 15:05:40 UTC|pgbouncer|admin|"), "{errors:?}");
    assert!(has("client|database removed|1|2026-01-31 15:05:40 UTC|app|app|"), "{errors:?}");
    let ready = "server|client disconnect while server was not ready|1|2026-01-31 15:05:40 UTC|\
                 app|app|127.0.0.1:5432";
    assert!(has(ready), "{errors:?}");
    let events: Vec<String> = world
        .rows(admin, "show events")
        .into_iter()
        .map(|row| row[2].clone().unwrap_or_default())
        .collect();
    assert_eq!(events, ["start", "SET default_pool_size: 20 -> 3", "DISABLE bob", "KILL app"]);
    for n in 0..1000 {
        world.core.note_event(&format!("event {n}"));
        world.core.note_repeating("the same");
    }
    let events = world.rows(admin, "show events");
    assert_eq!(events.len(), 200);
    assert_eq!(events[199][1].as_deref(), Some("1000"));
}

/// Whatever an admin sends, nothing panics, the core's records agree, and a session that is there
/// answers the next command.
#[test]
fn any_input_leaves_the_console_able_to_answer() {
    const WORDS: [&str; 40] = [
        "SHOW",
        "POOLS",
        "stats",
        "SET",
        "pause",
        "RESUME",
        "kill",
        "app",
        "bob",
        "TIMEOUT",
        "5",
        "RELOAD",
        ";",
        ";",
        "=",
        "'",
        "\"",
        "''",
        "--",
        "/*",
        "*/",
        "\n",
        "$1",
        "verbose",
        "TO",
        "kill_client",
        "3",
        "0x550000000040",
        "disable",
        "enable",
        "wait_close",
        "reconnect",
        "pgbouncer",
        "nosuch",
        "é",
        "\u{7f}",
        "extra_float_digits",
        "clients",
        "SOCKETS",
        "help",
    ];
    for seed in 0..400 {
        let mut rng = SeededRng::new(seed);
        let mut world = World::new();
        let mut admin = world.console("admin");
        world.busy_client();
        for _ in 0..30 {
            let kinds = b"QQQQPPBBDDEECCSSHFdXy";
            let kind = kinds[rng.below(kinds.len() as u64) as usize];
            let mut body = Vec::new();
            for _ in 0..rng.below(6) {
                body.extend_from_slice(WORDS[rng.below(40) as usize].as_bytes());
                body.extend_from_slice([&b" "[..], b"\0", b"\0\0", b""][rng.below(4) as usize]);
            }
            if rng.one_in(8) {
                let mut noise = vec![0; rng.below(20) as usize];
                rng.fill(&mut noise);
                body.append(&mut noise);
            }
            if kind == b'Q' && !rng.one_in(10) {
                body.push(0);
            }
            world.tell(admin, kind, &body);
            for client in std::mem::take(&mut world.reloads) {
                world.core.end_reload(client, Ok(()));
            }
            world.pass(Duration::from_millis(rng.below(3000)));
            if world.core.console(admin).is_none() {
                admin = world.console("admin");
            }
        }
        world.core.resume(None);
        let app = world.core.directory.find_database("app");
        world.core.resume(app);
        world.core.kill(app);
        world.carry_out();
        world.say(admin, b'S', b"");
        let answer = world.query(admin, "show version");
        assert!(kinds(&answer).ends_with("TDCZ"), "seed {seed}: {answer:?}");
    }
}

#[test]
fn a_string_that_asks_for_much_lets_others_have_their_turn() {
    const COMMANDS: usize = 60;
    let mut world = World::new();
    let greedy = world.console("stats");
    let other = world.console("admin");
    let done = |heard: &[Message]| heard.iter().filter(|m| m.kind == 'C').count();
    let mut tables = done(&world.query_in_a_turn(greedy, &"SHOW CONFIG;".repeat(COMMANDS)));
    assert!((1..COMMANDS).contains(&tables), "{tables} in one turn");
    // The session's next message waits.
    assert_eq!(world.query_in_a_turn(greedy, "SHOW VERSION"), []);
    let mut turns = 1;
    loop {
        assert_eq!(world.rows(other, "SHOW VERSION").len(), 1, "others are served");
        world.pass(Duration::from_millis(1));
        let heard = world.heard(greedy);
        let more = done(&heard);
        tables += more;
        turns += 1;
        if heard.iter().any(|message| message.kind == 'Z') {
            break;
        }
        assert!((1..COMMANDS / 4).contains(&more), "{more} in one turn");
    }
    assert_eq!(tables, COMMANDS);
    assert!(turns > 4, "{turns}");
}

#[test]
fn messages_that_ask_for_much_let_others_have_their_turn() {
    let mut world = World::new();
    let greedy = world.console("stats");
    let answered =
        (0..60).filter(|_| !world.query_in_a_turn(greedy, "SHOW CONFIG").is_empty()).count();
    assert!(answered < 30, "{answered} in one turn");
    world.pass(Duration::from_millis(1));
    assert!(!world.query_in_a_turn(greedy, "SHOW CONFIG").is_empty(), "it is its turn again");
    // A command with a short answer counts too.
    let refused = (0..1000).take_while(|_| !world.query_in_a_turn(greedy, "X").is_empty()).count();
    assert!(refused < 500, "{refused} in one turn");
}

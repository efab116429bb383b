//! SET in all its forms, sent in each way, in each kind of transaction, under each `session_state`,
//! against a real PostgreSQL: what the client itself and the next one on the same server find.
//!
//! The cases are products of four tables. `Case::expected` says in a few lines what the manual's
//! page "State that outlives a transaction" promises for each of them.

mod support;

use std::collections::BTreeMap;
use std::fmt::{self, Debug};

use support::client::Login;
use support::postgres::APP;
use support::session::{CLEAN, INSPECT};
use support::{Client, Failure, Pooler, Setup, wire};

/// A parameter, and what it is in a new session.
struct Parameter {
    name: &'static str,
    value: &'static str,
    default: &'static str,
    /// Servers report it, so that it follows its client and is nobody's state.
    follows: bool,
}

const PARAMETERS: [Parameter; 4] = [
    Parameter { name: "timezone", value: "Asia/Tokyo", default: "UTC", follows: true },
    Parameter { name: "work_mem", value: "1MB", default: "4MB", follows: false },
    // It follows its client from the login only, since this PostgreSQL does not report it.
    Parameter {
        name: "search_path",
        value: "nowhere",
        default: "\"$user\", public",
        follows: false,
    },
    Parameter { name: "my.mark", value: "x", default: "", follows: false },
];

/// A text, with `{p}` and `{v}` for the parameter and its value.
struct Change {
    /// What the client has run before, in a transaction of its own.
    before: Option<&'static str>,
    text: &'static str,
    does: Does,
    /// Its words are of those that leave something, where the parameter does not follow.
    counts: bool,
}

/// What a text has done to the parameter for the session, once it is committed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Does {
    Nothing,
    Sets,
    /// Back to what a new session has, of this parameter alone.
    Resets,
    /// Of all of them.
    Clears,
}

const SET: &str = "set {p} = '{v}'";

const fn change(text: &'static str, does: Does, counts: bool) -> Change {
    Change { before: None, text, does, counts }
}

const fn behind_a_set(text: &'static str, does: Does) -> Change {
    Change { before: Some(SET), text, does, counts: false }
}

const CHANGES: [Change; 22] = [
    change(SET, Does::Sets, true),
    change("/* a comment */ SET SESSION {p} TO '{v}'", Does::Sets, true),
    change("set {p} = '{v}'; select 1", Does::Sets, true),
    change("select 1; set {p} = '{v}'", Does::Sets, true),
    change("set {p} = '{v}'; set local {p} = '{v}'", Does::Sets, true),
    change("set {p} = '{v}'; reset {p}", Does::Resets, true),
    change("set {p} = '{v}'; reset all", Does::Clears, true),
    change("reset all; set {p} = '{v}'", Does::Sets, true),
    change("set local {p} = '{v}'", Does::Nothing, false),
    change("set transaction read only", Does::Nothing, false),
    change("set constraints all deferred", Does::Nothing, false),
    change("reset {p}", Does::Resets, false),
    change("set {p} to default", Does::Resets, true),
    change("reset all", Does::Clears, false),
    change("select set_config('{p}', '{v}', false)", Does::Sets, true),
    change("select set_config('{p}', '{v}', true)", Does::Nothing, false),
    change("select 1 where set_config('{p}', '{v}', false) > 'A'", Does::Sets, true),
    change(
        "with w as (select set_config('{p}', '{v}', true)) select * from w",
        Does::Nothing,
        false,
    ),
    behind_a_set("reset {p}", Does::Resets),
    behind_a_set("reset all", Does::Clears),
    behind_a_set("set local {p} = '{v}'", Does::Nothing),
    behind_a_set("select 1", Does::Nothing),
];

/// A kind of transaction: statements, with None for the change.
struct Shape {
    name: &'static str,
    steps: &'static [Option<&'static str>],
    commits: bool,
}

const SHAPES: [Shape; 7] = [
    Shape { name: "alone", steps: &[None], commits: true },
    Shape { name: "alone, failed", steps: &[None, Some("select 1/0")], commits: false },
    Shape { name: "committed", steps: &[Some("begin"), None, Some("commit")], commits: true },
    Shape { name: "rolled back", steps: &[Some("begin"), None, Some("rollback")], commits: false },
    Shape {
        name: "failed",
        steps: &[Some("begin"), None, Some("select 1/0"), Some("commit")],
        commits: false,
    },
    Shape {
        name: "savepoint rolled back",
        steps: &[
            Some("begin"),
            Some("savepoint a"),
            None,
            Some("rollback to savepoint a"),
            Some("commit"),
        ],
        commits: false,
    },
    Shape {
        name: "savepoint released",
        steps: &[Some("begin"), Some("savepoint a"), None, Some("release a"), Some("commit")],
        commits: true,
    },
];

/// Bytes that go out at once, and how many answers come to them.
type Trip = (Vec<u8>, usize);

/// How statements are sent.
struct Way {
    name: &'static str,
    trips: fn(&[&str]) -> Vec<Trip>,
    /// All are one transaction where they do not say otherwise.
    is_one: bool,
    /// A text may be several statements.
    is_simple: bool,
    /// Statements are sent before those that came first have been answered.
    is_ahead: bool,
}

const WAYS: [Way; 6] = [
    Way {
        name: "simple",
        trips: |steps| steps.iter().map(|sql| (wire::query(sql), 1)).collect(),
        is_one: false,
        is_simple: true,
        is_ahead: false,
    },
    Way {
        name: "in one message",
        trips: |steps| vec![(wire::query(&steps.join("; ")), 1)],
        is_one: true,
        is_simple: true,
        is_ahead: false,
    },
    Way {
        name: "extended",
        trips: |steps| steps.iter().map(|sql| (unnamed(sql, true), 1)).collect(),
        is_one: false,
        is_simple: false,
        is_ahead: false,
    },
    Way {
        name: "prepared",
        trips: |steps| {
            let steps = steps.iter().enumerate();
            let both = steps.flat_map(|(number, sql)| {
                let name = format!("s{number}");
                let prepare = [wire::parse(&name, sql), wire::sync()].concat();
                let run = [wire::bind(&name, &[]), wire::execute(), wire::sync()].concat();
                [(prepare, 1), (run, 1)]
            });
            both.collect()
        },
        is_one: false,
        is_simple: false,
        is_ahead: false,
    },
    Way {
        name: "pipeline",
        trips: |steps| {
            let all: Vec<u8> = steps.iter().flat_map(|sql| unnamed(sql, true)).collect();
            vec![(all, steps.len())]
        },
        is_one: false,
        is_simple: false,
        is_ahead: true,
    },
    Way {
        name: "pipeline with one Sync",
        trips: |steps| {
            let all: Vec<u8> = steps.iter().flat_map(|sql| unnamed(sql, false)).collect();
            vec![([all, wire::sync()].concat(), 1)]
        },
        is_one: true,
        is_simple: false,
        is_ahead: true,
    },
];

/// Parse, Bind and Execute of the unnamed statement, and Sync.
fn unnamed(sql: &str, with_sync: bool) -> Vec<u8> {
    let sync = if with_sync { wire::sync() } else { vec![] };
    [wire::parse("", sql), wire::bind("", &[]), wire::execute(), sync].concat()
}

/// One of the products.
struct Case {
    parameter: &'static Parameter,
    change: &'static Change,
    shape: &'static Shape,
    way: &'static Way,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Policy {
    Allow,
    Warn,
    Reset,
    Pin,
    Error,
}

/// What the manual promises of a case.
#[derive(Debug, PartialEq, Eq)]
struct Expected {
    /// What the client finds afterwards, and what another one.
    own: &'static str,
    other: &'static str,
    /// A statement of it is refused.
    is_refused: bool,
    /// The client keeps its server.
    is_pinned: bool,
    /// Warnings.
    warnings: u64,
    /// Queries that undo something, and that are all that is sent besides.
    resets: u64,
}

impl Case {
    fn all() -> impl Iterator<Item = Case> {
        let of_ways = WAYS.iter().flat_map(|way| SHAPES.iter().map(move |shape| (way, shape)));
        let of_changes =
            of_ways.flat_map(|(way, shape)| CHANGES.iter().map(move |change| (way, shape, change)));
        let all = of_changes.flat_map(|(way, shape, change)| {
            PARAMETERS.iter().map(move |parameter| Case { parameter, change, shape, way })
        });
        all.filter(Case::is_one)
    }

    /// Whether it can be sent so, and is told from others.
    fn is_one(&self) -> bool {
        let is_single = self.way.is_simple || !self.change.text.contains(';');
        // Those whose text names none, and the less common ones not with everything.
        let is_told_apart = match self.parameter.name {
            "timezone" => true,
            "work_mem" => self.names_a_parameter(),
            _ => self.names_a_parameter() && matches!(self.way.name, "simple" | "pipeline"),
        };
        // Statements that are transactions of their own have no common fate.
        let fails = self.shape.name == "alone, failed";
        let has_one_fate = !fails || self.way.is_one;
        is_single && has_one_fate && is_told_apart
    }

    fn names_a_parameter(&self) -> bool {
        self.change.before.is_some() || self.change.text.contains("{p}")
    }

    fn expected(&self, policy: Policy) -> Expected {
        let Parameter { value, default, follows, .. } = *self.parameter;
        let (change, commits) = (self.change, self.shape.commits);
        let counts_before = change.before.is_some() && !follows;
        let counts = change.counts && !follows;
        let is_refused = policy == Policy::Error && (counts || counts_before);
        // What was there before, for this client.
        let stays = follows || matches!(policy, Policy::Allow | Policy::Warn | Policy::Pin);
        let before = if change.before.is_some() && stays { value } else { default };
        let is_done = commits && !is_refused;
        let after = match change.does {
            Does::Sets if is_done => value,
            Does::Resets | Does::Clears if is_done => default,
            _ => before,
        };
        let leaks = !follows && matches!(policy, Policy::Allow | Policy::Warn);
        // A ROLLBACK is not taken to undo anything.
        let is_cleared = change.does == Does::Clears && commits && !self.is_behind_others();
        let is_pinned = policy == Policy::Pin && (counts || counts_before) && !is_cleared;
        let is_warned = policy == Policy::Warn && (counts_before || counts && !is_cleared);
        let resets = u64::from(counts_before) + u64::from(counts && !is_cleared);
        Expected {
            own: if stays { after } else { default },
            other: if leaks { after } else { default },
            is_refused,
            is_pinned,
            warnings: u64::from(is_warned),
            resets: if policy == Policy::Reset { resets } else { 0 },
        }
    }

    /// A statement that clears does not count where others are on their way before it.
    fn is_behind_others(&self) -> bool {
        self.way.is_ahead && self.shape.steps.len() > 1
    }

    fn write(&self, template: &str) -> String {
        template.replace("{p}", self.parameter.name).replace("{v}", self.parameter.value)
    }

    /// Runs it, and gives the first error.
    fn run(&self, client: &mut Client) -> Option<Failure> {
        let mut first = None;
        if let Some(before) = self.change.before {
            first = client.query(&self.write(before)).err();
        }
        let change = self.write(self.change.text);
        let steps = self.shape.steps.iter().map(|step| step.unwrap_or(&change));
        let mut state = 'I';
        for (bytes, answers) in (self.way.trips)(&steps.collect::<Vec<_>>()) {
            client.wire.send(&bytes);
            for _ in 0..answers {
                match answer(client) {
                    Ok(of_it) => state = of_it,
                    Err((failure, of_it)) => {
                        first.get_or_insert(failure);
                        state = of_it;
                    }
                }
            }
        }
        // What ends the transaction may have been passed over.
        if state != 'I' {
            client.query("rollback").expect("an end");
        }
        first
    }
}

impl Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = self.change.before.map_or(String::new(), |before| self.write(before) + " | ");
        let text = self.write(self.change.text);
        write!(f, "{}, {}: {before}{text}", self.way.name, self.shape.name)
    }
}

/// The state behind an answer, and the error in it.
fn answer(client: &mut Client) -> Result<char, (Failure, char)> {
    let messages = client.wire.hear_until_ready().expect("an answer");
    let state = messages.last().map_or('?', |ready| ready.body[0] as char);
    match messages.iter().find(|message| message.kind == b'E') {
        Some(error) => Err((Failure::from(error), state)),
        None => Ok(state),
    }
}

/// What a client finds: the parameter, and all else that its session has.
fn found(client: &mut Client, parameter: &Parameter) -> String {
    let value = format!("coalesce(current_setting('{}', true), '')", parameter.name);
    client.one(&INSPECT.replace("concat_ws(' ', ", &format!("concat_ws(' ', {value}, ")))
}

/// The same where the parameter has that value.
fn inspected(parameter: &Parameter, value: &str) -> String {
    let of_session = match parameter.name {
        _ if value == parameter.default => CLEAN.to_owned(),
        "my.mark" => CLEAN.replace("custom:-", &format!("custom:{value}")),
        "timezone" => CLEAN.replace("settings:-", "settings:TimeZone"),
        name => CLEAN.replace("settings:-", &format!("settings:{name}")),
    };
    format!("{value} {of_session}")
}

/// One server, so that whatever is left is found.
fn pooler(policy: Policy) -> Pooler {
    Setup::new()
        .set("session_state", &format!("{policy:?}").to_lowercase())
        .set("default_pool_size", "1")
        .set("pin_limit", "100")
        .set("log_connections", "0")
        .set("log_disconnections", "0")
        .start()
}

/// Plays each case under a policy.
fn play(policy: Policy) {
    let pooler = pooler(policy);
    let mut console = pooler.console();
    // The pool is there before its counters are read.
    pooler.client().query("select 1").expect("an answer");
    let (mut counted, mut wrong) = (counters(&mut console), Vec::new());
    for case in Case::all() {
        if let Err(what) = play_one(&pooler, &mut console, policy, &case, &mut counted) {
            wrong.push(format!("{case:?}: {what}"));
        }
    }
    assert!(wrong.is_empty(), "{} under {policy:?}:\n{}", wrong.len(), wrong.join("\n"));
}

fn play_one(
    pooler: &Pooler,
    console: &mut Client,
    policy: Policy,
    case: &Case,
    counted: &mut BTreeMap<String, u64>,
) -> Result<(), String> {
    let (parameter, expected) = (case.parameter, case.expected(policy));
    let mut one = pooler.client();
    let code = case.run(&mut one).map(|failure| failure.code().to_owned());
    let of_case = case.shape.steps.contains(&Some("select 1/0")).then_some("22012");
    let expected_code = if expected.is_refused { Some("0A000") } else { of_case };
    compare("the error", &code.as_deref(), &expected_code)?;
    if policy == Policy::Pin {
        compare("pins", &counters(console)["pinned"], &u64::from(expected.is_pinned))?;
    }
    compare("the client itself", &found(&mut one, parameter), &inspected(parameter, expected.own))?;
    if expected.is_pinned {
        drop(one);
    }
    let mut other = pooler.client();
    let next = inspected(parameter, expected.other);
    compare("the next client", &found(&mut other, parameter), &next)?;
    if expected.other != parameter.default {
        other.query("discard all").expect("a clean session");
    }
    let before = std::mem::replace(counted, counters(console));
    let grown = |name: &str| counted[name] - before[name];
    compare("warnings", &grown("warnings"), &expected.warnings)?;
    let is_reset_late = u64::from(expected.is_pinned);
    compare("resets", &grown("resets"), &(expected.resets + is_reset_late))?;
    compare("failures", &grown("reset_failures"), &0)
}

/// What SHOW SESSION_STATE counts.
fn counters(console: &mut Client) -> BTreeMap<String, u64> {
    let answer = console.query("show session_state").expect("rows");
    let row = answer.rows.iter().find(|row| row[0].as_deref() == Some("app")).expect("a pool");
    let numbers = row.iter().map(|value| value.as_deref().and_then(|value| value.parse().ok()));
    answer.columns.into_iter().zip(numbers.map(|number| number.unwrap_or(0))).collect()
}

fn compare<T: PartialEq + Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: {found:?} and not {expected:?}"))
}

#[test]
fn under_allow_what_does_not_follow_its_client_stays_with_the_server() {
    play(Policy::Allow);
}

#[test]
fn under_warn_the_client_that_has_left_it_is_told_of() {
    play(Policy::Warn);
}

#[test]
fn under_reset_neither_the_client_nor_another_finds_it() {
    play(Policy::Reset);
}

#[test]
fn under_pin_the_client_alone_finds_it() {
    play(Policy::Pin);
}

#[test]
fn under_error_it_is_not_run() {
    play(Policy::Error);
}

/// Startup parameters and those in `options`: of which is heard, who finds what, and whether the
/// login is refused.
#[test]
fn what_a_login_asks_for_is_its_clients_alone() {
    for policy in [Policy::Allow, Policy::Warn, Policy::Reset, Policy::Pin, Policy::Error] {
        let pooler = pooler(policy);
        for (name, value, parameter, expected) in [
            ("timezone", "Asia/Tokyo", &PARAMETERS[0], Some("Asia/Tokyo")),
            ("options", "-c timezone=Asia/Tokyo", &PARAMETERS[0], Some("Asia/Tokyo")),
            ("options", "-ctimezone=Asia/Tokyo", &PARAMETERS[0], Some("Asia/Tokyo")),
            ("options", "--TimeZone=Asia/Tokyo", &PARAMETERS[0], Some("Asia/Tokyo")),
            ("search_path", "nowhere", &PARAMETERS[2], Some("nowhere")),
            ("options", "-c search_path=nowhere", &PARAMETERS[2], Some("nowhere")),
            ("work_mem", "1MB", &PARAMETERS[1], None),
            ("options", "-c work_mem=1MB", &PARAMETERS[1], None),
            ("options", "-c my.mark=x", &PARAMETERS[3], None),
        ] {
            let name = &[(name, value)];
            let login =
                Login { user: APP.name, password: APP.password, database: "app", parameters: name };
            let attempt = Client::attempt(pooler.port, &login);
            assert_eq!(attempt.is_ok(), expected.is_some(), "{policy:?} {login:?}");
            let (Ok(mut one), Some(expected)) = (attempt, expected) else { continue };
            let mut other = pooler.client();
            let expect = |client: &mut Client, value: &str| {
                let expected = inspected(parameter, value);
                assert_eq!(found(client, parameter), expected, "{policy:?} {login:?}");
            };
            for _ in 0..2 {
                expect(&mut one, expected);
                expect(&mut other, parameter.default);
                // What a third leaves, and has undone, is not what the first one has asked for.
                let _ = pooler.client().query("set work_mem = '1MB'");
                let _ = pooler.client().query("reset all");
            }
            drop(one);
            expect(&mut other, parameter.default);
        }
    }
}

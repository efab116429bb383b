//! What clients leave in the sessions of servers, with every `session_state`, against a real
//! PostgreSQL: what the next client finds is asked of PostgreSQL's own views.

mod support;

use std::thread;

use support::client::{Answer, Login};
use support::postgres::APP;
use support::session::{CLEAN, INSPECT};
use support::{Client, Failure, Pooler, Postgres, Setup, wire};

/// The first server is the only one, so that whatever is left would be found.
fn pooler(policy: &str, servers: &str) -> Pooler {
    setup(policy, servers).start()
}

fn setup(policy: &str, servers: &str) -> Setup {
    Setup::new()
        .set("pool_mode", "transaction")
        .set("session_state", policy)
        .set("default_pool_size", servers)
        .set("pin_limit", "100")
}

/// Every kind of state, and what INSPECT says of it. The name is as the log and the errors tell it.
const KINDS: [(&str, &str, &str); 14] = [
    ("set work_mem = '1MB'", "settings:work_mem", "a parameter that was SET"),
    ("set search_path to nowhere", "settings:search_path", "a parameter that was SET"),
    ("select set_config('my.mark', 'x', false)", "custom:x", "a parameter that was SET"),
    (
        "select pg_catalog.set_config('statement_timeout', '77s', false)",
        "settings:statement_timeout",
        "a parameter",
    ),
    ("set role guest", "role:guest/app", "a role that was SET"),
    ("listen a_channel", "channels:1", "a channel that it LISTENs to"),
    ("prepare p as select 1", "prepared:1", "a prepared statement"),
    ("begin; declare c cursor with hold for select 1; commit", "cursors:1", "a cursor WITH HOLD"),
    ("create temp table t (a int)", "temporary:1", "a temporary object"),
    ("select 1 as a into temporary t", "temporary:1", "a temporary object"),
    ("create table pg_temp.t (a int)", "temporary:1", "a temporary object"),
    ("select pg_advisory_lock(42)", "locks:1", "an advisory lock of the session"),
    ("select pg_try_advisory_lock_shared(42, 1)", "locks:1", "an advisory lock of the session"),
    (
        "set work_mem = '1MB'; listen b; create temp table t (a int); select pg_advisory_lock(43)",
        "temporary:1",
        "a channel that it LISTENs to",
    ),
];

fn guest() {
    let mut session = Postgres::shared().session("postgres");
    let _ = session.query("create role guest");
    session.query("grant guest to app").expect("a grant");
}

fn sees(client: &mut Client, expected: &str) {
    assert_eq!(client.one(INSPECT), expected);
}

/// Runs a statement by the extended protocol.
fn extended(client: &mut Client, sql: &str) -> Result<Answer, Failure> {
    let messages = [wire::parse("", sql), wire::bind("", &[]), wire::execute(), wire::sync()];
    client.wire.send(&messages.concat());
    client.answer()
}

/// The same, in three trips: the statement is prepared under a name, and run later.
fn prepared(client: &mut Client, sql: &str) -> Result<Answer, Failure> {
    client.wire.send(&[wire::parse("mine", sql), wire::sync()].concat());
    client.answer()?;
    client.wire.send(&[wire::bind("mine", &[]), wire::execute(), wire::sync()].concat());
    client.answer()
}

/// A way to run a statement.
type Run = fn(&mut Client, &str) -> Result<Answer, Failure>;

const WAYS: [(&str, Run); 4] = [
    ("simple", |client, sql| client.query(sql)),
    ("extended", extended),
    ("prepared", prepared),
    // In pieces that no read of the pooler's puts together.
    ("in pieces", |client, sql| {
        let message = wire::query(&format!("/* {} */ {sql}", "x".repeat(9000)));
        for piece in message.chunks(3000) {
            client.wire.send(piece);
            thread::sleep(std::time::Duration::from_millis(5));
        }
        client.answer()
    }),
];

#[test]
fn under_reset_the_next_client_finds_nothing() {
    guest();
    let pooler = pooler("reset", "1");
    for (way, run) in WAYS {
        for (sql, ..) in KINDS {
            if sql.contains(';') && matches!(way, "extended" | "prepared") {
                continue;
            }
            let mut one = pooler.client();
            run(&mut one, sql).unwrap_or_else(|e| panic!("{way} {sql}: {e:?}"));
            let mut other = pooler.client();
            assert_eq!(other.one(INSPECT), CLEAN, "{way}: {sql}");
            // A client that goes leaves nothing either.
            run(&mut one, sql).map(drop).unwrap_or_else(|e| {
                assert!(
                    way == "prepared" && e.code() == "42P05" || sql.contains("prepare"),
                    "{e:?}"
                );
            });
            drop(one);
            assert_eq!(other.one(INSPECT), CLEAN, "{way}: {sql}, and gone");
        }
    }
    assert_eq!(
        pooler.shown("SHOW SESSION_STATE", "database", "app", "reset_failures"),
        Some("0".into())
    );
}

#[test]
fn under_reset_nothing_is_sent_where_nothing_was_left() {
    let pooler = pooler("reset", "1");
    let mut client = pooler.client();
    for sql in [
        "select 1",
        "begin; set local work_mem = '1MB'; commit",
        "begin; set transaction read only; select set_config('my.mark', 'x', true); commit",
        "begin; savepoint a; set local work_mem = '1MB'; rollback to a; commit",
        "set timezone to 'UTC'",
        "set application_name = 'mine'",
        "select set_config('TimeZone', 'UTC', false)",
        "select pg_advisory_xact_lock(1)",
        "begin; declare c cursor for select 1; commit",
        "reset work_mem",
        // What asyncpg sends between two users of a connection, and what pgx did.
        "select pg_advisory_unlock_all(); close all; unlisten *; reset all;",
        "set session authorization default; reset all; close all; unlisten *; discard temp",
        "discard all",
    ] {
        client.query(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        // Whatever was to be undone has been, before it gets the server again.
        client.query("select 1").expect("an answer");
        let resets = pooler.shown("SHOW SESSION_STATE", "database", "app", "resets");
        assert_eq!(resets.as_deref(), Some("0"), "{sql}");
    }
    prepared(&mut client, "select 1").expect("a statement with a name");
    extended(&mut client, "select 1").expect("one without");
    client.query("select 1").expect("an answer");
    let resets = pooler.shown("SHOW SESSION_STATE", "database", "app", "resets");
    assert_eq!(resets.as_deref(), Some("0"));
    client.query("set work_mem = '1MB'").expect("a SET");
    client.query("select 1").expect("an answer");
    let resets = pooler.shown("SHOW SESSION_STATE", "database", "app", "resets");
    assert_eq!(resets.as_deref(), Some("1"));
}

#[test]
fn a_rollback_clears_nothing_and_a_commit_does() {
    let pooler = pooler("pin", "1");
    let mut one = pooler.client();
    one.query("set work_mem = '1MB'").expect("a SET");
    one.query("begin; reset all; rollback").expect("an answer");
    sees(&mut one, &CLEAN.replace("settings:-", "settings:work_mem"));
    one.query("begin; savepoint a; reset all; rollback to a; commit").expect("an answer");
    sees(&mut one, &CLEAN.replace("settings:-", "settings:work_mem"));
    one.query("reset all; select 1/0").expect_err("a division by zero");
    sees(&mut one, &CLEAN.replace("settings:-", "settings:work_mem"));
    for step in ["begin", "reset all", "commit"] {
        one.query(step).expect("an answer");
    }
    // The server is free again.
    sees(&mut pooler.client(), CLEAN);
}

#[test]
fn under_pin_each_finds_its_own() {
    guest();
    let pooler = pooler("pin", "3");
    for (sql, expected, _) in KINDS {
        let mut clients = [pooler.client(), pooler.client()];
        clients[0].query(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        for _ in 0..3 {
            let [one, other] = &mut clients;
            assert!(one.one(INSPECT).contains(expected), "{sql}");
            sees(other, CLEAN);
        }
        let pinned = pooler.shown("SHOW PINS", "database", "app", "left");
        assert!(pinned.is_some(), "{sql}");
        let [one, mut other] = clients;
        drop(one);
        support::eventually("the pin's end", || {
            pooler.shown("SHOW PINS", "database", "app", "left").is_none().then_some(())
        });
        sees(&mut other, CLEAN);
    }
}

/// The Close of a name that is not there is answered by the pooler, which cannot judge the end of
/// the transaction before it.
#[test]
fn under_pin_a_client_that_has_sent_more_is_pinned_all_the_same() {
    let pooler = pooler("pin", "2");
    let (mut a, mut b) = (pooler.client(), pooler.client());
    let more = [wire::query("listen a_channel"), wire::named(b'C', 'S', "none"), wire::flush()];
    a.wire.send(&more.concat());
    a.wire.hear_until(|message| message.kind == b'3').expect("a CloseComplete");
    sees(&mut b, CLEAN);
    a.wire.send(&wire::sync());
    a.wire.hear_until_ready().expect("an end");
    assert_eq!(a.one("select pg_listening_channels()"), "a_channel");
}

#[test]
fn a_pin_ends_with_what_it_was_for() {
    let pooler = pooler("pin", "1");
    let mut one = pooler.client();
    let mut other = pooler.client();
    for (sql, undone) in [
        ("set work_mem = '1MB'", "reset all"),
        ("listen a", "unlisten *"),
        ("create temp table t (a int)", "discard temp"),
        ("begin; declare c cursor with hold for select 1; commit", "close all"),
        ("prepare p as select 1", "deallocate all"),
        ("select pg_advisory_lock(1)", "select pg_advisory_unlock(1)"),
        ("select pg_advisory_lock(1), pg_advisory_lock(1)", "select pg_advisory_unlock_all()"),
        (
            "select pg_try_advisory_lock(1)",
            "do $$ begin perform pg_advisory_unlock(1); end $$; \
          select pg_advisory_unlock(2)",
        ),
        ("listen a; set work_mem = '1MB'", "discard all"),
    ] {
        one.query(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        assert!(pooler.shown("SHOW PINS", "database", "app", "left").is_some(), "{sql}");
        one.query(undone).unwrap_or_else(|e| panic!("{undone}: {e:?}"));
        assert_eq!(pooler.shown("SHOW PINS", "database", "app", "left"), None, "{sql}");
        sees(&mut other, CLEAN);
    }
    // Of two locks one is left.
    one.query("select pg_advisory_lock(1), pg_advisory_lock(2)").expect("locks");
    one.query("select pg_advisory_unlock(1)").expect("an unlock");
    assert!(pooler.shown("SHOW PINS", "database", "app", "left").is_some());
    one.query("select pg_advisory_unlock(2)").expect("an unlock");
    assert_eq!(pooler.shown("SHOW PINS", "database", "app", "left"), None);
}

#[test]
fn beyond_the_limit_of_pins_a_client_is_told_and_nothing_is_left() {
    let pooler = setup("pin", "2").set("pin_limit", "50").start();
    let mut one = pooler.client();
    let mut other = pooler.client();
    one.query("listen a").expect("a pin");
    let answer = other.query("begin; listen b; select 1; commit");
    let failure = answer.expect_err("no second pin");
    assert_eq!(failure.code(), "53300", "{failure:?}");
    assert!(failure.message().contains("pin_limit"), "{failure:?}");
    sees(&mut other, CLEAN);
    other.query("begin").expect("the client goes on");
    other.query("set work_mem = '1MB'").expect("nobody is told in the middle");
    other.query("commit").expect_err("at the end of the transaction");
    sees(&mut other, CLEAN);
    one.query("unlisten *").expect("the pin ends");
    other.query("listen b").expect("a pin");
    assert!(other.one(INSPECT).contains("channels:1"));
}

#[test]
fn under_error_a_statement_is_refused_before_it_is_run() {
    guest();
    let pooler = pooler("error", "1");
    for (way, run) in WAYS {
        for (sql, _, what) in KINDS {
            if sql.contains(';') && matches!(way, "extended" | "prepared") {
                continue;
            }
            let mut one = pooler.client();
            let failure = run(&mut one, sql).expect_err(sql);
            assert_eq!(failure.code(), "0A000", "{way} {sql}: {failure:?}");
            let Failure::Error { detail, .. } = &failure else { panic!("{failure:?}") };
            assert!(detail.contains(what) && detail.contains("not run"), "{way} {sql}: {detail}");
            sees(&mut one, CLEAN);
            // In a transaction it fails as any statement does.
            one.query("begin").expect("a transaction");
            run(&mut one, sql).expect_err(sql);
            let failure = one.query("select 1").expect_err("a failed transaction");
            assert_eq!(failure.code(), "25P02", "{way} {sql}");
            assert_eq!(one.query("rollback").expect("its end").state, 'I');
        }
    }
    let mut client = pooler.client();
    client.query("begin; set local work_mem = '1MB'; commit").expect("nothing is left of it");
    client.query("do $$ begin perform set_config('work_mem', '1MB', false); end $$").expect("DO");
    sees(&mut client, CLEAN);
}

#[test]
fn under_error_what_is_too_long_to_be_read_first_is_told_behind() {
    let pooler = pooler("error", "1");
    let mut client = pooler.client();
    let sql = format!("select '{}'; listen a", "x".repeat(100_000));
    let failure = client.query(&sql).expect_err("a LISTEN");
    let Failure::Error { detail, code, .. } = &failure else { panic!("{failure:?}") };
    assert_eq!(code, "0A000");
    assert!(detail.contains("undone now"), "{detail}");
    sees(&mut client, CLEAN);
}

#[test]
fn under_error_what_postgresql_passes_over_leaves_nothing() {
    let pooler = setup("error", "1").set("max_prepared_statements", "0").start();
    let mut client = pooler.client();
    client.wire.send(&[wire::parse("", "this is no statement"), wire::flush()].concat());
    client.wire.hear_until(|message| message.kind == b'E').expect("an ERROR");
    client.wire.send(&[wire::parse("a_name", "select 1"), wire::sync()].concat());
    let answers = client.wire.hear_until_ready().expect("an end");
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(client.one("select 'the next'"), "the next");
}

/// A Parse that PostgreSQL passes over leaves the unnamed statement as it was, and nobody knows of
/// that when it is sent, nor when the statement is run.
#[test]
fn an_unnamed_statement_that_an_error_has_kept_leaves_what_it_leaves() {
    let pooler = setup("pin", "1").start();
    let mut client = pooler.client();
    let run = |name| [wire::bind(name, &[]), wire::execute()].concat();
    let named = [wire::parse("fails", "select 1/0"), wire::parse("resets", "reset all")].concat();
    let sets = wire::parse("", "select set_config('my.mark', 'x', false)");
    for bytes in [[named, sets].concat(), run("resets")] {
        client.wire.send(&[bytes, wire::sync()].concat());
        client.answer().expect("an answer");
    }
    let passed_over = [run("fails"), wire::parse("", "select 1")].concat();
    client.wire.send(&[passed_over, wire::sync(), run(""), wire::sync()].concat());
    client.answer().expect_err("a division by zero");
    let answer = client.answer().expect("the statement that is there");
    assert_eq!(answer.rows, [[Some("x".to_owned())]]);
    drop(client);
    sees(&mut pooler.client(), CLEAN);
}

/// Prepares an unnamed statement, another one behind an error, and runs the one that is there.
fn run_what_is_kept(
    client: &mut Client,
    (kept, passed_over): (&str, &str),
    is_pipelined: bool,
) -> Result<Answer, Failure> {
    client.wire.send(&[wire::parse("", kept), wire::sync()].concat());
    client.answer()?;
    let fails = [wire::execute(), wire::parse("", passed_over), wire::sync()].concat();
    let runs = [wire::bind("", &[]), wire::execute(), wire::sync()].concat();
    if is_pipelined {
        client.wire.send(&[fails, runs].concat());
        client.answer().expect_err("no portal is there");
    } else {
        client.wire.send(&fails);
        client.answer().expect_err("no portal is there");
        client.wire.send(&runs);
    }
    client.answer()
}

#[test]
fn a_harmless_set_that_an_error_has_kept_is_not_refused() {
    for is_pipelined in [false, true] {
        let pooler = pooler("error", "1");
        let mut client = pooler.client();
        for sql in ["set application_name = 'mine'", "set local work_mem = '1MB'"] {
            let answer = run_what_is_kept(&mut client, (sql, "select 1"), is_pipelined);
            let answer = answer.unwrap_or_else(|e| panic!("{sql}, {is_pipelined}: {e:?}"));
            assert_eq!(answer.tags, ["SET"]);
        }
        assert_eq!(client.one("show application_name"), "mine");
    }
}

#[test]
fn what_an_error_has_passed_over_clears_nothing() {
    for is_pipelined in [false, true] {
        let pooler = pooler("pin", "1");
        let mut client = pooler.client();
        client.query("set work_mem = '1MB'").expect("a pin");
        let answer = run_what_is_kept(&mut client, ("select 1", "reset all"), is_pipelined);
        assert_eq!(answer.expect("a row").rows, [[Some("1".to_owned())]]);
        assert_eq!(client.one("show work_mem"), "1MB");
        drop(client);
        sees(&mut pooler.client(), CLEAN);
    }
}

/// The pooler asks for locks by a query of its own, which drops the unnamed statement.
#[test]
fn what_an_error_has_kept_is_there_behind_a_query_of_the_poolers_own() {
    let pooler = pooler("pin", "1");
    let mut client = pooler.client();
    client.query("select pg_advisory_lock(1)").expect("a pin");
    let runs = |name| [wire::bind(name, &[]), wire::execute(), wire::sync()].concat();
    let two = [wire::parse("", "select 1"), runs(""), wire::parse("", "select 'kept'")].concat();
    client.wire.send(&[two, wire::sync()].concat());
    client.answer().expect("a row");
    client.answer().expect("a prepared statement");
    client.wire.send(&[wire::execute(), wire::parse("", "select 2"), wire::sync()].concat());
    client.answer().expect_err("no portal is there");
    let unlocks = wire::parse("unlocks", "select pg_advisory_unlock(2)");
    client.wire.send(&[unlocks, runs("unlocks")].concat());
    client.answer().expect("nothing to unlock");
    client.wire.send(&runs(""));
    assert_eq!(client.answer().expect("its row").rows, [[Some("kept".to_owned())]]);
}

/// A cursor's query runs as far as it is fetched.
#[test]
fn what_a_cursor_leaves_it_leaves_with_each_fetch() {
    for further in ["fetch 1 from c", "move 1 in c"] {
        for is_extended in [false, true] {
            let pooler = pooler("pin", "1");
            let mut client = pooler.client();
            let sql = "declare c cursor for select set_config('work_mem', n || 'MB', false)
                       from generate_series(1, 3) n";
            for sql in ["begin", sql, "fetch 1 from c", "reset all"] {
                client.query(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
            }
            let done = if is_extended {
                extended(&mut client, further).map(drop)
            } else {
                client.query(further).map(drop)
            };
            done.unwrap_or_else(|e| panic!("{further}: {e:?}"));
            client.query("commit").expect("an end");
            assert_eq!(client.one("show work_mem"), "2MB", "{further}");
            drop(client);
            sees(&mut pooler.client(), CLEAN);
        }
    }
}

/// Only the statement of a portal that is executed clears what it clears.
#[test]
fn what_is_prepared_or_bound_beside_a_portal_clears_nothing_when_that_is_executed() {
    let run_p = wire::execute_portal("p", 0);
    let resets = wire::parse("", "reset all");
    for beside in [resets.clone(), [resets, wire::bind("", &[])].concat()] {
        let pooler = pooler("pin", "1");
        let mut client = pooler.client();
        client.query("set work_mem = '1MB'; begin").expect("a pin");
        let named = wire::bind_portal("p", "", &[], &[]);
        client.wire.send(&[wire::parse("", "select 1"), named, wire::sync()].concat());
        client.answer().expect("a portal");
        client.wire.send(&[beside, run_p.clone(), wire::sync()].concat());
        assert_eq!(client.answer().expect("its row").rows, [[Some("1".to_owned())]]);
        client.query("commit").expect("an end");
        assert_eq!(client.one("show work_mem"), "1MB");
        drop(client);
        sees(&mut pooler.client(), CLEAN);
    }
}

/// Drivers send each statement as an unnamed one.
#[test]
fn a_pin_ends_too_where_one_unnamed_statement_undoes_what_the_one_before_has_left() {
    let pooler = pooler("pin", "1");
    let mut client = pooler.client();
    for (sql, undone) in [("set work_mem = '1MB'", "reset all"), ("listen a", "unlisten *")] {
        extended(&mut client, sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        assert!(pooler.shown("SHOW PINS", "database", "app", "left").is_some(), "{sql}");
        extended(&mut client, undone).unwrap_or_else(|e| panic!("{undone}: {e:?}"));
        assert_eq!(pooler.shown("SHOW PINS", "database", "app", "left"), None, "{sql}");
    }
}

#[test]
fn under_warn_the_log_tells_once_of_each_kind() {
    let pooler = pooler("warn", "1");
    let mut client = pooler.client();
    for _ in 0..3 {
        client.query("set work_mem = '1MB'").expect("a SET");
        client.query("listen a").expect("a LISTEN");
    }
    sees(
        &mut client,
        &CLEAN.replace("channels:0", "channels:1").replace("settings:-", "settings:work_mem"),
    );
    pooler.wait_log(&["a channel that it LISTENs to"]);
    let log = pooler.log();
    let lines = log.lines().filter(|line| line.contains("leaves in the session")).count();
    assert_eq!(lines, 2, "{log}");
    let events = pooler.console().query("SHOW EVENTS").expect("rows");
    assert!(format!("{events:?}").contains("session state left"), "{events:?}");
}

#[test]
fn under_allow_everything_is_as_it_was() {
    let pooler = pooler("allow", "1");
    let mut client = pooler.client();
    client.query("set work_mem = '1MB'; listen a; select pg_advisory_lock(7)").expect("an answer");
    let mut other = pooler.client();
    let expected = CLEAN.replace("locks:0", "locks:1").replace("channels:0", "channels:1");
    sees(&mut other, &expected.replace("settings:-", "settings:work_mem"));
    assert!(!pooler.log().contains("leaves in the session"));
}

/// What DO, CALL and functions of the protocol do is not seen, and undone as a whole.
#[test]
fn what_cannot_be_seen_is_undone_as_a_whole() {
    let pooler = pooler("reset", "1");
    let mut client = pooler.client();
    let hidden = "do $$ begin create temp table h (a int); perform pg_advisory_lock(5); \
                  perform set_config('my.mark', 'x', false); end $$";
    client.query(hidden).expect("DO");
    sees(&mut client, CLEAN);
}

/// Nothing undoes it, so that the server goes.
#[test]
fn a_server_whose_session_cannot_be_cleaned_is_closed() {
    let pooler = pooler("reset", "1");
    let mut client = pooler.client();
    let pid = client.one("select pg_backend_pid()");
    assert_eq!(client.one("select pg_backend_pid()"), pid);
    let failure = client.query("load 'nothing_of_the_kind'");
    failure.expect_err("no such library");
    assert_ne!(client.one("select pg_backend_pid()"), pid);
    // A reset that fails closes the server, too.
    let pid = client.one("select pg_backend_pid()");
    client.query("set statement_timeout = '1ms'").expect("a SET");
    let mut other = pooler.client();
    sees(&mut other, CLEAN);
    drop(pid);
}

#[test]
fn what_connect_query_sets_is_set_again() {
    let line = format!(
        "host=127.0.0.1 port={} user=app password={} connect_query='set work_mem = ''3MB'''",
        Postgres::shared().port,
        APP.password
    );
    let pooler = setup("reset", "1").database("app", &line).start();
    let mut client = pooler.client();
    assert_eq!(client.one("show work_mem"), "3MB");
    client.query("set work_mem = '1MB'").expect("a SET");
    assert_eq!(client.one("show work_mem"), "3MB");
}

/// A client that is killed while it holds a lock leaves it to nobody.
#[test]
fn a_lock_goes_with_its_client() {
    for policy in ["reset", "pin"] {
        let pooler = pooler(policy, "1");
        let mut one = pooler.client();
        one.wire.send(&wire::query("select pg_advisory_lock(99)"));
        one.answer().expect("a lock");
        drop(one);
        sees(&mut pooler.client(), CLEAN);
        let mut other = pooler.client();
        other.query("begin; select pg_advisory_lock(99)").expect("a lock");
        drop(other);
        sees(&mut pooler.client(), CLEAN);
    }
}

/// With many clients of all kinds on few servers, whoever gets a server finds it clean.
#[test]
fn many_clients_hand_each_other_clean_servers() {
    guest();
    for policy in ["reset", "pin"] {
        let pooler = pooler(policy, "4");
        let clients = (0..12).map(|seed| {
            let port = pooler.port;
            thread::spawn(move || run_at_random(port, seed))
        });
        for client in clients.collect::<Vec<_>>() {
            client.join().expect("a client without complaints");
        }
    }
}

fn run_at_random(port: u16, seed: u64) {
    let mut rng = support::rng::Rng::new(seed);
    let login = Login { user: APP.name, password: APP.password, database: "app", parameters: &[] };
    for _ in 0..12 {
        let mut client = Client::attempt(port, &login).expect("a login");
        assert_eq!(client.one(INSPECT), CLEAN, "seed {seed}");
        for _ in 0..rng.below(4) {
            let (sql, ..) = rng.pick(&KINDS);
            let (_, run) = if sql.contains(';') { WAYS[0] } else { rng.pick(&WAYS[..2]) };
            // It may be there already, and another may hold the lock.
            let sql = sql.replace("select pg_advisory_lock", "select pg_try_advisory_lock");
            let _ = run(&mut client, &sql);
        }
        if rng.percent(50) {
            client.terminate();
        }
    }
}

/// Where statements are not tracked, a Bind may be of one with a name while the unnamed one would
/// clear what the client has left.
#[test]
fn under_pin_a_statement_with_a_name_is_not_taken_for_the_unnamed_one() {
    for is_at_once in [false, true] {
        let pooler = setup("pin", "2").set("max_prepared_statements", "0").start();
        let mut one = pooler.client();
        one.query("set work_mem = '77kB'").expect("a SET");
        let steps = [
            &[wire::parse("s", "select 1")][..],
            &[wire::parse("", "reset all")],
            &[wire::bind("s", &[]), wire::execute()],
        ];
        let rounds = match is_at_once {
            false => steps.map(|step| step.concat()).to_vec(),
            true => vec![steps[0].concat(), steps[1..].concat().concat()],
        };
        for messages in rounds {
            one.wire.send(&[messages, wire::sync()].concat());
            one.answer().expect("an answer");
        }
        one.query("deallocate all").expect("an answer");
        let mut other = pooler.client();
        assert_eq!(other.one("show work_mem"), "4MB", "at once: {is_at_once}");
        assert_eq!(one.one("show work_mem"), "77kB");
    }
}

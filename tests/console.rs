//! The console of the built program: by psql and by drivers, for both roles, against what
//! PostgreSQL itself counted, and with input that means it no good.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

use support::client::Login;
use support::postgres::{self, APP, Role};
use support::tool::Tool;
use support::{Client, Pooler, Postgres, Setup, eventually, host, pooler, runner, wire};

/// A user that may only look.
const STATS: postgres::Role =
    postgres::Role { name: "stats", password: "stats-secret", method: "" };

/// What each SHOW of the reference sends: command, column, type oid.
fn columns_file() -> String {
    host::source().join("tests/reference/console-columns.tsv").display().to_string()
}

fn columns() -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(columns_file()).expect("a table in the tree");
    let mut columns: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("SHOW ")) {
        let fields: Vec<&str> = line.split('\t').collect();
        columns.entry(fields[0].into()).or_default().push(fields[1].into());
    }
    columns
}

/// A pooler that knows a user who may only look, and a database that somebody has used.
fn start() -> Pooler {
    start_with(|setup| setup)
}

fn start_with(change: impl FnOnce(Setup) -> Setup) -> Pooler {
    let line = format!("host=127.0.0.1 port={}", Postgres::shared().port);
    let setup = Setup::new().database("app", &line);
    let setup = setup.secret(STATS.name, STATS.password).set("stats_users", STATS.name);
    let pooler = change(setup).start();
    assert_eq!(pooler.client().one("select 1"), "1");
    pooler
}

fn psql(pooler: &Pooler, role: &postgres::Role) -> Tool {
    Tool::psql(pooler.port, role, "pgbouncer")
}

/// The column of a number in SHOW STATS_TOTALS.
fn total(pooler: &Pooler, database: &str, column: &str) -> i64 {
    let shown = pooler.shown("show stats_totals", "database", database, column);
    shown.map_or(0, |count| count.parse().expect("a number"))
}

/// How many rows a SHOW has.
fn count(console: &mut Client, sql: &str) -> usize {
    console.query(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}")).rows.len()
}

#[test]
fn psql_reads_every_table() {
    let pooler = start();
    for (command, columns) in columns() {
        let head = psql(&pooler, &STATS).args(["-P", "tuples_only=off", "-F", "|"]);
        let head = head.args(["-c", &format!("{};", command.to_lowercase())]).run();
        assert_eq!(head.lines().next(), Some(columns.join("|").as_str()), "{command}");
    }
    let tags = psql(&pooler, &pooler::ADMIN).args(["-P", "tuples_only=off"]);
    let script = "PAUSE; RESUME; RECONNECT app; WAIT_CLOSE app; DISABLE app; ENABLE app; RELOAD;";
    let tags = tags.args(["-v", "QUIET=off", "-c", script]).run();
    let expected = ["PAUSE", "RESUME", "RECONNECT", "WAIT_CLOSE", "DISABLE", "ENABLE", "RELOAD"];
    assert_eq!(tags.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn drivers_work_over_both_protocols() {
    for script in ["console_psycopg3.py", "console_asyncpg.py"] {
        let pooler = start();
        let tool = Tool::script(script, pooler.port, &pooler::ADMIN, "pgbouncer");
        let Some(tool) = tool else { continue };
        assert_eq!(tool.env("CONSOLE_COLUMNS", &columns_file()).run(), "ok", "{script}");
    }
}

#[test]
fn exporters_read_what_they_look_for() {
    let pooler = start();
    let Some(tool) = Tool::script("exporter.py", pooler.port, &STATS, "pgbouncer") else { return };
    assert_eq!(tool.env("APP_USER", APP.name).run(), "ok");
}

#[test]
fn whoever_runs_the_pooler_is_admin_on_its_socket() {
    let pooler = start();
    let folder = pooler.folder.display().to_string();
    let run = |drop: bool| {
        let mut command = Command::new(postgres::program("psql"));
        command.args(["-X", "-A", "-t", "-h", &folder, "-p", &pooler.port.to_string()]);
        command.args(["-U", "pgbouncer", "-c", "show state; reload", "pgbouncer"]);
        if drop {
            host::drop_privileges(&mut command);
        }
        command.current_dir("/").output().expect("psql runs")
    };
    let output = run(true);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("active|yes"));
}

#[test]
fn admins_do_what_stats_users_may_not() {
    let commands = [
        ("SHOW VERSION", "SHOW", true),
        ("SET extra_float_digits = 3", "SET", true),
        ("SET log_stats = 1", "SET log_stats=1", false),
        ("RELOAD", "RELOAD", false),
        ("PAUSE app", "PAUSE", false),
        ("RESUME app", "RESUME", false),
        ("PAUSE", "PAUSE", false),
        ("RESUME", "RESUME", false),
        ("DISABLE app", "DISABLE", false),
        ("ENABLE app", "ENABLE", false),
        ("RECONNECT", "RECONNECT", false),
        ("WAIT_CLOSE", "WAIT_CLOSE", false),
        ("KILL app", "KILL", false),
        ("RESUME app", "RESUME", false),
        ("KILL", "KILL", false),
        ("SHUTDOWN WAIT_FOR_CLIENTS", "SHUTDOWN", false),
    ];
    let pooler = start();
    let mut admin = pooler.console();
    let mut stats = pooler.login(&STATS, "pgbouncer");
    for (command, tag, for_everybody) in commands {
        match stats.query(command) {
            Ok(answer) => assert!(for_everybody && answer.tags == [tag], "{command}: {answer:?}"),
            Err(error) => {
                assert_eq!(error.message(), "admin access needed", "{command}");
                assert!(!for_everybody, "{command}");
            }
        }
        let answer = admin.query(command).unwrap_or_else(|e| panic!("{command}: {e:?}"));
        assert_eq!(answer.tags, [tag], "{command}");
    }
    drop((admin, stats));
    pooler.expect_exit();
}

#[test]
fn kill_client_ends_a_client_by_its_id() {
    let pooler = start();
    let mut client = pooler.client();
    client.query("begin").expect("a transaction");
    let id = pooler.shown("show clients", "database", "app", "id").expect("a client");
    let answer = pooler.console().query(&format!("KILL_CLIENT {id}")).expect("a known client");
    assert_eq!(answer.tags, ["KILL_CLIENT"]);
    let error = client.query("select 1").expect_err("it was told to go");
    assert_eq!(error.message(), "admin forced disconnect");
    let error = pooler.console().query("KILL_CLIENT 999999").expect_err("nobody");
    assert_eq!(error.message(), "client not found");
}

#[test]
fn kill_ends_who_uses_the_database_and_nobody_else() {
    let line = format!("host=127.0.0.1 port={} dbname=app", Postgres::shared().port);
    let pooler = start_with(|setup| setup.database("other", &line));
    let mut users: Vec<Client> = (0..3).map(|_| pooler.client()).collect();
    let mut other = pooler.login(&APP, "other");
    users[0].query("begin").expect("a transaction");
    users[1].wire.send(&wire::query("select pg_sleep(600)"));
    other.query("begin").expect("a transaction");
    let mut admin = pooler.console();
    eventually("two servers at work", || {
        let busy = pooler.shown("show pools", "database", "app", "sv_active")?;
        (busy == "2").then_some(())
    });
    assert_eq!(admin.query("KILL app").expect("a known database").tags, ["KILL"]);
    for client in &mut users {
        let last = client.wire.hear_to_the_end().pop().expect("a word before the end");
        assert_eq!(last.field('M').as_deref(), Some("database removed"));
    }
    assert_eq!(other.one("select 1"), "1");
    // Until RESUME the database is paused: who comes back waits.
    let mut late = support::Wire::connect(pooler.port);
    late.send(&wire::startup(&[("user", APP.name), ("database", "app")]));
    assert_eq!(pooler.shown("show databases", "name", "app", "paused").as_deref(), Some("1"));
    admin.query("RESUME app").expect("it is paused");
    late.hear_until_ready().expect("a welcome");
}

#[test]
fn a_reload_takes_away_what_the_files_no_longer_say() {
    let setup = |setup: Setup| setup.user(APP.name, "pool_size=7 max_user_connections=3");
    let pooler = start_with(setup);
    let mut admin = pooler.console();
    let shown = |of: &str, column| pooler.shown("show users", "name", of, column);
    assert_eq!(shown(APP.name, "max_user_connections").as_deref(), Some("3"));
    let mut stats = pooler.login(&STATS, "pgbouncer");
    assert_eq!(count(&mut stats, "show version"), 1);
    let ini = fs::read_to_string(pooler.folder.join("pgbouncer.ini")).expect("a file");
    let without = ini.replace(&format!("{} = pool_size", APP.name), "; app = pool_size");
    assert_ne!(ini, without);
    host::write_file(&pooler.folder.join("pgbouncer.ini"), without);
    let list = fs::read_to_string(pooler.folder.join("userlist.txt")).expect("a file");
    let without: String =
        list.lines().filter(|line| !line.contains(STATS.name)).flat_map(|l| [l, "\n"]).collect();
    host::write_file(&pooler.folder.join("userlist.txt"), without);
    admin.query("RELOAD").expect("good files");
    assert_eq!(shown(APP.name, "max_user_connections").as_deref(), Some("0"));
    assert_eq!(shown(APP.name, "pool_size").as_deref(), Some(""));
    let login = support::client::Login {
        user: STATS.name,
        password: STATS.password,
        database: "pgbouncer",
        parameters: &[],
    };
    let error = Client::attempt(pooler.port, &login).err().expect("nobody knows it any more");
    assert_eq!(error.message(), "\"trust\" authentication failed");
}

#[test]
fn a_pause_ends_by_release_by_resume_or_by_its_limit() {
    let pooler = start();
    let mut client = pooler.client();
    client.query("begin").expect("a transaction");
    let session = client.one("select pg_backend_pid()");
    let mut admin = pooler.console();

    let error = admin.query("PAUSE app TIMEOUT 0.5").expect_err("somebody holds on");
    assert!(error.message().starts_with("PAUSE gave up after"), "{error:?}");
    let support::Failure::Error { detail, .. } = error else { panic!("no error") };
    assert!(detail.contains("app/app@127.0.0.1:"), "{detail}");
    assert_eq!(client.one("select 1"), "1");

    admin.wire.send(&wire::query("PAUSE"));
    eventually("the pause to begin", || {
        pooler.log().contains("PAUSE command issued").then_some(())
    });
    assert_eq!(pooler.console().query("RESUME").expect("a pause to end").tags, ["RESUME"]);
    let error = admin.answer().expect_err("it was ended");
    assert_eq!(error.message(), "PAUSE was ended by RESUME");

    admin.wire.send(&wire::query("PAUSE; SHOW STATE"));
    client.query("commit").expect("work that was begun may end");
    let answer = admin.answer().expect("nobody holds on any more");
    assert_eq!(answer.tags, ["PAUSE", "SHOW"]);
    eventually("PostgreSQL to see its session end", || {
        let sql = format!("select count(*) from pg_stat_activity where pid = {session}");
        (Postgres::shared().one(&sql) == "0").then_some(())
    });
    client.wire.send(&wire::query("select 2"));
    admin.query("RESUME").expect("a pause to end");
    assert_eq!(client.answer().expect("a server again").rows[0][0].as_deref(), Some("2"));
}

#[test]
fn a_reload_that_fails_says_why_and_changes_nothing() {
    let pooler = start();
    let mut admin = pooler.console();
    pooler.rewrite(|setup| setup.set("default_pool_size", "7").set("pool_mode", "sometimes"));
    let error = admin.query("RELOAD").expect_err("a bad file");
    assert_eq!(error.message(), "RELOAD failed, see logs for additional details");
    assert_eq!(error.code(), "F0000");
    let support::Failure::Error { detail, .. } = error else { panic!("no error") };
    assert!(detail.contains("pool_mode") && detail.contains("pgbouncer.ini:"), "{detail}");
    let shown = |key| pooler.shown("show config", "key", key, "value");
    assert_eq!(shown("default_pool_size").as_deref(), Some("20"));
    pooler.rewrite(|setup| setup.set("pool_mode", "session"));
    assert_eq!(admin.query("RELOAD").expect("a good file").tags, ["RELOAD"]);
    assert_eq!(shown("default_pool_size").as_deref(), Some("7"));
    let events = admin.query("SHOW EVENTS").expect("a table").rows;
    let last = events.last().and_then(|row| row[2].clone()).expect("an event");
    assert!(last.contains("default_pool_size: 20 -> 7"), "{last}");
}

#[test]
fn a_setting_that_is_set_takes_effect_at_once() {
    let pooler = start();
    let mut admin = pooler.console();
    admin.query("SET verbose = 3").expect("a setting that can be changed");
    admin.query("SET log_connections = 0").expect("a setting that can be changed");
    admin.query("SET query_wait_timeout = '0.2'").expect("a setting that can be changed");
    admin.query("SET default_pool_size = 1").expect("a setting that can be changed");
    let mut holder = pooler.client();
    holder.query("begin").expect("a transaction");
    let error = pooler.client().query("select 1").expect_err("the pool is full");
    assert_eq!(error.message(), "query_wait_timeout");
    let support::Failure::Error { detail, .. } = &error else { panic!("no error") };
    assert!(detail.contains("app/app") && detail.contains("1 servers busy"), "{detail}");
    pooler.wait_log(&[&format!(" detail: {detail}")]);
    // With verbose = 3 the log follows a client to its server.
    pooler.wait_log(&[" NOISE C-", " is given S-", " DEBUG S-", " opening a connection: "]);
    let errors = admin.query("SHOW ERRORS").expect("a table").rows;
    assert!(errors.iter().any(|row| row[1].as_deref() == Some("query_wait_timeout")));
}

#[test]
fn the_end_says_whom_it_waits_for() {
    let pooler = start();
    let mut holder = pooler.client();
    holder.query("begin").expect("a transaction");
    pooler.console().query("SHUTDOWN WAIT_FOR_SERVERS").expect("an admin");
    let log = pooler.wait_log(&["still waiting for 1 servers; transactions: C-"]);
    let line = log.lines().find(|line| line.contains("still waiting for")).expect("a line");
    assert!(line.contains(": app/app@127.0.0.1:"), "{line}");
    let _ = holder.query("commit");
    pooler.expect_exit();
}

#[test]
fn sql_on_the_console_is_told_where_it_is() {
    let pooler = start();
    let answer = Tool::psql(pooler.port, &pooler::ADMIN, "pgbouncer").args(["-c", "select 1"]);
    let said = answer.fail();
    assert!(said.contains("HINT:  This is the console of the pooler"), "{said}");
}

#[test]
fn the_console_takes_what_drivers_send_at_their_start() {
    let pooler = start();
    let parameters = [("extra_float_digits", "2"), ("options", "-c search_path=x -d 5")];
    let role = pooler::ADMIN;
    let (user, password) = (role.name, role.password);
    let login = Login { user, password, database: "pgbouncer", parameters: &parameters };
    let mut admin = Client::attempt(pooler.port, &login).unwrap_or_else(|e| panic!("{e:?}"));
    assert_eq!(admin.query("SHOW VERSION").expect("a table").rows.len(), 1);
    let login = Login { user: APP.name, password: APP.password, database: "app", ..login };
    assert!(Client::attempt(pooler.port, &login).is_err(), "a server has no such parameter");
}

#[test]
fn the_console_shows_users_of_database_lines_and_its_own_limits() {
    let pooler = start_with(|setup| {
        let line = "host=127.0.0.1 port=1 user=forced password=x";
        let setup = setup.database("records", line);
        setup.set("max_db_connections", "50").set("max_db_client_connections", "60")
    });
    let name = pooler.shown("show users", "name", "forced", "name");
    assert_eq!(name.as_deref(), Some("forced"));
    for (column, limit) in [("max_connections", "50"), ("max_client_connections", "60")] {
        let shown = pooler.shown("show databases", "name", "pgbouncer", column);
        assert_eq!(shown.as_deref(), Some(limit), "{column}");
    }
}

#[test]
fn a_refused_login_of_the_pooler_is_told_apart_from_the_clients_own() {
    let pooler = start_with(|setup| {
        let port = Postgres::shared().port;
        let line = format!("host=127.0.0.1 port={port} dbname=app user=app password=wrong");
        setup.database("strange", &line).database("down", "host=127.0.0.1 port=1")
    });
    let login =
        |database| Login { user: APP.name, password: APP.password, database, parameters: &[] };
    let Err(error) = Client::attempt(pooler.port, &login("strange")) else { panic!("let in") };
    let support::Failure::Error { message, detail, .. } = &error else { panic!("{error:?}") };
    assert!(message.starts_with("password authentication failed for user"), "{error:?}");
    assert_eq!(detail, "PostgreSQL said this to the pooler, which logged in as user app.");
    pooler.wait_log(&[" login refused: password authentication failed", "Compare the password in"]);
    assert!(Client::attempt(pooler.port, &login("down")).is_err());
    pooler.wait_log(&["connect failed: Connection refused (127.0.0.1:1)"]);
}

#[test]
fn another_file_is_read_when_set_names_it() {
    let pooler = start();
    let mut admin = pooler.console();
    let other = pooler.folder.join("other.ini");
    let ini = fs::read_to_string(pooler.folder.join("pgbouncer.ini")).expect("a file");
    host::write_file(&other, ini.replace("[pgbouncer]", "[pgbouncer]\nmax_client_conn = 77"));
    let set = format!("SET conffile = '{}'; RELOAD", other.display());
    own_console(&pooler, &set).run();
    let shown = pooler.shown("show config", "key", "max_client_conn", "value");
    assert_eq!(shown.as_deref(), Some("77"));
    own_console(&pooler, "SET conffile = '/nonexistent'").run();
    let error = admin.query("RELOAD").expect_err("there is no such file");
    assert_eq!(error.code(), "F0000");
    let support::Failure::Error { detail, .. } = error else { panic!("no error") };
    assert!(detail.contains("could not load file \"/nonexistent\""), "{detail}");
}

#[test]
fn a_setting_that_names_a_file_is_for_the_poolers_own_user() {
    let pooler = start();
    let mut admin = pooler.console();
    let file = pooler.folder.join("authorized_keys");
    for setting in ["logfile", "conffile", "auth_file", "auth_hba_file"] {
        let set = format!("SET {setting} = '{}'", file.display());
        let error = admin.query(&set).expect_err("an admin from anywhere");
        assert_eq!(error.message(), "SET failed");
        let support::Failure::Error { detail, .. } = error else { panic!("no error") };
        assert!(detail.starts_with(&format!("{setting}: it names a file")), "{detail}");
    }
    assert!(!file.exists());
    own_console(&pooler, &format!("SET logfile = '{}'; SHOW VERSION", file.display())).run();
    eventually("the new log", || file.exists().then_some(()));
}

/// A command of the user that the pooler runs as, over its Unix socket.
fn own_console(pooler: &Pooler, command: &str) -> Tool {
    let nameless = Role { name: "pgbouncer", password: "", method: "" };
    let folder = pooler.folder.to_str().expect("a path of plain letters");
    let psql = Tool::psql(pooler.port, &nameless, "pgbouncer").unprivileged();
    psql.env("PGHOST", folder).args(["-c", command])
}

#[test]
fn the_console_too_gives_the_notice_of_a_login() {
    let pooler = start_with(|setup| setup.set("login_notify_message", "mind the gap"));
    let asides = pooler.console().asides;
    assert_eq!(asides.last().and_then(|m| m.field('M')).as_deref(), Some("mind the gap"));
}

/// What PostgreSQL has counted of a database. A backend that ends reports all that it has done, so
/// this waits until there is none.
fn postgres_transactions(database: &str) -> i64 {
    let postgres = Postgres::shared();
    eventually("the backends to end", || {
        (postgres.sessions(APP.name, database) == 0).then_some(())
    });
    let sql = "select xact_commit + xact_rollback from pg_stat_database where datname";
    let count = postgres.session("postgres").one(&format!("{sql} = '{database}'"));
    count.parse().expect("a number")
}

/// Closes the servers of the pooler.
fn reconnect(pooler: &Pooler) {
    let answer = pooler.console().query("RECONNECT; WAIT_CLOSE").expect("two commands");
    assert_eq!(answer.tags, ["RECONNECT", "WAIT_CLOSE"]);
}

#[test]
fn counters_agree_with_those_of_postgresql() {
    let postgres = Postgres::shared();
    // Nobody else is in this database.
    let create = format!("create database counted owner {}", APP.name);
    postgres.session("postgres").query(&create).expect("a new database");
    let (script, line) = (host::scratch().join("one.sql"), "select :client_id;\n");
    host::write_file(&script, line);
    let script = script.display().to_string();
    // A login is a transaction for PostgreSQL, or none.
    let before = postgres_transactions("counted");
    drop(Client::login(postgres.port, APP.name, APP.password, "counted"));
    let of_login = postgres_transactions("counted") - before;
    for mode in ["session", "transaction", "statement"] {
        let pooler = start_with(|setup| {
            // With pgbench's own name, so that the pooler need not set it by a query of its own.
            let line = format!("host=127.0.0.1 port={} application_name=pgbench", postgres.port);
            let setup = setup.database("counted", &line).set("pool_mode", mode);
            setup.set("default_pool_size", "1").set("server_reset_query", "")
        });
        for protocol in ["simple", "extended", "prepared"] {
            reconnect(&pooler);
            let read = |column| total(&pooler, "counted", column);
            let opened = || {
                let is_login =
                    |line: &&str| line.contains("S-0x") && line.contains("new connection");
                pooler.log().lines().filter(is_login).count() as i64
            };
            let opened_before = opened();
            // A Parse that the pooler answers itself leaves the server a lone Sync, which is no
            // transaction there.
            let saved = || read("client_parse_count") - read("server_parse_count");
            let counts = || (read("xact_count"), read("query_count"), saved());
            let (before, theirs) = (counts(), postgres_transactions("counted"));
            let clients = if mode == "session" { 1 } else { 4 };
            let pgbench = Tool::pgbench(pooler.port, &APP, "counted");
            let shape = ["-c", &clients.to_string(), "-t", "100", "-M", protocol];
            pgbench.args(["-n", "-f", &script]).args(shape).run();
            reconnect(&pooler);
            let (after, theirs) = (counts(), postgres_transactions("counted") - theirs);
            let theirs = theirs - of_login * (opened() - opened_before);
            let prepares = if protocol == "prepared" { clients } else { 0 };
            assert_eq!(after.0 - before.0, clients * 100 + prepares, "{mode} {protocol}");
            assert_eq!(after.1 - before.1, after.0 - before.0, "{mode} {protocol}: queries");
            let seen = after.0 - before.0 - (after.2 - before.2);
            assert_eq!(seen, theirs, "{mode} {protocol}: what PostgreSQL has counted");
        }
        assert!(total(&pooler, "counted", "bytes_received") > 10_000, "{mode}");
        if mode != "session" {
            assert!(total(&pooler, "counted", "bind_count") >= 400, "{mode}: named statements");
        }
    }
}

#[test]
fn a_transaction_of_several_queries_is_one() {
    Postgres::shared().fill_bench();
    let pooler = start();
    Client::login(pooler.port, APP.name, APP.password, "bench").one("select 1");
    let read = |column| total(&pooler, "bench", column);
    let before = (read("xact_count"), read("query_count"));
    let pgbench = Tool::pgbench(pooler.port, &APP, "bench");
    pgbench.args(["-n", "-N", "-c", "2", "-t", "20"]).run();
    let (xacts, queries) = (read("xact_count") - before.0, read("query_count") - before.1);
    // BEGIN, three statements and END; and what pgbench asks at its start.
    let start = xacts - 40;
    assert!((0..10).contains(&start), "{xacts} transactions");
    assert_eq!(queries, 40 * 5 + start);
    assert!(read("xact_time") > 0 && read("query_time") > 0);
    assert!(read("xact_time") >= read("query_time"));
}

#[test]
fn pgbadger_reads_our_log() {
    let Some(pgbadger) = host::find_program("pgbadger") else {
        return runner::skip_or_fail("pgbadger_reads_our_log", "pgbadger");
    };
    let pooler = start_with(|setup| setup.set("stats_period", "1"));
    for _ in 0..5 {
        assert_eq!(pooler.client().one("select 1"), "1");
    }
    pooler.console().query("nonsense").expect_err("no command");
    let mut client = pooler.client();
    client.query("begin").expect("a transaction");
    pooler.console().query("KILL app").expect("a database");
    pooler.wait_log(&["queries/s, "]);
    eventually("some averages in the log", || {
        let log = pooler.log();
        let mut lines = log.lines().filter(|line| line.contains("LOG stats: "));
        lines.rfind(|line| !line.contains("stats: 0 xacts/s")).map(|_| ())
    });
    let (log, report) = (pooler.folder.join("stderr"), pooler.folder.join("report.json"));
    let output = Command::new(pgbadger)
        .args(["-q", "-f", "pgbouncer3", "-x", "json", "-o"])
        .args([&report, &log])
        .current_dir(&pooler.folder)
        .output()
        .expect("pgbadger runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = fs::read_to_string(&report).expect("a report");
    // Logins by database and user, and what clients were told.
    for found in
        ["\"app\":{\"app\":7}", "pooler error: database removed", "pooler error: invalid command"]
    {
        assert!(report.contains(found), "{found} is not in {report}");
    }
}

#[test]
fn bad_input_ends_no_more_than_one_session() {
    let pooler = start();
    let mut witness = pooler.console();

    // A megabyte that is no command.
    let mut client = pooler.console();
    client.wire.send(&wire::message(b'Q', &vec![b'x'; 1_000_000]));
    let last = client.wire.hear_to_the_end();
    assert_eq!(last.last().and_then(|m| m.field('M')).as_deref(), Some("bad packet"));

    let mut client = pooler.console();
    for (sql, start) in [
        ("SHOW 'VERSION", "invalid command"),
        ("SHOW \"VERSION", "invalid command"),
        ("SET a = ''''", "SET failed"),
        ("COPY x FROM STDIN", "invalid command"),
        ("\u{1}\u{7f}", "invalid command"),
        ("RESUME", "pooler is not paused"),
        ("RESUME nosuch", "no such database: nosuch"),
        ("KILL_CLIENT -1", "invalid client pointer supplied"),
    ] {
        let error = client.query(sql).expect_err(sql);
        assert!(error.message().starts_with(start), "{sql}: {error:?}");
    }
    client.wire.say(b'Q', b"SHOW VERSION\0; SHUTDOWN\0");
    assert_eq!(client.answer().expect("what stands before the zero").rows.len(), 1);
    client.wire.say(b'Q', b"\xff\xff\0");
    assert!(client.answer().expect_err("no text").message().starts_with("invalid command"));

    // A Parse with a parameter, and messages that make no sense here.
    client.wire.send(&wire::message(b'P', b"\0SHOW VERSION\0\0\x01\0\0\0\x17"));
    client.wire.send(&wire::sync());
    assert_eq!(client.answer().expect_err("a parameter").code(), "0A000");
    for kind in [b'd', b'c', b'f'] {
        client.wire.say(kind, b"");
    }
    client.wire.say(b'F', b"\0\0\0\0");
    assert!(client.answer().expect_err("no function").message().starts_with("unsupported packet"));
    assert_eq!(count(&mut client, "show version"), 1);

    assert_eq!(count(&mut witness, "show version"), 1);
    assert_eq!(pooler.client().one("select 1"), "1");
}

#[test]
fn clients_that_leave_during_their_pause_leave_nothing_behind() {
    let pooler = start();
    let mut holder = pooler.client();
    holder.query("begin").expect("a transaction");
    for _ in 0..5 {
        let mut client = pooler.console();
        client.wire.send(&wire::query("PAUSE app"));
        drop(client);
        let mut client = pooler.console();
        client.wire.send(&wire::query("PAUSE app"));
        client.terminate();
    }
    let mut admin = pooler.console();
    eventually("the sessions to end", || {
        let clients = admin.query("show clients").expect("a table").rows;
        let consoles = clients.iter().filter(|row| row[2].as_deref() == Some("pgbouncer"));
        (consoles.count() == 1).then_some(())
    });
    assert_eq!(pooler.shown("show databases", "name", "app", "paused").as_deref(), Some("1"));
    holder.query("commit").expect("its transaction may end");
    admin.query("RESUME app").expect("it is paused");
    assert_eq!(holder.one("select 1"), "1");
}

#[test]
fn a_session_that_does_not_read_costs_no_more_than_one_answer() {
    let pooler = start();
    let others: Vec<Client> = (0..50).map(|_| pooler.client()).collect();
    let mut silent = pooler.console();
    let mut admin = pooler.console();
    // SHOW CONFIG is five kilobytes: these are a hundred megabytes, if they were all kept.
    let flood = wire::query("SHOW CONFIG").repeat(1000);
    silent.wire.stream.set_write_timeout(Some(Duration::from_millis(300))).expect("a socket");
    for _ in 0..20 {
        if !silent.wire.send(&flood) {
            break;
        }
    }
    assert_eq!(count(&mut admin, "show version"), 1);
    assert_eq!(pooler.client().one("select 1"), "1");
    assert!(pooler.resident_kb() < 40_000, "{} kB", pooler.resident_kb());
    drop(others);
}

#[test]
fn what_was_notable_and_what_went_wrong_is_kept() {
    let down = format!("host=127.0.0.1 port={}", host::free_port());
    let pooler = start_with(|setup| {
        let narrow = format!("host=127.0.0.1 port={} dbname=app", Postgres::shared().port);
        let setup = setup.database("narrow", &format!("{narrow} max_db_connections=1"));
        let setup = setup.database("down", &down).database("held", &narrow);
        setup.set("query_wait_timeout", "1").set("client_login_timeout", "1")
    });
    let mut admin = pooler.console();
    admin.query("PAUSE held; RESUME held; RECONNECT").expect("three commands");
    // A host where nobody listens: its client is told what the server's side said.
    let login = |role: &postgres::Role, database| {
        let (user, password) = (role.name, role.password);
        Client::attempt(
            pooler.port,
            &support::client::Login { user, password, database, parameters: &[] },
        )
    };
    let error = login(&APP, "down").err().expect("nobody listens there");
    let support::Failure::Error { message, detail, .. } = error else { panic!("no error") };
    let known = ["client_login_timeout (server down)", "query_wait_timeout"];
    assert!(known.contains(&message.as_str()) || message.contains("connect failed"), "{message}");
    let why = "Pool down/app has no server: last login error: connect failed";
    let is_why = detail.starts_with(why) && detail.contains(": Connection refused (127.0.0.1:");
    assert!(is_why || detail.contains("The next attempt"), "{message}: {detail}");
    // One server for two users: the idle one makes room, the busy one does not.
    let mut first = login(&APP, "narrow").expect("a login");
    assert_eq!(first.one("select 1"), "1");
    let mut second = login(&postgres::TRUSTED, "narrow").expect("a login");
    assert_eq!(second.one("select 1"), "1");
    second.query("begin").expect("a transaction");
    let error = first.query("select 1").expect_err("there is no server for it");
    assert_eq!(error.message(), "query_wait_timeout");
    let support::Failure::Error { detail, .. } = error else { panic!("no error") };
    assert!(detail.contains("max_db_connections of database narrow is 1"), "{detail}");

    let mut stats = pooler.login(&STATS, "pgbouncer");
    let mut column = |sql, at: usize| -> Vec<String> {
        let rows = stats.query(sql).expect("a table").rows;
        rows.into_iter().filter_map(|mut row| row[at].take()).collect()
    };
    let events = column("SHOW EVENTS", 2);
    for start in [
        "start",
        "PAUSE held",
        "RESUME held",
        "RECONNECT",
        "server login of down/app failed: connect failed",
        "server of narrow/app evicted for max_db_connections",
        "limit reached: max_db_connections of database narrow is 1",
    ] {
        let is_there = events.iter().any(|event| event.starts_with(start));
        assert!(is_there, "{start} is not in {events:?}");
    }
    let errors = column("SHOW ERRORS", 1);
    for reason in ["query_wait_timeout", "connect failed", "evicted for max_db_connections"] {
        assert!(errors.iter().any(|error| error == reason), "{reason} is not in {errors:?}");
    }
}

#[test]
fn the_console_is_reached_when_no_client_gets_in() {
    let pooler = start_with(|setup| setup.set("max_client_conn", "2"));
    let _clients = [pooler.client(), pooler.client()];
    let login = support::client::Login {
        user: APP.name,
        password: APP.password,
        database: "app",
        parameters: &[],
    };
    let error = Client::attempt(pooler.port, &login).err().expect("the limit is reached");
    assert_eq!(error.message(), "no more connections allowed (max_client_conn)");
    let support::Failure::Error { detail, .. } = error else { panic!("no error") };
    assert_eq!(detail, "max_client_conn is 2.");
    let mut admin = pooler.console();
    let events = admin.query("SHOW EVENTS").expect("a table").rows;
    let is_limit = |row: &Vec<Option<String>>| {
        row[2].as_deref() == Some("limit reached: max_client_conn is 2")
    };
    assert!(events.iter().any(is_limit), "{events:?}");
}

//! The built program between real clients and a real PostgreSQL, in each mode of pooling: psql,
//! pgbench, drivers of Python, Node, PHP, Perl, Ruby, Java, Rust, Go and ODBC, and the
//! configuration of the user's guide.
//!
//! What needs named prepared statements to follow a client from server to server stands in
//! `mod prepared`; in session pooling they need no help.

mod support;

use std::fs;
use std::process::Command;

use support::postgres::{APP, GUIDE, MD5, PLAIN, Role, TRUSTED};
use support::tool::{self, Tool};
use support::{Pooler, Postgres, Setup, eventually, host, runner, scram};

const MODES: [&str; 3] = ["transaction", "session", "statement"];

/// A pooler with SCRAM on both sides. In session pooling every client needs a server of its own;
/// otherwise there are fewer servers than any script has clients.
fn pooler(mode: &str) -> Pooler {
    let size = if mode == "session" { "30" } else { "3" };
    Setup::new()
        .set("auth_type", "scram-sha-256")
        .set("pool_mode", mode)
        .set("default_pool_size", size)
        .set("ignore_startup_parameters", "extra_float_digits")
        .start()
}

/// Runs a script of tests/clients in these modes.
fn run_script(file: &str, modes: &[&str], environment: &[(&str, &str)]) {
    for mode in modes {
        let pooler = pooler(mode);
        let Some(tool) = Tool::script(file, pooler.port, &APP, "app") else { return };
        let tool = tool.env("POOL_MODE", mode);
        let tool = environment.iter().fold(tool, |tool, (name, value)| tool.env(name, value));
        assert_eq!(tool.run(), "ok", "{file} in {mode} pooling");
        assert_pool_is_clean(&pooler);
    }
}

/// After the last client has gone no server is held, and nobody waits.
fn assert_pool_is_clean(pooler: &Pooler) {
    eventually("the clients to be gone and the servers to be free", || {
        let count = |column| pooler.shown("show pools", "database", "app", column);
        let zero = Some("0".to_owned());
        let columns = ["cl_active", "cl_waiting", "sv_active", "sv_login"];
        columns.iter().all(|column| count(column) == zero).then_some(())
    });
}

#[test]
fn psql_works_in_every_mode() {
    for mode in MODES {
        let pooler = pooler(mode);
        let psql = || Tool::psql(pooler.port, &APP, "app");
        assert_eq!(psql().args(["-c", "select current_user, 1 + 1"]).run(), "app|2");
        assert_eq!(psql().args(["-c", "select 1; select 2"]).run(), "1\n2");
        assert!(psql().args(["-c", "select 1/0"]).fail().contains("division by zero"));
        assert_eq!(psql().args(["-c", r"\echo :SERVER_VERSION_NUM"]).run().len(), 6);
        let rows =
            psql().args(["-c", "select repeat('x', 100) from generate_series(1, 20000)"]).run();
        assert_eq!(rows.lines().filter(|line| line.len() == 100).count(), 20_000);
        let block = ["-c", "begin", "-c", "select 'inside'", "-c", "commit"];
        if mode == "statement" {
            let text = psql().args(block).fail();
            assert!(
                text.contains("transaction blocks not allowed in statement pooling mode"),
                "{text}"
            );
        } else {
            assert_eq!(psql().args(block).run(), "inside");
        }
    }
}

#[test]
fn psql_reads_the_system_catalogues_in_session_pooling() {
    let pooler = pooler("session");
    let tables = Tool::psql(pooler.port, &APP, "app").args(["-c", r"\d pg_class"]).run();
    assert!(tables.contains("relname"), "{tables}");
}

#[test]
fn psql_connects_over_the_unix_socket() {
    let pooler = pooler("transaction");
    let folder = pooler.folder.display().to_string();
    let psql = Tool::psql(pooler.port, &APP, "app").env("PGHOST", &folder);
    assert_eq!(psql.args(["-c", "select current_user"]).run(), "app");
    assert!(pooler.wait_log(&["login attempt"]).contains("unix"), "the log names the socket");
}

#[test]
fn a_plain_secret_serves_every_way_to_log_in_on_both_sides() {
    for auth_type in ["scram-sha-256", "md5", "plain"] {
        let pooler = Setup::new().set("auth_type", auth_type).start();
        for role in [APP, MD5, PLAIN, TRUSTED] {
            let psql = Tool::psql(pooler.port, &role, "app").args(["-c", "select current_user"]);
            assert_eq!(psql.run(), role.name, "{auth_type}");
            let wrong = Role { password: "wrong", ..role };
            let text = Tool::psql(pooler.port, &wrong, "app").args(["-c", "select 1"]).fail();
            assert!(text.contains("authentication failed"), "{auth_type}: {text}");
        }
    }
}

#[test]
fn a_stored_scram_secret_passes_the_keys_of_the_client_on() {
    let role = Role { name: "app_keys", password: "known to the client", method: "scram-sha-256" };
    let secret = scram::scram_secret(role.password, b"a pinch of salt.", 4096);
    let create = format!("create role app_keys login password '{secret}'");
    Postgres::shared().session("app").query(&create).expect("a new role");
    let pooler = Setup::new().set("auth_type", "scram-sha-256").secret(role.name, &secret).start();
    let psql = Tool::psql(pooler.port, &role, "app").args(["-c", "select current_user"]);
    assert_eq!(psql.run(), role.name);
}

#[test]
fn a_stored_md5_secret_serves_md5_on_both_sides() {
    let secret = scram::md5_secret(MD5.name, MD5.password);
    let pooler = Setup::new().set("auth_type", "md5").secret(MD5.name, &secret).start();
    let psql = Tool::psql(pooler.port, &MD5, "app").args(["-c", "select current_user"]);
    assert_eq!(psql.run(), MD5.name);
}

#[test]
fn pgbench_runs_in_every_mode() {
    Postgres::shared().fill_bench();
    for mode in MODES {
        let pooler = pooler(mode);
        let mut protocols = vec!["simple", "extended"];
        // Statements prepared in session pooling stay where they are.
        if mode == "session" {
            protocols.push("prepared");
        }
        for protocol in protocols {
            let pgbench = || Tool::pgbench(pooler.port, &APP, "bench").args(["-n", "-M", protocol]);
            let selects = pgbench().args(["-S", "-c", "10", "-j", "2", "-t", "100"]).run();
            assert_all_processed(&selects, 1000);
            if mode != "statement" {
                let tpcb = pgbench().args(["-c", "10", "-j", "2", "-t", "20"]).run();
                assert_all_processed(&tpcb, 200);
            }
        }
        let churn = Tool::pgbench(pooler.port, &APP, "bench")
            .args(["-n", "-S", "-C", "-c", "5", "-j", "2", "-t", "20"])
            .run();
        assert_all_processed(&churn, 100);
    }
}

#[test]
fn five_hundred_clients_share_a_pool_of_twenty() {
    let postgres = Postgres::shared();
    postgres.fill_bench();
    let pooler = Setup::new()
        .set("auth_type", "scram-sha-256")
        .set("max_client_conn", "600")
        .set("default_pool_size", "20")
        .start();
    // A role that no other test uses in this database, so that its sessions are the pooler's.
    let load = Tool::pgbench(pooler.port, &PLAIN, "bench")
        .args(["-n", "-S", "-c", "500", "-j", "2", "-t", "20"])
        .start();
    let mut most = 0;
    let mut load = Some(load);
    let out = eventually("pgbench to end", || {
        most = most.max(postgres.sessions(PLAIN.name, "bench"));
        let has_ended = load.as_mut()?.try_wait().expect("a child").is_some();
        has_ended.then(|| tool::finish(load.take().expect("it ended just now")))
    });
    assert_all_processed(&out, 10_000);
    assert!((1..=20).contains(&most), "PostgreSQL saw {most} sessions");
}

fn assert_all_processed(pgbench: &str, transactions: usize) {
    let done = format!("number of transactions actually processed: {transactions}");
    assert!(pgbench.contains(&done), "{pgbench}");
    assert!(!pgbench.contains("aborted"), "{pgbench}");
}

#[test]
fn psycopg_3_works_in_every_mode() {
    run_script("psycopg3.py", &MODES, &[]);
}

#[test]
fn psycopg2_works_in_every_mode() {
    run_script("psycopg2.py", &MODES, &[]);
}

#[test]
fn asyncpg_works_in_every_mode() {
    run_script("asyncpg.py", &MODES, &[]);
}

#[test]
fn pg8000_works_in_every_mode() {
    run_script("pg8000.py", &MODES, &[]);
    run_script("pg8000.py", &["session"], &[("WORKERS", "8")]);
}

#[test]
fn node_postgres_works_in_every_mode() {
    run_script("node_postgres.js", &MODES, &[]);
}

#[test]
fn postgres_js_works_in_every_mode() {
    run_script("postgres_js.js", &MODES, &[]);
}

#[test]
fn pdo_with_emulated_prepares_works_in_every_mode() {
    run_script("pdo.php", &MODES, &[("EMULATE", "1"), ("WORKERS", "20")]);
}

#[test]
fn drivers_prepare_statements_in_session_pooling() {
    for file in prepared::DRIVERS {
        run_script(file, &["session"], &[("PREPARE", "1")]);
    }
}

/// Named statements that follow the client, whichever server comes: twenty clients with thousands
/// of statements on two servers, each of which keeps a few.
mod prepared {
    use super::*;

    const MODES: [&str; 2] = ["transaction", "statement"];

    /// Each prepares by name in a way of its own, and drops its statements in another.
    pub const DRIVERS: [&str; 11] = [
        "Jdbc.java",
        "asyncpg.py",
        "dbd_pg.pl",
        "node_postgres.js",
        "odbc.py",
        "pdo.php",
        "pgx",
        "postgres_js.js",
        "psycopg3.py",
        "rails.rb",
        "tokio_postgres",
    ];

    fn small_pooler(mode: &str) -> Pooler {
        Setup::new()
            .set("auth_type", "scram-sha-256")
            .set("pool_mode", mode)
            .set("default_pool_size", "2")
            .set("max_prepared_statements", "50")
            .set("ignore_startup_parameters", "extra_float_digits")
            .start()
    }

    fn twenty_clients(file: &str) {
        for mode in MODES {
            let pooler = small_pooler(mode);
            let Some(tool) = Tool::script(file, pooler.port, &APP, "app") else { return };
            let tool = tool.env("POOL_MODE", mode).env("PREPARE", "1");
            let out = tool.env("WORKERS", "20").env("STATEMENTS", "100").run();
            assert_eq!(out, "ok", "{file} in {mode} pooling");
            assert_pool_is_clean(&pooler);
            let held = |column| pooler.shown("show servers", "database", "app", column);
            let count: usize =
                held("prepared_statements").map_or(0, |n| n.parse().expect("a count"));
            assert!(count <= 50, "{file} in {mode} pooling: {count} statements on a server");
            let binds = pooler.shown("show stats", "database", "app", "total_bind_count");
            let binds: u64 = binds.expect("a count").parse().expect("a number");
            assert!(binds >= 2000, "{file} in {mode} pooling: {binds} uses of named statements");
        }
    }

    #[test]
    fn pgbench_finds_its_statements_on_every_server() {
        Postgres::shared().fill_bench();
        for mode in MODES {
            let pooler = small_pooler(mode);
            let arguments = ["-n", "-S", "-M", "prepared", "-c", "20", "-j", "2", "-t", "100"];
            let selects = Tool::pgbench(pooler.port, &APP, "bench").args(arguments).run();
            assert_all_processed(&selects, 2000);
            if mode == "transaction" {
                // A thread for each client: pgbench prepares without looking at its others, so
                // that clients of one thread that hold all servers would wait for themselves.
                let arguments = ["-n", "-M", "prepared", "-c", "20", "-j", "20", "-t", "20"];
                let tpcb = Tool::pgbench(pooler.port, &APP, "bench").args(arguments).run();
                assert_all_processed(&tpcb, 400);
            }
        }
    }

    #[test]
    fn psycopg_3_prepares_everything() {
        twenty_clients("psycopg3.py");
    }

    #[test]
    fn asyncpg_keeps_its_cache() {
        twenty_clients("asyncpg.py");
    }

    #[test]
    fn node_postgres_names_its_queries() {
        twenty_clients("node_postgres.js");
    }

    #[test]
    fn postgres_js_prepares_even_its_commit() {
        twenty_clients("postgres_js.js");
    }

    #[test]
    fn pdo_prepares_on_the_server_and_deallocates() {
        twenty_clients("pdo.php");
    }

    #[test]
    fn dbd_pg_deallocates() {
        twenty_clients("dbd_pg.pl");
    }

    #[test]
    fn rails_deallocates_what_it_has_no_room_for() {
        twenty_clients("rails.rb");
    }

    #[test]
    fn psqlodbc_deallocates_within_savepoints() {
        twenty_clients("odbc.py");
    }

    #[test]
    fn pgjdbc_prepares_from_the_first_use_on() {
        twenty_clients("Jdbc.java");
    }

    #[test]
    fn pgx_keeps_its_statements_in_a_cache() {
        twenty_clients("pgx");
    }

    #[test]
    fn tokio_postgres_closes_what_it_drops() {
        twenty_clients("tokio_postgres");
    }

    #[test]
    fn a_table_may_change_under_the_statements_of_twenty_clients() {
        let pooler = small_pooler("transaction");
        let Some(tool) = Tool::script("schema_change.py", pooler.port, &APP, "app") else { return };
        assert_eq!(tool.env("WORKERS", "20").run(), "ok");
        assert_pool_is_clean(&pooler);
    }
}

/// The configuration of the user's guide, to the letter but for paths and ports.
mod guide {
    use super::*;

    const INI: &str = include_str!("guide/pgbouncer.ini");
    const USERLIST: &str = include_str!("guide/userlist.txt");

    /// The guide's files under a test's folder and ports; every other character is the guide's.
    fn start() -> Pooler {
        let postgres = Postgres::shared();
        let ini = INI
            .replace("/var/log/postgresql/", "{dir}/")
            .replace("/var/run/postgresql", "{dir}")
            .replace("/etc/pgbouncer/", "{dir}/guide-")
            .replace("listen_port = 6432", "listen_port = {port}")
            .replace("port=5432", &format!("port={}", postgres.port));
        Setup::empty().ini(&ini).file("guide-userlist.txt", USERLIST).start()
    }

    /// Whether the configuration is warned of; how fast a debug build is says nothing of it.
    fn has_warning(log: &str) -> bool {
        let of_build = |line: &str| line.contains(" the loop was held for ");
        log.lines().any(|line| line.contains("WARNING") && !of_build(line))
    }

    #[test]
    fn it_loads_without_a_warning_and_puts_its_files_where_it_says() {
        let pooler = start();
        let log = pooler.log();
        assert!(!has_warning(&log) && !log.contains("ERROR"), "{log}");
        assert!(log.contains(&format!("listening on 0.0.0.0:{}", pooler.port)), "{log}");
        let file = |name: &str| pooler.folder.join(name);
        let pid = fs::read_to_string(file("pgbouncer.pid")).expect("the pid file");
        assert_eq!(pid.trim(), pooler.pid.to_string());
        let written = fs::read_to_string(file("pgbouncer.log")).expect("the log file");
        assert!(written.contains("process up"), "{written}");
        assert!(file(&format!(".s.PGSQL.{}", pooler.port)).exists(), "the Unix socket");
    }

    #[test]
    fn its_roles_reach_their_databases_and_its_admins_the_console() {
        let pooler = start();
        let [postgres, replicator, prod, staging] = GUIDE;
        let databases = [(prod, "plannerate_production"), (staging, "plannerate_staging")];
        for (role, database) in databases {
            let psql = Tool::psql(pooler.port, &role, database);
            let out = psql.args(["-c", "SELECT current_database(), current_user;"]).run();
            assert_eq!(out, format!("{database}|{}", role.name));
        }
        for role in [postgres, replicator] {
            let console = || Tool::psql(pooler.port, &role, "pgbouncer");
            let tables = console().args(["-c", "SHOW POOLS;", "-c", "SHOW STATS;"]).run();
            assert!(tables.contains("plannerate_production|plannerate_prod|"), "{tables}");
            for table in ["CLIENTS", "SERVERS", "DATABASES", "CONFIG"] {
                assert!(!console().args(["-c", &format!("SHOW {table};")]).run().is_empty());
            }
        }
        let stats = Tool::psql(pooler.port, &prod, "pgbouncer").args(["-c", "SHOW STATS;"]).run();
        assert!(stats.contains("plannerate_production|"), "{stats}");
        let console = || Tool::psql(pooler.port, &postgres, "pgbouncer");
        console().args(["-c", "RELOAD;", "-c", "PAUSE;", "-c", "RESUME;"]).run();
        let refused = Tool::psql(pooler.port, &prod, "pgbouncer").args(["-c", "RELOAD;"]).fail();
        assert!(refused.contains("admin access needed"), "{refused}");
        let other = Tool::psql(pooler.port, &prod, "nowhere").args(["-c", "select 1"]).fail();
        assert!(other.contains("no such database: nowhere"), "{other}");
    }

    #[test]
    fn its_web_application_works_with_and_without_emulated_prepares() {
        let pooler = start();
        for emulate in ["1", "0"] {
            let tool = Tool::script("pdo.php", pooler.port, &GUIDE[2], "plannerate_production");
            let Some(tool) = tool else { return };
            let out = tool.env("POOL_MODE", "transaction").env("EMULATE", emulate).run();
            assert_eq!(out, "ok");
        }
        let log = pooler.log();
        assert!(!has_warning(&log), "{log}");
    }
}

#[test]
fn pgbadger_reads_the_log() {
    if host::find_program("pgbadger").is_none() {
        return runner::skip_or_fail("pgbadger_reads_the_log", "pgbadger");
    }
    let pooler = Setup::new()
        .set("auth_type", "scram-sha-256")
        .set("logfile", "{dir}/pgbouncer.log")
        .set("stats_period", "1")
        .start();
    for _ in 0..5 {
        Tool::psql(pooler.port, &APP, "app").args(["-c", "select 1"]).run();
    }
    Tool::psql(pooler.port, &APP, "pgbouncer").args(["-c", "show pools"]).fail();
    pooler.wait_log(&["stats: "]);
    let report = pooler.folder.join("report.json");
    let output = Command::new("pgbadger")
        .args(["-q", "-o"])
        .args([&report, &pooler.folder.join("pgbouncer.log")])
        .output()
        .expect("pgbadger runs");
    assert!(output.status.success(), "{output:?}");
    let report = fs::read_to_string(report).expect("pgbadger's report");
    let logins = ["\"database\":{", "\"app\":5", "\"pgbouncer\":1", "pooler error: not allowed"];
    for wanted in logins {
        assert!(report.contains(wanted), "{wanted} is missing in {report}");
    }
}

//! psql and pgbench of any version before a PostgreSQL of any other: what the newer ones speak, and
//! the older ones must not notice. `make test-versions` runs this for each pair that Debian has;
//! else both are the machine's own. What a version does not have yet is left out, with a line that
//! says so.

mod support;

use support::client::Login;
use support::postgres::{APP, client_program};
use support::tool::Tool;
use support::{Client, Pooler, Postgres, Setup, host};

const MODES: [&str; 3] = ["transaction", "session", "statement"];

/// One server, so that what one client leaves behind meets the next.
fn pooler(mode: &str) -> Pooler {
    Setup::new()
        .set("auth_type", "scram-sha-256")
        .set("pool_mode", mode)
        .set("default_pool_size", if mode == "session" { "10" } else { "1" })
        .start()
}

fn psql(pooler: &Pooler) -> Tool {
    Tool::psql(pooler.port, &APP, "app")
}

/// Whether psql is of the first version that has what a test is about, or a later one; a line says
/// so where it is older.
fn clients_have(version: u32, what: &str) -> bool {
    let output = std::process::Command::new(client_program("psql")).arg("--version").output();
    let text = String::from_utf8(output.expect("psql runs").stdout).expect("text");
    let own = text.split("(PostgreSQL) ").nth(1).map(first_number).expect("a version");
    if own < version {
        println!("SKIPPED: {what} needs psql {version}, this is {own}");
    }
    own >= version
}

/// The number that a text begins with, as in `18beta1`.
fn first_number(text: &str) -> u32 {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..digits].parse().unwrap_or(0)
}

#[test]
fn psql_and_pgbench_work_in_every_mode() {
    Postgres::shared().fill_bench();
    for mode in MODES {
        let pooler = pooler(mode);
        assert_eq!(psql(&pooler).args(["-c", "select 1 + 1"]).run(), "2");
        assert!(psql(&pooler).args(["-c", "select 1/0"]).fail().contains("division by zero"));
        let copied = ["-c", r"\copy (select generate_series(1, 1000)) to stdout"];
        assert_eq!(psql(&pooler).args(copied).run().lines().count(), 1000);
        for protocol in ["simple", "extended", "prepared"] {
            let pgbench = Tool::pgbench(pooler.port, &APP, "bench").args(["-n", "-M", protocol]);
            let said = pgbench.args(["-S", "-c", "4", "-t", "50"]).run();
            assert!(said.contains("200/200"), "{protocol} in {mode} pooling: {said}");
        }
    }
}

/// The oldest protocol, the newest that libpq asks for by itself, and 3.2 where it is known.
#[test]
fn a_query_is_cancelled_whatever_protocol_was_agreed() {
    for version in [None, Some("3.0"), Some("3.2"), Some("latest")] {
        if version.is_some() && !clients_have(18, "the choice of a protocol") {
            continue;
        }
        let pooler = pooler("transaction");
        let query = "select pg_sleep(600)";
        let with = |tool: Tool| match version {
            Some(version) => {
                let tool = tool.env("PGMAXPROTOCOLVERSION", version);
                if version == "3.0" { tool } else { tool.env("PGMINPROTOCOLVERSION", "3.2") }
            }
            None => tool,
        };
        assert_eq!(with(psql(&pooler)).args(["-c", "select 'in'"]).run(), "in", "{version:?}");
        let child = with(psql(&pooler)).args(["-c", query]).start();
        Postgres::shared().await_query(query);
        // `timeout` passes the signal on to psql.
        host::send_signal(child.id(), "INT");
        let output = child.wait_with_output().expect("psql ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("canceling statement due to user request"), "{version:?}: {said}");
    }
}

#[test]
fn a_search_path_stays_with_its_client() {
    for mode in ["transaction", "session"] {
        let pooler = Setup::new()
            .set("pool_mode", mode)
            .set("default_pool_size", if mode == "session" { "10" } else { "1" })
            .set("track_extra_parameters", "search_path")
            .start();
        let login = |path| Login {
            user: APP.name,
            password: APP.password,
            database: "app",
            parameters: path,
        };
        let attempt = |path| Client::attempt(pooler.port, &login(path)).expect("let in");
        let mut one = attempt(&[]);
        let mut other = attempt(&[]);
        one.query("set search_path = pg_catalog, public").expect("set");
        let version: u32 = one.one("show server_version_num").parse().expect("a number");
        let before = other.one("show search_path");
        assert_eq!(one.one("show search_path"), "pg_catalog, public");
        assert_eq!(other.one("show search_path"), before, "{mode}");
        // From 18 on a server reports it, so that even what was set unseen follows its client.
        if version >= 180_000 && mode == "transaction" {
            one.query("select set_config('search_path', 'information_schema', false)")
                .expect("set");
            assert_eq!(other.one("show search_path"), before);
            assert_eq!(one.one("show search_path"), "information_schema");
        }
    }
}

#[test]
fn prepared_statements_of_psql_follow_it() {
    if !clients_have(18, r"\bind_named") {
        return;
    }
    let file = script(
        "select $1::int + 1 \\parse plus\n\\bind_named plus 41 \\g\n\\bind_named plus 1 \\g\n",
    );
    for mode in MODES {
        let pooler = pooler(mode);
        let mut other = pooler.client();
        other.query("select 'between'").expect("an answer");
        assert_eq!(psql(&pooler).args(["-f", &file]).run(), "42\n2", "{mode}");
    }
}

/// A file of psql's own commands, which cannot be given beside SQL on its command line.
fn script(text: &str) -> String {
    let file = host::new_folder("script").join("script.sql");
    host::write_file(&file, text);
    file.display().to_string()
}

const PIPELINE: &str = r"\startpipeline
select $1::text \bind one \sendpipeline
select $1::text \bind two \sendpipeline
\syncpipeline
select 1/$1::int \bind 0 \sendpipeline
select 'skipped' \bind \sendpipeline
\syncpipeline
select 'three' \bind \sendpipeline
\endpipeline
";

#[test]
fn pipelines_of_psql_are_answered_in_their_order() {
    if !clients_have(18, "a pipeline") {
        return;
    }
    let file = script(PIPELINE);
    for mode in MODES {
        let pooler = pooler(mode);
        let output = psql(&pooler).args(["-v", "ON_ERROR_STOP=0", "-f", &file]).output();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said.trim_end(), "one\ntwo\nthree", "{mode}");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(errors.contains("division by zero"), "{mode}: {errors}");
    }
}

#[cfg(feature = "tls")]
#[test]
fn tls_is_begun_at_once_where_psql_can() {
    if !clients_have(17, "sslnegotiation=direct") {
        return;
    }
    use support::certificates::{authority, p256, signed};
    let root = authority();
    let own = signed(&root, "localhost", &["localhost"], p256());
    let pooler = Setup::new()
        .file("own.crt", &own.certificate())
        .file("own.key", &own.key())
        .file("root.crt", &root.certificate())
        .set("client_tls_sslmode", "require")
        .set("client_tls_key_file", "{dir}/own.key")
        .set("client_tls_cert_file", "{dir}/own.crt")
        .start();
    let authorities = pooler.folder.join("root.crt").display().to_string();
    let direct = psql(&pooler)
        .env("PGHOST", "localhost")
        .env("PGSSLMODE", "verify-full")
        .env("PGSSLROOTCERT", &authorities)
        .env("PGSSLNEGOTIATION", "direct");
    assert_eq!(direct.args(["-c", "select 'in'"]).run(), "in");
    pooler.wait_log(&["tls=TLSv1.3"]);
}

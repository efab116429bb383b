//! What clients choose for themselves at login: the pool mode, and what becomes of what they leave
//! in sessions. Against a real PostgreSQL.

mod support;

use support::client::Login;
use support::postgres::APP;
use support::{Client, Failure, Pooler, Postgres, Setup};

fn attempt(
    pooler: &Pooler,
    database: &str,
    parameters: &[(&str, &str)],
) -> Result<Client, Failure> {
    let login = Login { user: APP.name, password: APP.password, database, parameters };
    Client::attempt(pooler.port, &login)
}

fn chosen(pooler: &Pooler, database: &str, parameters: &[(&str, &str)]) -> Client {
    attempt(pooler, database, parameters)
        .unwrap_or_else(|e| panic!("{database} {parameters:?}: {e:?}"))
}

/// Why a login is refused: its code and its words.
fn refusal(pooler: &Pooler, database: &str, parameters: &[(&str, &str)]) -> (String, String) {
    match attempt(pooler, database, parameters) {
        Ok(_) => panic!("{database} {parameters:?} is let in"),
        Err(failure) => (failure.code().to_owned(), failure.message().to_owned()),
    }
}

fn refused(pooler: &Pooler, parameters: &[(&str, &str)], words: &str) {
    let (code, message) = refusal(pooler, "app", parameters);
    assert_eq!((code.as_str(), message.as_str()), ("22023", words), "{parameters:?}");
}

fn line(keys: &str) -> String {
    let port = Postgres::shared().port;
    format!("host=127.0.0.1 port={port} dbname=app {keys}")
}

fn pid(client: &mut Client) -> String {
    client.one("select pg_backend_pid()")
}

/// The first server is the only one, so that whatever is left would be found.
fn states(configured: &str, offered: &str) -> Setup {
    Setup::new()
        .set("pool_mode", "transaction")
        .set("session_state", configured)
        .set("session_states", offered)
        .set("default_pool_size", "1")
        .set("pin_limit", "100")
}

const SET: &str = "set work_mem = '77kB'";

fn has_left(pooler: &Pooler) -> bool {
    pooler.client().one("show work_mem") == "77kB"
}

#[test]
fn a_client_gets_the_policy_that_it_asks_for_and_the_others_what_is_configured() {
    let pooler = states("allow", "reset, pin, error").start();
    for parameters in [
        ("session_state", "reset"),
        ("Session_State", "RESET"),
        ("options", "-c session_state=reset"),
        ("options", "--session_state=reset -c datestyle=iso"),
    ] {
        let mut client = chosen(&pooler, "app", &[parameters]);
        client.query(SET).expect("a SET");
        assert!(!has_left(&pooler), "{parameters:?}");
    }
    let mut pins = chosen(&pooler, "app", &[("session_state", "pin")]);
    pins.query(SET).expect("a SET");
    assert_eq!(pins.one("show work_mem"), "77kB");
    assert!(pooler.shown("SHOW PINS", "database", "app", "left").is_some());
    let choice = pooler.shown("SHOW CHOICES", "database", "app", "session_state");
    assert_eq!(choice.as_deref(), Some("pin"));
    drop(pins);
    let mut is_told = chosen(&pooler, "app", &[("session_state", "error")]);
    assert_eq!(is_told.query(SET).expect_err("a refusal").code(), "0A000");
    // The server has not been told.
    let sql = "select coalesce(current_setting('session_state', true), 'nothing')";
    assert_eq!(is_told.one(sql), "nothing");
    // Who has not chosen is not watched.
    pooler.client().query(SET).expect("a SET");
    assert!(has_left(&pooler));
}

#[test]
fn a_strict_client_finds_nothing_of_those_who_need_not_clean_up() {
    for configured in ["allow", "warn"] {
        let setup = states(configured, "reset, pin, error");
        let database = line("connect_query='set statement_timeout = 7777'");
        let pooler = setup.database("app", &database).start();
        for policy in ["reset", "pin", "error"] {
            let mut loose = pooler.client();
            loose.query(SET).expect("a SET");
            loose.query("select pg_advisory_lock(7)").expect("a lock");
            let mut strict = chosen(&pooler, "app", &[("session_state", policy)]);
            assert_eq!(strict.one("show work_mem"), "4MB", "{configured}, {policy}");
            let locks = "select count(*) from pg_locks where locktype = 'advisory' \
                 and pid = pg_backend_pid()";
            assert_eq!(strict.one(locks), "0");
            // What connect_query has set is no client's.
            assert_eq!(strict.one("show statement_timeout"), "7777ms");
        }
    }
}

#[test]
fn nobody_gets_less_than_what_is_configured() {
    let pooler = states("reset", "allow,warn,pin").start();
    for weaker in ["allow", "warn"] {
        let words =
            format!("session_state \"{weaker}\" is weaker than \"reset\", which is configured");
        refused(&pooler, &[("session_state", weaker)], &words);
        let option = format!("-csession_state={weaker}");
        refused(&pooler, &[("options", &option)], &words);
    }
    let words = "session_state \"error\" is not offered (session_states = allow,warn,pin)";
    refused(&pooler, &[("session_state", "error")], words);
    let words = "invalid value for parameter \"session_state\": expected one of allow, warn, \
                 reset, pin, error";
    refused(&pooler, &[("session_state", "keep")], words);
    // What is configured may be asked for, and the last word counts.
    let mut client =
        chosen(&pooler, "app", &[("session_state", "pin"), ("session_state", "reset")]);
    client.query(SET).expect("a SET");
    assert!(!has_left(&pooler));
}

#[test]
fn a_choice_outlives_a_reload_and_yields_to_what_is_stricter() {
    let pooler = states("allow", "reset").start();
    let mut client = chosen(&pooler, "app", &[("session_state", "reset")]);
    pooler.rewrite(|setup| setup.set("session_states", ""));
    pooler.console().query("RELOAD").expect("a RELOAD");
    client.query(SET).expect("a SET");
    assert!(!has_left(&pooler), "its choice holds");
    let (_, message) = refusal(&pooler, "app", &[("session_state", "reset")]);
    assert_eq!(message, "unsupported startup parameter: session_state");
    pooler.rewrite(|setup| setup.set("session_state", "error"));
    pooler.console().query("RELOAD").expect("a RELOAD");
    assert_eq!(client.query(SET).expect_err("a refusal").code(), "0A000");
}

#[test]
fn where_nothing_is_offered_the_parameters_are_unknown_as_ever() {
    let pooler = Setup::new().set("pool_mode", "transaction").start();
    for name in ["session_state", "pool_mode"] {
        let (code, message) = refusal(&pooler, "app", &[(name, "session")]);
        assert_eq!(
            (code.as_str(), message),
            ("08P01", format!("unsupported startup parameter: {name}"))
        );
        let (_, message) = refusal(&pooler, "app", &[("options", &format!("-c {name}=session"))]);
        assert_eq!(message, format!("unsupported startup parameter in options: {name}"));
    }
    // `*` takes the name as it is.
    let (_, message) = refusal(&pooler, "app.session", &[]);
    assert_eq!(message, "database \"app.session\" does not exist");
    let pooler = Setup::new()
        .set("pool_modes", "session,transaction")
        .set("ignore_startup_parameters", "pool_mode")
        .start();
    let mut client = chosen(&pooler, "app", &[("pool_mode", "nonsense")]);
    assert_eq!(client.one("select 1"), "1");
    // Another database offers something, and this one does not.
    let pooler = Setup::new()
        .database("app", &line(""))
        .database("other", &line("pool_modes=session session_states=pin"))
        .start();
    for name in ["session_state", "pool_mode"] {
        let (_, message) =
            refusal(&pooler, "app", &[(name, if name == "pool_mode" { "session" } else { "pin" })]);
        assert_eq!(message, format!("unsupported startup parameter: {name}"));
    }
}

fn modes(keys: &str) -> Setup {
    Setup::new()
        .set("pool_mode", "transaction")
        .set("default_pool_size", "2")
        .database("app", &line(&format!("pool_modes='session, transaction' {keys}")))
}

#[test]
fn sessions_and_transactions_share_the_servers_of_one_pool() {
    let pooler = modes("").start();
    for (database, parameters) in [
        ("app", &[("pool_mode", "session")][..]),
        ("app", &[("options", "-c pool_mode=session")]),
        ("app.session", &[]),
        ("app.SESSION", &[("pool_mode", "transaction")]),
    ] {
        let mut session = chosen(&pooler, database, parameters);
        assert_eq!(session.parameters["pgbouncer.pool_mode"], "session");
        let kept = pid(&mut session);
        session.query("create temp table t (a int); listen a").expect("state of its own");
        session.query("prepare p as select 42").expect("a statement");
        // Others share what is left, which is one server.
        let mut others =
            [pooler.client(), pooler.client(), chosen(&pooler, "app.transaction", &[])];
        let shared = pid(&mut others[0]);
        for other in &mut others {
            assert_eq!(other.parameters["pgbouncer.pool_mode"], "transaction");
            assert_eq!(pid(other), shared);
        }
        assert_ne!(kept, shared);
        assert_eq!(pid(&mut session), kept);
        assert_eq!(session.one("execute p"), "42");
        assert_eq!(
            pooler.shown("SHOW CHOICES", "pool_mode", "session", "database").as_deref(),
            Some("app")
        );
        session.terminate();
        support::eventually("the session's end", || {
            pooler.shown("SHOW CHOICES", "pool_mode", "session", "ptr").is_none().then_some(())
        });
        // Reset behind it.
        assert_eq!(others[1].one("select count(*) from pg_listening_channels()"), "0");
    }
    let pools = pooler.console().query("SHOW POOLS").expect("rows");
    let of_app = pools.rows.iter().filter(|row| row[0].as_deref() == Some("app"));
    assert_eq!(of_app.count(), 1, "{pools:?}");
    assert!(Postgres::shared().sessions(APP.name, "app") >= 2);
}

/// Two sessions have both servers: the third, and the others, wait for one of them to end.
#[test]
fn a_session_waits_as_everybody_does() {
    let pooler = modes("").set("query_wait_timeout", "1").start();
    let mut one = chosen(&pooler, "app.session", &[]);
    let mut two = chosen(&pooler, "app.session", &[]);
    assert_ne!(pid(&mut one), pid(&mut two));
    let failure = pooler.client().query("select 1").expect_err("no server");
    assert_eq!(failure.message(), "query_wait_timeout");
    let mut waits = chosen(&pooler, "app.session", &[]);
    waits.wire.send(&support::wire::query("select 1"));
    one.terminate();
    assert_eq!(waits.answer().expect("an answer").rows[0][0].as_deref(), Some("1"));
}

#[test]
fn a_session_begins_on_a_server_that_is_reset() {
    let pooler = modes("pool_size=1").start();
    let mut one = pooler.client();
    one.query("set work_mem = '77kB'; listen a; select pg_advisory_lock(4711)").expect("state");
    let kept = pid(&mut one);
    let sql = "select current_setting('work_mem') || (select count(*) from \
               pg_listening_channels()) || (select count(*) from pg_locks where locktype = \
               'advisory' and pid = pg_backend_pid()) || pg_backend_pid()";
    let mut session = chosen(&pooler, "app.session", &[("application_name", "mine")]);
    assert_eq!(session.one(sql), format!("4MB00{kept}"));
    assert_eq!(session.one("show application_name"), "mine");
    // Its own it keeps, without another reset.
    session.query("set work_mem = '78kB'").expect("a SET");
    assert_eq!(session.one("show work_mem"), "78kB");
    session.terminate();
    assert_eq!(one.one("show work_mem"), "4MB");
}

/// What one session has left, the policy of whom it chose takes away, whatever the reset query.
#[test]
fn a_session_leaves_nothing_where_the_policy_says_so() {
    let pooler =
        modes("pool_size=1").set("server_reset_query", "").set("session_state", "reset").start();
    let mut session = chosen(&pooler, "app.session", &[]);
    session.query("set work_mem = '77kB'").expect("a SET");
    session.query("do $$ begin perform pg_advisory_lock(4712); end $$").expect("a lock");
    assert_eq!(session.one("show work_mem"), "77kB");
    drop(session);
    let mut other = pooler.client();
    assert_eq!(other.one("show work_mem"), "4MB");
    let sql =
        "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()";
    assert_eq!(other.one(sql), "0");
}

/// The client has chosen that nothing is left to others, and a RELOAD takes its session from it.
#[test]
fn a_session_that_a_reload_ends_leaves_nothing_either() {
    let keys = "pool_modes=transaction session_states=reset";
    let app = |mode: &str| line(&format!("pool_mode={mode} {keys}"));
    let pooler = Setup::new()
        .set("default_pool_size", "2")
        .set("server_reset_query", "")
        .database("app", &app("session"))
        .start();
    let mut session = chosen(&pooler, "app", &[("session_state", "reset")]);
    session.query(SET).expect("a SET");
    let left = pid(&mut session);
    let mut other = chosen(&pooler, "app.transaction", &[]);
    assert_ne!(pid(&mut other), left);
    pooler.rewrite(|setup| setup.database("app", &app("transaction")));
    pooler.console().query("RELOAD").expect("a RELOAD");
    // The pool has hand-overs of its new mode before the session gives its server back.
    other.query("select 1").expect("an answer");
    session.query("select 1").expect("an answer");
    let mut third = chosen(&pooler, "app", &[]);
    let found = [&mut other, &mut third].map(|client| {
        client.query("begin").expect("a server");
        (pid(client), client.one("show work_mem"))
    });
    assert!(found.contains(&(left, "4MB".to_owned())), "{found:?}");
}

#[test]
fn a_database_of_that_very_name_comes_first_and_a_wildcard_takes_names_as_they_are() {
    let pooler = modes("")
        .database("app.session", &line("pool_mode=transaction application_name=real"))
        .database(
            "*",
            &format!("host=127.0.0.1 port={} pool_modes=session", Postgres::shared().port),
        )
        .start();
    let mut client = chosen(&pooler, "app.session", &[]);
    assert_eq!(client.parameters["pgbouncer.pool_mode"], "transaction");
    assert_eq!(client.one("show application_name"), "real");
    // By the wildcard the whole name is the database's.
    let failure = attempt(&pooler, "postgres.session", &[]).err().expect("no such database");
    assert!(failure.message().contains("\"postgres.session\""), "{failure:?}");
    let mut client = chosen(&pooler, "postgres", &[("pool_mode", "session")]);
    assert_eq!(client.parameters["pgbouncer.pool_mode"], "session");
    assert_eq!(client.one("select current_database()"), "postgres");
}

#[test]
fn other_modes_are_refused_with_what_is_offered() {
    let pooler = modes("").set("auth_type", "scram-sha-256").start();
    let words = "pool_mode \"statement\" is not offered (pool_modes = session,transaction)";
    refused(&pooler, &[("pool_mode", "statement")], words);
    let modes = "session, transaction, statement";
    let words = format!("invalid value for parameter \"pool_mode\": expected one of {modes}");
    refused(&pooler, &[("options", "-cpool_mode=pooled")], &words);
    for name in ["app.statement", "app.", "app.session.session", ".session"] {
        let (_, message) = refusal(&pooler, name, &[]);
        assert_eq!(message, format!("database \"{name}\" does not exist"));
    }
    // Nobody learns without a password what a database offers.
    let login = Login {
        user: APP.name,
        password: "wrong",
        database: "app",
        parameters: &[("pool_mode", "statement")],
    };
    let failure = Client::attempt(pooler.port, &login).err().expect("a wrong password");
    assert!(failure.message().contains("authentication failed"), "{failure:?}");
}

/// A client in statement pooling beside the others.
#[test]
fn statement_pooling_may_be_chosen_too() {
    let pooler = Setup::new().set("pool_modes", "statement").start();
    let mut client = chosen(&pooler, "app", &[("pool_mode", "statement")]);
    let failure = client.query("begin").expect_err("no block");
    assert!(failure.message().contains("statement pooling"), "{failure:?}");
    let mut session = pooler.client();
    session.query("begin").expect("a block");
}

//! What a line of `[databases]` promises, against a real PostgreSQL: where it leads and as whom,
//! what its servers are started with, how it comes, changes and goes while clients are connected.

mod support;

use std::time::Duration;

use support::client::Login;
use support::postgres::{APP, TRUSTED};
use support::{Client, Pooler, Postgres, Setup, eventually};

fn line(more: &str) -> String {
    format!("host=127.0.0.1 port={} dbname=app {more}", Postgres::shared().port)
}

fn attempt(pooler: &Pooler) -> Result<Client, support::Failure> {
    let login = Login { user: APP.name, password: APP.password, database: "app", parameters: &[] };
    Client::attempt(pooler.port, &login)
}

#[test]
fn a_line_names_user_password_database_and_what_servers_start_with() {
    let forced = "user=app_md5 password=md5-secret dbname=bench";
    let starts = "client_encoding=LATIN1 datestyle='German, DMY' timezone=Asia/Tokyo";
    let pooler = Setup::empty().database("alias", &line(&format!("{forced} {starts}"))).start();
    let mut client = pooler.login(&APP, "alias");
    let whole = "select current_user || ' ' || current_database() || ' ' || \
                 current_setting('client_encoding') || ' ' || current_setting('datestyle') || ' ' \
                 || current_setting('timezone')";
    assert_eq!(client.one(whole), "app_md5 bench LATIN1 German, DMY Asia/Tokyo");
}

#[test]
fn an_error_of_the_connect_query_is_logged_and_the_server_used() {
    let pooler = Setup::empty().database("app", &line("connect_query='select 1/0'")).start();
    assert_eq!(attempt(&pooler).expect("a login").one("select 'served'"), "served");
    pooler.wait_log(&["error while executing exec_on_query: ERROR: division by zero"]);
    // What it leaves open would be the first client's.
    let open = Setup::empty().database("app", &line("connect_query='begin; select 1/0'"));
    let pooler = open.set("query_wait_timeout", "2").start();
    attempt(&pooler).err().expect("no server is fit");
    pooler.wait_log(&["closing because: connect_query failed"]);
}

#[test]
fn a_disabled_database_takes_no_new_clients_and_keeps_those_it_has() {
    let pooler = Setup::empty().database("app", &line("")).start();
    let mut client = attempt(&pooler).expect("a login");
    pooler.console().query("disable app").expect("DISABLE");
    let error = attempt(&pooler).err().expect("nobody comes in");
    assert_eq!(error.message(), "database \"app\" is disabled");
    assert_eq!(client.one("select 'still here'"), "still here");
    pooler.console().query("enable app").expect("ENABLE");
    assert_eq!(attempt(&pooler).expect("a login").one("select 1"), "1");
}

#[test]
fn a_line_that_leads_elsewhere_closes_servers_and_keeps_clients() {
    let pooler = Setup::empty().database("app", &line("pool_size=1")).start();
    let mut client = attempt(&pooler).expect("a login");
    let old = client.one("select pg_backend_pid()");
    let reload = |more: &str| {
        pooler.rewrite(|setup| setup.database("app", &line(more)));
        pooler.console().query("reload").expect("RELOAD");
    };
    reload("pool_size=2 max_db_connections=9");
    assert_eq!(client.one("select pg_backend_pid()"), old, "a size leads nowhere else");
    client.query("begin").expect("a transaction");
    reload("pool_size=2 dbname=bench");
    assert_eq!(client.one("select pg_backend_pid()"), old, "a transaction is left alone");
    client.query("commit").expect("COMMIT");
    assert_eq!(client.one("select current_database()"), "bench");
}

/// The user's override counts, then the database's, then the setting.
#[test]
fn the_nearest_override_counts() {
    let pooler = Setup::empty()
        .database("app", &line("pool_mode=session query_wait_timeout=7"))
        .user(TRUSTED.name, "pool_mode=statement")
        .set("pool_mode", "transaction")
        .start();
    let mode = |client: &Client| client.parameters["pgbouncer.pool_mode"].clone();
    assert_eq!(mode(&pooler.login(&APP, "app")), "session");
    let mut strict = pooler.login(&TRUSTED, "app");
    assert_eq!(mode(&strict), "statement");
    let error = strict.query("begin").expect_err("no transactions in statement pooling");
    assert_eq!(error.message(), "transaction blocks not allowed in statement pooling mode");
}

#[test]
fn a_database_made_from_the_star_and_an_idle_pool_are_forgotten() {
    let more = line("user=app_trust password=unasked");
    let pooler = Setup::empty()
        .database("*", &more)
        .set("autodb_idle_timeout", "4")
        .set("pool_idle_timeout", "1")
        .set("server_idle_timeout", "1")
        .start();
    pooler.login(&APP, "made_up").query("select 1").expect("the line of the star");
    pooler.wait_log(&["registered new auto-database: db=made_up"]);
    let idle = "cleaning up idle pool for user app_trust on db made_up because: pool idle timeout";
    pooler.wait_log(&[idle]);
    let gone = "dropping database 'made_up' as it does not exist anymore or inactive auto-database";
    pooler.wait_log(&[gone]);
    assert_eq!(pooler.shown("show databases", "name", "made_up", "database"), None);
    let again = pooler.login(&APP, "made_up").one("select 1");
    assert_eq!(again, "1", "it comes back with the next client");
}

#[test]
fn a_database_that_nobody_has_asked_for_can_be_paused_and_stays_so() {
    let everywhere = format!("host=127.0.0.1 port={} dbname=app", Postgres::shared().port);
    let pooler = Setup::empty()
        .database("*", &everywhere)
        .set("autodb_idle_timeout", "1")
        .set("query_wait_timeout", "1")
        .start();
    let mut console = pooler.console();
    for name in ["resume", "enable"].map(|word| format!("{word} later")) {
        let error = console.query(&name).expect_err("nothing to take back");
        assert_eq!(error.message(), "no such database: later");
    }
    console.query("pause later").expect("the line of the star");
    for word in ["reconnect", "wait_close", "kill", "disable"] {
        console.query(&format!("{word} {word}")).expect(word);
    }
    let flags = |name: &str| {
        ["paused", "disabled"].map(|flag| pooler.shown("show databases", "name", name, flag))
    };
    let is = |value: &str| Some(value.to_owned());
    // Those of which nothing was said that lasts are forgotten.
    eventually("two to be forgotten", || {
        ["reconnect", "wait_close"].iter().all(|name| flags(name) == [None, None]).then_some(())
    });
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(flags("later"), [is("1"), is("0")]);
    assert_eq!(flags("kill"), [is("1"), is("0")]);
    assert_eq!(flags("disable"), [is("0"), is("1")]);
    let login =
        Login { user: APP.name, password: APP.password, database: "later", parameters: &[] };
    let error = Client::attempt(pooler.port, &login).err().expect("it is paused");
    assert_eq!(error.message(), "query_wait_timeout");
    console.query("resume later").expect("it is paused");
    assert_eq!(pooler.login(&APP, "later").one("select 1"), "1");
    let name = "x".repeat(64);
    let error = console.query(&format!("pause {name}")).expect_err("no server has such a name");
    assert!(error.message().starts_with("no such database: x"), "{error:?}");
}

#[test]
fn a_database_that_no_server_has_is_forgotten_without_a_warning() {
    let everywhere = format!("host=127.0.0.1 port={}", Postgres::shared().port);
    let pooler = Setup::empty().database("*", &everywhere).start();
    let login =
        Login { user: APP.name, password: APP.password, database: "absent", parameters: &[] };
    assert!(Client::attempt(pooler.port, &login).is_err());
    let shown = || pooler.shown("show databases", "name", "absent", "database");
    eventually("the name to be forgotten", || shown().is_none().then_some(()));
    assert!(!pooler.log().contains("dropping database 'absent'"), "{}", pooler.log());
}

#[test]
fn clients_of_a_database_that_reload_takes_away_are_told() {
    let setup = Setup::empty().database("app", &line("")).database("again", &line(""));
    let pooler = setup.start();
    let (mut idle, mut busy) = (pooler.client(), pooler.client());
    busy.query("begin").expect("a transaction");
    let mut other = pooler.login(&APP, "again");
    other.query("begin").expect("a transaction");
    pooler.rewrite(|_| Setup::empty().database("again", &line("pool_size=3")));
    pooler.signal("HUP");
    for client in [&mut idle, &mut busy] {
        let told = client.wire.hear_to_the_end();
        let told = told.iter().find_map(|message| message.field('M'));
        assert_eq!(told.as_deref(), Some("database removed"));
    }
    pooler.wait_log(&["dropping database 'app' as it does not exist anymore"]);
    other.query("commit").expect("the other database goes on");
    let error = attempt(&pooler).err().expect("app is gone");
    assert_eq!(error.message(), "no such database: app");
    pooler.rewrite(|setup| setup.database("app", &line("")));
    pooler.signal("HUP");
    let back = eventually("the database to be back", || attempt(&pooler).ok());
    drop(back);
}

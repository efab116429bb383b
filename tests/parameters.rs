//! The parameters of sessions against a real PostgreSQL and scripted servers: what new clients are
//! told, what their servers are given, and what an operator's RECONNECT changes.

mod support;

use support::client::Login;
use support::postgres::APP;
use support::{Client, Failure, Pooler, Postgres, Setup};

/// A database of one's own, its owner `APP`.
fn new_database(name: &str) {
    let create = format!("create database {name} owner {}", APP.name);
    Postgres::shared().session("postgres").query(&create).expect("a new database");
}

fn run(database: &str, sql: &str) {
    let mut session = Postgres::shared().session(database);
    session.query(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
}

fn attempt(pooler: &Pooler, database: &str) -> Result<Client, Failure> {
    let login = Login { user: APP.name, password: APP.password, database, parameters: &[] };
    Client::attempt(pooler.port, &login)
}

fn reconnect(pooler: &Pooler) {
    pooler.console().query("RECONNECT").expect("a command");
}

/// What a new client is told of parameters, and what is in force for it.
fn seen(pooler: &Pooler, database: &str, names: &[&str]) -> Vec<(String, String)> {
    let mut client = attempt(pooler, database).expect("a login");
    let told = |client: &Client, name: &str| client.parameters[name].clone();
    names.iter().map(|name| (told(&client, name), client.one(&format!("show {name}")))).collect()
}

#[test]
fn after_reconnect_new_clients_have_what_new_servers_report() {
    new_database("defaults");
    let pooler = Setup::new().start();
    let names = ["TimeZone", "DateStyle", "default_transaction_read_only"];
    let pair = |value: &str| (value.to_owned(), value.to_owned());
    assert_eq!(seen(&pooler, "defaults", &names), ["UTC", "ISO, MDY", "off"].map(pair));
    for (name, value) in [
        ("timezone", "'Asia/Tokyo'"),
        ("datestyle", "'German'"),
        ("default_transaction_read_only", "on"),
    ] {
        run("defaults", &format!("alter database defaults set {name} = {value}"));
    }
    // The servers that are there have what they had.
    assert_eq!(seen(&pooler, "defaults", &names[..1]), ["UTC"].map(pair));
    reconnect(&pooler);
    let expected = ["Asia/Tokyo", "German, DMY", "on"].map(pair);
    assert_eq!(seen(&pooler, "defaults", &names), expected);
}

/// RECONNECT tells the servers at work to close: whoever comes is not kept waiting for them when
/// no new one can be had, and hears what PostgreSQL says.
#[test]
fn servers_that_are_to_close_keep_nobody_waiting_for_one_that_is_refused() {
    new_database("refused");
    run("postgres", "create role changing login password 'first'");
    let port = Postgres::shared().port;
    let line = format!("host=127.0.0.1 port={port} user=changing password=first pool_size=2");
    let pooler = Setup::new().database("refused", &line).start();
    let mut first = attempt(&pooler, "refused").expect("a login");
    let mut second = attempt(&pooler, "refused").expect("a login");
    first.query("begin; select 1").expect("a server");
    run("postgres", "alter role changing password 'another'");
    reconnect(&pooler);
    let expected = "password authentication failed for user \"changing\"";
    let late = attempt(&pooler, "refused").err().expect("no server can be had");
    assert_eq!(late.message(), expected);
    let early = second.query("select 1").expect_err("no server can be had");
    assert!(early.message().contains(expected), "{early:?}");
    first.query("commit").expect("its server serves it to the end");
    // The next attempt is waited for, and tells what it met.
    run("postgres", "alter role changing password 'first'");
    attempt(&pooler, "refused").expect("a login").query("select 1").expect("an answer");
}

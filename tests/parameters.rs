//! The parameters of sessions against a real PostgreSQL and scripted servers: what new clients are
//! told, what their servers are given, and what an operator's RECONNECT changes.

mod support;

use support::client::Login;
use support::postgres::APP;
use support::{Client, Failure, FakeServer, Pooler, Postgres, Setup, fake, wire};

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

/// Who asks for nothing has the default of whatever server it gets, and is told when that is
/// another; a wish goes along.
#[test]
fn a_client_from_before_has_new_defaults_and_keeps_its_wishes() {
    new_database("earlier");
    let pooler = Setup::new().start();
    let mut plain = attempt(&pooler, "earlier").expect("a login");
    let mut other = attempt(&pooler, "earlier").expect("a login");
    assert_eq!(plain.one("show timezone"), "UTC");
    other.query("set timezone = 'Europe/Lisbon'").expect("a value of its own");
    run("earlier", "alter database earlier set timezone = 'Asia/Tokyo'");
    run("earlier", "alter database earlier set client_encoding = 'LATIN1'");
    reconnect(&pooler);
    for _ in 0..3 {
        assert_eq!(plain.one("show timezone"), "Asia/Tokyo");
        assert_eq!(plain.parameters["TimeZone"], "Asia/Tokyo");
        assert_eq!(other.one("show timezone"), "Europe/Lisbon");
        assert_eq!(other.parameters["TimeZone"], "Europe/Lisbon");
        // What queries are written in stays as the client was told.
        assert_eq!(plain.one("show client_encoding"), "UTF8");
    }
    let both = seen(&pooler, "earlier", &["TimeZone", "client_encoding"]);
    let pair = |value: &str| (value.to_owned(), value.to_owned());
    assert_eq!(both, ["Asia/Tokyo", "LATIN1"].map(pair));
}

/// A login whose parameters are bytes in whatever encoding.
fn login_with(pooler: &Pooler, database: &str, pairs: &[(&str, &[u8])]) -> Client {
    let mut body = Vec::new();
    let names = [("user", APP.name.as_bytes()), ("database", database.as_bytes())];
    for (name, value) in names.iter().chain(pairs) {
        body.extend([name.as_bytes(), b"\0", value, b"\0"].concat());
    }
    body.push(0);
    let mut wire = pooler.connect();
    wire.send(&wire::packet(3 << 16, &body));
    let mut client =
        Client { wire, parameters: Default::default(), cancel_key: vec![], asides: vec![] };
    client.answer().unwrap_or_else(|e| panic!("{pairs:?}: {e:?}"));
    client
}

/// What PostgreSQL has for the client, in UTF-8.
fn path_of(client: &mut Client) -> String {
    let sql = "select encode(convert_to(current_setting('search_path'), 'UTF8'), 'hex')";
    let hex = client.one(sql);
    let digits = hex.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).expect("digits"));
    let bytes = digits.map(|two| u8::from_str_radix(two, 16).expect("a byte")).collect();
    String::from_utf8(bytes).expect("UTF-8")
}

/// The bytes of a value mean what its client means by them, whatever encoding the client before has
/// left on the server.
#[test]
fn values_are_read_in_the_encoding_of_the_client_that_sets_them() {
    for encoding in ["UTF8", "LATIN1", "EUC_JP"] {
        let database = format!("read_{}", encoding.to_lowercase());
        let create = format!("create database {database} template template0 encoding '{encoding}'");
        run("postgres", &create);
        let pooler = Setup::new().set("default_pool_size", "1").start();
        let left = match encoding {
            "EUC_JP" => vec!["UTF8", "EUC_JP", "SJIS"],
            _ => vec!["UTF8", "LATIN1", "SQL_ASCII"],
        };
        // In both character sets, and of two bytes in all of these encodings but LATIN1.
        let text = if encoding == "EUC_JP" { "表" } else { "schéma" };
        for left in left {
            let mut before = login_with(&pooler, &database, &[]);
            before.query(&format!("set client_encoding = '{left}'")).expect("an encoding");
            let mut client = login_with(
                &pooler,
                &database,
                &[
                    ("search_path", text.as_bytes()),
                    ("client_encoding", b"utf8"),
                    ("application_name", "Ärger".as_bytes()),
                ],
            );
            assert_eq!(path_of(&mut client), text, "{encoding} after {left}");
            // A value in another encoding than the first one.
            if encoding != "EUC_JP" {
                let pairs = [("search_path", &b"sch\xe9ma"[..]), ("client_encoding", b"LATIN1")];
                let mut latin = login_with(&pooler, &database, &pairs);
                assert_eq!(path_of(&mut latin), text, "LATIN1 in {encoding} after {left}");
            }
            assert_eq!(path_of(&mut client), text, "{encoding} again after {left}");
        }
    }
}

/// An application_name in no encoding at all stops no login, as with PostgreSQL.
#[test]
fn an_application_name_that_is_no_text_is_taken() {
    let pooler = Setup::new().start();
    for name in [&b"\xc4rger"[..], b"\x81\\", b"\xff'"] {
        let mut client = login_with(&pooler, "app", &[("application_name", name)]);
        let shown = client.one("show application_name");
        assert_eq!(shown.len(), name.len(), "{shown:?}");
        assert!(shown.starts_with('?'), "{shown:?}");
    }
}

/// A character of two bytes may end in the byte of a backslash, and any client may take down
/// PostgreSQL's own safety net.
#[test]
fn nothing_in_a_value_is_run_whatever_the_encoding() {
    run("app", "create table injected (x text); grant all on injected to public");
    let attack = "',false);insert/**/into/**/public.injected/**/values($$x$$);--";
    let encodings = ["SJIS", "BIG5", "GBK", "UHC", "JOHAB", "GB18030", "EUC_JP", "LATIN1", "UTF8"];
    for encoding in encodings {
        let pooler = Setup::new().set("default_pool_size", "1").start();
        for lead in ["\u{c1}\\", "\u{c1}\\\\", "\\", "\u{101}\\", "$v$", "\u{c1}$v"] {
            for tail in [attack, "';drop/**/table/**/public.injected;--"] {
                let mut before = login_with(&pooler, "app", &[]);
                for sql in ["backslash_quote = on", "standard_conforming_strings = off"] {
                    before.query(&format!("set {sql}")).expect("a setting");
                }
                before.query(&format!("set client_encoding = '{encoding}'")).expect("an encoding");
                let value = format!("{lead}{tail}");
                let pairs =
                    [("search_path", value.as_bytes()), ("client_encoding", encoding.as_bytes())];
                let mut client = login_with(&pooler, "app", &pairs);
                // Not all of it is text in all of the encodings: then the client is refused.
                if client.query("select 1").is_ok() {
                    let kept = client.one("select length(current_setting('search_path')) > 20");
                    assert_eq!(kept, "t", "{encoding} {value:?}");
                }
            }
        }
    }
    assert_eq!(Postgres::shared().one("select count(*) from injected"), "0");
}

/// What the server refuses costs the client its connection, and nobody a server.
#[test]
fn a_refused_parameter_costs_no_server() {
    let pooler = Setup::new().set("default_pool_size", "1").start();
    let mut other = pooler.client();
    let pid = other.one("select pg_backend_pid()");
    for value in [&b"no/such"[..], b"\xff"] {
        let mut client = login_with(&pooler, "app", &[("timezone", value)]);
        let error = client.query("select 1").expect_err("no such zone");
        assert_eq!(error.message(), "invalid server parameter");
        assert_eq!(other.one("select pg_backend_pid()"), pid);
    }
}

/// Servers that were opened under other settings for TLS do not go on as they are.
#[test]
fn other_settings_for_tls_to_servers_renew_the_servers() {
    let pooler = Setup::new().start();
    let mut client = pooler.client();
    let pid = client.one("select pg_backend_pid()");
    pooler.console().query("set server_tls_sslmode = 'disable'").expect("a setting");
    pooler.wait_log(&["closing because: database configuration changed"]);
    let renewed = client.one("select pg_backend_pid()");
    assert_ne!(renewed, pid);
    pooler.console().query("set server_tls_sslmode = 'disable'").expect("the same again");
    assert_eq!(client.one("select pg_backend_pid()"), renewed);
}

/// A client knows its own notifications by the process id that it was told.
#[test]
fn a_notification_of_ones_own_has_ones_own_process_id() {
    let pooler = Setup::new().set("pool_mode", "session").start();
    let mut client = pooler.client();
    client.query("listen news").expect("a subscription");
    client.query("notify news, 'mine'").expect("a notification");
    Postgres::shared().session("app").query("notify news, 'foreign'").expect("a notification");
    let foreign = support::eventually("both notifications", || {
        client.query("select 1").expect("an answer");
        client.asides.iter().position(|aside| aside.text().contains("foreign"))
    });
    let own = client.asides.iter().position(|aside| aside.text().contains("mine"));
    let own = &client.asides[own.expect("the first one")];
    assert_eq!(own.body[..4], client.cancel_key[..4]);
    assert_eq!(&own.body[4..], b"news\0mine\0");
    assert_ne!(client.asides[foreign].body[..4], client.cancel_key[..4]);
}

/// A reset that fails leaves the server as its client has left it: nobody else gets it.
#[test]
fn a_server_whose_reset_fails_is_not_lent_on() {
    let setup = Setup::new().set("pool_mode", "session").set("default_pool_size", "1");
    let pooler = setup.set("server_reset_query", "select 1/0").start();
    let mut first = pooler.client();
    first.query("set statement_timeout = '77s'").expect("a setting");
    first.terminate();
    assert_eq!(pooler.client().one("show statement_timeout"), "0");
    pooler.wait_log(&["closing because: reset query failed"]);
}

/// What a server says of itself: AuthenticationOk, `reports`, ReadyForQuery; then `idle`.
fn talker(reports: Vec<u8>, idle: Vec<u8>) -> FakeServer {
    FakeServer::start(move |wire| {
        if !matches!(fake::hear_startup(wire), Ok(Some(_))) {
            return;
        }
        let mut welcome = wire::message(b'R', &[0; 4]);
        welcome.extend(&reports);
        welcome.extend(wire::message(b'K', &[0, 0, 0, 7, 1, 2, 3, 4]));
        welcome.extend(wire::ready(b'I'));
        wire.send(&welcome);
        while !idle.is_empty() && wire.send(&idle) {}
        wire.hear_to_the_end();
    })
}

fn report(name: &str, value: &str) -> Vec<u8> {
    wire::message(b'S', format!("{name}\0{value}\0").as_bytes())
}

#[test]
fn a_server_may_report_so_much_and_no_more() {
    let many: Vec<u8> = (0..300).flat_map(|n| report(&format!("name{n}"), "x")).collect();
    let again = report("TimeZone", &"x".repeat(1000)).repeat(40);
    for reports in [many, report("server_version", &"x".repeat(60_000)), again] {
        let server = talker(reports, vec![]);
        let line = format!("host=127.0.0.1 port={}", server.port);
        let pooler = Setup::empty().database("app", &line).set("query_wait_timeout", "1").start();
        attempt(&pooler, "app").err().expect("no server can be had");
        pooler.wait_log(&["closing because: broken ParameterStatus packet"]);
    }
    let bounded = talker((0..100).flat_map(|n| report(&format!("name{n}"), "x")).collect(), vec![]);
    let line = format!("host=127.0.0.1 port={}", bounded.port);
    let pooler = Setup::empty().database("app", &line).start();
    let client = attempt(&pooler, "app").expect("that much is good");
    assert_eq!(client.parameters["name99"], "x");
}

/// A server that goes on talking when nobody has asked costs the others their time.
#[test]
fn a_server_that_talks_unasked_is_closed() {
    let news = [
        wire::message(b'N', b"SNOTICE\0C00000\0Mhello\0\0"),
        wire::message(b'A', b"\0\0\0\x01channel\0payload\0"),
        report("TimeZone", "UTC"),
    ];
    for message in news {
        let server = talker(report("TimeZone", "UTC"), message.repeat(100));
        let line = format!("host=127.0.0.1 port={}", server.port);
        let setup = Setup::new().database("talker", &line);
        let pooler = setup.set("server_login_retry", "1").start();
        attempt(&pooler, "talker").expect("a login");
        pooler.wait_log(&["closing because: server says too much unasked"]);
        // Nobody needs another one.
        assert_eq!(pooler.client().one("select 1"), "1");
    }
}

/// The log says what has become of a cancel request.
#[test]
fn cancel_requests_that_are_not_sent_are_logged_as_what_they_are() {
    let server = FakeServer::start(|wire| match fake::hear_startup(wire) {
        // The one that carries the request does not end.
        Ok(None) => drop(wire.hear_bytes_to_the_end()),
        _ => {
            wire.send(&fake::welcome());
            wire.hear_to_the_end();
        }
    });
    let line = format!("host=127.0.0.1 port={} pool_size=1", server.port);
    let pooler = Setup::empty().database("app", &line).start();
    let mut running = attempt(&pooler, "app").expect("a login");
    running.wire.send(&wire::query("select 1"));
    support::eventually("a server at work", || {
        (pooler.shown("show servers", "database", "app", "state")? == "active").then_some(())
    });
    let ask = |client: &Client| {
        let mut wire = pooler.connect();
        wire.send(&wire::packet(wire::CANCEL, &client.cancel_key));
        wire
    };
    let _first = ask(&running);
    support::eventually("the first request", || (server.accepted() == 2).then_some(()));
    ask(&running).hear_to_the_end();
    pooler.wait_log(&["closing because: cancel request for a query that is being cancelled"]);
    let mut waiting = attempt(&pooler, "app").expect("a login");
    waiting.wire.send(&wire::query("select 1"));
    support::eventually("a client that waits", || {
        (pooler.shown("show pools", "database", "app", "cl_waiting")? == "1").then_some(())
    });
    ask(&waiting).hear_to_the_end();
    pooler.wait_log(&["closing because: cancelled a query that waited for a server"]);
    assert!(!pooler.log().contains("successfully sent"), "{}", pooler.log());
}

/// PostgreSQL does not look at what a Terminate brings.
#[test]
fn a_goodbye_with_a_body_is_a_goodbye() {
    let pooler = Setup::new().start();
    let mut client = pooler.client();
    client.query("select 1").expect("an answer");
    client.wire.say(b'X', b"bye");
    assert!(client.wire.hear_to_the_end().is_empty());
    pooler.wait_log(&["closing because: client close request"]);
}

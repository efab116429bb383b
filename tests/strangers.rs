//! Those who have proved nothing, and servers that cost much and serve nobody: none of them holds
//! up those who are at work.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::postgres::{APP, SUPER};
use support::scram::let_in;
use support::wire::{self, Gone, Wire};
use support::{Client, FakeServer, PATIENCE, Pooler, Postgres, Setup, eventually, fake};

/// So many iterations take the better part of a second, at least.
const MANY: u32 = 100_000;

/// Queries that must be answered while they are done.
const QUERIES: usize = 20;

/// A connection that asks for a login and is asked for its password.
fn asked(port: u16, user: &str, database: &str) -> Wire {
    let mut wire = Wire::connect(port);
    wire.send(&wire::startup(&[("user", user), ("database", database)]));
    assert_eq!(wire.hear().expect("a question").kind, b'R');
    wire
}

#[test]
fn a_guess_takes_its_time_and_holds_up_nobody() {
    let setup = Setup::new().set("auth_type", "plain").set("scram_iterations", &MANY.to_string());
    let pooler = setup.start();
    let mut at_work = pooler.client();
    let mut stranger = asked(pooler.port, "nobody", "app");
    stranger.say(b'p', b"guess\0");
    let mut queries = 0;
    let told = loop {
        at_work.one("select 1");
        match stranger.hear_within(Duration::from_millis(1)) {
            Err(Gone::Silent) => queries += 1,
            told => break told.expect("a refusal"),
        }
    };
    assert_eq!(told.field('M').as_deref(), Some("password authentication failed"));
    assert!(queries >= QUERIES, "{queries} queries while a guess was made");
}

#[test]
fn a_server_that_asks_for_many_iterations_holds_up_no_other() {
    let (begun, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (begins, ends) = (begun.clone(), ended.clone());
    let server = FakeServer::start(move |wire| {
        begins.fetch_add(1, Ordering::SeqCst);
        let count = || {
            ends.fetch_add(1, Ordering::SeqCst);
        };
        let_in(wire, MANY, b"salt", count);
    });
    let line = format!("host=127.0.0.1 port={} user=x password=secret", server.port);
    let pooler = Setup::new().set("auth_type", "trust").database("far", &line).start();
    let mut at_work = pooler.client();
    let mut waiting = Wire::connect(pooler.port);
    waiting.send(&wire::startup(&[("user", APP.name), ("database", "far")]));
    eventually("a login to the server", || (begun.load(Ordering::SeqCst) > 0).then_some(()));
    let (mut queries, begin) = (0, Instant::now());
    while ended.load(Ordering::SeqCst) == 0 && begin.elapsed() < PATIENCE {
        at_work.one("select 1");
        queries += 1;
    }
    assert!(queries >= QUERIES, "{queries} queries while the pooler logged in elsewhere");
}

#[test]
fn a_server_that_costs_keys_and_serves_nobody_is_left_alone() {
    let salts = AtomicU32::new(0);
    let server = FakeServer::start(move |wire| {
        let salt = salts.fetch_add(1, Ordering::SeqCst).to_be_bytes();
        let_in(wire, 10, &salt, || {});
    });
    let line = format!("host=127.0.0.1 port={} user=x password=secret", server.port);
    let pooler = Setup::new().set("auth_type", "trust").database("far", &line).start();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(3) {
        let login = support::client::Login {
            user: APP.name,
            password: "",
            database: "far",
            parameters: &[],
        };
        if let Ok(mut client) = Client::attempt(pooler.port, &login) {
            let _ = client.query("select 1");
        }
    }
    // 100 ms, 200, 400 and so on, and one when the pool was made.
    let logins = server.accepted();
    assert!(logins <= 10, "{logins} logins in three seconds");
    assert!(logins >= 3, "it is tried again: {logins} logins");
}

#[test]
fn connections_that_prove_nothing_give_way() {
    let pooler = Setup::new()
        .set("auth_type", "plain")
        .set("max_client_conn", "20")
        .in_view()
        .set("tcp_defer_accept", "0")
        .start();
    let mut at_work = pooler.client();
    // Some say nothing at all, the others begin to log in.
    let mut silent: Vec<Wire> = (0..150).map(|_| pooler.connect()).collect();
    let begun: Vec<Wire> = (0..150).map(|_| asked(pooler.port, APP.name, "app")).collect();
    let told = silent[0].hear().expect("a word of goodbye");
    let words = "too many connections that have not logged in";
    assert_eq!(told.field('M').as_deref(), Some(words));
    assert_eq!(told.field('C').as_deref(), Some("53300"));
    let open = pooler.descriptors();
    assert!(open < 150, "{open} descriptors are open");
    assert_eq!(at_work.one("select 1"), "1");
    for database in ["app", "pgbouncer"] {
        let (user, password) =
            if database == "app" { (APP.name, APP.password) } else { ("admin", "admin-secret") };
        Client::login(pooler.port, user, password, database);
    }
    drop((silent, begun));
}

#[test]
fn a_sasl_message_that_is_too_long_is_not_waited_for() {
    let pooler = Setup::new().set("auth_type", "scram-sha-256").start();
    let mut stranger = asked(pooler.port, APP.name, "app");
    stranger.send(&[b"p", &3000_u32.to_be_bytes()[..], b"SCRAM-SHA-256\0"].concat());
    let told = stranger.hear().expect("a refusal");
    assert_eq!(told.field('M').as_deref(), Some("bad packet header: '7000000bb8'"));
}

#[test]
fn names_that_strangers_make_up_wait_for_their_turn() {
    // It takes connections, and says nothing.
    let server = FakeServer::start(|wire| drop(wire.hear_to_the_end()));
    let line = format!("host=127.0.0.1 port={}", server.port);
    let pooler = Setup::new()
        .set("auth_type", "plain")
        .set("auth_user", SUPER.name)
        .set("client_login_timeout", "20")
        .database("app", &format!("host=127.0.0.1 port={}", Postgres::shared().port))
        .database("*", &line)
        .start();
    let strangers: Vec<Wire> = (0..90)
        .map(|number| {
            let mut wire = Wire::connect(pooler.port);
            let name = format!("made_up_{number}");
            wire.send(&wire::startup(&[("user", "who"), ("database", &name)]));
            wire
        })
        .collect();
    let mut console = pooler.console();
    let mut count = |table: &str, name: &str| {
        let rows = console.query(table).expect("a table").rows;
        let is_it =
            |row: &&Vec<Option<String>>| row.iter().flatten().any(|value| value.starts_with(name));
        rows.iter().filter(is_it).count()
    };
    eventually("all of them to be there", || {
        let count = pooler.shown("show lists", "list", "used_clients", "items")?;
        (count.parse::<usize>().ok()? > 90).then_some(())
    });
    assert_eq!(count("show databases", "made_up"), 32);
    // Where somebody is known, nobody waits for them.
    let begin = Instant::now();
    let mut client = Client::login(pooler.port, APP.name, APP.password, "app");
    assert_eq!(client.one("select 1"), "1");
    println!("a login beside them took {:?}", begin.elapsed());
    // When some have gone, others have their turn.
    let mut strangers = strangers;
    drop(strangers.drain(..80));
    eventually("the last to have their turn", || {
        (count("show databases", "made_up_8") == 10).then_some(())
    });
}

#[test]
fn limits_of_clients_hold_for_those_who_only_look() {
    let login = |database| support::client::Login {
        user: APP.name,
        password: APP.password,
        database,
        parameters: &[],
    };
    let cases =
        [("max_user_client_connections", "app"), ("max_db_client_connections", "pgbouncer")];
    for (limit, first) in cases {
        let setup = Setup::new().set("auth_type", "plain").set("stats_users", APP.name);
        let pooler = setup.set(limit, "1").start();
        let _first = Client::attempt(pooler.port, &login(first)).expect("one");
        let told = Client::attempt(pooler.port, &login("pgbouncer")).err().expect("one too many");
        assert_eq!(told.message(), format!("client connections exceeded ({limit})"));
        assert_eq!(told.code(), "53300");
        pooler.console().query("show users").expect("an admin, whatever the limit");
    }
}

#[test]
fn sessions_on_the_console_count_for_the_limit_of_their_user() {
    let setup = Setup::new().set("auth_type", "plain").set("stats_users", APP.name);
    let pooler = setup.set("max_user_client_connections", "1").start();
    let _watching = Client::login(pooler.port, APP.name, APP.password, "pgbouncer");
    let login = support::client::Login {
        user: APP.name,
        password: APP.password,
        database: "app",
        parameters: &[],
    };
    let told = Client::attempt(pooler.port, &login).err().expect("one too many");
    assert_eq!(told.message(), "client connections exceeded (max_user_client_connections)");
}

#[test]
fn a_login_waits_no_longer_for_the_first_server_than_a_query_may() {
    let server = FakeServer::start(|wire| drop(wire.hear_to_the_end()));
    let line = format!("host=127.0.0.1 port={} user=x password=secret", server.port);
    let setup = Setup::new().set("auth_type", "trust").set("query_timeout", "1");
    let pooler = setup.database("far", &line).start();
    let mut wire = Wire::connect(pooler.port);
    wire.send(&wire::startup(&[("user", APP.name), ("database", "far")]));
    assert_eq!(wire.hear().expect("an end").field('M').as_deref(), Some("query_timeout"));
}

/// A server that refuses everybody with this SQLSTATE, and a pooler before it.
fn refusing(sqlstate: &'static str) -> (FakeServer, Pooler) {
    let server = FakeServer::start(move |wire| {
        if fake::hear_startup(wire).is_ok() {
            wire.send(&wire::error(&[('S', "FATAL"), ('C', sqlstate), ('M', "no")]));
        }
    });
    let line = format!("host=127.0.0.1 port={} dbname=far", server.port);
    let setup = Setup::new().set("auth_type", "trust").set("auth_file", "{dir}/list.txt");
    let list = "\"admin\" \"admin-secret\"\n\"app\" \"wrong\"\n";
    let pooler = setup.file("list.txt", list).database("far", &line).start();
    (server, pooler)
}

/// How often a server is asked while clients come for two seconds.
fn times_asked(server: &FakeServer, pooler: &Pooler) -> usize {
    let (begin, before) = (Instant::now(), server.accepted());
    while begin.elapsed() < Duration::from_secs(2) {
        let mut wire = Wire::connect(pooler.port);
        wire.send(&wire::startup(&[("user", APP.name), ("database", "far")]));
        // Who comes in between waits.
        let told = wire.hear_within(Duration::from_millis(200));
        assert_eq!(told.map_or(b'E', |message| message.kind), b'E');
    }
    server.accepted() - before
}

#[test]
fn a_wrong_password_is_not_tried_again_soon() {
    let (server, pooler) = refusing("28P01");
    assert_eq!(times_asked(&server, &pooler), 1);
    // Until there is a reason to think that it is right.
    pooler.console().query("reload").expect("the same files");
    assert_eq!(times_asked(&server, &pooler), 0);
    let list = "\"admin\" \"admin-secret\"\n\"app\" \"another\"\n";
    pooler.rewrite(|setup| setup.file("list.txt", list));
    pooler.console().query("reload").expect("another secret");
    assert_eq!(times_asked(&server, &pooler), 1);
    pooler.console().query("reconnect").expect("the operator's wish");
    assert_eq!(times_asked(&server, &pooler), 1);
}

#[test]
fn what_may_come_to_be_is_tried_again_soon() {
    let (server, pooler) = refusing("3D000");
    let times = times_asked(&server, &pooler);
    assert!((3..10).contains(&times), "{times} times in two seconds");
}

#[test]
fn a_login_begun_before_a_reload_is_held_to_what_is_in_force_at_its_end() {
    let list = |users: &str| format!("\"admin\" \"admin-secret\"\n{users}\n");
    let app = format!("\"{}\" \"{}\"", APP.name, APP.password);
    let (open, closed) =
        ("host all all all password\n", "host app app all reject\nhost all all all password\n");
    let pooler = Setup::new()
        .set("auth_type", "hba")
        .set("auth_hba_file", "{dir}/hba.conf")
        .set("auth_file", "{dir}/list.txt")
        .file("hba.conf", open)
        .file("list.txt", &list(&app))
        .start();
    let password = format!("{}\0", APP.password);
    let reload = |users: &str, rules: &str| {
        pooler.rewrite(|setup| setup.file("list.txt", &list(users)).file("hba.conf", rules));
        pooler.console().query("reload").expect("good files");
    };
    for (users, rules) in [("", open), ("\"app\" \"another\"", open), (&*app, closed)] {
        let mut begun = asked(pooler.port, APP.name, "app");
        reload(users, rules);
        begun.say(b'p', password.as_bytes());
        let told = begun.hear().expect("a refusal");
        assert_eq!(told.field('M').as_deref(), Some("login rejected"), "{users} {rules}");
        reload(&app, open);
    }
    let mut begun = asked(pooler.port, APP.name, "app");
    reload(
        &format!("{app}\n\"other\" \"o\""),
        "host other all all reject\nhost all all all password\n",
    );
    begun.say(b'p', password.as_bytes());
    begun.hear_until_ready().expect("a welcome: nothing has changed for it");
}

//! How servers may ask the pooler for a proof (`server_auth_methods`), and who gets a password in
//! clear.

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use support::client::Login;
use support::postgres::APP;
use support::scram::let_in;
use support::{Client, FakeServer, Pooler, Setup, Wire, eventually, fake, wire};

/// The code of AuthenticationCleartextPassword.
const CLEARTEXT: u32 = 3;

/// Asks for the password in clear, notes what comes, and lets in whoever has said something.
fn ask_in_clear(wire: &mut Wire, heard: &Mutex<Vec<String>>) {
    if fake::hear_startup(wire).is_err() {
        return;
    }
    wire.say(b'R', &CLEARTEXT.to_be_bytes());
    let Ok(answer) = wire.hear() else { return };
    heard.lock().expect("no test has failed").push(answer.text());
    wire.send(&fake::welcome());
    wire.hear_to_the_end();
}

fn log_in(pooler: &Pooler) -> Result<Client, String> {
    let login = Login { user: APP.name, password: "", database: "far", parameters: &[] };
    Client::attempt(pooler.port, &login).map_err(|failure| failure.message().to_owned())
}

fn before(server: &FakeServer, methods: &str) -> Setup {
    let port = server.port;
    let line = format!("host=127.0.0.1 port={port} user=x password=secret {methods}");
    Setup::new().set("auth_type", "trust").database("far", &line)
}

#[test]
fn a_password_in_clear_goes_nowhere_once_a_server_has_done_scram() {
    let (logins, heard) = (AtomicUsize::new(0), Arc::new(Mutex::new(vec![])));
    let notes = heard.clone();
    let server = FakeServer::start(move |wire| {
        if logins.fetch_add(1, Ordering::SeqCst) > 0 {
            return ask_in_clear(wire, &notes);
        }
        if let_in(wire, 4096, b"salt", || ()).is_some() && wire.hear().is_ok() {
            wire.send(&fake::one_row("1"));
            wire.hear_to_the_end();
        }
    });
    // Each server is used once.
    let pooler = before(&server, "").set("server_lifetime", "0").start();
    let mut client = log_in(&pooler).expect("a login by SCRAM");
    assert_eq!(client.one("select 1"), "1");
    let refused = client.query("select 1").expect_err("the next server asks in clear");
    let told = "the server asks for a proof that it must not ask for";
    assert!(refused.message().contains(told), "{refused:?}");
    pooler.wait_log(&["asks for the password in clear, and another of its pool has done SCRAM"]);
    assert_eq!(heard.lock().expect("no test has failed").len(), 0, "the password was told");
    // Whoever wants it so says so.
    pooler.console().query("set server_auth_methods = 'password'").expect("a list of methods");
    let password = eventually("a login in clear", || {
        if let Ok(mut client) = log_in(&pooler) {
            client.wire.send(&wire::query("select 1"));
        }
        heard.lock().expect("no test has failed").first().cloned()
    });
    assert_eq!(password.trim_end_matches('\0'), "secret");
    assert!(!pooler.log().contains("sends the password in clear"), "{}", pooler.log());
}

#[test]
fn a_password_in_clear_is_warned_of_where_nobody_has_asked_for_it() {
    let heard = Arc::new(Mutex::new(vec![]));
    let notes = heard.clone();
    let server = FakeServer::start(move |wire| ask_in_clear(wire, &notes));
    let pooler = before(&server, "").start();
    log_in(&pooler).expect("a login as PgBouncer does it");
    pooler
        .wait_log(&["WARNING", "sends the password in clear, and nothing vouches for the server"]);
    assert_eq!(heard.lock().expect("no test has failed")[0].trim_end_matches('\0'), "secret");
}

#[test]
fn servers_ask_as_the_list_allows_or_are_not_used() {
    let asks = Arc::new(AtomicBool::new(false));
    let is_asking = asks.clone();
    let heard = Mutex::new(vec![]);
    let server = FakeServer::start(move |wire| {
        if is_asking.load(Ordering::SeqCst) {
            return ask_in_clear(wire, &heard);
        }
        fake::serve(wire, |_| None);
    });
    for (methods, in_clear, unasked) in [
        ("password", true, false),
        ("password,none", true, true),
        ("scram-sha-256", false, false),
        ("scram-sha-256,md5", false, false),
        ("!password", false, true),
        ("!none", true, false),
        ("!none,!password", false, false),
    ] {
        for (is_asked, is_allowed) in [(true, in_clear), (false, unasked)] {
            asks.store(is_asked, Ordering::SeqCst);
            let pooler = before(&server, &format!("server_auth_methods={methods}")).start();
            let outcome = log_in(&pooler).err();
            assert_eq!(outcome.is_none(), is_allowed, "{methods}, asked: {is_asked}: {outcome:?}");
            if !is_allowed {
                pooler.wait_log(&["which server_auth_methods does not allow"]);
            }
        }
    }
}

//! What settings do to connections: each test sets one away from its default and sees the effect
//! that the manual promises, on the client's side, on the server's, and in the log.

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::client::{Failure, Login};
use support::postgres::APP;
use support::tool::Tool;
use support::{Client, FakeServer, Pooler, Postgres, Setup, eventually, fake, wire};

/// One setting, away from its default.
fn with(name: &str, value: &str) -> Pooler {
    Setup::new().set(name, value).start()
}

/// The last word of a pooler that ends a connection.
fn last_word(client: &mut Client) -> String {
    let last = client.wire.hear_to_the_end().pop().expect("a word before the end");
    assert_eq!(last.kind, b'E');
    assert_eq!(last.field('S').as_deref(), Some("FATAL"));
    last.field('M').unwrap_or_default()
}

/// Reasons by which servers were closed, in order.
fn server_ends(pooler: &Pooler) -> Vec<String> {
    let log = pooler.log();
    let lines = log.lines().filter(|line| line.contains(" S-0x"));
    let reasons = lines.filter_map(|line| line.split_once("closing because: "));
    reasons.map(|(_, rest)| rest.split(" (age=").next().unwrap_or(rest).to_owned()).collect()
}

fn wait_server_end(pooler: &Pooler, reason: &str) {
    eventually(&format!("a server closed for {reason}"), || {
        server_ends(pooler).iter().any(|end| end == reason).then_some(())
    });
}

fn backend(client: &mut Client) -> String {
    client.one("select pg_backend_pid()")
}

mod timeouts {
    use super::*;

    #[test]
    fn client_idle_timeout_ends_who_rests_outside_of_transactions() {
        let pooler = with("client_idle_timeout", "2");
        let mut holder = pooler.client();
        holder.query("begin").expect("a transaction");
        let mut idle = pooler.client();
        assert_eq!(last_word(&mut idle), "client_idle_timeout");
        assert_eq!(holder.one("select 'still here'"), "still here");
    }

    #[test]
    fn idle_transaction_timeout_ends_a_transaction_that_rests_and_its_server() {
        let pooler = with("idle_transaction_timeout", "1");
        let (mut idle, mut holder) = (pooler.client(), pooler.client());
        holder.query("begin").expect("a transaction");
        assert_eq!(last_word(&mut holder), "idle transaction timeout");
        assert_eq!(idle.one("select 1"), "1");
        wait_server_end(&pooler, "idle transaction timeout");
    }

    #[test]
    fn transaction_timeout_ends_a_transaction_however_busy() {
        let pooler = with("transaction_timeout", "1");
        let mut busy = pooler.client();
        busy.query("begin").expect("a transaction");
        let error =
            eventually("the transaction to be ended", || busy.query("select pg_sleep(0.05)").err());
        if let Failure::Error { message, .. } = error {
            assert_eq!(message, "transaction timeout");
        }
        wait_server_end(&pooler, "transaction timeout");
        assert_eq!(pooler.client().one("select 1"), "1");
    }

    #[test]
    fn query_timeout_ends_a_query_that_runs_and_one_that_waits() {
        let pooler = Setup::new().set("query_timeout", "4").set("default_pool_size", "1").start();
        let (mut running, mut waiting) = (pooler.client(), pooler.client());
        running.wire.send(&wire::query("select pg_sleep(600)"));
        eventually("the query to have the server", || {
            let busy = pooler.shown("show pools", "database", "app", "sv_active")?;
            (busy == "1").then_some(())
        });
        waiting.wire.send(&wire::query("select 1"));
        assert_eq!(last_word(&mut running), "query timeout");
        // By now it may have got the server that was opened in the place of the other.
        let answer = waiting.answer();
        assert!(answer.is_ok() || answer.is_err_and(|e| e.message() == "query_timeout"));
        wait_server_end(&pooler, "query timeout");
        // Without an end of the one that holds the server, the other cannot get it.
        let setup = Setup::new().set("default_pool_size", "1").user(APP.name, "query_timeout=1");
        let pooler = setup.start();
        let mut holder = pooler.client();
        holder.query("begin").expect("a transaction");
        let mut waiting = pooler.client();
        waiting.wire.send(&wire::query("select 1"));
        assert_eq!(last_word(&mut waiting), "query_timeout");
    }

    #[test]
    fn a_user_may_have_timeouts_of_its_own() {
        let setup = Setup::new().set("client_idle_timeout", "600");
        let pooler = setup.user(APP.name, "client_idle_timeout=1").start();
        let (mut own, mut other) =
            (pooler.client(), pooler.login(&support::postgres::TRUSTED, "app"));
        assert_eq!(last_word(&mut own), "client_idle_timeout");
        assert_eq!(other.one("select 1"), "1");
    }

    #[test]
    fn who_waits_long_is_told_so_once() {
        let setup = Setup::new().set("query_wait_notify", "1").set("default_pool_size", "1");
        let pooler = setup.start();
        let (mut holder, mut waiting) = (pooler.client(), pooler.client());
        holder.query("begin").expect("a transaction");
        waiting.wire.send(&wire::query("select 1"));
        let notice = waiting.wire.hear().expect("a notice");
        assert_eq!((notice.kind, notice.field('S').as_deref()), (b'N', Some("NOTICE")));
        let words = "No server connection available in postgres backend, client being queued";
        assert_eq!(notice.field('M').as_deref(), Some(words));
        assert!(waiting.wire.hear_within(Duration::from_secs(3)).is_err(), "told again");
        holder.query("commit").expect("COMMIT");
        assert_eq!(waiting.answer().expect("an answer").rows[0][0].as_deref(), Some("1"));
    }

    #[test]
    fn a_cancel_request_that_gets_no_further_is_given_up() {
        // A server that answers no query, and takes in requests to cancel without a word.
        let server = FakeServer::start(|wire| {
            if matches!(fake::hear_startup(wire), Ok(Some(_))) {
                wire.send(&fake::welcome());
            }
            let _ = wire.hear_to_the_end();
        });
        let line = format!("host=127.0.0.1 port={}", server.port);
        let setup = Setup::new().database("mute", &line).set("cancel_wait_timeout", "1");
        let pooler = setup.start();
        let mut client = Client::login(pooler.port, APP.name, "", "mute");
        client.wire.send(&wire::query("select 1"));
        eventually("the query to have the server", || {
            let busy = pooler.shown("show pools", "database", "mute", "sv_active")?;
            (busy == "1").then_some(())
        });
        // Ends when the pooler hangs up on the request.
        client.cancel(pooler.port);
        let line = pooler.wait_log(&["closing because: cancel_wait_timeout"]);
        assert!(line.contains(" C-0x"), "{line}");
        let log = pooler.log();
        assert!(!log.contains("pooler error: cancel_wait_timeout"), "nobody is there to be told");
    }

    #[test]
    fn servers_end_when_they_are_old_or_rest_too_long() {
        let pooler = with("server_idle_timeout", "1");
        assert_eq!(pooler.client().one("select 1"), "1");
        wait_server_end(&pooler, "server idle timeout");

        let pooler = with("server_lifetime", "1");
        let mut client = pooler.client();
        client.query("begin").expect("a transaction");
        let first = backend(&mut client);
        eventually("the server to be old", || {
            // Busy, it is not closed whatever its age.
            assert_eq!(backend(&mut client), first);
            let age = client.one(
                "select extract(epoch from now() - backend_start) > 1.5 \
                                  from pg_stat_activity where pid = pg_backend_pid()",
            );
            client.query("commit; begin").ok().filter(|_| age == "t").map(|_| ())
        });
        client.query("commit").expect("COMMIT");
        wait_server_end(&pooler, "server lifetime over");
        assert_ne!(backend(&mut client), first);
    }
}

/// A server that notes the queries it gets, and answers each by `answer`.
fn noting(
    answer: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> (FakeServer, Arc<Mutex<Vec<String>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let notes = heard.clone();
    let server = FakeServer::start(move |wire| {
        fake::serve(wire, |sql| {
            notes.lock().expect("nobody panics with it").push(sql.to_owned());
            answer(sql)
        });
    });
    (server, heard)
}

mod queries_of_our_own {
    use super::*;

    fn pooler(server: &FakeServer, change: impl FnOnce(Setup) -> Setup) -> Pooler {
        let line = format!("host=127.0.0.1 port={}", server.port);
        change(Setup::new().database("fake", &line).set("default_pool_size", "1")).start()
    }

    fn client(pooler: &Pooler) -> Client {
        Client::login(pooler.port, APP.name, "", "fake")
    }

    /// What a server hears of a client that asks one thing, and of the next.
    fn heard_of_two(change: impl FnOnce(Setup) -> Setup) -> Vec<String> {
        let (server, heard) = noting(|sql| Some(fake::one_row(sql)));
        let pooler = pooler(&server, change);
        for sql in ["first", "second"] {
            let mut client = client(&pooler);
            assert_eq!(client.one(sql), sql);
            client.terminate();
            eventually("the server to be free", || {
                let free = pooler.shown("show pools", "database", "fake", "sv_active")?;
                let tested = pooler.shown("show pools", "database", "fake", "sv_tested")?;
                (free == "0" && tested == "0").then_some(())
            });
        }
        heard.lock().expect("nobody panics with it").clone()
    }

    #[test]
    fn a_server_is_reset_between_the_clients_of_session_pooling() {
        let session = |setup: Setup| setup.set("pool_mode", "session");
        let heard = heard_of_two(session);
        assert_eq!(heard, ["first", "DISCARD ALL", "second", "DISCARD ALL"]);
        let other = |setup: Setup| session(setup).set("server_reset_query", "reset it");
        assert_eq!(heard_of_two(other), ["first", "reset it", "second", "reset it"]);
        let none = |setup: Setup| session(setup).set("server_reset_query", "");
        assert_eq!(heard_of_two(none), ["first", "second"]);
    }

    #[test]
    fn in_transaction_pooling_a_server_is_reset_only_when_that_is_asked_for() {
        assert_eq!(heard_of_two(|setup| setup), ["first", "second"]);
        let always = |setup: Setup| setup.set("server_reset_query_always", "1");
        let heard = heard_of_two(always);
        assert_eq!(heard, ["first", "DISCARD ALL", "second", "DISCARD ALL"]);
    }

    #[test]
    fn a_server_that_has_rested_is_tested_before_it_is_given_out() {
        let check = |setup: Setup| {
            setup.set("server_check_query", "are you there").set("server_check_delay", "0")
        };
        assert_eq!(heard_of_two(check), ["are you there", "first", "are you there", "second"]);
        let empty = |setup: Setup| check(setup).set("server_check_query", "<empty>");
        assert_eq!(heard_of_two(empty), ["", "first", "", "second"]);
        let late = |setup: Setup| check(setup).set("server_check_delay", "600");
        assert_eq!(heard_of_two(late), ["first", "second"]);
        let none = |setup: Setup| check(setup).set("server_check_query", "");
        assert_eq!(heard_of_two(none), ["first", "second"]);
    }

    #[test]
    fn a_new_server_runs_the_connect_query_before_anything_else() {
        let (server, heard) = noting(|sql| Some(fake::one_row(sql)));
        let line = format!("host=127.0.0.1 port={} connect_query='hello there'", server.port);
        let pooler = Setup::new().database("fake", &line).start();
        let mut client = client(&pooler);
        assert_eq!(client.one("first"), "first");
        assert_eq!(client.one("second"), "second");
        let heard = heard.lock().expect("nobody panics with it").clone();
        assert_eq!(heard, ["hello there", "first", "second"]);
    }

    #[test]
    fn a_server_that_fails_its_reset_or_its_test_is_closed_and_another_opened() {
        // It comes out of these in a transaction, as no server should.
        let stuck = |sql: &str| {
            let whole = fake::one_row(sql);
            let bad = [&whole[..whole.len() - 1], b"T"].concat();
            Some(if sql.starts_with("stuck") { bad } else { whole })
        };
        for (name, value, more, reason) in [
            ("server_reset_query", "stuck", ("pool_mode", "session"), "reset query failed"),
            ("server_check_query", "stuck", ("server_check_delay", "0"), "test query failed"),
        ] {
            let (server, _heard) = noting(stuck);
            let pooler = pooler(&server, |setup| setup.set(name, value).set(more.0, more.1));
            for sql in ["first", "second"] {
                let mut client = client(&pooler);
                assert_eq!(client.one(sql), sql, "{name}");
                client.terminate();
            }
            wait_server_end(&pooler, reason);
            assert!(server.accepted() >= 2, "{name}: another server takes its place");
        }
    }
}

#[test]
fn the_server_used_last_is_used_first_unless_they_take_turns() {
    for (round_robin, count) in [("0", 1), ("1", 3)] {
        let pooler = Setup::new().set("server_round_robin", round_robin).start();
        let mut clients: Vec<Client> = (0..3).map(|_| pooler.client()).collect();
        for client in &mut clients {
            client.query("begin").expect("a transaction, for a server each");
        }
        for client in &mut clients {
            client.query("commit").expect("COMMIT");
        }
        let mut seen: Vec<String> = (0..6).map(|_| backend(&mut clients[0])).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), count, "server_round_robin = {round_robin}");
    }
}

#[test]
fn reconnect_waits_for_sessions_unless_servers_are_closed_fast() {
    for (fast, still) in [("0", true), ("1", false)] {
        let setup = Setup::new().set("pool_mode", "session").set("server_fast_close", fast);
        let pooler = setup.start();
        let mut client = pooler.client();
        let first = backend(&mut client);
        pooler.console().query("RECONNECT").expect("RECONNECT");
        if still {
            assert_eq!(backend(&mut client), first, "a session keeps its server");
        } else {
            eventually("the session to lose its server", || {
                client.query("select 1").is_err().then_some(())
            });
        }
        drop(client);
        eventually("the old server to be gone", || {
            (!server_ends(&pooler).is_empty()).then_some(())
        });
    }
}

#[test]
fn queries_of_the_simple_protocol_may_be_forbidden() {
    let pooler = with("disable_pqexec", "1");
    let mut client = pooler.client();
    let extended =
        [wire::parse("", "select 'x'"), wire::bind("", &[]), wire::execute(), wire::sync()];
    client.wire.send(&extended.concat());
    assert_eq!(client.answer().expect("a row").rows[0][0].as_deref(), Some("x"));
    client.wire.send(&wire::query("select 1"));
    assert_eq!(last_word(&mut client), "PQexec disallowed");
    pooler.wait_log(&["client used \"Query\" packet type"]);
}

#[test]
fn the_name_of_an_application_may_tell_where_it_runs() {
    let pooler = with("application_name_add_host", "1");
    let login = Login {
        user: APP.name,
        password: APP.password,
        database: "app",
        parameters: &[("application_name", "shop")],
    };
    let mut client = Client::attempt(pooler.port, &login).expect("a login");
    let port = client.wire.stream.local_addr().expect("a socket").port();
    let expected = format!("shop - 127.0.0.1:{port}");
    assert_eq!(client.parameters["application_name"], expected);
    assert_eq!(client.one("show application_name"), expected);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let folder = pooler.folder.display().to_string();
    let psql = Tool::psql(pooler.port, &APP, "app").env("PGHOST", &folder);
    let local = psql.args(["-c", "show application_name"]).run();
    let (process, rest) = local.split_once('@').expect("the machine");
    assert_eq!(rest, format!("{}):{}", host.trim_end(), pooler.port));
    let process = process.strip_prefix("psql - unix(").map(str::parse::<u32>);
    assert!(matches!(process, Some(Ok(_))), "{local}");
}

/// By all its bytes, those of the head too.
#[test]
fn messages_of_clients_and_servers_may_be_limited() {
    const MOST: usize = 10_000;
    let pooler = with("max_packet_size", &MOST.to_string());
    let mut client = pooler.client();
    let comment = |length: usize| wire::query(&format!("--{}", "x".repeat(length - 8)));
    client.wire.send(&comment(MOST));
    assert_eq!(client.answer().expect("an answer to nothing").state, 'I');
    client.wire.send(&comment(MOST + 1));
    assert!(last_word(&mut client).starts_with("bad packet header"));
    let mut client = pooler.client();
    let row = |length: usize| format!("select repeat('x', {})", length - 11);
    assert_eq!(client.one(&row(MOST)).len(), MOST - 11);
    client.wire.send(&wire::query(&row(MOST + 1)));
    assert_eq!(last_word(&mut client), "bad pkt header");
    assert_eq!(server_ends(&pooler), ["bad pkt header"]);
}

#[test]
fn lines_about_connections_may_be_left_out() {
    let silent = |name: &str| {
        let pooler = with(name, "0");
        let mut client = pooler.client();
        client.wire.say(b'!', b"");
        assert_eq!(last_word(&mut client), "unknown pkt");
        let user = "x".repeat(200);
        let login = Login { user: &user, password: "", database: "app", parameters: &[] };
        assert!(Client::attempt(pooler.port, &login).is_err());
        pooler.console().query("RECONNECT").expect("RECONNECT");
        pooler.client().terminate();
        // What is last in the log shows that the rest is there.
        pooler.console().query("SET verbose = 1").expect("SET");
        pooler.wait_log(&["SET verbose: 0 -> 1"]);
        pooler.log()
    };
    let has = |log: &str| {
        let connections = ["login attempt", "login failed", "new connection to server"];
        let is_there = |words| log.contains(words);
        (connections.map(is_there), ["closing because", "pooler error"].map(is_there))
    };
    assert_eq!(has(&silent("log_connections")), ([false; 3], [true, true]));
    assert_eq!(has(&silent("log_disconnections")), ([true; 3], [false, true]));
    assert_eq!(has(&silent("log_pooler_errors")), ([true; 3], [true, false]));
}

/// Where nothing else is to be done, too.
#[test]
fn a_database_made_from_the_wildcard_is_forgotten_in_time() {
    let setup = Setup::new().set("autodb_idle_timeout", "1").set("server_idle_timeout", "1");
    let pooler = setup.set("stats_period", "600").start();
    pooler.client().terminate();
    pooler.wait_log(&["dropping database 'app'"]);
}

#[test]
fn a_database_made_from_the_wildcard_is_forgotten() {
    let pooler = with("autodb_idle_timeout", "1");
    let client = pooler.client();
    let known = || pooler.shown("show databases", "name", "app", "name").is_some();
    assert!(known());
    client.terminate();
    pooler.console().query("RECONNECT").expect("RECONNECT");
    eventually("the database to be forgotten", || (!known()).then_some(()));
    assert_eq!(pooler.client().one("select 1"), "1");
    assert!(Postgres::shared().port > 0);
}

//! LISTEN without a server of its own (`shared_listen`), against a real PostgreSQL: who is notified
//! of what, when, and by whom.

mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use support::client::Login;
use support::postgres::APP;
use support::{Client, Failure, Postgres, Setup, wire};

fn setup() -> Setup {
    let port = Postgres::shared().port;
    Setup::new()
        .set("pool_mode", "transaction")
        .set("default_pool_size", "1")
        .database("app", &format!("host=127.0.0.1 port={port} shared_listen=1"))
}

/// All tests use the channels of one database.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A notification: the process that sent it, its channel, its text.
type Heard = (u32, String, String);

fn parts(message: &wire::Message) -> Heard {
    assert_eq!(message.kind, b'A', "{message:?}");
    let pid = u32::from_be_bytes(message.body[..4].try_into().expect("four bytes"));
    let mut texts = message.body[4..].split(|byte| *byte == 0);
    let mut text = || String::from_utf8_lossy(texts.next().expect("a text")).into_owned();
    (pid, text(), text())
}

/// What the client is notified of next, without having asked anything.
fn hear(client: &mut Client) -> (String, String) {
    client.asides.retain(|message| message.kind == b'A');
    if !client.asides.is_empty() {
        let (_, channel, text) = parts(&client.asides.remove(0));
        return (channel, text);
    }
    let message = client.wire.hear_within(Duration::from_secs(20)).expect("a notification");
    let (_, channel, text) = parts(&message);
    (channel, text)
}

fn hears(client: &mut Client, channel: &str, text: &str) {
    assert_eq!(hear(client), (channel.to_owned(), text.to_owned()));
}

/// Notifies by another way than the pooler.
fn notify(channel: &str, text: &str) {
    let sql = format!("select pg_notify($a${channel}$a$, $a${text}$a$)");
    Postgres::shared().session("app").query(&sql).expect("a notification");
}

/// Whatever the client would have been told before this, it has been told.
fn hears_nothing(client: &mut Client) {
    client.query("select 1").expect("an answer");
    client.asides.retain(|message| message.kind == b'A');
    let marker = format!("marker{}", client.cancel_key[3]);
    assert!(client.asides.is_empty(), "{:?}", client.asides);
    client.query(&format!("listen {marker}")).expect("a LISTEN");
    notify(&marker, "end");
    hears(client, &marker, "end");
    client.query(&format!("unlisten {marker}")).expect("an UNLISTEN");
}

fn servers() -> usize {
    Postgres::shared().sessions(APP.name, "app")
}

fn extended(client: &mut Client, sql: &str) -> Result<(), Failure> {
    let messages = [wire::parse("", sql), wire::bind("", &[]), wire::execute(), wire::sync()];
    client.wire.send(&messages.concat());
    client.answer().map(drop)
}

#[test]
fn a_client_is_notified_though_it_has_no_server() {
    let _alone = alone();
    let pooler = setup().start();
    let mut listener = pooler.client();
    let answer = listener.query("listen news").expect("a LISTEN");
    assert_eq!((answer.tags, answer.state), (vec!["LISTEN".to_owned()], 'I'));
    // The only server is somebody else's, for long.
    let mut busy = pooler.client();
    busy.query("begin; notify news, 'not yet'").expect("a transaction");
    notify("news", "one");
    hears(&mut listener, "news", "one");
    busy.query("commit").expect("its end");
    hears(&mut listener, "news", "not yet");
    // No server is left with the channel, and whoever did not listen hears nothing.
    assert_eq!(busy.one("select count(*) from pg_listening_channels()"), "0");
    notify("news", "two");
    hears(&mut listener, "news", "two");
    busy.query("select 1").expect("an answer");
    assert!(busy.asides.is_empty());
}

#[test]
fn both_protocols_listen_and_unlisten() {
    let _alone = alone();
    let pooler = setup().start();
    for (at, (take, give)) in [
        ("listen a", "unlisten a"),
        ("LISTEN a; LISTEN b", "UNLISTEN *"),
        ("begin; listen a; commit", "begin; unlisten a; commit"),
        ("listen a", "discard all"),
        ("select 1; listen a; select 2", "select 1; unlisten a; select 2"),
        ("/* x */ listen /* y */ A", "unlisten \"a\""),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = pooler.client();
        let mut run = |sql: &str| match sql.contains(';') {
            false if at % 2 == 0 => extended(&mut client, sql),
            _ => client.query(sql).map(drop),
        };
        run(take).unwrap_or_else(|e| panic!("{take}: {e:?}"));
        notify("a", take);
        hears(&mut client, "a", take);
        let mut run = |sql: &str| match sql.contains(';') {
            false if at % 2 == 0 => extended(&mut client, sql),
            _ => client.query(sql).map(drop),
        };
        run(give).unwrap_or_else(|e| panic!("{give}: {e:?}"));
        notify("a", give);
        hears_nothing(&mut client);
    }
}

#[test]
fn a_prepared_unlisten_counts_when_it_is_run() {
    let _alone = alone();
    let pooler = setup().start();
    let mut client = pooler.client();
    for name in ["u", ""] {
        client.query("listen a; listen b").expect("channels");
        client.wire.send(&[wire::parse(name, "unlisten a"), wire::sync()].concat());
        client.answer().expect("a statement");
        notify("a", "still");
        hears(&mut client, "a", "still");
        client.wire.send(&[wire::bind(name, &[]), wire::execute(), wire::sync()].concat());
        client.answer().expect("an UNLISTEN");
        notify("a", "no more");
        notify("b", "still");
        hears(&mut client, "b", "still");
        client.query("unlisten *").expect("an UNLISTEN");
    }
}

#[test]
fn listen_is_in_force_at_commit_and_not_before() {
    let _alone = alone();
    let pooler = setup().set("default_pool_size", "2").start();
    let mut client = pooler.client();
    client.query("begin").expect("a block");
    client.query("listen a").expect("a LISTEN");
    notify("a", "too soon");
    client.query("commit").expect("its end");
    assert!(client.asides.is_empty(), "{:?}", client.asides);
    notify("a", "now");
    hears(&mut client, "a", "now");
    // What is rolled back was never said, in whole or in part.
    client.query("begin; listen b; rollback").expect("nothing");
    client.query("begin; unlisten a; rollback").expect("nothing");
    client.query("begin; savepoint s; listen c; rollback to s; listen d; commit").expect("d");
    client.query("listen e; select 1/0").expect_err("a division by zero");
    client.query("begin").expect("a block");
    for step in ["savepoint s", "unlisten a", "rollback to s", "listen f", "commit"] {
        client.query(step).unwrap_or_else(|e| panic!("{step}: {e:?}"));
    }
    for name in ["b", "c", "e"] {
        notify(name, "never");
    }
    for name in ["a", "d", "f"] {
        notify(name, "yes");
        hears(&mut client, name, "yes");
    }
    client.query("begin").expect("a block");
    for step in ["savepoint s", "unlisten a", "release s", "savepoint t", "unlisten d"] {
        client.query(step).unwrap_or_else(|e| panic!("{step}: {e:?}"));
    }
    client.query("rollback to t").expect("a rollback");
    client.query("unlisten f; commit").expect("its end");
    notify("a", "never");
    notify("f", "never");
    notify("d", "yes");
    hears(&mut client, "d", "yes");
    hears_nothing(&mut client);
}

/// Behind a COPY that has failed it is in doubt which Syncs it has eaten, and so is, when the
/// client hears of the end of its LISTEN, whether that is the end.
#[test]
fn a_listen_behind_a_copy_that_failed_counts() {
    let _alone = alone();
    let pooler = setup().start();
    let mut client = pooler.client();
    client.query("create temp table sink (n int)").expect("a table");
    let copy = [wire::parse("", "copy sink from stdin"), wire::bind("", &[]), wire::execute()];
    client.wire.send(&[&copy.concat()[..], &wire::flush()].concat());
    client.wire.hear_until(|message| message.kind == b'G').expect("a COPY");
    let fail = wire::message(b'f', b"enough\0");
    let rest = [wire::sync(), fail, wire::sync(), wire::query("listen a"), wire::query("listen b")];
    client.wire.send(&rest.concat());
    client.answer().expect_err("the COPY has failed");
    client.answer().expect("a LISTEN");
    client.answer().expect("another");
    for channel in ["a", "b"] {
        notify(channel, "yes");
        hears(&mut client, channel, "yes");
    }
    let mut other = pooler.client();
    assert_eq!(other.one("select count(*) from pg_listening_channels()"), "0");
    hears_nothing(&mut client);
}

/// Nothing comes between the messages of an answer, or before a transaction is over.
#[test]
fn notifications_wait_for_the_end_of_a_transaction() {
    let _alone = alone();
    let pooler = setup().start();
    let mut client = pooler.client();
    client.query("listen a").expect("a LISTEN");
    client.query("begin").expect("a block");
    for number in 0..20 {
        notify("a", &number.to_string());
        client.query("select generate_series(1, 1000)").expect("rows");
        assert!(client.asides.is_empty(), "in the middle");
    }
    client.query("commit").expect("its end");
    assert_eq!(client.asides.len(), 20, "before ReadyForQuery");
    for number in 0..20 {
        hears(&mut client, "a", &number.to_string());
    }
    // While rows are on their way nothing comes either.
    client.wire.send(&wire::query(
        "select repeat('x', 1000), pg_sleep(0.001) from generate_series(1, 300)",
    ));
    notify("a", "last");
    let mut kinds = Vec::new();
    loop {
        let message = client.wire.hear().expect("a message");
        kinds.push(message.kind);
        if message.kind == b'Z' {
            break;
        }
    }
    let at = kinds.iter().position(|kind| *kind == b'A');
    match at {
        Some(at) => assert_eq!(kinds[at + 1..], *b"Z"),
        None => hears(&mut client, "a", "last"),
    }
}

#[test]
fn names_are_what_postgres_makes_of_them() {
    let _alone = alone();
    let pooler = setup().start();
    let long = "x".repeat(80);
    for (written, channel) in [
        ("MiXed", "mixed"),
        ("\"MiXed\"", "MiXed"),
        ("\"a \"\"quoted\"\" -- one; unlisten *\"", "a \"quoted\" -- one; unlisten *"),
        ("U&\"\\0041\\+000042\"", "AB"),
        ("U&\"!0041\" UESCAPE '!'", "A"),
        ("\u{e4}\u{d6}", "\u{e4}\u{d6}"),
        (long.as_str(), &long[..63]),
        ("\"'; drop table x; --\"", "'; drop table x; --"),
    ] {
        let mut client = pooler.client();
        client.query(&format!("listen {written}")).unwrap_or_else(|e| panic!("{written}: {e:?}"));
        client.asides.clear();
        notify(channel, written);
        hears(&mut client, channel, written);
        client.query(&format!("unlisten {written}")).unwrap_or_else(|e| panic!("{written}: {e:?}"));
        client.asides.clear();
        notify(channel, "no more");
        hears_nothing(&mut client);
    }
    for written in ["", "1a", "\"\"", "a.b", "'a'", "a b"] {
        let mut client = pooler.client();
        client.query(&format!("listen {written}")).expect_err(written);
        assert_eq!(client.one("select 1"), "1");
    }
}

#[test]
fn a_channel_is_listened_to_once_for_all_and_as_long_as_somebody_does() {
    let _alone = alone();
    let pooler = setup().start();
    let mut clients: Vec<Client> = (0..10).map(|_| pooler.client()).collect();
    for client in &mut clients {
        client.query("listen a").expect("a LISTEN");
    }
    // The server and the one that listens.
    support::eventually("two sessions", || (servers() <= 2).then_some(()));
    let listening = "select count(*) from pg_stat_activity where usename = 'app' \
                     and query similar to '(UN)?LISTEN%'";
    assert_eq!(Postgres::shared().one(listening), "1");
    notify("a", "all");
    for client in &mut clients {
        hears(client, "a", "all");
    }
    let mut last = clients.pop().expect("a client");
    drop(clients);
    notify("a", "one");
    hears(&mut last, "a", "one");
    last.terminate();
    support::eventually("UNLISTEN", || {
        let sql = "select query from pg_stat_activity where usename = 'app' \
                   and query similar to '(UN)?LISTEN%'";
        (Postgres::shared().one(sql).starts_with("UNLISTEN")).then_some(())
    });
}

/// A client knows itself by the process id that it was told.
#[test]
fn who_has_sent_it_is_told_by_its_process_id() {
    let _alone = alone();
    let pooler = setup().start();
    let mut one = pooler.client();
    let mut two = pooler.client();
    one.query("listen a").expect("a LISTEN");
    two.query("listen a").expect("a LISTEN");
    one.query("notify a, 'mine'").expect("a NOTIFY");
    let own = u32::from_be_bytes(one.cancel_key[..4].try_into().expect("four bytes"));
    let message = match one.asides.pop() {
        Some(message) => message,
        None => one.wire.hear().expect("a notification"),
    };
    assert_eq!(parts(&message), (own, "a".into(), "mine".into()));
    let (pid, ..) = parts(&two.wire.hear().expect("a notification"));
    let theirs = u32::from_be_bytes(two.cancel_key[..4].try_into().expect("four bytes"));
    assert_ne!(pid, theirs);
    let server = two.one("select pg_backend_pid()");
    assert_eq!(pid.to_string(), server);
    // In the transaction of the LISTEN.
    let mut three = pooler.client();
    three.query("begin; listen c; notify c, 'x'; commit").expect("an answer");
    hears(&mut three, "c", "x");
    hears_nothing(&mut three);
}

#[test]
fn after_a_loss_the_channels_are_listened_to_again() {
    let _alone = alone();
    let pooler = setup().start();
    let mut client = pooler.client();
    client.query("listen a; listen b").expect("channels");
    notify("a", "before");
    hears(&mut client, "a", "before");
    let sql = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app' \
               and query like 'LISTEN%'";
    Postgres::shared().session("postgres").query(sql).expect("an end");
    pooler.wait_log(&["is lost, which listened to 2 channels"]);
    pooler.wait_log(&["listens again to 2 channels"]);
    notify("b", "after");
    hears(&mut client, "b", "after");
    // RECONNECT and RELOAD too.
    pooler.console().query("RECONNECT").expect("a RECONNECT");
    support::eventually("another", || {
        (pooler.log().matches("listens again").count() == 2).then_some(())
    });
    notify("a", "again");
    hears(&mut client, "a", "again");
    // PAUSE does not wait for it, and RESUME brings it back.
    pooler.console().query("PAUSE").expect("a PAUSE");
    pooler.console().query("RESUME").expect("a RESUME");
    support::eventually("another", || {
        (pooler.log().matches("listens again").count() == 3).then_some(())
    });
    notify("a", "resumed");
    hears(&mut client, "a", "resumed");
}

#[test]
fn a_client_that_takes_nothing_is_ended() {
    let _alone = alone();
    let pooler = setup().set("default_pool_size", "2").start();
    let mut deaf = pooler.client();
    deaf.query("listen a; listen b").expect("channels");
    let mut hearing = pooler.client();
    hearing.query("listen b").expect("a LISTEN");
    deaf.query("begin").expect("a block");
    let mut session = Postgres::shared().session("app");
    let sql = "select pg_notify('a', n || repeat('x', 7000)) from generate_series(1, 200) n";
    session.query(sql).expect("notifications");
    let failure = support::eventually("its end", || deaf.query("select 1").err());
    assert_eq!(failure.code(), "54000", "{failure:?}");
    assert_eq!(failure.message(), "too many notifications that the client does not take");
    notify("b", "on");
    hears(&mut hearing, "b", "on");
}

#[test]
fn it_goes_with_every_policy_and_pins_nobody() {
    let _alone = alone();
    for policy in ["warn", "reset", "pin", "error"] {
        let pooler = setup().set("session_state", policy).start();
        let mut client = pooler.client();
        client.query("listen a").unwrap_or_else(|e| panic!("{policy}: {e:?}"));
        assert_eq!(pooler.shown("SHOW PINS", "database", "app", "left"), None, "{policy}");
        let mut other = pooler.client();
        assert_eq!(other.one("select count(*) from pg_listening_channels()"), "0", "{policy}");
        notify("a", policy);
        hears(&mut client, "a", policy);
        client.query("begin; unlisten a; listen b; commit").expect("another channel");
        notify("a", "no more");
        notify("b", policy);
        hears(&mut client, "b", policy);
        assert!(!pooler.log().contains("leaves in the session"), "{policy}");
    }
    // What else is left is what the policy says.
    let pooler = setup().set("session_state", "error").start();
    let mut client = pooler.client();
    let failure = client.query("listen a; set work_mem = '1MB'").expect_err("a SET");
    assert_eq!(failure.code(), "0A000");
}

/// A client that goes in the middle leaves its channels to nobody.
#[test]
fn nobody_inherits_channels() {
    let _alone = alone();
    let pooler = setup().start();
    for sql in ["begin; listen a", "listen a; select pg_sleep(10)"] {
        let mut client = pooler.client();
        client.wire.send(&wire::query(sql));
        Postgres::shared().await_query(sql);
        drop(client);
        let mut other = pooler.client();
        assert_eq!(other.one("select count(*) from pg_listening_channels()"), "0", "{sql}");
        notify("a", "x");
        other.query("select 1").expect("an answer");
        assert!(other.asides.is_empty());
    }
}

#[test]
fn what_cannot_be_shared_is_refused() {
    let _alone = alone();
    let pooler = setup().start();
    // Another encoding.
    let parameters = &[("client_encoding", "LATIN1")];
    let login = Login { user: APP.name, password: APP.password, database: "app", parameters };
    let mut client = Client::attempt(pooler.port, &login).expect("a login");
    client.wire.send(&wire::message(b'Q', b"listen \xe4\0"));
    let failure = client.answer().expect_err("a name that is not ASCII");
    let Failure::Error { code, detail, .. } = &failure else { panic!("{failure:?}") };
    assert_eq!(code, "0A000");
    assert!(detail.contains("client_encoding"), "{detail}");
    client.query("listen a").expect("a name that is");
    notify("a", "\u{e4}");
    let failure = support::eventually("its end", || client.query("select 1").err());
    assert_eq!(failure.code(), "22P05", "{failure:?}");
    // UNLISTEN in the middle of a pipeline.
    let mut client = pooler.client();
    client.query("listen a").expect("a LISTEN");
    let pipeline = [
        wire::parse("", "select 1"),
        wire::bind("", &[]),
        wire::execute(),
        wire::parse("", "unlisten a"),
        wire::bind("", &[]),
        wire::execute(),
        wire::sync(),
    ];
    client.wire.send(&pipeline.concat());
    let failure = client.answer().expect_err("no effect");
    let Failure::Error { detail, .. } = &failure else { panic!("{failure:?}") };
    assert!(detail.contains("pipeline"), "{detail}");
    notify("a", "still");
    hears(&mut client, "a", "still");
    let many: String = (0..1001).map(|n| format!("listen c{n};")).collect();
    let failure = client.query(&many).expect_err("too many");
    let Failure::Error { detail, .. } = &failure else { panic!("{failure:?}") };
    assert!(detail.contains("1000"), "{detail}");
    notify("a", "as it was");
    hears(&mut client, "a", "as it was");
}

/// The connection that listens does not come about: the client is told, and goes on.
#[test]
fn without_a_connection_the_client_is_told() {
    let _alone = alone();
    let pooler = setup()
        .set("default_pool_size", "2")
        .set("max_db_connections", "2")
        .set("query_wait_timeout", "2")
        .start();
    let mut client = pooler.client();
    client.query("begin").expect("a block");
    let mut others = [pooler.client(), pooler.client()];
    others[0].query("begin").expect("a block");
    // It gets the server of the client that listens, and keeps it.
    others[1].wire.send(&wire::query("begin"));
    support::eventually("a client that waits", || {
        pooler.shown("SHOW POOLS", "database", "app", "cl_waiting").filter(|count| count == "1")
    });
    client.query("listen a; commit").map(drop).expect_err("no place for another connection");
    others[1].answer().expect("a server");
    drop(others);
    assert_eq!(client.one("select 1"), "1");
    notify("a", "never");
    hears_nothing(&mut client);
}

#[test]
fn without_shared_listen_all_is_as_it_was() {
    let _alone = alone();
    let pooler = Setup::new().set("pool_mode", "transaction").set("default_pool_size", "1").start();
    let mut client = pooler.client();
    client.query("listen a").expect("a LISTEN");
    assert_eq!(client.one("select count(*) from pg_listening_channels()"), "1");
}

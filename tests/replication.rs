//! Replication connections through the built program: PostgreSQL's own tools, each end of the
//! streaming protocol, and what becomes of the server when its client goes.

mod support;

use std::fs;
use std::path::Path;
use std::time::Duration;

use support::client::{Answer, Login};
use support::postgres::{GUIDE, Role, SUPER};
use support::tool::{self, Tool};
use support::wire;
use support::{Client, Failure, Pooler, Postgres, Setup, eventually, host, within};

/// A role with the attribute REPLICATION; SCRAM.
const REPLICATOR: Role = GUIDE[1];

/// How much a pooler may grow while a reader is slow, in kB.
const GROWTH: u64 = 8_000;

fn pooler() -> Pooler {
    Setup::new().set("auth_type", "scram-sha-256").start()
}

/// A replication client by its own word for it, with further startup parameters.
fn attempt(pooler: &Pooler, parameters: &[(&str, &str)]) -> Result<Client, Failure> {
    let login =
        Login { user: REPLICATOR.name, password: REPLICATOR.password, database: "app", parameters };
    Client::attempt(pooler.port, &login)
}

fn replicator(pooler: &Pooler, kind: &str, name: &str) -> Client {
    let parameters = [("replication", kind), ("application_name", name)];
    attempt(pooler, &parameters).unwrap_or_else(|e| panic!("replication={kind}: {e:?}"))
}

/// Walsenders of this application_name that PostgreSQL has.
fn walsenders(name: &str) -> String {
    Postgres::shared().one(&format!(
        "select count(*) from pg_stat_activity \
         where backend_type = 'walsender' and application_name = '{name}'"
    ))
}

fn expect_walsenders(name: &str, count: &str) {
    eventually(&format!("{count} walsenders of {name}"), || {
        (walsenders(name) == count).then_some(())
    });
}

fn column(answer: &Answer, name: &str) -> Option<String> {
    let place = answer.columns.iter().position(|c| c == name).expect("a column of that name");
    answer.rows[0][place].clone()
}

/// The position behind everything that was committed, as text.
fn position() -> String {
    Postgres::shared().one("select pg_current_wal_insert_lsn()")
}

/// A position from which a stream can start at once: PostgreSQL refuses what it has not flushed.
fn flushed() -> String {
    Postgres::shared().one("select pg_current_wal_flush_lsn()")
}

/// Writes some megabytes of changes that no checkpoint of ours takes away.
fn write_wal(megabytes: usize) {
    let mut session = Postgres::shared().session("app");
    session.query("create table if not exists filling (text text)").expect("a table");
    for _ in 0..megabytes {
        let sql = "insert into filling select repeat('w', 1000) from generate_series(1, 1000)";
        session.query(sql).expect("rows");
    }
}

#[test]
fn a_base_backup_through_the_pooler_verifies_and_starts_up() {
    let pooler = pooler();
    let marker = "create table backed_up as select 'it is there' as word";
    Postgres::shared().session("app").query(marker).expect("a table");
    let folder = host::new_folder("backup");
    tool::back_up(pooler.port, &REPLICATOR, &folder, |backup| backup);
    let restored = Postgres::on(&folder);
    assert_eq!(restored.one("select word from backed_up"), "it is there");
    assert_no_server_is_left(&pooler);
}

#[test]
fn pg_receivewal_writes_the_segments_of_the_server() {
    let pooler = pooler();
    let postgres = Postgres::shared();
    // The second one keeps the server's segments for the comparison.
    for slot in ["receivewal", "comparison"] {
        postgres.one(&format!("select pg_create_physical_replication_slot('{slot}', true)"));
    }
    let first = postgres.one(
        "select pg_walfile_name(restart_lsn) from pg_replication_slots \
         where slot_name = 'receivewal'",
    );
    write_wal(2);
    postgres.one("select pg_switch_wal()");
    write_wal(1);
    let folder = host::new_folder("wal");
    let into = folder.display().to_string();
    Tool::postgres("pg_receivewal", pooler.port, &REPLICATOR, "app")
        .args(["-D", &into, "-n", "-S", "receivewal", "--no-sync", "--endpos", &position()])
        .run();
    let theirs = postgres.socket.join("data/pg_wal").join(&first);
    assert!(same_bytes(&folder.join(&first), &theirs), "segment {first} is the server's");
    assert_no_server_is_left(&pooler);
}

fn same_bytes(ours: &Path, theirs: &Path) -> bool {
    let read = |path: &Path| fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    read(ours) == read(theirs)
}

#[test]
fn pg_recvlogical_sees_the_changes() {
    let pooler = pooler();
    let mut session = Postgres::shared().session("app");
    session.query("create table decoded (number int)").expect("a table");
    let recvlogical = || {
        let tool = Tool::postgres("pg_recvlogical", pooler.port, &REPLICATOR, "app");
        tool.args(["-d", "app", "--slot", "decoding"])
    };
    recvlogical().args(["--create-slot", "-P", "test_decoding"]).run();
    session.query("insert into decoded values (41), (42)").expect("rows");
    let end = position();
    let seen = recvlogical().args(["--start", "-n", "-f", "-", "--endpos", &end]).run();
    for number in [41, 42] {
        let line = format!("table public.decoded: INSERT: number[integer]:{number}");
        assert!(seen.contains(&line), "{line} in {seen}");
    }
    recvlogical().args(["--drop-slot"]).run();
    assert_no_server_is_left(&pooler);
}

/// A subscription of one database to another, by way of the pooler: what carries it lasts.
#[test]
fn a_subscription_follows_its_publication_through_the_pooler() {
    let pooler = Setup::new()
        .set("ignore_startup_parameters", "extra_float_digits")
        .secret(SUPER.name, SUPER.password)
        .start();
    let publisher = Postgres::shared();
    let mut here = publisher.session("app");
    here.query("create table published (number int primary key)").expect("a table");
    here.query("create publication news for table published").expect("a publication");
    here.query("insert into published values (1)").expect("a row from before");
    let subscriber = Postgres::start();
    let mut there = subscriber.session("app");
    there.query("create table published (number int primary key)").expect("a table");
    let subscribe = format!(
        "create subscription reader connection \
         'host=127.0.0.1 port={} user=super dbname=app' publication news",
        pooler.port
    );
    there.query(&subscribe).expect("a subscription");
    here.query("insert into published values (2)").expect("a row from after");
    eventually("both rows on the other side", || {
        (there.one("select count(*) from published") == "2").then_some(())
    });
    let kind = pooler.shown("show clients", "application_name", "reader", "replication");
    assert_eq!(kind.as_deref(), Some("logical"));
    there.query("drop subscription reader").expect("its slot goes with it");
    assert_no_server_is_left(&pooler);
}

#[test]
fn each_word_for_replication_gives_a_walsender_of_its_kind() {
    for mode in ["transaction", "session", "statement"] {
        let pooler = Setup::new().set("pool_mode", mode).start();
        for word in ["true", "on", "1", "yes"] {
            let mut client = replicator(&pooler, word, "words");
            let answer = client.query("IDENTIFY_SYSTEM").expect("a walsender's answer");
            assert_eq!(column(&answer, "dbname"), None, "replication={word}");
            client.query("select 1").expect_err("no SQL in physical replication");
            assert_eq!(
                pooler.shown("show clients", "user", "replicator", "replication"),
                Some("physical".into())
            );
            client.terminate();
            expect_walsenders("words", "0");
        }
        // The words of the log, as those who read it know them.
        pooler.wait_log(&["tls=no replication=yes"]);
        let mut client = replicator(&pooler, "database", "words");
        pooler.wait_log(&["tls=no replication=database"]);
        let answer = client.query("IDENTIFY_SYSTEM").expect("a walsender's answer");
        assert_eq!(column(&answer, "dbname").as_deref(), Some("app"));
        assert_eq!(client.one("select 'SQL'"), "SQL");
        assert_eq!(
            pooler.shown("show servers", "user", "replicator", "replication"),
            Some("logical".into())
        );
        expect_walsenders("words", "1");
        client.terminate();
        expect_walsenders("words", "0");
        assert_no_server_is_left(&pooler);
    }
}

#[test]
fn a_replication_connection_brings_its_startup_parameters() {
    let pooler = pooler();
    let parameters = [
        ("replication", "database"),
        ("application_name", "brings"),
        ("DateStyle", "SQL, DMY"),
        ("options", "-c TimeZone=Asia/Tokyo -c IntervalStyle=iso_8601"),
    ];
    let mut client = attempt(&pooler, &parameters).expect("a welcome");
    let wanted = [
        ("application_name", "brings"),
        ("DateStyle", "SQL, DMY"),
        ("TimeZone", "Asia/Tokyo"),
        ("IntervalStyle", "iso_8601"),
    ];
    for (name, value) in wanted {
        assert_eq!(client.one(&format!("show {name}")), value);
        assert_eq!(client.parameters[name], value, "what the welcome says of {name}");
    }
    expect_walsenders("brings", "1");
}

#[test]
fn connect_query_runs_where_a_walsender_knows_sql() {
    let line = format!(
        "host=127.0.0.1 port={} connect_query='set work_mem to 7777'",
        Postgres::shared().port
    );
    let pooler = Setup::new().database("app", &line).start();
    assert_eq!(replicator(&pooler, "database", "connected").one("show work_mem"), "7777kB");
    let answer = replicator(&pooler, "true", "connected").query("IDENTIFY_SYSTEM");
    assert_eq!(answer.expect("physical replication works").rows.len(), 1);
}

/// Replication connections have places in their pool like any other, and nobody else gets theirs.
#[test]
fn replication_connections_count_against_the_size_of_the_pool() {
    let pooler = Setup::new().set("default_pool_size", "2").set("query_wait_timeout", "60").start();
    let first = replicator(&pooler, "database", "counted");
    let mut ordinary = pooler.login(&REPLICATOR, "app");
    ordinary.query("begin").expect("the second place");
    assert_eq!(pooler.shown("show pools", "user", "replicator", "sv_active"), Some("2".into()));
    let mut third = pooler.connect();
    third.send(&wire::startup(&[
        ("user", REPLICATOR.name),
        ("database", "app"),
        ("replication", "true"),
        ("application_name", "counted"),
    ]));
    // A replication client logs in on its own server alone: until it has one it waits.
    eventually("the third to wait", || {
        let login = pooler.log().matches("login attempt: db=app").count();
        (login >= 3).then_some(())
    });
    assert_eq!(walsenders("counted"), "1");
    let mut fourth = pooler.login(&REPLICATOR, "app");
    fourth.wire.send(&wire::query("select 'free again'"));
    assert_eq!(pooler.shown("show pools", "user", "replicator", "sv_active"), Some("2".into()));
    first.terminate();
    expect_walsenders("counted", "1");
    third.hear_until_ready().expect("its turn");
    ordinary.query("commit").expect("COMMIT");
    assert_eq!(fourth.answer().expect("its turn").rows[0][0].as_deref(), Some("free again"));
    pooler.wait_log(&["replication client was closed"]);
}

/// Wherever its client is when it goes, the walsender goes with it.
#[test]
fn a_client_that_vanishes_frees_its_walsender() {
    let pooler = pooler();
    let start = format!("START_REPLICATION PHYSICAL {}", flushed());
    let moments = [
        ("idle", "", b'Z'),
        ("answered", "IDENTIFY_SYSTEM", b'Z'),
        ("streaming", start.as_str(), b'W'),
        ("unread", "BASE_BACKUP (CHECKPOINT 'fast')", b'H'),
    ];
    for (moment, query, last) in moments {
        let mut client = replicator(&pooler, "true", moment);
        if !query.is_empty() {
            client.wire.send(&wire::query(query));
            client.wire.hear_until(|m| m.kind == last).expect("an answer");
        }
        expect_walsenders(moment, "1");
        let closed = pooler.log().matches("replication client was closed").count();
        drop(client);
        expect_walsenders(moment, "0");
        eventually("the log to tell", || {
            let now = pooler.log().matches("replication client was closed").count();
            (now == closed + 1).then_some(())
        });
    }
    assert_no_server_is_left(&pooler);
}

/// The limits for the age of servers do not end a stream, nor is a successor opened for it.
#[test]
fn a_stream_outlives_server_lifetime_alone() {
    let pooler = Setup::new().set("server_lifetime", "1").set("server_idle_timeout", "60").start();
    let mut client = replicator(&pooler, "true", "lasting");
    client.wire.send(&wire::query(&format!("START_REPLICATION PHYSICAL {}", flushed())));
    client.wire.hear_until(|m| m.kind == b'W').expect("CopyBoth");
    assert_eq!(
        within(Duration::from_secs(3), || (walsenders("lasting") != "1").then_some(())),
        None
    );
    let opened = pooler.log().matches("new connection to server").count();
    assert_eq!(opened, 1, "{}", pooler.log());
    end_of_stream(&mut client);
}

/// A stream of changes waits for its reader in PostgreSQL, not here.
#[test]
fn a_slow_reader_of_a_stream_costs_no_memory() {
    const MEGABYTES: usize = 60;
    let pooler = pooler();
    let postgres = Postgres::shared();
    postgres.one("select pg_create_physical_replication_slot('slow', true)");
    let (begin, _) = (flushed(), write_wal(MEGABYTES));
    let mut client = replicator(&pooler, "true", "slow");
    let witness = support::Witness::start(pooler.port);
    let before = pooler.resident_kb();
    client.wire.send(&wire::query(&format!("START_REPLICATION SLOT slow PHYSICAL {begin}")));
    client.wire.hear_until(|m| m.kind == b'W').expect("CopyBoth");
    expect_standstill("slow");
    let behind = "select pg_wal_lsn_diff(pg_current_wal_lsn(), sent_lsn) > 1000000 \
                  from pg_stat_replication where application_name = 'slow'";
    assert_eq!(postgres.one(behind), "t", "the reader has held it up");
    let grown = pooler.resident_kb().saturating_sub(before);
    assert!(grown < GROWTH, "the pooler has grown by {grown} kB");
    let mut received = 0;
    while received < MEGABYTES * 1_000_000 {
        let message = client.wire.hear().expect("the whole stream");
        assert_eq!(message.kind, b'd');
        received += message.body.len();
    }
    let grown = pooler.resident_kb().saturating_sub(before);
    assert!(grown < GROWTH, "the pooler has grown by {grown} kB");
    witness.finish();
    end_of_stream(&mut client);
    drop(client);
    expect_walsenders("slow", "0");
}

/// Waits until PostgreSQL is as far ahead of a reader as the buffers on the way let it be.
fn expect_standstill(name: &str) {
    let (mut last, mut looks) = (String::new(), 0);
    eventually("the stream to stand still", || {
        let sent = Postgres::shared().one(&format!(
            "select coalesce(max(sent_lsn), '0/0') from pg_stat_replication \
             where application_name = '{name}'"
        ));
        looks = if sent == last { looks + 1 } else { 0 };
        last = sent;
        (looks == 20).then_some(())
    });
}

/// Ends a stream as the protocol has it: CopyDone from both sides, then the walsender is free for
/// the next command.
fn end_of_stream(client: &mut Client) {
    client.wire.send(&[wire::message(b'c', &[]), wire::query("IDENTIFY_SYSTEM")].concat());
    client.wire.hear_until(|m| m.kind == b'c').expect("CopyDone");
    client.answer().expect("the end of the stream");
    let answer = client.answer().expect("the answer to what was sent behind the end");
    assert_eq!(answer.rows.len(), 1);
}

fn assert_no_server_is_left(pooler: &Pooler) {
    eventually("the servers of replication clients to be closed", || {
        let answer = pooler.console().query("show servers").expect("SHOW SERVERS");
        let place = |name| answer.columns.iter().position(|c| c == name);
        let (user, replication) = (place("user")?, place("replication")?);
        let is_other = |row: &Vec<Option<String>>| {
            // A walsender without a client would be of no kind.
            row[replication].as_deref() == Some("none")
                && row[user].as_deref() != Some(REPLICATOR.name)
        };
        answer.rows.iter().all(is_other).then_some(())
    });
}

/// A stream that its client has ended in good order leaves a clean session, but one that is a
/// walsender's: nobody else may have it.
#[test]
fn a_walsender_is_closed_when_its_client_has_ended_the_stream_and_leaves() {
    let pooler = pooler();
    let mut client = replicator(&pooler, "database", "ended_in_order");
    client
        .query("CREATE_REPLICATION_SLOT ended TEMPORARY LOGICAL test_decoding")
        .expect("a slot for the session");
    client.wire.send(&wire::query("START_REPLICATION SLOT ended LOGICAL 0/0"));
    client.wire.hear_until(|message| message.kind == b'W').expect("CopyBothResponse");
    client.wire.say(b'c', b"");
    client.wire.hear_until_ready().expect("the end of the stream");
    client.terminate();
    eventually("the walsender to be closed", || {
        let answer = pooler.console().query("show servers").expect("SHOW SERVERS");
        answer.rows.is_empty().then_some(())
    });
    pooler.wait_log(&["closing because: replication client was closed"]);
}

/// What a subscription sends: PostgreSQL judges the options of a connection that is for one client.
#[test]
fn options_of_a_replication_client_go_to_its_server_as_they_are() {
    let pooler = pooler();
    let kind = ("replication", "database");
    let options = |text| ("options", text);
    let of_subscription = "-c datestyle=German -c intervalstyle=postgres -c extra_float_digits=3";
    for parameters in [[kind, options(of_subscription)], [options(of_subscription), kind]] {
        let mut client = attempt(&pooler, &parameters).expect("a login");
        assert_eq!(client.parameters["DateStyle"], "German, DMY");
        assert_eq!(client.one("show extra_float_digits"), "3");
        assert_eq!(client.one("show datestyle"), "German, DMY");
    }
    let refusal = attempt(&pooler, &[kind, options("garbage")]).err().expect("PostgreSQL's answer");
    assert!(refusal.message().contains("invalid command-line argument"), "{refusal:?}");
    let plain = [("replication", "off"), options("-c enable_seqscan=off")];
    let refusal = attempt(&pooler, &plain).err().expect("no replication");
    assert_eq!(refusal.message(), "unsupported startup parameter in options: enable_seqscan");
}

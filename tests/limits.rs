//! The limits of the built program against a real PostgreSQL: how many sessions it sees under each
//! limit and each combination, when the reserve is used, who has to make room, how long a server
//! lives, and 2,000 clients at once on a pool of 20.

mod support;

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::client::Login;
use support::postgres::{APP, MD5, Role, TRUSTED};
use support::{Client, Pooler, Postgres, SetAtEnd, Setup, eventually, wire};

/// A line for a database of the shared PostgreSQL, whose sessions carry `mark`, so that those of
/// other tests are not counted.
fn line(mark: &str, more: &str) -> String {
    let port = Postgres::shared().port;
    format!("host=127.0.0.1 port={port} dbname=app application_name={mark} {more}")
}

fn setup(mark: &str, more: &str) -> Setup {
    Setup::empty().database("app", &line(mark, more))
}

/// Counts the sessions with a mark, on one connection of its own.
struct Counter {
    session: Client,
    sql: String,
}

impl Counter {
    fn new(mark: &str) -> Counter {
        let sql =
            format!("select count(*) from pg_stat_activity where application_name = '{mark}'");
        Counter { session: Postgres::shared().session("postgres"), sql }
    }

    fn now(&mut self) -> usize {
        self.session.one(&self.sql).parse().expect("a count")
    }

    fn wait_for(&mut self, count: usize) {
        eventually(&format!("{count} sessions"), || (self.now() == count).then_some(()));
    }
}

/// The sum of a column of SHOW POOLS, over the pools of clients.
fn pools(console: &mut Client, column: &str) -> usize {
    let answer = console.query("show pools").expect("SHOW POOLS");
    let place = answer.columns.iter().position(|c| c == column).expect("the column");
    let rows = answer.rows.iter().filter(|row| row[0].as_deref() != Some("pgbouncer"));
    rows.map(|row| row[place].as_deref().unwrap_or("0").parse::<usize>().expect("a number")).sum()
}

/// Runs `work` while PostgreSQL is asked again and again for the sessions with a mark; gives the
/// most that it has seen.
fn most_sessions(mark: &str, work: impl FnOnce()) -> usize {
    let (most, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut counter = Counter::new(mark);
            while !is_over.load(Ordering::Relaxed) {
                most.fetch_max(counter.now(), Ordering::Relaxed);
            }
        });
        let _end = SetAtEnd(&is_over);
        work();
    });
    most.into_inner()
}

/// Clients that all begin a transaction at once: as many as may have a server hold it, the others
/// wait; in the end all were served.
fn crowd(pooler: &Pooler, mark: &str, whose: &[(Role, &str)], expected: usize) {
    let most = most_sessions(mark, || {
        let mut clients: Vec<Client> =
            whose.iter().map(|(role, database)| pooler.login(role, database)).collect();
        for client in &mut clients {
            client.wire.send(&wire::query("begin"));
        }
        let (mut console, mut counter) = (pooler.console(), Counter::new(mark));
        eventually(&format!("{expected} busy servers"), || {
            let busy = pools(&mut console, "sv_active");
            let waiting = pools(&mut console, "cl_waiting");
            ((busy, waiting) == (expected, whose.len() - expected)).then_some(())
        });
        counter.wait_for(expected);
        thread::scope(|scope| {
            for mut client in clients {
                scope.spawn(move || {
                    client.answer().expect("a transaction");
                    client.query("commit").expect("its end");
                });
            }
        });
    });
    // PostgreSQL counts a session that was evicted until its process has ended.
    if !pooler.log().contains("evicted") {
        assert_eq!(most, expected, "sessions of {mark}");
    }
}

fn all(role: Role, database: &'static str, count: usize) -> Vec<(Role, &'static str)> {
    vec![(role, database); count]
}

#[test]
fn a_pool_has_no_more_servers_than_its_size() {
    let sizes: [(&str, &str, &str, &str, usize); 6] = [
        ("size_default", "", "3", "", 3),
        ("size_line", "pool_size=2", "5", "", 2),
        ("size_user", "pool_size=2", "5", "pool_size=4", 4),
        ("size_line_all", "pool_size=0", "2", "", 8),
        ("size_all", "", "0", "", 8),
        ("size_db", "pool_size=6 max_db_connections=3", "5", "", 3),
    ];
    for (mark, database, default, user, expected) in sizes {
        let mut setup = setup(mark, database).set("default_pool_size", default);
        if !user.is_empty() {
            setup = setup.user(APP.name, user);
        }
        crowd(&setup.start(), mark, &all(APP, "app", 8), expected);
    }
}

#[test]
fn two_users_share_what_a_database_may_have() {
    let whose = [all(APP, "app", 4), all(MD5, "app", 4)].concat();
    for (mark, database, setting) in [("db_line", "max_db_connections=3", "0"), ("db_set", "", "3")]
    {
        let setup = setup(mark, database).set("max_db_connections", setting);
        crowd(&setup.start(), mark, &whose, 3);
    }
}

#[test]
fn two_databases_share_what_a_user_may_have() {
    let whose = [all(APP, "app", 4), all(APP, "again", 4)].concat();
    for (mark, user, setting) in
        [("user_line", "max_user_connections=3", "7"), ("user_set", "", "3")]
    {
        let mut setup = setup(mark, "").database("again", &line(mark, ""));
        setup = setup.set("max_user_connections", setting);
        if !user.is_empty() {
            setup = setup.user(APP.name, user);
        }
        crowd(&setup.start(), mark, &whose, 3);
    }
}

/// Both limits at once, and a forced user, whose pool all clients share.
#[test]
fn limits_hold_together() {
    let mark = "together";
    let setup = setup(mark, "max_db_connections=4 pool_size=3")
        .database("forced", &line(mark, "user=app_trust password=unasked pool_size=2"))
        .set("max_user_connections", "2");
    let whose = [all(APP, "app", 3), all(MD5, "app", 3), all(APP, "forced", 3)].concat();
    crowd(&setup.start(), mark, &whose, 6);
}

#[test]
fn the_reserve_is_for_those_who_have_waited() {
    let mark = "reserve";
    const PATIENCE: Duration = Duration::from_secs(2);
    let pooler = setup(mark, "pool_size=1 reserve_pool=2").set("reserve_pool_timeout", "2").start();
    let mut clients: Vec<Client> = (0..4).map(|_| pooler.client()).collect();
    let mut counter = Counter::new(mark);
    counter.wait_for(1);
    let start = Instant::now();
    clients.iter_mut().for_each(|client| assert!(client.wire.send(&wire::query("begin"))));
    let second =
        eventually("a server of the reserve", || (counter.now() > 1).then(|| start.elapsed()));
    println!("the reserve was used after {second:?}");
    assert!(second >= PATIENCE, "the reserve was used after {second:?}");
    counter.wait_for(3);
    pooler.wait_log(&["taking connection from reserve_pool"]);
    drop(clients);
    let mut late = pooler.client();
    late.query("select 1").expect("a server");
    eventually("the reserve to be given up", || (counter.now() <= 1).then_some(()));
}

#[test]
fn the_minimum_is_filled_with_a_client_or_a_forced_user_within_the_limits() {
    let cases = [
        ("min_plain", "min_pool_size=3", 3),
        ("min_size", "min_pool_size=5 pool_size=2", 2),
        ("min_db", "min_pool_size=5 max_db_connections=1", 1),
    ];
    for (mark, more, expected) in cases {
        let mut counter = Counter::new(mark);
        let pooler = setup(mark, more).start();
        // The sweep comes by three times a second; nobody is there to fill a pool for.
        pooler.console().query("show pools").expect("SHOW POOLS");
        assert_eq!(counter.now(), 0, "{mark} without clients");
        let client = pooler.client();
        let start = Instant::now();
        counter.wait_for(expected);
        println!("{mark}: {expected} servers after {:?}", start.elapsed());
        drop(client);
    }
    let mark = "min_forced";
    let mut counter = Counter::new(mark);
    let more = "user=app_trust password=unasked min_pool_size=3";
    let pooler = setup(mark, more).start();
    let start = Instant::now();
    counter.wait_for(3);
    println!("{mark}: 3 servers after {:?}", start.elapsed());
    pooler.rewrite(|setup| setup.database("app", &line(mark, &more.replace('3', "5"))));
    pooler.signal("HUP");
    counter.wait_for(5);
}

/// The pids behind a mark, by user.
fn backends(mark: &str, user: &str) -> Vec<String> {
    let sql = format!(
        "select pid from pg_stat_activity where application_name = '{mark}' and usename = '{user}'"
    );
    let rows = Postgres::shared().session("postgres").query(&sql).expect("pg_stat_activity").rows;
    rows.into_iter().filter_map(|row| row[0].clone()).collect()
}

#[test]
fn who_has_been_idle_longest_makes_room() {
    let mark = "evicted";
    let pooler = setup(mark, "max_db_connections=2").start();
    let mut first = pooler.login(&APP, "app");
    first.query("select 1").expect("a server");
    let mut second = pooler.login(&MD5, "app");
    second.query("select 1").expect("a server beside the first");
    let kept = backends(mark, MD5.name);
    let mut third = pooler.login(&TRUSTED, "app");
    third.query("select 1").expect("the place of the first");
    let log = pooler.wait_log(&["evicted for max_db_connections"]);
    assert!(log.contains("app/app@"), "the longest idle goes: {log}");
    eventually("the first to be gone", || backends(mark, APP.name).is_empty().then_some(()));
    assert_eq!(backends(mark, MD5.name), kept, "the second stays");
    first.query("select 1").expect("a place again");
}

#[test]
fn a_user_makes_room_in_another_database() {
    let mark = "evicted_user";
    let setup = setup(mark, "").database("again", &line(mark, "")).set("max_user_connections", "1");
    let pooler = setup.start();
    for database in ["app", "again", "app"] {
        pooler.login(&APP, database).query("select 1").expect("the only place");
    }
    pooler.wait_log(&["evicted for max_user_connections"]);
}

/// A pool that waits for a place gets it when another has done with it, not at some later time: the
/// other's servers are never idle for long here.
#[test]
fn a_busy_pool_does_not_keep_its_places_for_ever() {
    let mark = "shared_place";
    let pooler = setup(mark, "max_db_connections=1").start();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut busy = pooler.login(&APP, "app");
        let is_over = &is_over;
        let _end = SetAtEnd(is_over);
        scope.spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                busy.query("select 1").expect("a server now and then");
            }
        });
        for _ in 0..5 {
            let start = Instant::now();
            let result = Client::attempt(
                pooler.port,
                &Login { user: MD5.name, password: MD5.password, database: "app", parameters: &[] },
            )
            .and_then(|mut client| client.query("select 1"));
            result.expect("a place");
            println!("a place after {:?}", start.elapsed());
        }
    });
}

fn refusal(pooler: &Pooler, role: &Role, database: &str) -> String {
    let login = Login { user: role.name, password: role.password, database, parameters: &[] };
    match Client::attempt(pooler.port, &login) {
        Ok(_) => panic!("{} gets into {database}", role.name),
        Err(error) => {
            assert_eq!(error.code(), "53300", "{error:?}");
            error.message().to_owned()
        }
    }
}

#[test]
fn clients_above_a_limit_are_refused_and_admins_get_in() {
    let pooler = setup("clients", "").set("max_client_conn", "3").start();
    let mut clients: Vec<Client> = (0..3).map(|_| pooler.client()).collect();
    let words = refusal(&pooler, &APP, "app");
    assert_eq!(words, "no more connections allowed (max_client_conn)");
    pooler.console().query("show pools").expect("admins get in");
    clients.pop().expect("a client").terminate();
    eventually("a place for a client", || {
        let (user, password) = (APP.name, APP.password);
        let login = Login { user, password, database: "app", parameters: &[] };
        Client::attempt(pooler.port, &login).ok()
    });
}

#[test]
fn clients_are_limited_by_database_and_by_user() {
    let by_line = setup("db_clients", "max_db_client_connections=2")
        .set("max_db_client_connections", "1")
        .database("again", &line("db_clients", ""));
    let pooler = by_line.start();
    let _in = [pooler.login(&APP, "app"), pooler.login(&MD5, "app"), pooler.login(&APP, "again")];
    let words = "client connections exceeded (max_db_client_connections)";
    assert_eq!(refusal(&pooler, &TRUSTED, "app"), words);
    assert_eq!(refusal(&pooler, &TRUSTED, "again"), words);

    let by_user = setup("user_clients", "")
        .set("max_user_client_connections", "1")
        .user(APP.name, "max_user_client_connections=2")
        .database("again", &line("user_clients", ""));
    let pooler = by_user.start();
    let _in = [pooler.login(&APP, "app"), pooler.login(&APP, "again"), pooler.login(&MD5, "app")];
    let words = "client connections exceeded (max_user_client_connections)";
    assert_eq!(refusal(&pooler, &APP, "app"), words);
    assert_eq!(refusal(&pooler, &MD5, "again"), words);
}

#[test]
fn servers_that_were_opened_together_do_not_end_together() {
    let mark = "lifetime";
    let pooler = setup(mark, "min_pool_size=8 server_lifetime=10").start();
    let mut client = pooler.client();
    let mut counter = Counter::new(mark);
    counter.wait_for(8);
    let start = Instant::now();
    let mut ends = Vec::new();
    eventually("all eight to be replaced", || {
        client.query("select 1").expect("there is always a server");
        let over = pooler.log().matches("closing because: server lifetime over").count();
        ends.extend((ends.len()..over).map(|_| start.elapsed()));
        (ends.len() >= 8).then_some(())
    });
    println!("servers ended after {ends:?}");
    let (first, last) = (ends[0], ends[ends.len() - 1]);
    // The ends are drawn from a second; that eight fall on one sweep is next to impossible.
    assert!(first < last, "all have ended together, after {first:?}");
    counter.wait_for(8);
}

#[test]
fn a_busy_pool_has_a_successor_before_it_loses_a_server() {
    let mark = "successor";
    let pooler = setup(mark, "pool_size=2 server_lifetime=4").start();
    let mut client = pooler.client();
    client.query("begin").expect("a transaction that outlives its server's time");
    let mut counter = Counter::new(mark);
    counter.wait_for(2);
    let log = pooler.log();
    assert!(!log.contains("server lifetime over"), "the successor comes first:\n{log}");
    let old = client.one("select pg_backend_pid()");
    let overdue = "select clock_timestamp() - now() > interval '5 s'";
    eventually("the server's time to be over", || (client.one(overdue) == "t").then_some(()));
    client.query("commit").expect("COMMIT");
    pooler.wait_log(&["closing because: server lifetime over"]);
    assert_ne!(client.one("select pg_backend_pid()"), old);
}

#[test]
fn each_server_is_used_once_where_its_lifetime_is_nothing() {
    let pooler = setup("once", "pool_size=1").set("server_lifetime", "0").start();
    let mut client = pooler.client();
    let mut pids: Vec<String> = (0..5).map(|_| client.one("select pg_backend_pid()")).collect();
    pids.sort();
    pids.dedup();
    assert_eq!(pids.len(), 5, "a server for each transaction");
}

/// Clients of the arrival, and the pool and cap of logins that they meet.
const ARRIVALS: usize = 2_000;
const POOL: usize = 20;
const LOGINS: usize = 3;

/// How many places later or earlier than in the order of arrival a client may be served: clients
/// that got their servers together begin in any order, and a backend may have to wait for the
/// processor. Any other order than that of arrival goes far beyond.
const DISORDER: usize = 500;

/// Lets this process have as many descriptors as it is allowed to, and gives their number.
fn raise_descriptors() -> usize {
    let pid = std::process::id().to_string();
    let limits = std::fs::read_to_string("/proc/self/limits").expect("the limits of this process");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line");
    let hard = line.split_whitespace().nth(4).expect("the hard limit").to_owned();
    let limit = format!("--nofile={hard}:{hard}");
    let raised = Command::new("prlimit").args(["--pid", &pid, &limit]).status();
    assert!(raised.is_ok_and(|status| status.success()), "prlimit {limit}");
    hard.parse().unwrap_or(usize::MAX)
}

#[test]
fn two_thousand_clients_at_once_are_served_in_the_order_of_their_arrival() {
    assert!(raise_descriptors() >= ARRIVALS + 500, "too few descriptors are allowed here");
    let mark = "arrivals";
    let pooler = setup(mark, "user=app_trust password=unasked")
        .set("default_pool_size", &POOL.to_string())
        .set("server_login_concurrency", &LOGINS.to_string())
        .set("max_client_conn", &(ARRIVALS + 10).to_string())
        .set("listen_backlog", "4096")
        .set("log_connections", "0")
        .set("log_disconnections", "0")
        .start();
    let is_over = AtomicBool::new(false);
    let most_logins = AtomicUsize::new(0);
    let most = most_sessions(mark, || {
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut console = pooler.console();
                while !is_over.load(Ordering::Relaxed) {
                    most_logins.fetch_max(pools(&mut console, "sv_login"), Ordering::Relaxed);
                }
            });
            let _end = SetAtEnd(&is_over);
            arrive(&pooler);
        });
    });
    let logins = most_logins.into_inner();
    println!("PostgreSQL has seen {most} sessions at most, {logins} of them logging in at a time");
    assert!(most <= POOL, "PostgreSQL has seen {most} sessions");
    assert!(logins <= LOGINS, "{logins} were logging in at a time");
    assert_eq!(most, POOL, "the pool was used");
}

fn arrive(pooler: &Pooler) {
    let hello = wire::startup(&[("user", APP.name), ("database", "app")]);
    let query = wire::query("select clock_timestamp(), pg_sleep(0.01)");
    let start = Instant::now();
    let mut clients: Vec<(wire::Wire, Instant)> = Vec::new();
    for _ in 0..ARRIVALS {
        let mut wire = pooler.connect();
        assert!(wire.send(&[&hello[..], &query].concat()), "the pooler takes all of it");
        clients.push((wire, Instant::now()));
    }
    println!("{ARRIVALS} clients have arrived within {:?}", start.elapsed());
    let mut began: Vec<(String, usize)> = Vec::new();
    let mut longest = Duration::ZERO;
    for (number, (wire, asked)) in clients.iter_mut().enumerate() {
        let row = wire.hear_until(|message| matches!(message.kind, b'D' | b'E'));
        let row = row.unwrap_or_else(|gone| panic!("client {number}: {gone:?}"));
        let row = row.last().expect("a row");
        assert_eq!(row.kind, b'D', "client {number}: {:?}", row.field('M'));
        longest = longest.max(asked.elapsed());
        began.push((row.values()[0].clone().expect("a time"), number));
    }
    println!("the last was served after {:?}, the longest wait was {longest:?}", start.elapsed());
    began.sort();
    let distance = |(place, (_, number)): (usize, &(String, usize))| place.abs_diff(*number);
    let worst = began.iter().enumerate().map(distance).max().expect("clients");
    println!("nobody was served more than {worst} places from his own");
    assert!(worst <= DISORDER, "a client was served {worst} places from his own");
}

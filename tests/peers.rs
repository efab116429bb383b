//! Several processes: cancel requests that find their way between them, peers that do not do their
//! part, and one process taking another's place behind a port without a client that notices.

mod support;

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use support::client::Login;
use support::postgres::{APP, Role};
use support::tool::{self, Tool};
use support::wire::{self, Wire};
use support::{Client, FakeServer, Pooler, Postgres, Setup, eventually};

/// How much a pooler may grow while a peer is silent, in kB.
const GROWTH: u64 = 10_000;

/// Processes of one port, each with its number; those that the others' requests go to are named
/// by their Unix sockets.
fn two_on_one_port() -> [Pooler; 2] {
    let shared = |id: &str| Setup::new().set("so_reuseport", "1").set("peer_id", id);
    let first = shared("1").start();
    let second = shared("2").start_beside(&first);
    for pooler in [&first, &second] {
        pooler.rewrite(|setup| {
            let line =
                |other: &Pooler| format!("host={} port={}", other.folder.display(), other.port);
            setup.peer("1", &line(&first)).peer("2", &line(&second))
        });
        // By the socket of its own, as the kernel chooses who hears what comes to the port.
        assert_eq!(console(pooler, "reload"), "");
    }
    [first, second]
}

/// What the console of one process says, over its Unix socket.
fn console(pooler: &Pooler, command: &str) -> String {
    let folder = pooler.folder.display().to_string();
    let admin = Role { name: "admin", password: "admin-secret", method: "" };
    let psql = Tool::psql(pooler.port, &admin, "pgbouncer").env("PGHOST", &folder);
    psql.args(["-c", command]).run()
}

/// How many clients of database `app` one process has.
fn clients_of(pooler: &Pooler) -> usize {
    console(pooler, "show clients").lines().filter(|line| line.contains("|app|app|")).count()
}

/// The key of a client of this peer, with so many hops left.
fn key_of(peer: u8, hops: u8) -> Vec<u8> {
    vec![1, peer, 0, 7, 7, 7, 7, 0xf0 | hops]
}

/// Sends a cancel request and does not wait for its end.
fn ask(pooler: &Pooler, key: &[u8]) -> Wire {
    let mut wire = pooler.connect();
    wire.send(&wire::packet(wire::CANCEL, key));
    wire
}

/// Many clients of two processes, each cancelled by a connection that comes to either.
#[test]
fn a_cancel_that_arrives_at_the_wrong_process_works() {
    const CLIENTS: usize = 16;
    let poolers = two_on_one_port();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| poolers[0].client()).collect();
    let counts = poolers.each_ref().map(clients_of);
    println!("the kernel gave the processes {counts:?} of the clients");
    assert_eq!(counts.iter().sum::<usize>(), CLIENTS);
    for client in &mut clients {
        client.wire.send(&wire::query("select pg_sleep(1000)"));
    }
    let running = "select count(*) from pg_stat_activity where query like '%pg_sleep(1000)' \
                   and state = 'active'";
    eventually("all queries to run", || {
        (Postgres::shared().one(running) == CLIENTS.to_string()).then_some(())
    });
    for (number, client) in clients.iter_mut().enumerate() {
        client.cancel(poolers[0].port);
        let failure = client.answer().expect_err("it was cancelled");
        assert_eq!(failure.code(), "57014", "client {number}");
        assert_eq!(client.one("select 'at work'"), "at work");
    }
    // Of so many, one at least came to the wrong process; its clients were cancelled all the same.
    let passed_on = poolers.iter().map(Pooler::log).filter(|log| log.contains("peer-")).count();
    assert!(passed_on > 0, "the logs tell of requests that were passed on");
    for (pooler, other) in [(&poolers[0], "2"), (&poolers[1], "1")] {
        let pools = console(pooler, "show peer_pools");
        assert!(pools.lines().all(|line| line == format!("{other}|0|0|0|0")), "{pools}");
    }
}

/// The same with a query that only waits for a server, and with the peer named by an address.
#[test]
fn a_peer_cancels_what_waits_for_a_server() {
    let small = |id| Setup::new().set("peer_id", id).set("default_pool_size", "1");
    let owner = small("1").start();
    let line = format!("host=localhost port={} pool_size=3", owner.port);
    let other = small("2").peer("1", &line).start();
    let (mut holder, mut waiter) = (owner.client(), owner.client());
    holder.query("begin").expect("the only server");
    waiter.wire.send(&wire::query("select 'never run'"));
    eventually("the client to wait", || {
        let waiting = owner.shown("show pools", "database", "app", "cl_waiting")?;
        (waiting == "1").then_some(())
    });
    waiter.cancel(other.port);
    assert_eq!(waiter.answer().expect_err("it was cancelled").code(), "57014");
    holder.query("commit").expect("COMMIT");
    assert_eq!(waiter.one("select 'at work'"), "at work");
    let shown = |column| other.shown("show peers", "peer_id", "1", column);
    assert_eq!(shown("host").as_deref(), Some("localhost"));
    assert_eq!(shown("port"), Some(owner.port.to_string()));
    assert_eq!(shown("pool_size").as_deref(), Some("3"));
}

/// Peers may be processes of PgBouncer, which know short keys only; those that know long ones pass
/// them on whole.
#[test]
fn long_keys_are_given_out_where_the_peers_take_them() {
    let login = Login { user: APP.name, password: APP.password, database: "app", parameters: &[] };
    let by_3_2 = |pooler: &Pooler| Client::attempt_by(2, pooler.port, &login).expect("let in");
    let owner = Setup::new().set("peer_id", "1").start();
    let other =
        Setup::new().set("peer_id", "2").peer("1", &format!("host=127.0.0.1 port={}", owner.port));
    let other = other.start();
    let mut short = by_3_2(&owner);
    owner.rewrite(|setup| setup.set("peers_take_long_keys", "1"));
    owner.console().query("reload").expect("RELOAD");
    let mut long = by_3_2(&owner);
    assert_eq!((short.cancel_key.len(), long.cancel_key.len()), (8, 36));
    for client in [&mut short, &mut long] {
        let query = format!("select pg_sleep(600), 'key of {}'", client.cancel_key.len());
        client.wire.send(&wire::query(&query));
        Postgres::shared().await_query(&query);
        client.cancel(other.port);
        assert_eq!(client.answer().expect_err("it was cancelled").code(), "57014");
        assert_eq!(client.one("select 'at work'"), "at work");
    }
    let mut wrong = long.cancel_key.clone();
    wrong[35] ^= 1;
    assert_eq!(ask(&other, &wrong).hear_to_the_end(), []);
    owner.wait_log(&["could not find peer"]);
}

/// A peer that takes connections and says nothing holds up those who ask for it, for no longer than
/// `cancel_wait_timeout`; nobody else, and not those who ask later.
#[test]
fn a_silent_peer_uses_nothing_up() {
    let silent = FakeServer::start(|wire| drop(wire.hear_bytes_to_the_end()));
    let line = format!("host=127.0.0.1 port={} pool_size=2", silent.port);
    let pooler = Setup::new()
        .set("peer_id", "1")
        .set("cancel_wait_timeout", "6")
        .set("max_client_conn", "20")
        // Else it would be asked for TLS first, and not answer that.
        .set("server_tls_sslmode", "disable")
        .peer("2", &line)
        .start();
    let witness = support::Witness::start(pooler.port);
    for round in 1..=2 {
        let start = Instant::now();
        let mut asking: Vec<Wire> = (0..30).map(|_| ask(&pooler, &key_of(2, 3))).collect();
        // All of them have to arrive, which takes a busy machine its time.
        eventually("two requests to be on their way, and the others to wait", || {
            let [active, waiting] = ["sv_active_cancel", "cl_waiting_cancel_req"]
                .map(|column| pooler.shown("show peer_pools", "peer_id", "2", column));
            (active? == "2" && waiting? == "28").then_some(())
        });
        cancel_own_query(&pooler);
        for wire in &mut asking {
            assert_eq!(wire.hear_to_the_end(), [], "a cancel request is not answered");
        }
        println!("round {round}: they have waited {:?}", start.elapsed());
        expect_no_request(&pooler);
    }
    assert!(pooler.log().contains("closing because: cancel_wait_timeout"), "{}", pooler.log());
    let taken = silent.accepted();
    assert!((4..=60).contains(&taken), "{taken} connections to the peer");
    witness.finish();
}

/// Requests of those who do not wait for the end pile up, but only so far.
#[test]
fn a_flood_of_requests_for_a_silent_peer_is_bounded() {
    let silent = FakeServer::start(|wire| drop(wire.hear_bytes_to_the_end()));
    let line = format!("host=127.0.0.1 port={} pool_size=2", silent.port);
    let pooler =
        Setup::new().set("peer_id", "1").set("cancel_wait_timeout", "3").peer("2", &line).start();
    let before = pooler.resident_kb();
    for _ in 0..3_000 {
        drop(ask(&pooler, &key_of(2, 3)));
    }
    assert_eq!(pooler.client().one("select 'alive'"), "alive");
    let grown = pooler.resident_kb().saturating_sub(before);
    assert!(grown < GROWTH, "the pooler has grown by {grown} kB");
    expect_no_request(&pooler);
}

fn cancel_own_query(pooler: &Pooler) {
    let mut client = pooler.client();
    client.query("begin").expect("BEGIN");
    let pid = client.one("select pg_backend_pid()");
    client.wire.send(&wire::query("select pg_sleep(1000)"));
    let running = format!("select state || wait_event from pg_stat_activity where pid = {pid}");
    eventually("the query to run", || {
        (Postgres::shared().one(&running) == "activePgSleep").then_some(())
    });
    client.cancel(pooler.port);
    assert_eq!(client.answer().expect_err("it was cancelled").code(), "57014");
}

fn expect_no_request(pooler: &Pooler) {
    eventually("no request to be left", || {
        let pools = console(pooler, "show peer_pools");
        (pools == "2|0|0|0|0").then_some(())
    });
}

#[test]
fn a_peer_that_refuses_ends_the_request() {
    // The port of a server that is gone.
    let port = FakeServer::start(|_| {}).port;
    let setup = Setup::new().set("peer_id", "1").peer("2", &format!("host=127.0.0.1 port={port}"));
    let pooler = setup.peer("3", "host=no.such.name.invalid").start();
    for peer in [2, 3] {
        assert_eq!(ask(&pooler, &key_of(peer, 3)).hear_to_the_end(), []);
    }
    assert!(pooler.log().contains("connect failed"), "{}", pooler.log());
    pooler.wait_log(&["failed cancel request"]);
    expect_end_without_peer(&pooler);
}

/// A RELOAD keeps what is known of a peer that the file names, and forgets one that it names no
/// more, once nothing is under way to it. Neither is a database that could be dropped.
#[test]
fn a_peer_is_known_for_as_long_as_the_file_names_it() {
    let silent = FakeServer::start(|wire| drop(wire.hear_bytes_to_the_end()));
    let line = format!("host=127.0.0.1 port={}", silent.port);
    let setup = Setup::new().set("peer_id", "1").set("server_tls_sslmode", "disable");
    let pooler = setup.peer("2", &line).peer("3", &line).start();
    let _asking: Vec<Wire> = [2, 3].map(|peer| ask(&pooler, &key_of(peer, 3))).into();
    let pools = || console(&pooler, "show peer_pools");
    let await_pools = |rows: &str| eventually(rows, || (pools() == rows).then_some(()));
    await_pools("2|1|0|1|0\n3|1|0|1|0");
    pooler.console().query("reload").expect("RELOAD");
    await_pools("2|1|0|1|0\n3|1|0|1|0");
    pooler.rewrite(|setup| setup.without_peer("3").set("cancel_wait_timeout", "1"));
    pooler.console().query("reload").expect("RELOAD");
    await_pools("2|0|0|0|0");
    assert!(!pooler.log().contains("dropping database"), "{}", pooler.log());
}

/// Keys that name nobody, ourselves, or are none at all.
fn expect_end_without_peer(pooler: &Pooler) {
    for key in [key_of(77, 3), key_of(1, 3), vec![0; 8], vec![0xff; 8], vec![1; 200]] {
        assert_eq!(ask(pooler, &key).hear_to_the_end(), [], "{key:?}");
    }
    pooler.wait_log(&["could not find peer"]);
}

/// Two processes that send the requests for a third to each other, and one that sends them to
/// itself: each request ends when it has hopped often enough.
#[test]
fn requests_that_hop_in_circles_come_to_an_end() {
    let first = Setup::new().set("peer_id", "1").start();
    let to = |pooler: &Pooler| format!("host=127.0.0.1 port={}", pooler.port);
    let second = Setup::new().set("peer_id", "2").peer("9", &to(&first)).start();
    first.rewrite(|setup| setup.peer("9", &to(&second)).peer("8", &to(&first)));
    first.console().query("reload").expect("RELOAD");
    let exhausted = || {
        let count = |pooler: &Pooler| pooler.log().matches("passed on too often").count();
        count(&first) + count(&second)
    };
    for (number, (peer, hops)) in [(9, 3), (9, 1), (9, 0), (8, 3), (8, 2)].iter().enumerate() {
        let sent = || first.log().matches("new connection to server").count();
        let before = sent();
        assert_eq!(ask(&first, &key_of(*peer, *hops)).hear_to_the_end(), []);
        eventually("the request to be given up", || (exhausted() == number + 1).then_some(()));
        assert!(sent() <= before + 3, "no more than its hops");
    }
    let all = [&first, &second].map(|p| p.log().matches("successfully sent cancel").count());
    println!("carried: {all:?}");
    assert_eq!(first.client().one("select 'alive'"), "alive");
}

/// A load that reconnects for each transaction, and one that stays connected.
fn loads(pooler: &Pooler, seconds: &str) -> [std::process::Child; 2] {
    Postgres::shared().fill_bench();
    let pgbench = |arguments: &[&str]| {
        let tool = Tool::pgbench(pooler.port, &APP, "bench").args(["-n", "-j", "2", "-T", seconds]);
        tool.args(arguments.iter().copied()).start()
    };
    [pgbench(&["-C", "-S", "-c", "8"]), pgbench(&["-c", "8", "-b", "simple-update"])]
}

fn assert_nothing_failed(pgbench: &str) {
    assert!(pgbench.contains("number of failed transactions: 0 "), "{pgbench}");
    let done = pgbench.lines().find(|line| line.contains("actually processed")).unwrap_or_default();
    println!("{done}");
}

/// One process after another takes the place of the one before, with clients coming and working
/// all the while: nobody fails.
#[test]
fn processes_replace_each_other_under_load_without_a_failure() {
    let shared = |id: &str| {
        Setup::new()
            .set("so_reuseport", "1")
            .set("peer_id", id)
            .set("default_pool_size", "10")
            .set("max_client_conn", "200")
    };
    let mut old = shared("1").start();
    for (round, id) in ["2", "3", "4"].iter().enumerate() {
        let loads = loads(&old, "4");
        eventually("the load to begin", || (clients_of_bench(&old) > 8).then_some(()));
        let new = shared(id).start_beside(&old);
        if round == 1 {
            console(&old, "shutdown wait_for_clients");
        } else {
            old.signal("TERM");
            old.wait_log(&["got SIGTERM"]);
        }
        // The console of the one that ends is there as long as it is.
        assert!(console(&old, "show state").contains("active|yes"), "its console works");
        for load in loads {
            assert_nothing_failed(&tool::finish(load));
        }
        old.expect_exit();
        assert!(old.log().contains("client connections dropped, exiting"), "{}", old.log());
        assert_eq!(new.client().one("select 'at work'"), "at work");
        old = new;
    }
}

/// Who has connected before TERM is served, though its first words come later than the next
/// process: the kernel keeps back who is silent (tcp_defer_accept).
#[test]
fn who_is_silent_when_a_process_begins_to_end_is_served_all_the_same() {
    let [first, second] = two_on_one_port();
    // Some belong to each.
    let mut silent: Vec<Wire> = (0..16).map(|_| Wire::connect(first.port)).collect();
    first.signal("TERM");
    first.wait_log(&["got SIGTERM"]);
    thread::sleep(Duration::from_millis(700));
    for wire in &mut silent {
        wire.send(&wire::startup(&[("user", APP.name), ("database", "app")]));
        let first = wire.hear().expect("it is asked who it is");
        assert_eq!(first.kind, b'R');
    }
    drop(silent);
    first.expect_exit();
    assert_eq!(second.client().one("select 'at work'"), "at work");
}

fn clients_of_bench(pooler: &Pooler) -> usize {
    console(pooler, "show clients").lines().filter(|line| line.contains("|bench|")).count()
}

/// INT ends a process when its servers are released, whoever is still connected; its Unix socket
/// serves the console meanwhile.
#[test]
fn int_ends_one_of_two_processes_when_its_servers_are_released() {
    let [first, second] = two_on_one_port();
    let mut clients = clients_of_both(&[&first, &second]);
    for client in &mut clients {
        client.query("begin").expect("BEGIN");
    }
    first.signal("INT");
    first.wait_log(&["got SIGINT"]);
    let held = clients_of(&first);
    assert!(console(&first, "show state").contains("active|no"), "its console works");
    assert!(first.is_alive(), "it waits for transactions");
    // Whoever comes now finds the other one.
    let newcomers: Vec<Client> = (0..8).map(|_| second.client()).collect();
    assert_eq!(clients_of(&first), held);
    for client in &mut clients {
        assert_eq!(client.query("commit").expect("COMMIT").tags, ["COMMIT"]);
    }
    first.expect_exit();
    assert!(first.log().contains("server connections dropped, exiting"), "{}", first.log());
    for mut client in newcomers {
        assert_eq!(client.one("select 'at work'"), "at work");
    }
}

/// Those who stay connected after TERM can be sent away by the console, between two transactions.
#[test]
fn who_stays_after_term_can_be_sent_away() {
    let pooler = Setup::new().set("so_reuseport", "1").start();
    let (mut idle, mut working) = (pooler.client(), pooler.client());
    assert_eq!(idle.one("select 1"), "1");
    working.query("begin").expect("BEGIN");
    pooler.signal("TERM");
    pooler.wait_log(&["got SIGTERM"]);
    assert_eq!(idle.one("select 'served'"), "served");
    console(&pooler, "shutdown wait_for_servers");
    assert_eq!(working.one("select 'still here'"), "still here");
    assert!(pooler.is_alive(), "it waits for the transaction");
    working.query("commit").expect("COMMIT");
    pooler.expect_exit();
    assert_eq!(idle.query("select 1").expect_err("it has ended").code(), "57P01");
}

/// Clients, until each of the processes has some.
fn clients_of_both(poolers: &[&Pooler; 2]) -> Vec<Client> {
    let mut clients = Vec::new();
    eventually("each process to have clients", || {
        clients.push(poolers[0].client());
        poolers.iter().all(|pooler| clients_of(pooler) > 0).then_some(())
    });
    clients
}

/// Connections that stood in the queue of a process, not accepted by it when TERM came, are served
/// by it: the process is stopped while they come, and told to end before it can look at them.
#[test]
fn who_waits_to_be_accepted_when_term_comes_is_served() {
    for is_shared in ["0", "1"] {
        let setup = Setup::new().set("so_reuseport", is_shared).set("tcp_defer_accept", "0");
        let setup = setup.set("max_client_conn", "500").set("listen_backlog", "500");
        let pooler = setup.start();
        let mut early = pooler.client();
        pooler.signal("STOP");
        // More than are taken in a few turns, and fewer than the queue holds.
        let mut waiting: Vec<Wire> = (0..300).map(|_| pooler.connect()).collect();
        for wire in &mut waiting {
            wire.send(&wire::startup(&[("user", APP.name), ("database", "app")]));
        }
        pooler.signal("TERM");
        pooler.signal("CONT");
        for wire in &mut waiting {
            wire.hear_until_ready().expect("a welcome");
            wire.send(&wire::query("select 1"));
            wire.hear_until_ready().expect("an answer");
        }
        assert_eq!(early.one("select 'served'"), "served");
        drop((waiting, early));
        pooler.expect_exit();
        TcpStream::connect(("127.0.0.1", pooler.port)).expect_err("nobody listens any more");
    }
}

/// The numbers of processes are their own: a key of one names it, and no other.
#[test]
fn keys_name_the_process_that_gave_them() {
    let poolers = [1, 2].map(|id| Setup::new().set("peer_id", &id.to_string()).start());
    let mut seen = BTreeSet::new();
    for (pooler, number) in poolers.iter().zip([1, 2]) {
        for _ in 0..20 {
            let key = pooler.client().cancel_key;
            assert_eq!((key[0] < 128, &key[1..3], key[7] & 3), (true, &[number, 0][..], 3));
            assert!(seen.insert(key), "no key twice");
        }
    }
}

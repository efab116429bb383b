//! The page in a headless Chromium, under load: `make page`. The walk itself is `page/walk.py`;
//! this starts what it walks over, and does what it asks for. Its screenshots are left in
//! `target/page`, to be looked at.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread;
use std::time::Duration;

use support::client::Login;
use support::{Client, Pooler, SetAtEnd, Setup, host, runner};

/// Is shown as it is.
const HOSTILE: &str = "<script>window.harm=1</script>";

/// Queries of different lengths until the end; who is interrupted comes again.
fn work(port: &AtomicU16, is_over: &AtomicBool, which: u64) {
    let database = if which == 0 { HOSTILE } else { "app" };
    let login = Login { user: "app", password: "app", database, parameters: &[] };
    while !is_over.load(Ordering::Relaxed) {
        let port = port.load(Ordering::Relaxed);
        let is_there = TcpStream::connect(("127.0.0.1", port)).is_ok();
        let client = is_there.then(|| Client::attempt(port, &login).ok()).flatten();
        let Some(mut client) = client else {
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        let mut count = 0;
        while !is_over.load(Ordering::Relaxed) {
            count += 1;
            let sleep = (count * which) % 40;
            if client.query(&format!("select pg_sleep({sleep} / 1000.0)")).is_err() {
                break;
            }
        }
    }
}

#[test]
#[ignore = "needs Chromium: make page"]
fn an_operator_sees_what_is_so() {
    let folder = runner::target().join("page");
    fs::create_dir_all(&folder).expect("a folder");
    let port = host::free_port();
    let line = support::Postgres::shared().port;
    let setup = Setup::new()
        .database(&format!("\"{HOSTILE}\""), &format!("host=127.0.0.1 port={line} dbname=app"))
        .set("metrics_listen_addr", "127.0.0.1")
        .set("metrics_listen_port", &port.to_string())
        .set("default_pool_size", "4")
        .set("stats_period", "5");
    let mut pooler = Some(setup.clone().start());
    let walk = host::source().join("tests/page/walk.py");
    let mut child = Command::new("python3")
        .arg(walk)
        .arg(format!("http://127.0.0.1:{port}/"))
        .arg(&folder)
        .arg(HOSTILE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    let mut input = child.stdin.take().expect("a pipe");
    let output = BufReader::new(child.stdout.take().expect("a pipe"));
    let is_over = AtomicBool::new(false);
    let at = AtomicU16::new(pooler.as_ref().map_or(0, |pooler| pooler.port));
    thread::scope(|scope| {
        let (at, is_over) = (&at, &is_over);
        let _end = SetAtEnd(is_over);
        for which in 0..8 {
            scope.spawn(move || work(at, is_over, which));
        }
        for asked in output.lines().map_while(Result::ok) {
            if asked != "walked" {
                carry_out(&asked, &mut pooler, &setup, at);
                input.write_all(b"done\n").expect("it reads");
            }
        }
    });
    let status = child.wait().expect("it ends");
    assert!(status.success(), "the walk fails: see above, and {}", folder.display());
}

fn carry_out(asked: &str, pooler: &mut Option<Pooler>, setup: &Setup, port: &AtomicU16) {
    let running = pooler.as_ref().expect("a pooler");
    match asked {
        // Errors and events to be seen, and a file that differs.
        "settle" => {
            let nobody = Login { user: "nobody", password: "", database: "app", parameters: &[] };
            assert!(Client::attempt(running.port, &nobody).is_err());
            running.rewrite(|setup| setup.set("default_pool_size", "9"));
            // Until there is something to be seen in the plots.
            thread::sleep(Duration::from_secs(45));
        }
        "pause" => drop(running.console().query("PAUSE").expect("all are paused")),
        "resume" => drop(running.console().query("RESUME").expect("nobody is")),
        "stop" => running.signal("STOP"),
        "go on" => running.signal("CONT"),
        "restart" => {
            // Nobody comes meanwhile.
            port.store(0, Ordering::Relaxed);
            *pooler = None;
            let started = setup.clone().start();
            port.store(started.port, Ordering::Relaxed);
            *pooler = Some(started);
        }
        other => panic!("what is {other:?}?"),
    }
}

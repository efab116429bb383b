//! `log_format = json`: every line of a run is an object, whatever names and queries hold, and a
//! program finds in it what it wants to know apart.

mod support;

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use support::client::Login;
use support::{Client, Pooler, Setup, eventually, runner};

/// Reads lines from its input and prints of each one member, or `-`; fails at the first line that
/// is no object with the members that all have.
const READER: &str = r#"
import json, sys
for line in sys.stdin:
    seen = json.loads(line)
    assert isinstance(seen, dict) and line.endswith("\n"), line
    pairs = json.loads(line, object_pairs_hook=list)
    assert len(pairs) == len(seen), line
    for key, kind in ("time", str), ("level", str), ("pid", int), ("message", str):
        assert isinstance(seen[key], kind), line
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in line.rstrip("\n")), line
    print(json.dumps([seen.get(key) for key in sys.argv[1:]]))
"#;

/// What Python reads of each line, for these members. None when there is no Python.
fn read(log: &str, members: &[&str]) -> Option<Vec<String>> {
    let mut command = Command::new("python3");
    command.args(["-c", READER]).args(members);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        runner::skip_or_fail("reading a log of JSON", "python3");
        return None;
    };
    let mut input = child.stdin.take().expect("a pipe");
    let text = log.to_owned();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    // Who fails early reads no more; its status tells.
    let _ = writer.join().expect("no panic");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("text");
    Some(lines.lines().map(str::to_owned).collect())
}

/// Names that try to end a line or an object, or to steer a terminal.
const HOSTILE: [&str; 3] = ["a\",\"pid\":0,\"x\":\"", "two\nlines\\", "\u{1b}[2J</script>\u{85}"];

/// A run in which much goes wrong.
fn make_noise(pooler: &Pooler) {
    let mut client = pooler.client();
    client.query("select 1").expect("a row");
    client.query("select 'a\"b\\c\n'; select pg_sleep(0.05)").expect("rows");
    client.query("select no_such_column").expect_err("an error");
    client.terminate();
    for name in HOSTILE {
        let login = Login { user: name, password: "x", database: name, parameters: &[] };
        let refused = Client::attempt(pooler.port, &login).err().expect("no such database");
        assert!(!refused.message().is_empty());
    }
    pooler.connect().send(b"\0\0\0\x08nonsense");
    let mut console = pooler.console();
    console.query("SHOW NONSENSE").expect_err("an error");
    console.query("SET log_stats = 1").expect("done");
}

#[test]
fn every_line_is_an_object_and_tells_whose_it_is() {
    let pooler = Setup::new()
        .set("log_format", "json")
        .set("verbose", "2")
        .set("stats_period", "1")
        .set("log_min_duration", "20")
        .set("log_query_text", "1")
        .set("log_stats_percentiles", "1")
        .set("logfile", "{dir}/own.log")
        .database("broken", "host=127.0.0.1 port=1")
        .start();
    make_noise(&pooler);
    pooler.wait_log(&["stats: "]);
    pooler.wait_log(&["slow query"]);
    let log = pooler.log();
    let file = fs::read_to_string(pooler.folder.join("own.log")).expect("the file");
    assert!(file.starts_with('{') && log.contains(&file[..file.len() / 2]), "both have all of it");
    let members = ["level", "database", "user", "address", "reason", "age", "kind", "message"];
    let Some(lines) = read(&log, &members) else { return };
    let has = |parts: &[&str]| {
        let found = lines.iter().any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(found, "{parts:?} in {}", lines.join("\n"));
    };
    has(&[
        "[\"LOG\", \"app\", \"app\", \"127.0.0.1:",
        "\"client close request\", 0, null, \"closing",
    ]);
    has(&["\"query\", \"slow query: ", "select 'a\\\"b\\\\c "]);
    has(&["[\"NOISE\", \"app\", \"app\", \"127.0.0.1:"]);
    has(&["[\"LOG\", null, null, null, null, null, null, \"stats: "]);
    has(&["a\\\",\\\"pid\\\":0,\\\"x\\\":\\\"", "no such user"]);
    has(&["two\\nlines\\\\"]);
    let numbers = read(&log, &["queries", "query_p99_us", "duration_us", "server_pid"]);
    let numbers = numbers.expect("there was a Python before");
    assert!(numbers.iter().any(|line| line.ends_with("null, null]") && !line.contains("[null")));
    assert!(
        numbers.iter().any(|line| line.starts_with("[null, null, ") && !line.ends_with("null]"))
    );
}

#[test]
fn a_reload_changes_the_form_and_the_plain_one_is_as_ever() {
    let pooler = Setup::new().start();
    let is_plain = |line: &str| line.contains(" UTC [") || line.starts_with('\t');
    let change = |format: &str, found: &str| {
        pooler.rewrite(|setup| setup.set("log_format", format));
        pooler.signal("HUP");
        pooler.wait_log(&[found]);
    };
    pooler.client().query("select 1").expect("a row");
    change("json", "setting log_format");
    pooler.client().query("select 2").expect("a row");
    pooler.wait_log(&["\"message\":\"login attempt: db=app"]);
    let log = pooler.log();
    let from = log.find("\n{").expect("the first object") + 1;
    assert!(log[..from].lines().all(is_plain), "{log}");
    let objects = &log[from..];
    if let Some(lines) = read(objects, &["message"]) {
        assert_eq!(lines.len(), objects.lines().count());
    }
    let before = log.len();
    pooler.console().query("SET log_format = 'plain'").expect("done");
    let rest = eventually("a plain line again", || {
        pooler.client();
        let log = pooler.log();
        let at = log[before..].find("UTC [").map(|at| before + at)?;
        Some(log[at..].to_owned())
    });
    assert!(rest.lines().skip(1).all(is_plain), "{rest}");
    // A word that is none leaves all as it was.
    change("yaml", "\"yaml\"");
    assert!(pooler.log().lines().last().is_some_and(is_plain));
}

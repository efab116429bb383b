//! /metrics beside those who read it: a real Prometheus scrapes it, its own tool has nothing to say
//! of it, and it tells the values that pgbouncer_exporter works out of the console's tables.

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use support::client::Answer;
use support::{Pooler, Setup, eventually, host, runner};

/// What the exporter asks, and what it makes of it.
const QUERIES: &str = include_str!("reference/exporter-queries.tsv");

/// A pooler that is watched by TCP.
struct Watched {
    pooler: Pooler,
    port: u16,
}

impl Watched {
    fn new(setup: Setup) -> Watched {
        let port = host::free_port();
        let setup = setup.set("metrics_listen_addr", "127.0.0.1");
        let pooler = setup.set("metrics_listen_port", &port.to_string()).start();
        Watched { pooler, port }
    }

    fn metrics(&self, accept: &str) -> String {
        get(self.port, "/metrics", accept).expect("it answers")
    }
}

/// The body of an answer, if it is a good one.
fn get(port: u16, path: &str, accept: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
    let request = format!("GET {path} HTTP/1.0\r\nAccept: {accept}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    head.split('\r').next()?.contains(" 200 ").then(|| body.to_owned())
}

/// Names and labels with their values.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut found = BTreeMap::new();
    for (series, value) in lines.map(|line| line.rsplit_once(' ').expect("a value")) {
        let before = found.insert(series.to_owned(), value.parse().expect("a number"));
        assert_eq!(before, None, "{series} comes twice");
    }
    found
}

/// A pooler at rest that much has happened to.
fn used() -> Watched {
    let setup = Setup::new()
        .set("max_prepared_statements", "10")
        .set("max_client_conn", "77")
        .set("max_user_connections", "9")
        .database("\"odd \"\"name\"", "host=127.0.0.1 port=1 pool_size=3 reserve_pool=2");
    let watched = Watched::new(setup);
    let mut client = watched.pooler.client();
    for sql in ["select 1", "begin", "select 2", "commit", "select no_such_column"] {
        let _ = client.query(sql);
    }
    watched.pooler.console().query("DISABLE app").expect("done");
    watched.pooler.console().query("ENABLE app").expect("done");
    let _ = client.query("select 3");
    // It stays until the pooler ends.
    std::mem::forget(client);
    watched
}

#[test]
fn its_values_are_those_that_the_exporter_works_out_at_the_same_moment() {
    let watched = used();
    let mut console = watched.pooler.console();
    let mut shown: BTreeMap<&str, Answer> = BTreeMap::new();
    let lines = || QUERIES.lines().filter(|line| !line.starts_with('#'));
    for line in lines() {
        let table = line.split('\t').next().expect("a table");
        let ask = |_: &&str| console.query(&format!("SHOW {table}")).expect("rows");
        shown.entry(table).or_insert_with_key(ask);
    }
    // The console stays, so that as many clients are there.
    let found = samples(&watched.metrics("*/*"));
    let mut compared = 0;
    for line in lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [table, column, name, divisor, labels] = fields[..] else { panic!("{line}") };
        let divisor: f64 = divisor.parse().expect("a number");
        for (row_labels, value) in rows(&shown[table], table, column, labels) {
            // Each question to the console counts there.
            if row_labels.contains("database=\"pgbouncer\"") && table == "STATS_TOTALS" {
                continue;
            }
            let series = format!("pgbouncer_{name}{row_labels}");
            let ours = found.get(&series).unwrap_or_else(|| panic!("{series} is missing"));
            assert!((ours - value / divisor).abs() < 1e-9, "{series} is {ours}, not {value}");
            compared += 1;
        }
    }
    assert!(compared > 60, "{compared}");
}

/// The labels and the value that a column gives in each row.
fn rows(answer: &Answer, table: &str, column: &str, labels: &str) -> Vec<(String, f64)> {
    let place = |name: &str| {
        let found = answer.columns.iter().position(|column| column == name);
        found.unwrap_or_else(|| panic!("SHOW {table} has no {name}"))
    };
    let text = |row: &Vec<Option<String>>, at: usize| row[at].clone().unwrap_or_default();
    let number = |text: String| text.parse().expect("a number");
    if labels.is_empty() {
        // Names in the first column, values in the second.
        let row = answer.rows.iter().find(|row| row[0].as_deref() == Some(column));
        return vec![(String::new(), number(text(row.expect(column), 1)))];
    }
    let of_row = |row: &Vec<Option<String>>| {
        let pairs = labels.split(',').map(|label| {
            let value = text(row, place(label)).replace('\\', "\\\\").replace('"', "\\\"");
            format!("{label}=\"{value}\"")
        });
        let pairs: Vec<String> = pairs.collect();
        (format!("{{{}}}", pairs.join(",")), number(text(row, place(column))))
    };
    answer.rows.iter().map(of_row).collect()
}

#[test]
fn promtool_has_nothing_to_say_of_it() {
    let watched = used();
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.stdout(Stdio::piped()).spawn() else {
        return runner::skip_or_fail("a check by promtool", "prometheus");
    };
    let text = watched.metrics("*/*");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// A Prometheus with a folder of its own. It ends with this.
struct Prometheus {
    child: Child,
    port: u16,
}

impl Prometheus {
    fn start(target: u16) -> Option<Prometheus> {
        let (folder, port) = (host::new_folder("prometheus"), host::free_port());
        let configuration = format!(
            "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\nscrape_configs:\n  \
             - job_name: pooler\n    static_configs:\n      - targets: ['127.0.0.1:{target}']\n"
        );
        host::write_file(&folder.join("prometheus.yml"), configuration);
        let log = File::create(folder.join("log")).expect("a file");
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log);
        host::drop_privileges(&mut command);
        fs::create_dir(folder.join("data")).expect("a folder");
        host::give_away(&folder.join("data"));
        match command.spawn() {
            Ok(child) => Some(Prometheus { child, port }),
            Err(_) => {
                runner::skip_or_fail("a scrape by Prometheus", "prometheus");
                None
            }
        }
    }

    /// What it has stored of a series last, if it has.
    fn value(&self, series: &str) -> Option<f64> {
        let mut coded = String::new();
        for byte in series.bytes() {
            coded += &format!("%{byte:02x}");
        }
        // It may not listen yet, or not be ready.
        TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let answer = get(self.port, &format!("/api/v1/query?query={coded}"), "*/*")?;
        let (_, value) = answer.split_once("\"value\":[")?;
        let (_, value) = value.split_once(",\"")?;
        value.split('"').next()?.parse().ok()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // What has ended already needs no end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_real_prometheus_scrapes_and_stores_what_has_happened() {
    let watched = used();
    let Some(prometheus) = Prometheus::start(watched.port) else { return };
    eventually("the first scrape", || {
        prometheus.value("up{job=\"pooler\"}").filter(|up| *up > 0.0)
    });
    let stored = |series: &str| {
        let value = prometheus.value(series);
        value.unwrap_or_else(|| panic!("{series} is not stored"))
    };
    // It asks for OpenMetrics, of which it takes all or nothing.
    let mut compared = 0;
    for (series, value) in samples(&watched.metrics("*/*")) {
        let is_at_rest = series.contains("database=\"app\"") || series.contains("odd");
        if is_at_rest && !series.contains("_age") {
            assert!((stored(&series) - value).abs() < 1e-9, "{series}: {value}");
            compared += 1;
        }
    }
    assert!(compared > 100, "{compared}");
    assert_eq!(
        stored("histogram_quantile(1, pgbouncer_query_duration_seconds_bucket) > bool 0"),
        1.0
    );
    let mut client = watched.pooler.client();
    let before = stored("pgbouncer_stats_queries_pooled_total{database=\"app\"}");
    client.query("select 4").expect("a row");
    eventually("the next scrape", || {
        let now = stored("pgbouncer_stats_queries_pooled_total{database=\"app\"}");
        (now == before + 1.0).then_some(())
    });
}

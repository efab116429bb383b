//! Configurations as people publish them: what docker images, operators, roles and modules write,
//! and what their readers get wrong. Each file of `tests/published` holds one, and what PgBouncer
//! 1.26.1 makes of it: whether it starts, which lines it complains of, what the console shows, and
//! who gets in.
//!
//! `PGBOUNCER_BIN=.../pgbouncer cargo test --test published` tries the reference itself, where it
//! can be had; with `PGBOUNCER_RECORD=1` it writes down what it does.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use support::client::Login;
use support::pooler::ADMIN;
use support::postgres::{APP, MD5, PLAIN, Role, TRUSTED};
use support::{Client, Failure, Pooler, Postgres, Setup, host};

/// Begins a file of a configuration.
const HEAD: &str = "== ";

/// What is expected stands behind all files.
const EXPECTED: &str = "== expected\n";

/// What SHOW CONFIG of the reference lists: name, default, changeable.
const SETTINGS: &str = include_str!("reference/settings.tsv");

/// Where each role goes: what most cases name, the console, and what nobody has named.
const DATABASES: [&str; 5] = ["app", "bench", "db1", "pgbouncer", "nowhere"];

const STRANGER: Role = Role { name: "stranger", password: "guessed", method: "" };

#[test]
fn what_people_publish_means_what_it_means_to_pgbouncer() {
    let paths = cases();
    let different: Vec<String> = thread::scope(|scope| {
        let tried: Vec<_> = paths.iter().map(|path| scope.spawn(|| try_case(path))).collect();
        tried.into_iter().filter_map(|one| one.join().expect("a case was tried")).collect()
    });
    assert!(different.is_empty(), "not as PgBouncer does:\n{}", different.concat());
}

/// What is different, if anything is.
fn try_case(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).expect("a case is readable");
    let (files, expected) = text.split_once(EXPECTED).unwrap_or((&text, ""));
    let found = outcome(files);
    if std::env::var_os("PGBOUNCER_RECORD").is_some() {
        fs::write(path, format!("{files}{EXPECTED}{found}")).expect("written");
        return None;
    }
    let difference = difference(expected, &found);
    let name = path.file_name().expect("a file").display();
    (!difference.is_empty()).then(|| format!("{name}:\n{difference}"))
}

fn cases() -> Vec<PathBuf> {
    let folder = host::source().join("tests/published");
    let entries = fs::read_dir(folder).expect("the cases are part of the project");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    assert!(paths.len() > 10, "the cases are found");
    paths
}

/// Lines that only one of two texts has. Of the ini we may say more than the reference does, which
/// ends at its first mistake.
fn difference(expected: &str, found: &str) -> String {
    let only = |sign: char, one: &str, other: &str| {
        let others: BTreeSet<&str> = other.lines().collect();
        let lines = one.lines().filter(|line| !others.contains(line));
        let lines = lines.filter(|line| sign == '-' || !line.starts_with("told pgbouncer.ini:"));
        lines.fold(String::new(), |text, line| text + &format!("{sign} {line}\n"))
    };
    only('-', expected, found) + &only('+', found, expected)
}

/// What becomes of a configuration. Paths and ports are those of the case again.
fn outcome(files: &str) -> String {
    let postgres = Postgres::shared().port.to_string();
    let mut setup = Setup::empty();
    let files = format!("\n{}", files.replace("{postgres}", &postgres));
    for part in files.split(&format!("\n{HEAD}")).skip(1) {
        let (name, content) = part.split_once('\n').expect("a name and lines");
        setup = match name {
            "pgbouncer.ini" => setup.ini(&format!("{content}\n")),
            name => setup.file(name, &format!("{content}\n")),
        };
    }
    match setup.try_start() {
        Ok(pooler) => {
            let said = format!("starts\n{}{}", places(&pooler.log()), seen(&pooler));
            said.replace(&pooler.folder.display().to_string(), "{dir}")
                .replace(&pooler.port.to_string(), "{port}")
                .replace(&postgres, "{postgres}")
                .replace(
                    &format!("config user = {}\n", host::server_user()),
                    "config user = {user}\n",
                )
        }
        Err((status, log)) => {
            format!("ends with {:?}\n{}", status.code().unwrap_or(-1), places(&log))
        }
    }
}

/// Files and lines that warnings and errors name, each once.
fn places(log: &str) -> String {
    let told = log.lines().filter(|line| {
        ["WARNING", "ERROR", "FATAL"].iter().any(|level| line.contains(&format!(" {level} ")))
    });
    let places: BTreeSet<String> = told.filter_map(place).collect();
    places.iter().fold(String::new(), |text, place| text + &format!("told {place}\n"))
}

/// The place that a line names: `FILE:NUMBER`, `FILE: line NUMBER` or, in the words of the
/// reference, `hba line NUMBER`.
fn place(line: &str) -> Option<String> {
    const FILES: [(&str, &str); 5] = [
        ("pgbouncer.ini:", "pgbouncer.ini"),
        ("pg_hba.conf: line ", "pg_hba.conf"),
        ("pg_ident.conf: line ", "pg_ident.conf"),
        ("hba config line ", "pg_hba.conf"),
        ("ident config line ", "pg_ident.conf"),
    ];
    FILES.iter().find_map(|(before, name)| {
        let (_, rest) = line.split_once(before)?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        (digits > 0).then(|| format!("{name}:{}", &rest[..digits]))
    })
}

/// What the console shows, and who gets in.
fn seen(pooler: &Pooler) -> String {
    let mut text = match attempt(pooler, &ADMIN, "pgbouncer") {
        Ok(mut console) => shown(&mut console),
        Err(why) => format!("no console: {why}\n"),
    };
    for role in [APP, MD5, PLAIN, TRUSTED, ADMIN, STRANGER] {
        for database in DATABASES {
            let end = attempt(pooler, &role, database).map_or("out", |_| "in");
            text += &format!("{} to {database}: {end}\n", role.name);
        }
    }
    text
}

fn attempt(pooler: &Pooler, role: &Role, database: &str) -> Result<Client, String> {
    let login = Login { user: role.name, password: role.password, database, parameters: &[] };
    Client::attempt(pooler.port, &login).map_err(|failure| match failure {
        Failure::Error { code, message, .. } => format!("{code} {message}"),
        Failure::Gone(gone) => format!("{gone:?}"),
    })
}

/// Settings that are not at their defaults, databases and users.
fn shown(console: &mut Client) -> String {
    let mut text = String::new();
    for row in rows(console, "SHOW CONFIG") {
        let is_known = SETTINGS.lines().any(|line| line.split('\t').next() == Some(&row[0]));
        if is_known && row[1] != row[2] {
            text += &format!("config {} = {}\n", row[0], row[1]);
        }
    }
    for what in ["databases", "users"] {
        for row in rows(console, &format!("SHOW {what}")) {
            text += &format!("{what} {}\n", row.join("|"));
        }
    }
    text
}

fn rows(console: &mut Client, show: &str) -> Vec<Vec<String>> {
    let answer = console.query(show).unwrap_or_else(|error| panic!("{show}: {error:?}"));
    let words = |row: Vec<Option<String>>| row.into_iter().map(Option::unwrap_or_default).collect();
    answer.rows.into_iter().map(words).collect()
}

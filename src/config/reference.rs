//! Texts for people that are made from the tables: the sample file, and the entries of the manual
//! page.
//!
//! Neither is written by hand, so that a new row cannot be forgotten in them.

use super::database::DatabaseLine;
use super::peer::PeerLine;
use super::settings::Settings;
use super::table::{PER_DATABASE, PER_USER, SettingRow};
use super::user::UserLine;
use super::value::Kind;

/// The lines of the sample file that are in force; every other setting stands there as a comment.
const ACTIVE: [(&str, &str); 7] = [
    ("auth_file", "/etc/pgbouncer/userlist.txt"),
    ("auth_type", "md5"),
    ("listen_addr", "localhost"),
    ("listen_port", "6432"),
    ("logfile", "/var/log/postgresql/pgbouncer.log"),
    ("pidfile", "/var/run/postgresql/pgbouncer.pid"),
    ("unix_socket_dir", "/var/run/postgresql"),
];

/// What introduces each section of the sample file.
const HEAD: &str = "\
;; Configuration of pgbouncer. A line that begins with ; or # is a comment; settings stand here as
;; comments with their defaults. `%include FILE` reads another file in its place.
";
const DATABASES: &str = "\
[databases]
;; NAME = KEY=VALUE ...   where clients that ask for database NAME are sent.
;; A value with spaces stands in single quotes; a name with odd characters in double quotes.
;; The name * stands for every database without a line of its own.
;example = host=127.0.0.1 port=5432
;other = host=db1,db2 dbname=example pool_size=5 connect_query='set work_mem = \"64MB\"'
;* = host=/var/run/postgresql
";
const USERS: &str = "\
[users]
;; NAME = KEY=VALUE ...   what holds for one user only.
;example = pool_mode=transaction max_user_connections=10
";
/// The section itself is a comment too, for PgBouncer before 1.19, which had no peers.
const PEERS: &str = "\
;[peers]
;; ID = KEY=VALUE ...   other processes behind one port, to pass cancel requests on to.
;1 = host=/var/run/pgbouncer-1
";

/// The commented sample file: every section, every key, every setting.
pub fn sample_ini() -> String {
    let mut text = HEAD.to_owned();
    let sections = [
        (DATABASES, DatabaseLine::rows(), DatabaseLine::docs()),
        (USERS, UserLine::rows(), UserLine::docs()),
        (PEERS, PeerLine::rows(), PeerLine::docs()),
    ];
    for (head, rows, docs) in sections {
        text += &format!("\n{head};; Keys:\n");
        for (row, doc) in rows.iter().zip(docs) {
            text += &format!(";;   {} ({})\n", row.name, facts(row));
            for line in paragraph(doc) {
                text += &format!(";;       {line}\n");
            }
        }
    }
    text += "\n[pgbouncer]\n";
    for (row, doc) in Settings::rows().iter().zip(Settings::docs()) {
        text += "\n";
        for line in paragraph(doc) {
            text += &format!(";; {line}\n");
        }
        text += &format!(";; ({})\n{}\n", facts(row), setting(row));
    }
    text
}

/// The line that sets `row`, as a comment when it is not in force.
fn setting(row: &SettingRow) -> String {
    let line = match ACTIVE.iter().find(|(name, _)| *name == row.name) {
        Some((name, value)) => format!("{name} = {value}"),
        None => format!(";{} = {}", row.name, default(row)),
    };
    line.trim_end().to_owned()
}

/// What a setting is when nothing sets it. The default of `verbose` is shown as NULL, and is 0.
fn default(row: &SettingRow) -> &'static str {
    match (row.default, row.kind) {
        (Some(default), _) => default,
        (None, Kind::Integer { .. }) => "0",
        (None, _) => "",
    }
}

/// The entries of the manual page in roff, a section each: settings, databases, users, peers.
pub fn manual() -> [(&'static str, String); 4] {
    [
        ("pgbouncer", entries(Settings::rows(), Settings::docs())),
        ("databases", entries(DatabaseLine::rows(), DatabaseLine::docs())),
        ("users", entries(UserLine::rows(), UserLine::docs())),
        ("peers", entries(PeerLine::rows(), PeerLine::docs())),
    ]
}

fn entries(rows: &[SettingRow], docs: &[&[&str]]) -> String {
    let mut text = String::new();
    for (row, doc) in rows.iter().zip(docs) {
        text += &format!(".TP\n\\fB{}\\fR ({})\n", roff(row.name), roff(&facts(row)));
        for line in *doc {
            text += &format!("{}\n", bold(&roff(line.trim())));
        }
    }
    text
}

/// Kind, default, and where and when it can be set.
fn facts(row: &SettingRow) -> String {
    let mut facts = vec![row.kind.word().to_owned()];
    if let Kind::Choice(words) = row.kind {
        facts = vec![words.join(", ")];
    }
    match default(row) {
        "" => facts.push("not set".to_owned()),
        default => facts.push(format!("default {default}")),
    }
    if row.flags.has(PER_DATABASE) {
        facts.push("also per database".to_owned());
    }
    if row.flags.has(PER_USER) {
        facts.push("also per user".to_owned());
    }
    if !row.is_changeable() {
        facts.push("read at start only".to_owned());
    }
    if !row.is_built() {
        facts.push("without effect".to_owned());
    }
    facts.join("; ")
}

/// The doc of a row without backquotes.
fn paragraph(doc: &[&str]) -> impl Iterator<Item = String> {
    doc.iter().map(|line| line.trim().replace('`', ""))
}

/// Text that roff prints as it stands.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

/// Turns words in backquotes bold.
fn bold(text: &str) -> String {
    let mut is_bold = false;
    let mut out = String::new();
    for part in text.split('`') {
        if !out.is_empty() || is_bold {
            out += if is_bold { "\\fB" } else { "\\fR" };
        }
        out += part;
        is_bold = !is_bold;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::load::load_text;
    use super::*;

    #[test]
    fn the_sample_file_loads_and_names_every_setting_and_key() {
        let text = sample_ini();
        let config = load_text("sample.ini", &text).expect("the sample is a good file");
        assert_eq!(config.warnings, []);
        for row in Settings::rows() {
            let line = format!("\n{}\n", setting(row));
            assert!(text.contains(&line), "{line}");
        }
        for row in [DatabaseLine::rows(), UserLine::rows(), PeerLine::rows()].concat() {
            assert!(text.contains(&format!("\n;;   {} (", row.name)), "{}", row.name);
        }
    }

    #[test]
    fn the_sample_file_with_every_setting_in_force_is_the_defaults() {
        let lines = sample_ini();
        let lines = lines.lines().filter_map(|line| {
            let line = line.strip_prefix(';').unwrap_or(line);
            let (name, value) = line.split_once('=')?;
            Some((name.trim(), value.trim()))
        });
        let mut settings = Settings::default();
        let mut count = 0;
        for (name, value) in lines.filter(|(name, _)| Settings::row(name).is_some()) {
            settings.set(name, value).unwrap_or_else(|error| panic!("{name}: {error}"));
            count += 1;
        }
        assert_eq!(count, Settings::rows().len());
        for change in Settings::default().changes(&settings) {
            let is_null = change.row.default.is_none() && change.new.as_deref() == Some("");
            let is_active = ACTIVE.iter().any(|(name, _)| *name == change.row.name);
            assert!(is_null || is_active, "{change}");
        }
    }

    #[test]
    fn the_manual_has_an_entry_for_every_row_and_no_line_that_roff_takes_for_its_own() {
        for (section, text) in manual() {
            for line in text.lines() {
                assert!(line == ".TP" || !line.starts_with(['.', '\'']), "{section}: {line}");
                assert_eq!(line.matches("\\fB").count(), line.matches("\\fR").count(), "{line}");
            }
        }
        let entries: usize = manual().iter().map(|(_, text)| text.matches(".TP\n").count()).sum();
        let rows = Settings::rows().len() + DatabaseLine::rows().len();
        assert_eq!(entries, rows + UserLine::rows().len() + PeerLine::rows().len());
    }
}

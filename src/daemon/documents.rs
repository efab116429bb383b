//! Compares the documents in `doc/` and `etc/` with the tables that they come from: the settings
//! and keys of the manual, and the sample file. `make documents` writes these anew. Also checks
//! that manual and README name only things that exist.

use std::fs;
use std::path::PathBuf;

use super::args;
use crate::config;
use crate::console;
use crate::pool::login::account::VERSION;

/// Set by `make documents`: write a file that differs instead of failing.
const WRITE: &str = "PGBOUNCER_WRITE_DOCUMENTS";

#[test]
fn the_versions_are_those_of_the_program() {
    let [stands_for, own] = [VERSION, env!("CARGO_PKG_VERSION")];
    let package = format!("pgbouncer-rs ({stands_for}+rs{own}-");
    assert!(read("debian/changelog").starts_with(&package), "{package}");
    let changes = read("CHANGELOG.md");
    let latest = changes.lines().find_map(|line| line.strip_prefix("## "));
    assert_eq!(latest, Some(own));
    for page in ["doc/pgbouncer.1", "doc/pgbouncer.ini.5"] {
        assert!(read(page).contains(&format!("\"PgBouncer {stands_for} compatible\"")), "{page}");
    }
}

#[test]
fn the_manual_of_the_configuration_says_what_the_tables_say() {
    let mut text = read("doc/pgbouncer.ini.5");
    for (section, entries) in config::manual() {
        let begin = format!(".\\\" begin {section}\n");
        let end = format!(".\\\" end {section}\n");
        let from = text.find(&begin).expect("a begin of the section") + begin.len();
        let to = text.find(&end).expect("an end of the section");
        text.replace_range(from..to, &entries);
    }
    hold("doc/pgbouncer.ini.5", &text);
}

#[test]
fn the_sample_file_says_what_the_tables_say() {
    hold("etc/pgbouncer.ini", &config::sample_ini());
}

#[test]
fn the_files_that_are_shipped_load_without_a_warning() {
    for file in ["etc/pgbouncer.ini", "etc/pgbouncer-minimal.ini"] {
        let config = config::load_text(file, &read(file)).expect("a good file");
        assert_eq!(config.warnings, [], "{file}");
    }
    let userlist = read("etc/userlist.txt");
    let userlist = crate::auth::userlist::parse(userlist.as_bytes());
    assert!(userlist.problems.is_empty() && userlist.entries.is_empty());
}

#[test]
fn the_examples_of_the_manual_load_without_a_warning() {
    for page in ["doc/pgbouncer.1", "doc/pgbouncer.ini.5"] {
        let examples = ini_examples(&read(page));
        assert!(!examples.is_empty(), "{page}");
        for example in examples {
            let with_settings = format!("{example}\n[pgbouncer]\n");
            let whole = if example.contains("[pgbouncer]") { &example } else { &with_settings };
            let config =
                config::load_text(page, whole).unwrap_or_else(|e| panic!("{e:?}: {whole}"));
            assert_eq!(config.warnings, [], "{whole}");
        }
    }
}

#[test]
fn the_manual_names_every_option_of_the_command_line() {
    let manual = read("doc/pgbouncer.1").replace("\\-", "-");
    let options = args::help("pgbouncer");
    let options = options.lines().filter_map(|line| line.trim_start().strip_prefix('-'));
    for line in options {
        for option in line.split_whitespace().filter(|word| word.starts_with('-')) {
            let name = option.split('=').next().unwrap_or(option).trim_end_matches(',');
            assert!(manual.contains(name), "{name}");
        }
    }
}

#[test]
fn the_manual_names_every_command_of_the_console() {
    let manual = read("doc/pgbouncer.1");
    // An entry names one command, or several separated by commas.
    let entries = manual.lines().filter_map(|line| line.strip_prefix(".B")?.split_once(' '));
    let entries = entries.map(|(_, words)| words.replace('"', ""));
    let named: Vec<String> = entries
        .flat_map(|words| words.split(',').map(|w| format!("{} ", w.trim())).collect::<Vec<_>>())
        .collect();
    for command in console::commands() {
        let command = format!("{command} ");
        assert!(named.iter().any(|words| words.starts_with(&command)), "{command}");
    }
}

#[test]
fn the_manual_names_every_table_of_the_console_and_every_column() {
    let manual = read("doc/pgbouncer.1");
    let columns = read("tests/reference/console-columns.tsv");
    let rows = columns.lines().filter(|line| line.starts_with("SHOW "));
    for row in rows {
        let mut fields = row.split('\t');
        let table = fields.next().unwrap_or_default();
        let column = fields.next().unwrap_or_default();
        assert!(manual.contains(table), "{table}");
        let names = |line: &str| line.starts_with('.') && line.split(' ').any(|w| w == column);
        assert!(manual.lines().any(names), "{table}: {column}");
    }
    assert!(columns.lines().count() > 100, "{}", columns.lines().count());
}

#[test]
fn the_readme_names_every_file_of_tests() {
    let readme = read("README.md");
    let files = fs::read_dir(path("tests")).expect("the folder of tests");
    let names = files.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned());
    for name in names.filter(|name| name.ends_with(".rs")) {
        assert!(readme.contains(&format!("`tests/{name}`")), "{name}");
    }
}

/// The displayed examples of a page that contain a section of the configuration.
fn ini_examples(page: &str) -> Vec<String> {
    let displays = page.split("\n.nf\n").skip(1);
    let displays = displays.map(|rest| rest.split("\n.fi\n").next().unwrap_or(rest));
    let plain = displays.map(|text| text.replace("\\-", "-").replace("\\(aq", "'"));
    plain.filter(|text| text.contains("[databases]")).collect()
}

/// Fails if the file differs from what it should be, or writes it.
fn hold(name: &str, expected: &str) {
    if read(name) == expected {
        return;
    }
    assert!(std::env::var_os(WRITE).is_some(), "{name} is not up to date: run `make documents`");
    fs::write(path(name), expected).expect("a document that can be written");
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_default()
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

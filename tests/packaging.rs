//! What the Debian package puts on a machine must not harm its neighbours: the service shares the
//! user postgres, and the directories of that user, with PostgreSQL. `make test-deb` boots the
//! package; these tests read its files, so that a mistake is told before anything is built.

use std::path::{Path, PathBuf};

/// Directives of systemd by which a unit of user postgres reaches what belongs to PostgreSQL:
/// beginnings of lines, and what they would do.
const HARMFUL: &[(&str, &str)] = &[
    ("Conflicts=postgresql", "stops PostgreSQL"),
    ("DynamicUser=", "implies RemoveIPC="),
    ("PropagatesStopTo=", "may stop PostgreSQL"),
    ("RemoveIPC=", "removes PostgreSQL's shared memory when the pooler stops"),
    ("RuntimeDirectory=postgresql", "removes PostgreSQL's sockets when the pooler stops"),
];

#[test]
fn no_unit_and_no_example_reaches_what_belongs_to_postgresql() {
    let files = units();
    assert!(files.len() >= 4, "three units and a drop-in are known: {files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a file that was just listed is readable");
        assert_eq!(harm(&text), Vec::<String>::new(), "{}", file.display());
    }
}

#[test]
fn each_harmful_directive_is_found_and_its_mention_in_a_comment_is_not() {
    for (directive, why) in HARMFUL {
        let text = format!("[Service]\n# {directive}yes is harmful.\n  {directive}yes\n");
        assert_eq!(harm(&text), [format!("line 3: {directive} {why}")]);
    }
}

/// What a unit or drop-in would do to PostgreSQL.
fn harm(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        // systemd takes blanks around the equals sign.
        let line: String = line.split_whitespace().collect();
        for (directive, why) in HARMFUL {
            if line.starts_with(directive) {
                found.push(format!("line {number}: {directive} {why}"));
            }
        }
    }
    found
}

/// Every unit and drop-in below debian/ and etc/.
fn units() -> Vec<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![top.join("debian"), top.join("etc")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder is part of the project") {
            let path = entry.expect("the folder is readable").path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            if path.is_dir() {
                // A build of the package leaves its own there.
                if !path.ends_with("debian/pgbouncer") && !path.ends_with("debian/cargo-target") {
                    folders.push(path);
                }
            } else if matches!(extension, Some("service" | "socket" | "conf")) {
                found.push(path);
            }
        }
    }
    found
}

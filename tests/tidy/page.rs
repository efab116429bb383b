//! ARCHITECTURE.md beside the tree: its floors and rooms are those of the tables, it names each
//! file of the core in its room, and the names in it are names of the code.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use crate::source::{Source, files};

const PAGE: &str = "ARCHITECTURE.md";

/// The longest a line of the page may be, in characters; rows of tables are not wrapped.
const WIDEST: usize = 150;

/// Where names may come from, besides `src` and `tests`.
const NAMED_TOO: &[&str] = &["build", "build.rs", "bench", "doc", "Cargo.toml", "Makefile"];

/// A room as the page has it: its number, and the files that its list names.
#[derive(Debug, Default, PartialEq, Eq)]
struct RoomOnPage {
    number: usize,
    files: BTreeSet<String>,
}

pub fn read(root: &std::path::Path) -> String {
    std::fs::read_to_string(root.join(PAGE)).expect("the page")
}

/// The floors of the page, row by row, are those of the table.
pub fn floors(page: &str, table: &[&[&str]]) -> Vec<Finding> {
    let told: BTreeSet<(usize, String)> = page.lines().filter_map(floor_row).collect();
    let is = table.iter().enumerate();
    let is = is.flat_map(|(number, floor)| floor.iter().map(move |f| (number, (*f).to_owned())));
    differences(&told, &is.collect(), "floor")
}

/// `| 4 | `pool/` | ...` is (4, pool).
fn floor_row(line: &str) -> Option<(usize, String)> {
    let mut cells = line.strip_prefix("| ")?.split(" | ");
    let number = cells.next()?.parse().ok()?;
    let folder = cells.next()?.strip_prefix('`')?.strip_suffix("/`")?;
    Some((number, folder.to_owned()))
}

/// The rooms of the page are those of the table, which counts from one.
pub fn rooms(page: &str, table: &[&[&str]]) -> Vec<Finding> {
    let rooms = rooms_of(page);
    let told = rooms.iter().map(|(name, room)| (room.number, name.clone())).collect();
    let is = table.iter().enumerate();
    let is = is.flat_map(|(floor, rooms)| rooms.iter().map(move |r| (floor + 1, (*r).to_owned())));
    differences(&told, &is.collect(), "room")
}

/// The list of each room names its files, and no others.
pub fn files_of_rooms(page: &str, sources: &[Source]) -> Vec<Finding> {
    let in_room = |source: &Source| {
        let module = source.module();
        let is_of_room = module.len() >= 3 && module[0] == "pool" && module[1] != "model";
        let is_program = !source.program.trim().is_empty();
        (is_of_room && is_program).then(|| (module[1].clone(), module[2..].join("/")))
    };
    let is = sources.iter().filter_map(in_room).collect();
    let named = |(room, on_page): (String, RoomOnPage)| {
        on_page.files.into_iter().map(move |file| (room.clone(), file))
    };
    let told = rooms_of(page).into_iter().flat_map(named).collect();
    differences(&told, &is, "file of a room")
}

/// The rooms of the page: a heading `#### 4 `core/``, and behind it items `- `link`, `end`: ...`
fn rooms_of(page: &str) -> BTreeMap<String, RoomOnPage> {
    let mut rooms: BTreeMap<String, RoomOnPage> = BTreeMap::new();
    let mut current = None;
    for line in page.lines() {
        if line.starts_with('#') {
            current = room_heading(line).map(|(number, name)| {
                rooms.insert(name.clone(), RoomOnPage { number, ..RoomOnPage::default() });
                name
            });
        }
        let names = line.strip_prefix("- `").and_then(|rest| rest.split_once("`: "));
        let room = current.as_ref().and_then(|name| rooms.get_mut(name));
        if let (Some((names, _)), Some(room)) = (names, room) {
            room.files.extend(names.split("`, `").map(str::to_owned));
        }
    }
    rooms
}

fn room_heading(line: &str) -> Option<(usize, String)> {
    let (number, name) = line.strip_prefix("#### ")?.split_once(" `")?;
    let name = name.strip_suffix('`')?;
    Some((number.parse().ok()?, name.trim_end_matches('/').to_owned()))
}

fn differences<T: Ord + std::fmt::Debug>(
    told: &BTreeSet<T>,
    is: &BTreeSet<T>,
    what: &str,
) -> Vec<Finding> {
    let missing = is.difference(told).map(|one| format!("names no {what} {one:?}"));
    let wrong = told.difference(is).map(|one| format!("there is no {what} {one:?}"));
    missing.chain(wrong).map(|what| finding(1, what)).collect()
}

/// Names in code type that nothing in the tree has: a walk through functions that are gone.
pub fn unknown_names(page: &str, known: &BTreeSet<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in page.lines().enumerate() {
        let code = line.split('`').skip(1).step_by(2);
        let is_path = |code: &&str| code.chars().all(|c| is_word(c) || "/:.".contains(c));
        let names = code.filter(is_path).flat_map(|code| code.split(|c| !is_word(c)));
        let unknown = names.filter(|name| !name.is_empty() && !known.contains(*name));
        findings
            .extend(unknown.map(|name| finding(number + 1, format!("nothing is called {name}"))));
    }
    findings
}

/// All words of the tree outside of comments, and the names of its files and folders.
pub fn names_of_tree(root: &std::path::Path) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    let folders = ["src", "tests"].iter().chain(NAMED_TOO);
    for name in folders.flat_map(|folder| files(root, folder)) {
        known.extend(words(&name));
        let Ok(text) = std::fs::read_to_string(root.join(&name)) else { continue };
        if name.ends_with(".rs") || name == "Makefile" || name == "Cargo.toml" {
            let is_code = |line: &&str| !line.trim_start().starts_with("//");
            known.extend(text.lines().filter(is_code).flat_map(words));
        }
    }
    known
}

/// Lines of prose are wrapped at one width.
pub fn wide_lines(page: &str) -> Vec<Finding> {
    let lines = page.lines().enumerate();
    let is_wide = |line: &str| !line.starts_with('|') && line.chars().count() > WIDEST;
    let wide = lines.filter(|(_, line)| is_wide(line));
    wide.map(|(number, _)| finding(number + 1, "a line is too wide")).collect()
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c| !is_word(c)).filter(|word| !word.is_empty()).map(str::to_owned)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn finding(line: usize, what: impl Into<String>) -> Finding {
    Finding { file: PAGE.into(), line, what: what.into() }
}

mod samples {
    use super::*;

    const SAMPLE: &str = "# P\n| 0 | `base/` | x | no |\n| 1 | `pool/` | y | no |\n\n\
                          #### 1 `ids`\n\nNames.\n\n#### 2 `core/`\n\n- `link`, `end`: all\n\
                          - `replies/copying`: part\n\n## More\n\n- `none`: no file\n";

    #[test]
    fn floors_and_rooms_that_the_page_has_otherwise_are_found() {
        assert_eq!(floors(SAMPLE, &[&["base"], &["pool"]]), []);
        assert_eq!(floors(SAMPLE, &[&["base", "pool"]]).len(), 2, "another number");
        assert_eq!(floors(SAMPLE, &[&["base"], &["pool"], &["net"]]).len(), 1, "not there");
        assert_eq!(rooms(SAMPLE, &[&["ids"], &["core"]]), []);
        assert_eq!(rooms(SAMPLE, &[&["ids"], &["core", "time"]]).len(), 1);
    }

    #[test]
    fn files_that_their_room_does_not_name_are_found() {
        let at = |name: &str| Source::new(name, "fn f() {}");
        let tests = Source::new("src/pool/core/tests.rs", "#[cfg(test)]\nmod tests {}\n");
        let all = [
            at("src/pool/core/mod.rs"),
            at("src/pool/core/link.rs"),
            at("src/pool/core/end.rs"),
            at("src/pool/core/replies/copying.rs"),
            at("src/pool/ids.rs"),
            at("src/relay/conn.rs"),
            tests,
        ];
        assert_eq!(files_of_rooms(SAMPLE, &all), []);
        let more = [&all[..], &[at("src/pool/core/hold.rs")]].concat();
        assert!(files_of_rooms(SAMPLE, &more)[0].what.contains("hold"));
        assert!(files_of_rooms(SAMPLE, &all[..2]).len() == 2, "named, and not there");
    }

    #[test]
    fn names_of_nothing_and_wide_lines_are_found() {
        let known = ["core", "link", "move_pair"].map(str::to_owned).into();
        let good = "As `core::link` and `move_pair` say (`cargo test x`).";
        assert_eq!(unknown_names(good, &known), []);
        assert_eq!(unknown_names("`core::gone` and `core/link.old`", &known).len(), 2);
        assert_eq!(wide_lines(&format!("{}\n| {}", "x".repeat(WIDEST), "y".repeat(WIDEST))), []);
        assert_eq!(wide_lines(&"x".repeat(WIDEST + 1)).len(), 1);
    }
}

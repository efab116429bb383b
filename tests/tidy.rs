//! The rules of the house that a compiler does not hold: which folder may use which, where files,
//! sockets, clocks, threads and `unsafe` may stand, how files begin and how long they may grow.
//! ARCHITECTURE.md gives the reasons, and is compared with the tree. Each rule is a function from
//! sources to findings, and has a test that shows it a sample which it must refuse.

#[path = "tidy/page.rs"]
mod page;
#[path = "tidy/rooms.rs"]
mod rooms;
#[path = "tidy/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use source::{Named, Source, files};

/// The floors, from the ground up. A folder may use the floors before its own.
const FLOORS: &[&[&str]] = &[
    &["base"],
    &["sys", "log"],
    &["wire", "crypto", "config"],
    &["auth"],
    &["pool"],
    &["console"],
    &["pages", "relay"],
    &["net"],
    &["daemon"],
];

/// Folders whose program code may touch files, sockets, clocks, threads and the environment.
const WITH_IO: &[&str] = &["sys", "log", "net", "daemon"];

/// Paths that are input or output, by their beginnings. Plain data of the same modules, such as
/// `std::net::IpAddr` and `std::io::Error`, is not.
const IO: &[&str] = &[
    "libc",
    "mio",
    "std::env",
    "std::fs",
    "std::io::stderr",
    "std::io::stdin",
    "std::io::stdout",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::ToSocketAddrs",
    "std::net::UdpSocket",
    "std::os::fd",
    "std::os::unix::net",
    "std::process",
    "std::sync::mpsc",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// The same as bare words, for what a prelude or an import of a whole module brings.
const IO_WORDS: &[&str] = &["println", "eprintln", "print", "eprint", "dbg"];

/// What shares ownership or hides state. Nothing does, tests aside: records name each other by
/// ids, and threads beside the loop answer by ending.
const SHARING: &[&str] =
    &["Arc", "Mutex", "Rc", "RefCell", "RwLock", "OnceLock", "LazyLock", "thread_local"];

/// Where one of them is needed all the same: threads beside the loop all wake it.
const SHARED: &[(&str, &str)] = &[("src/net/jobs.rs", "Arc")];

/// The longest a file may be without its tests, in lines.
const LONGEST: usize = 500;

/// Files that may be longer, each with its own bound, which may only fall.
const LONGER: &[(&str, usize)] = &[];

/// The longest a line of Rust may be, in characters.
const WIDEST: usize = 100;

/// A file that is built in place of a folder where a feature is off, and has the names of that.
const STAND_INS: &[(&str, &str)] = &[("src/net/without_tls.rs", "src/net/tls/")];

/// What is looked through for paths of one machine and for work left open.
const WHOLE_TREE: &[&str] = &[
    "src",
    "tests",
    "bench",
    "scripts",
    "doc",
    "etc",
    ".ci",
    "Cargo.toml",
    "Makefile",
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
];

#[test]
fn folders_use_only_the_floors_below_them() {
    report(program().iter().flat_map(floors));
}

#[test]
fn modules_of_a_folder_form_no_circle() {
    report(circles(&program()));
}

#[test]
fn rooms_of_the_core_import_only_what_stands_below_them() {
    report(program().iter().flat_map(rooms::imports));
}

/// Prints the figures, so that whoever lowers one sees by how much.
#[test]
fn calls_within_the_core_follow_the_order_of_its_rooms() {
    let pool: Vec<Source> =
        program().into_iter().filter(|s| s.name.starts_with("src/pool/")).collect();
    let (against, knot) = (rooms::against_order(&pool), rooms::largest_knot(&pool));
    println!("{} files in a knot", knot.len());
    let told: Vec<String> =
        against.iter().map(|c| format!("{} -> {} ({})", c.file, c.to, c.method)).collect();
    assert!(against.is_empty(), "{}\n{}", told.len(), told.join("\n"));
    assert!(knot.len() <= rooms::LARGEST_KNOT, "{}: {knot:#?}", knot.len());
}

#[test]
fn the_page_has_the_floors_the_rooms_and_each_file_of_the_core() {
    let page = page::read(root());
    report(page::floors(&page, FLOORS));
    report(page::rooms(&page, rooms::ROOMS));
    report(page::files_of_rooms(&page, &program()));
}

#[test]
fn the_page_names_what_there_is_and_is_wrapped_evenly() {
    let page = page::read(root());
    report(page::unknown_names(&page, &page::names_of_tree(root())));
    report(page::wide_lines(&page));
}

#[test]
fn the_right_to_write_states_is_issued_once() {
    report(program().iter().flat_map(passes));
}

#[test]
fn unsafe_code_stands_in_sys_alone() {
    report(program().iter().flat_map(unsafe_code));
}

#[test]
fn input_and_output_stay_on_their_floors() {
    report(program().iter().flat_map(io));
}

#[test]
fn a_new_state_or_message_is_met_by_name_in_the_core() {
    report(program().iter().filter(|s| s.name.starts_with("src/pool/")).flat_map(catch_alls));
}

#[test]
fn each_type_has_a_name_of_its_own() {
    report(twice_named(&program()));
}

#[test]
fn nothing_shares_ownership() {
    report(program().iter().flat_map(sharing));
}

#[test]
fn every_file_says_what_it_is() {
    report(program().iter().chain(&tests()).flat_map(header));
}

#[test]
fn files_stay_short_and_lines_narrow() {
    report(program().iter().flat_map(length));
    report(program().iter().chain(&tests()).flat_map(width));
}

#[test]
fn nothing_is_left_open_and_no_machine_is_named() {
    let names = WHOLE_TREE.iter().flat_map(|name| files(root(), name));
    let read = |name: String| Some((std::fs::read_to_string(root().join(&name)).ok()?, name));
    report(names.filter_map(read).flat_map(|(text, name)| leftovers(&name, &text)));
}

/// A breach of a rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    file: String,
    line: usize,
    what: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn program() -> Vec<Source> {
    let sources = Source::all(root(), "src");
    assert!(sources.len() > 10, "the sources are found");
    sources
}

fn tests() -> Vec<Source> {
    Source::all(root(), "tests")
}

fn report(findings: impl IntoIterator<Item = Finding>) {
    let lines: Vec<String> = findings
        .into_iter()
        .map(|found| format!("{}:{}: {}", found.file, found.line, found.what))
        .collect();
    assert!(lines.is_empty(), "{} breaches\n{}", lines.len(), lines.join("\n"));
}

fn finding(source: &Source, line: usize, what: impl Into<String>) -> Finding {
    Finding { file: source.name.clone(), line, what: what.into() }
}

/// The folder below src that a file is in; None for lib.rs and main.rs.
fn folder(source: &Source) -> Option<String> {
    let module = source.module();
    module.first().cloned()
}

fn floor(folder: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&folder))
}

/// The folder that a path leads to, when it leads into this program.
fn target(named: &Named) -> Option<&str> {
    (named.parts[0] == "crate").then(|| named.parts.get(1).map(String::as_str)).flatten()
}

fn floors(source: &Source) -> Vec<Finding> {
    let Some(own) = folder(source) else { return vec![] };
    let Some(own_floor) = floor(&own) else {
        return vec![finding(source, 1, format!("{own} has no floor in the table"))];
    };
    let judge = |named: &Named| {
        let other = target(named).filter(|other| *other != own)?;
        let is_below = floor(other).is_some_and(|floor| floor < own_floor);
        let what = || format!("{own} may not use {}", named.parts.join("::"));
        (!is_below).then(|| finding(source, named.line, what()))
    };
    source.program_paths().iter().chain(&source.test_paths()).filter_map(judge).collect()
}

/// Circles among the files of one folder, tests aside. What stands in mod.rs belongs to the whole
/// folder, so that a child may name it.
fn circles(sources: &[Source]) -> Vec<Finding> {
    let modules: BTreeSet<Vec<String>> = sources.iter().map(Source::module).collect();
    let mut uses: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
    for source in sources.iter().filter(|s| s.module().len() >= 2) {
        let own = source.module();
        let sibling = |named: Named| {
            let path = named.parts.get(1..)?.get(..own.len())?.to_vec();
            let is_near = path[..own.len() - 1] == own[..own.len() - 1] && path != own;
            (named.parts[0] == "crate" && is_near && modules.contains(&path)).then_some(path)
        };
        let found: BTreeSet<_> = source.program_paths().into_iter().filter_map(sibling).collect();
        uses.entry(own.clone()).or_default().extend(found);
    }
    let mut findings = Vec::new();
    // Take away whoever uses nobody that is left; what remains goes in circles.
    while let Some(leaf) = uses.iter().find(|(_, used)| used.is_empty()).map(|(m, _)| m.clone()) {
        uses.remove(&leaf);
        for used in uses.values_mut() {
            used.remove(&leaf);
        }
    }
    for (module, used) in &uses {
        let names: Vec<String> = used.iter().map(|m| m.join("::")).collect();
        let what = format!("{} is in a circle with {}", module.join("::"), names.join(", "));
        findings.push(Finding { file: module.join("/"), line: 1, what });
    }
    findings
}

/// Places that have a `Pass` issued (`records::pass`), other than the one that may.
fn passes(source: &Source) -> Vec<Finding> {
    let is_call = |(_, line): &(usize, &str)| line.contains("Pass::issue");
    let calls = source.program.lines().enumerate().filter(is_call);
    let allowed = if source.name == "src/pool/core/mod.rs" { 1 } else { 0 };
    let told = "a second pass to write states";
    calls.skip(allowed).map(|(number, _)| finding(source, number + 1, told)).collect()
}

fn unsafe_code(source: &Source) -> Vec<Finding> {
    if folder(source).as_deref() == Some("sys") {
        return vec![];
    }
    let whole = [&source.program, &source.tests].map(|code| words(code, &["unsafe"]));
    whole.concat().iter().map(|(line, _)| finding(source, *line, "unsafe outside of sys")).collect()
}

fn io(source: &Source) -> Vec<Finding> {
    let Some(own) = folder(source).filter(|own| !WITH_IO.contains(&own.as_str())) else {
        return vec![];
    };
    let is_io = |named: &&Named| {
        let path = named.parts.join("::");
        IO.iter().any(|io| path == *io || path.starts_with(&format!("{io}::")))
    };
    let mut found: Vec<(usize, String)> = words(&source.program, IO_WORDS);
    let paths = source.program_paths();
    found.extend(paths.iter().filter(is_io).map(|n| (n.line, n.parts.join("::"))));
    let tell = |(line, what): &(usize, String)| {
        finding(source, *line, format!("{own} is free of input and output: {what}"))
    };
    found.iter().map(tell).collect()
}

/// Types that have the name of another one: a search for the name would find both.
fn twice_named(sources: &[Source]) -> Vec<Finding> {
    let mut known: BTreeMap<String, (&Source, usize)> = BTreeMap::new();
    let mut findings = Vec::new();
    for source in sources {
        for (line, name) in declared_types(&source.program) {
            let Some((other, at)) = known.get(&name).copied() else {
                known.insert(name, (source, line));
                continue;
            };
            if !stands_in(source, other) && !stands_in(other, source) {
                let what = format!("{name} is also the name of a type in {}:{at}", other.name);
                findings.push(finding(source, line, what));
            }
        }
    }
    findings
}

fn stands_in(source: &Source, other: &Source) -> bool {
    STAND_INS.iter().any(|(file, of)| source.name == *file && other.name.starts_with(of))
}

/// Types that are declared, and the lines; not those that belong to a trait (`type Output`).
fn declared_types(code: &str) -> Vec<(usize, String)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let of_line = |(number, line): (usize, &str)| {
        let start = line.trim_start();
        let item = match start.strip_prefix("pub") {
            Some(rest) if rest.starts_with('(') => rest.split_once(')')?.1.trim_start(),
            Some(rest) if rest.starts_with(' ') => rest.trim_start(),
            _ => start,
        };
        let item = item.strip_prefix("unsafe ").unwrap_or(item);
        let (keyword, rest) = item.split_once(' ')?;
        let is_type = ["struct", "enum", "trait", "union"].contains(&keyword)
            || (keyword == "type" && line == start);
        let name = &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())];
        (is_type && !name.is_empty()).then(|| (number + 1, name.to_owned()))
    };
    code.lines().enumerate().filter_map(of_line).collect()
}

fn sharing(source: &Source) -> Vec<Finding> {
    let mut found = words(&source.program, SHARING);
    for (number, line) in source.program.lines().enumerate() {
        if line.contains("static mut") {
            found.push((number + 1, "static mut".into()));
        }
    }
    found.retain(|(_, word)| !SHARED.contains(&(source.name.as_str(), word.as_str())));
    found.iter().map(|(line, word)| finding(source, *line, word.as_str())).collect()
}

/// Arms that do nothing for whatever is not named: a new variant would fall into them unseen.
fn catch_alls(source: &Source) -> Vec<Finding> {
    let lines = source.program.lines().enumerate();
    let found = lines.filter(|(_, line)| line.contains("_ => {}"));
    found.map(|(number, _)| finding(source, number + 1, "an arm for all the rest")).collect()
}

fn header(source: &Source) -> Vec<Finding> {
    // main.rs is three lines over the library.
    if source.text.starts_with("//!") || source.name == "src/main.rs" {
        return vec![];
    }
    vec![finding(source, 1, "a file begins with //! and what it knows")]
}

fn length(source: &Source) -> Vec<Finding> {
    // The code up to its tests: what stands in the test part is blank in the program.
    let tests = source.tests.lines().filter(|line| !line.trim().is_empty()).count();
    let lines = source.text.lines().count();
    let own = lines.saturating_sub(tests);
    let longer = LONGER.iter().find(|(name, _)| *name == source.name);
    let bound = longer.map_or(LONGEST, |(_, bound)| *bound);
    let what = format!("{own} lines without its tests, where {bound} is a lot");
    if own > bound { vec![finding(source, lines, what)] } else { vec![] }
}

fn width(source: &Source) -> Vec<Finding> {
    let lines = source.text.lines().enumerate();
    let wide = lines.filter(|(_, line)| line.chars().count() > WIDEST);
    wide.map(|(number, _)| finding(source, number + 1, "a line is too wide")).collect()
}

/// Paths that exist on one machine only, and, in code, work left open: documents may quote what
/// others left open. The words are put together here, so that this file does not hold them.
fn leftovers(name: &str, text: &str) -> Vec<Finding> {
    let open = [["TO", "DO"], ["FIX", "ME"], ["XX", "X"], ["to", "do"], ["unimple", "mented"]];
    let paths =
        [["/wo", "rk/"], ["/tm", "p/w/"], ["/ro", "ot/"], ["/ho", "me/"], ["../sha", "red"]];
    let (open, paths) = (open.map(|parts| parts.concat()), paths.map(|parts| parts.concat()));
    let open: Vec<&str> = open.iter().map(String::as_str).collect();
    let mut found = if name.ends_with(".md") { vec![] } else { words(text, &open) };
    for (number, line) in text.lines().enumerate() {
        let named = paths.iter().filter(|path| line.contains(path.as_str()));
        found.extend(named.map(|path| (number + 1, path.clone())));
    }
    let tell = |(line, what): (usize, String)| Finding { file: name.into(), line, what };
    found.into_iter().map(tell).collect()
}

/// Where these words stand in code as whole words.
fn words(code: &str, wanted: &[&str]) -> Vec<(usize, String)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let of_line = |(number, line): (usize, &str)| {
        let found = line.split(|c| !is_word(c)).filter(|word| wanted.contains(word));
        found.map(|word| (number + 1, word.to_owned())).collect::<Vec<_>>()
    };
    code.lines().enumerate().flat_map(of_line).collect()
}

/// Each rule, shown what it must refuse and what it must let pass.
mod samples {
    use super::*;

    fn at(name: &str, text: &str) -> Source {
        Source::new(name, text)
    }

    fn count(rule: fn(&Source) -> Vec<Finding>, name: &str, text: &str) -> usize {
        rule(&at(name, text)).len()
    }

    #[test]
    fn a_use_of_a_higher_floor_is_found() {
        for bad in [
            "use crate::pool::core::Core;",
            "use crate::{base::arena, net::poll};",
            "fn f() { crate::daemon::run() }",
            "use super::super::console;",
            "#[cfg(test)]\nmod tests {\n use crate::pool::core;\n}",
        ] {
            assert_eq!(count(floors, "src/wire/head.rs", bad), 1, "{bad}");
        }
        assert_eq!(count(floors, "src/wire/head.rs", "use crate::crypto::md5;"), 1, "one floor");
        assert_eq!(count(floors, "src/cellar/head.rs", ""), 1, "a folder without a floor");
    }

    #[test]
    fn a_use_of_a_lower_floor_passes() {
        let good = "use crate::base::arena::Id;\nuse super::kind;\n// use crate::net;\n\
                    use crate::wire::build;\nconst S: &str = \"crate::net\";";
        assert_eq!(count(floors, "src/wire/head.rs", good), 0);
        assert_eq!(count(floors, "src/lib.rs", "use crate::daemon::run;"), 0);
        assert_eq!(count(floors, "src/console/show.rs", "use crate::pool::core::Core;"), 0);
        assert_eq!(count(floors, "src/relay/engine.rs", "use crate::console::parse;"), 0);
    }

    #[test]
    fn circles_are_found_and_chains_are_not() {
        let a = at("src/pool/a.rs", "use super::b::B;");
        let b = at("src/pool/b.rs", "use super::c::C;");
        let c = at("src/pool/c.rs", "use crate::pool::a::A;\nuse super::Whole;");
        let end = at("src/pool/c.rs", "#[cfg(test)]\nmod tests {\n use super::super::a::A;\n}");
        let root = at("src/pool/mod.rs", "mod a; mod b; mod c;\npub use a::A;");
        assert_eq!(circles(&[a, b, c, root]).len(), 3);
        let a = at("src/pool/a.rs", "use super::b::B;");
        let b = at("src/pool/b.rs", "use super::c::C;");
        assert_eq!(circles(&[a, b, end]), []);
    }

    #[test]
    fn unsafe_is_found_outside_of_sys_only() {
        let bad = "fn f() {\n    unsafe { g() }\n}";
        assert_eq!(count(unsafe_code, "src/net/poll.rs", bad), 1);
        assert_eq!(count(unsafe_code, "src/sys/socket.rs", bad), 0);
        assert_eq!(count(unsafe_code, "src/net/poll.rs", "#![deny(unsafe_code)] // unsafe"), 0);
    }

    #[test]
    fn input_and_output_are_found_on_floors_without() {
        for bad in [
            "use std::fs;",
            "use std::{fmt, time::{Duration, Instant}};",
            "fn f() { std::thread::sleep(x) }",
            "fn f() { println!(\"x\") }",
            "use std::net::{IpAddr, TcpStream};",
            "use libc::c_int;",
        ] {
            assert_eq!(count(io, "src/pool/core.rs", bad), 1, "{bad}");
            assert_eq!(count(io, "src/daemon/start.rs", bad), 0, "{bad}");
        }
        let good = "use std::net::IpAddr;\nuse std::io;\nuse std::time::Duration;\n\
                    #[cfg(test)]\nmod tests {\n use std::fs;\n}";
        assert_eq!(count(io, "src/pool/core.rs", good), 0);
    }

    #[test]
    fn a_second_pass_is_found() {
        let issued = "fn f() {\n    Mover::new(Pass::issue())\n}";
        assert_eq!(count(passes, "src/pool/core/mod.rs", issued), 0);
        let twice = [issued, issued].join("\n");
        assert_eq!(count(passes, "src/pool/core/mod.rs", &twice), 1);
        assert_eq!(count(passes, "src/pool/core/link.rs", issued), 1);
        assert_eq!(count(passes, "src/pool/core/link.rs", "// Pass::issue\nstruct Pass;"), 0);
    }

    #[test]
    fn types_with_one_name_are_found() {
        let a = at("src/wire/head.rs", "pub struct Head {\n    kind: u8,\n}\nenum Parsed {}");
        for bad in [
            "struct Head;",
            "pub(in crate::pool) enum Head<'a> {",
            "pub type Head = u8;",
            "fn f() {\n    struct Head(u8);\n}",
            "pub unsafe trait Head {}",
        ] {
            let found = twice_named(&[at("src/base/list.rs", ""), a.clone(), at("src/x.rs", bad)]);
            assert_eq!(found.len(), 1, "{bad}");
            assert!(found[0].what.contains("src/wire/head.rs:1"), "{}", found[0].what);
        }
        let good = "impl Head for X {\n    type Head = u8;\n}\nstruct Heads; // struct Head\n\
                    #[cfg(test)]\nmod tests {\n    struct Head;\n}\nfn head(head: Head) {}";
        assert_eq!(twice_named(&[a, at("src/x.rs", good)]), []);
        let tls = at("src/net/tls/mod.rs", "pub struct Raw;");
        let without = at("src/net/without_tls.rs", "pub struct Raw;");
        assert_eq!(twice_named(&[tls.clone(), without.clone()]), []);
        assert_eq!(twice_named(&[tls, without, at("src/x.rs", "struct Raw;")]).len(), 1);
    }

    #[test]
    fn shared_ownership_is_found() {
        let shared = ["use std::rc::Rc;", "type A = std::sync::Arc<u8>;", "static mut X: u8 = 0;"];
        for bad in shared {
            assert_eq!(count(sharing, "src/net/poll.rs", bad), 1, "{bad}");
        }
        assert_eq!(count(sharing, "src/net/poll.rs", "struct Archive; // Arc, Mutex"), 0);
    }

    #[test]
    fn bare_long_and_wide_files_are_found() {
        assert_eq!(count(header, "src/net/poll.rs", "use std::io;"), 1);
        assert_eq!(count(header, "src/net/poll.rs", "//! Polls."), 0);
        let long = "x\n".repeat(LONGEST + 1);
        assert_eq!(count(length, "src/net/poll.rs", &long), 1);
        let tested = format!("#[cfg(test)]\nmod tests {{\n{long}}}\n");
        assert_eq!(count(length, "src/net/poll.rs", &tested), 0);
        assert_eq!(count(width, "src/net/poll.rs", &"é".repeat(WIDEST)), 0);
        assert_eq!(count(width, "src/net/poll.rs", &"é".repeat(WIDEST + 1)), 1);
    }

    #[test]
    fn leftovers_are_found() {
        for parts in [["// TO", "DO: later"], ["see /wo", "rk/x"], ["to", "do!()"]] {
            assert_eq!(leftovers("src/x.rs", &parts.concat()).len(), 1, "{parts:?}");
        }
        assert_eq!(leftovers("src/x.rs", "AuthenticationXXX, work/ at home"), []);
    }
}

//! The rooms of `src/pool` and the floors they stand on. An import shows whom a file uses; a call
//! of a method does not, since the methods of one type may stand in many files. Here both count.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, finding};
use crate::source::Source;

/// The rooms, from the ground up; what stands in `src/pool` itself is named as a file. A room may
/// use the floors before its own, and itself.
pub const ROOMS: &[&[&str]] = &[
    &["ids"],
    &["telling", "statements", "owed"],
    &["records"],
    &["core"],
    &["supply", "cancel"],
    &["prepared", "login"],
    &["control"],
    &["messages", "time"],
    &["check"],
];

/// How many files that extend one type call each other in a circle. It may only fall.
pub const LARGEST_KNOT: usize = 7;

/// A file of the core uses, by its imports, only rooms below its own and its own room.
pub fn imports(source: &Source) -> Vec<Finding> {
    let Some(own) = room(source) else { return vec![] };
    let judge = |named: &crate::source::Named| {
        let is_pool =
            named.parts.len() > 2 && named.parts[0] == "crate" && named.parts[1] == "pool";
        let other = is_pool.then(|| named.parts[2].as_str()).filter(|other| *other != own)?;
        let what = || format!("{own} may not use {}", named.parts.join("::"));
        (!is_below(other, &own)).then(|| finding(source, named.line, what()))
    };
    let unknown = floor(&own).is_none().then(|| finding(source, 1, format!("{own} has no floor")));
    source.program_paths().iter().filter_map(judge).chain(unknown).collect()
}

/// A call of a method that another file gives the type of the caller.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    pub file: String,
    pub method: String,
    pub to: String,
}

/// The calls `self.method()` from file to file, of all types that several files extend.
pub fn calls(sources: &[Source]) -> BTreeSet<Call> {
    let mut homes: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for source in sources {
        for (kind, body) in impls(&source.program) {
            for method in methods(body) {
                homes.entry((kind, method)).or_default().insert(&source.name);
            }
        }
    }
    let mut found = BTreeSet::new();
    for source in sources {
        for (kind, body) in impls(&source.program) {
            for method in called(body) {
                let Some(home) = homes.get(&(kind, method)) else { continue };
                // The same name in several files is that of several types with one name.
                let Some(to) = home.first().filter(|_| home.len() == 1) else { continue };
                if **to != source.name {
                    let (file, method, to) = (source.name.clone(), method.into(), (*to).into());
                    found.insert(Call { file, method, to });
                }
            }
        }
    }
    found
}

/// Those that run against the order of the rooms: there must be none.
pub fn against_order(sources: &[Source]) -> Vec<Call> {
    let room_of = |name: &str| sources.iter().find(|source| source.name == name).and_then(room);
    let is_against = |call: &Call| {
        let (Some(from), Some(to)) = (room_of(&call.file), room_of(&call.to)) else { return false };
        from != to && !is_below(&to, &from)
    };
    calls(sources).into_iter().filter(is_against).collect()
}

/// The largest set of files each of which reaches each other by calls of methods.
pub fn largest_knot(sources: &[Source]) -> BTreeSet<String> {
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for call in calls(sources) {
        uses.entry(call.file).or_default().insert(call.to);
    }
    let reach = |from: &String| {
        let mut seen = BTreeSet::new();
        let mut next = vec![from];
        while let Some(file) = next.pop() {
            for used in uses.get(file).into_iter().flatten() {
                if seen.insert(used.clone()) {
                    next.push(used);
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&String, BTreeSet<String>> = uses.keys().map(|f| (f, reach(f))).collect();
    let knot = |file: &&String| -> BTreeSet<String> {
        let back = |other: &&String| reached.get(other).is_some_and(|seen| seen.contains(*file));
        reached[file].iter().filter(back).cloned().collect()
    };
    reached.keys().map(knot).max_by_key(BTreeSet::len).unwrap_or_default()
}

/// The room of a file of the core; what holds the whole (`mod.rs`, the model) stands in none.
fn room(source: &Source) -> Option<String> {
    let module = source.module();
    (module.len() >= 2 && module[0] == "pool" && module[1] != "model").then(|| module[1].clone())
}

fn floor(room: &str) -> Option<usize> {
    ROOMS.iter().position(|floor| floor.contains(&room))
}

fn is_below(room: &str, other: &str) -> bool {
    floor(room).zip(floor(other)).is_some_and(|(room, other)| room < other)
}

/// The inherent impls of a file: the type and the lines of its body, as rustfmt lays them.
fn impls(program: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut rest = program;
    while let Some(at) = rest.find("\nimpl") {
        rest = &rest[at + 1..];
        let (head, _) = rest.split_once('{').unwrap_or((rest, ""));
        let end = rest.find("\n}").unwrap_or(rest.len());
        let name = head.trim_end().rsplit(' ').next().unwrap_or_default();
        let name = name.split('<').next().unwrap_or_default();
        if !head.contains(" for ") {
            found.push((name, &rest[..end]));
        }
        rest = &rest[end..];
    }
    found
}

/// The names of the methods that the body of an impl defines.
fn methods(body: &str) -> impl Iterator<Item = &str> {
    let is_head = |line: &&str| line.starts_with("    ") && !line.starts_with("     ");
    body.lines().filter(is_head).filter_map(|line| {
        let (_, behind) = line.split_once("fn ")?;
        behind.split(|c: char| !c.is_alphanumeric() && c != '_').next()
    })
}

/// The names of the methods that are called on `self`.
fn called(body: &str) -> impl Iterator<Item = &str> {
    body.split("self.").skip(1).chain(body.split("self\n").skip(1).map(after_dot)).filter_map(
        |rest| {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
            (end > 0 && rest[end..].starts_with('(')).then(|| &rest[..end])
        },
    )
}

/// What stands behind the dot of a chain that rustfmt has folded.
fn after_dot(rest: &str) -> &str {
    rest.trim_start().strip_prefix('.').unwrap_or_default()
}

mod samples {
    use super::*;

    #[test]
    fn an_import_from_a_higher_room_is_found() {
        let at = |text: &str| imports(&Source::new("src/pool/core/link.rs", text)).len();
        assert_eq!(at("use crate::pool::messages::judge::X;"), 1);
        assert_eq!(at("use super::super::login::entry::X;"), 1);
        assert_eq!(at("use crate::pool::records::client::Client;\nuse super::limits;"), 0);
        let beside =
            Source::new("src/pool/login/entry.rs", "use crate::pool::prepared::presence::X;");
        assert_eq!(imports(&beside).len(), 1, "rooms of one floor");
        assert_eq!(imports(&Source::new("src/pool/attic/x.rs", "")).len(), 1, "no floor");
    }

    #[test]
    fn calls_against_the_order_and_knots_are_found() {
        let body = |name: &str, calls: &str| {
            format!("//!\nimpl Core {{\n    fn {name}(&self) {{\n        {calls}\n    }}\n}}\n")
        };
        let link = Source::new("src/pool/core/link.rs", &body("link", "self.judge();"));
        let judge = Source::new("src/pool/messages/judge.rs", &body("judge", "self\n.link();"));
        let sweep = Source::new("src/pool/time/sweep.rs", &body("sweep", "self.link();"));
        let all = [link, judge, sweep];
        let against: Vec<String> = against_order(&all).into_iter().map(|c| c.method).collect();
        assert_eq!(against, ["judge"]);
        let knot = largest_knot(&all);
        assert_eq!(knot.len(), 2, "{knot:?}");
        assert!(!knot.contains("src/pool/time/sweep.rs"));
        assert_eq!(calls(&all).len(), 3);
    }
}

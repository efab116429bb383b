//! Rust source as the checks need it: without comments and the insides of literals, split into the
//! program and its tests, with every path that it names. No parser: it knows tokens, `use` trees
//! and braces, which is enough for a tree that rustfmt has been over.

use std::fs;
use std::path::Path;

/// A file of the tree.
#[derive(Clone)]
pub struct Source {
    /// Its name from the root of the tree, with `/`.
    pub name: String,
    pub text: String,
    /// The text of program code with comments and literals blanked, line by line as in `text`.
    pub program: String,
    /// The same for code under `#[cfg(test)]`; lines that are not are empty.
    pub tests: String,
    /// True when the whole file is a module of tests.
    is_test: bool,
}

/// A path that code names: `crate::wire::head`, at a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub line: usize,
    pub parts: Vec<String>,
}

impl Source {
    pub fn new(name: &str, text: &str) -> Source {
        let (program, tests) = split_tests(&strip(text));
        Source { name: name.into(), text: text.into(), program, tests, is_test: false }
    }

    /// All Rust files below a folder of the tree.
    pub fn all(root: &Path, folder: &str) -> Vec<Source> {
        let is_rust = |name: &&String| name.ends_with(".rs");
        let read = |name: &String| {
            let text = fs::read_to_string(root.join(name)).expect("a file of the tree");
            Source::new(name, &text)
        };
        let mut all: Vec<Source> = files(root, folder).iter().filter(is_rust).map(read).collect();
        let of_tests: Vec<Vec<String>> = all.iter().flat_map(Source::test_modules).collect();
        for source in &mut all {
            if of_tests.iter().any(|module| source.module().starts_with(module)) {
                source.become_test();
            }
        }
        all
    }

    /// The modules in files of their own that this file declares under `#[cfg(test)]`; whatever
    /// stands below them is tests too.
    fn test_modules(&self) -> Vec<Vec<String>> {
        let name = |line: &str| {
            let (_, name) = line.trim().strip_suffix(';')?.rsplit_once("mod ")?;
            Some([self.module(), vec![name.to_owned()]].concat())
        };
        self.tests.lines().filter_map(name).collect()
    }

    fn become_test(&mut self) {
        self.is_test = true;
        self.tests = strip(&self.text);
        self.program = "\n".repeat(self.text.lines().count());
    }

    /// The module that the file is: `src/pool/client.rs` is `pool`, `client`.
    pub fn module(&self) -> Vec<String> {
        let inner = self.name.strip_prefix("src/").unwrap_or(&self.name);
        let parts = inner.strip_suffix(".rs").unwrap_or(inner).split('/');
        parts.filter(|p| !matches!(*p, "mod" | "lib" | "main")).map(str::to_owned).collect()
    }

    /// Paths of program code, made absolute where they start at `crate`, `self` or `super`.
    pub fn program_paths(&self) -> Vec<Named> {
        self.resolve(paths(&self.program), &self.module())
    }

    /// Paths of test code; an inline test module stands one level deeper than its file.
    pub fn test_paths(&self) -> Vec<Named> {
        let mut module = self.module();
        if !self.is_test {
            module.push("tests".into());
        }
        self.resolve(paths(&self.tests), &module)
    }

    fn resolve(&self, paths: Vec<Named>, module: &[String]) -> Vec<Named> {
        let absolute = |named: Named| {
            let mut base = module.to_vec();
            let mut parts = named.parts.into_iter().peekable();
            match parts.peek().map(String::as_str) {
                Some("self") => drop(parts.next()),
                Some("super") => {}
                _ => return Named { line: named.line, parts: parts.collect() },
            }
            while parts.next_if(|p| p == "super").is_some() {
                base.pop();
            }
            let parts = ["crate".to_owned()].into_iter().chain(base).chain(parts).collect();
            Named { line: named.line, parts }
        };
        paths.into_iter().map(absolute).collect()
    }
}

/// The names of all files below a folder or of one file, in order, from the root of the tree.
pub fn files(root: &Path, name: &str) -> Vec<String> {
    let path = root.join(name);
    if path.is_file() {
        return vec![name.into()];
    }
    let Ok(entries) = fs::read_dir(&path) else { return vec![] };
    let inner = |entry: fs::DirEntry| format!("{name}/{}", entry.file_name().to_string_lossy());
    let mut names: Vec<String> = entries.flatten().map(inner).collect();
    names.sort();
    names.iter().flat_map(|name| files(root, name)).collect()
}

/// Blanks comments and the insides of literals; every line stays where it is.
pub fn strip(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = skipped(&chars, at, &out);
        if end == at {
            out.push(chars[at]);
            at += 1;
            continue;
        }
        out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

/// Where the comment or literal that starts at `at` ends; `at` itself when none does.
fn skipped(chars: &[char], at: usize, before: &str) -> usize {
    let is_word = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let find = |from: usize, what: &str| {
        let what: Vec<char> = what.chars().collect();
        let found = chars.get(from..).unwrap_or_default().windows(what.len());
        found.clone().position(|w| w == what).map_or(chars.len(), |n| from + n + what.len())
    };
    match (chars[at], chars.get(at + 1)) {
        ('/', Some('/')) => find(at, "\n") - usize::from(find(at, "\n") < chars.len()),
        ('/', Some('*')) => find(at + 2, "*/"),
        ('"', _) => end_of_quoted(chars, at + 1, '"'),
        ('r', Some('"' | '#')) if !is_word || before.ends_with('b') => {
            let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
            if chars.get(at + 1 + hashes) != Some(&'"') {
                return at;
            }
            find(at + 2 + hashes, &format!("\"{}", "#".repeat(hashes)))
        }
        // A lifetime has no closing quote behind its first character.
        ('\'', Some('\\')) => end_of_quoted(chars, at + 1, '\''),
        ('\'', Some(_)) if chars.get(at + 2) == Some(&'\'') => at + 3,
        _ => at,
    }
}

fn end_of_quoted(chars: &[char], mut at: usize, quote: char) -> usize {
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// Program code and test code: what `#[cfg(test)]` stands before goes to the second.
fn split_tests(bare: &str) -> (String, String) {
    let (mut program, mut tests) = (String::new(), String::new());
    let mut is_test = false;
    let (mut depth, mut is_open) = (0, false);
    for line in bare.lines() {
        is_test |= line.trim_start().starts_with("#[cfg(test)]");
        let (to, other) =
            if is_test { (&mut tests, &mut program) } else { (&mut program, &mut tests) };
        to.push_str(line);
        to.push('\n');
        other.push('\n');
        if !is_test {
            continue;
        }
        let code = line.trim_start().strip_prefix("#[cfg(test)]").unwrap_or(line);
        for c in code.chars() {
            depth += i32::from(c == '{') - i32::from(c == '}');
            is_open |= c == '{';
        }
        let is_over = depth == 0 && (is_open || code.contains(';'));
        if is_over {
            (is_test, is_open) = (false, false);
        }
    }
    (program, tests)
}

/// Every path with at least two parts, the trees of `use` spelt out.
pub fn paths(code: &str) -> Vec<Named> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].1 == "use" {
            at = use_tree(&tokens, at + 1, &[], &mut found);
            continue;
        }
        let (parts, next) = plain_path(&tokens, at);
        if parts.len() > 1 {
            found.push(Named { line: tokens[at].0, parts });
        }
        at = next.max(at + 1);
    }
    found
}

/// Words and signs with their lines; `::` is one sign.
fn tokens(code: &str) -> Vec<(usize, String)> {
    let mut tokens: Vec<(usize, String)> = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let word = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let size = if rest.starts_with("::") { 2 } else { word.max(first.len_utf8()) };
            tokens.push((number + 1, rest[..size].into()));
            rest = rest[size..].trim_start();
        }
    }
    tokens
}

fn plain_path(tokens: &[(usize, String)], start: usize) -> (Vec<String>, usize) {
    let word = |at: usize| {
        let text = &tokens.get(at)?.1;
        text.starts_with(|c: char| c.is_alphabetic() || c == '_').then(|| text.clone())
    };
    let mut parts = Vec::new();
    let mut at = start;
    while let Some(part) = word(at) {
        parts.push(part);
        at += 1;
        if tokens.get(at).is_none_or(|(_, sign)| sign != "::") || word(at + 1).is_none() {
            break;
        }
        at += 1;
    }
    (parts, at)
}

/// Reads one branch of a `use` tree and all below it; gives where it ends.
fn use_tree(
    tokens: &[(usize, String)],
    start: usize,
    prefix: &[String],
    found: &mut Vec<Named>,
) -> usize {
    let mut start = start;
    // A path that begins with `::` begins at a crate.
    if prefix.is_empty() && tokens.get(start).is_some_and(|(_, sign)| sign == "::") {
        start += 1;
    }
    let (parts, mut at) = plain_path(tokens, start);
    let path = [prefix, &parts].concat();
    let sign = |at: usize| tokens.get(at).map_or("", |(_, sign)| sign.as_str());
    if sign(at) != "::" {
        if let Some((line, _)) = tokens.get(start).filter(|_| !path.is_empty()) {
            found.push(Named { line: *line, parts: path });
        }
        return at;
    }
    if sign(at + 1) != "{" {
        found.push(Named { line: tokens[start].0, parts: path });
        return at + 2;
    }
    at += 2;
    while at < tokens.len() && sign(at) != "}" {
        at = use_tree(tokens, at, &path, found);
        while !matches!(sign(at), "," | "}" | "") {
            at += 1;
        }
        at += usize::from(sign(at) == ",");
    }
    at + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(code: &str) -> Vec<String> {
        paths(code).into_iter().map(|n| n.parts.join("::")).collect()
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        let text = "a // crate::x\n/* crate::y */ b\n\"crate::z \\\" \" c \
                    r#\"crate::w \" \"# d 'e' '\\'' f";
        let bare = strip(text);
        assert!(!bare.contains("crate"), "{bare}");
        assert_eq!(bare.split_whitespace().collect::<String>(), "abcdf");
        assert_eq!(bare.lines().count(), text.lines().count());
        assert_eq!(strip("fn f<'a>(x: &'a str)"), "fn f<'a>(x: &'a str)");
        assert_eq!(strip("for_r\"x\"").trim_end(), "for_r");
    }

    #[test]
    fn use_trees_are_spelt_out() {
        let code = "use crate::pool::{self, client::{Client, Id as I}, core::*};\nuse std::fs;";
        let wanted = [
            "crate::pool::self",
            "crate::pool::client::Client",
            "crate::pool::client::Id",
            "crate::pool::core",
            "std::fs",
        ];
        assert_eq!(named(code), wanted);
        assert_eq!(named("use ::mio::Poll;"), ["mio::Poll"]);
        assert_eq!(named("fn f() { crate::wire::head::parse(x) }"), ["crate::wire::head::parse"]);
        assert_eq!(named("Vec::<u8>::new(); a.b()"), Vec::<String>::new());
    }

    #[test]
    fn super_and_self_lead_to_absolute_paths() {
        let text =
            "use super::core::Id;\n#[cfg(test)]\nmod tests {\n  use super::super::link;\n}\n";
        let source = Source::new("src/pool/client.rs", text);
        let join = |found: Vec<Named>| found.into_iter().map(|n| n.parts.join("::")).next();
        assert_eq!(join(source.program_paths()).as_deref(), Some("crate::pool::core::Id"));
        assert_eq!(join(source.test_paths()).as_deref(), Some("crate::pool::link"));
    }

    #[test]
    fn tests_are_told_from_the_program() {
        let text = "a\n#[cfg(test)]\nmod tests {\n  b {}\n}\nc\n#[cfg(test)]\nmod more;\nd\n";
        let source = Source::new("src/x.rs", text);
        assert_eq!(source.program.split_whitespace().collect::<String>(), "acd");
        assert!(source.tests.contains("b {}") && source.tests.contains("mod more;"));
        assert_eq!(source.tests.lines().count(), text.lines().count());
        assert_eq!(source.test_modules(), [["x", "more"]]);
    }
}

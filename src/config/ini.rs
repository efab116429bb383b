//! The ini format: text to sections and entries, each with its file and line.
//!
//! Files come through [`Files`], so that nothing here touches a disk. A line is a comment (`;` or
//! `#` in front), a section in brackets, `key = value`, or `%include FILE`. What stands behind the
//! `=` up to the end of the line is the value: no quotes, no comments, no continuation here. A
//! section goes on through included files and behind them. All mistakes are gathered, so that the
//! operator meets them in one go.

use super::diagnostic::{Diagnostic, Place, Problem};

/// Reads files for the loader.
pub trait Files {
    /// The content of the file at `path`, which may be relative to the working directory.
    fn read(&mut self, path: &str) -> Result<Vec<u8>, std::io::Error>;
}

/// How deep files may include each other.
pub const DEPTH_MAX: usize = 10;

/// How many files may be read in all, so that includes that fan out come to an end.
const FILES_MAX: usize = 1000;

/// After so many mistakes the rest is not looked at.
pub const ERRORS_MAX: usize = 100;

/// A section or an entry, and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    pub place: Place,
    pub item: Item,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    Section(String),
    Entry { key: String, value: String },
}

/// Reads the file at `path` and what it includes: its lines, and the mistakes among them.
pub fn parse(path: &str, files: &mut dyn Files) -> (Vec<Line>, Vec<Diagnostic>) {
    let mut reader =
        Reader { files, open: Vec::new(), read: 0, lines: Vec::new(), errors: Vec::new() };
    match reader.files.read(path) {
        Ok(text) => reader.file(path.to_owned(), &text),
        Err(error) => reader.error(Place::start_of(path), Problem::Unreadable(error.to_string())),
    }
    (reader.lines, reader.errors)
}

struct Reader<'a> {
    files: &'a mut dyn Files,
    /// The files being read, each included by the one before.
    open: Vec<String>,
    /// How many files have been read.
    read: usize,
    lines: Vec<Line>,
    errors: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn error(&mut self, place: Place, problem: Problem) {
        self.errors.push(Diagnostic { place, key: None, problem });
    }

    fn file(&mut self, path: String, text: &[u8]) {
        self.read += 1;
        self.open.push(path.clone());
        for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            if self.errors.len() >= ERRORS_MAX {
                break;
            }
            let place = Place { file: path.clone(), line: number };
            if let Err(problem) = self.line(&place, line.trim_ascii()) {
                self.error(place, problem);
            }
        }
        self.open.pop();
    }

    fn line(&mut self, place: &Place, line: &[u8]) -> Result<(), Problem> {
        if matches!(line.first(), None | Some(b';' | b'#')) {
            return Ok(());
        }
        if line.contains(&0) {
            return Err(Problem::Nul);
        }
        let line = std::str::from_utf8(line).map_err(|_| Problem::NotUtf8)?;
        if let Some(rest) = line.strip_prefix("%include")
            && rest.starts_with([' ', '\t'])
        {
            return self.include(place, rest.trim());
        }
        let item = match line.strip_prefix('[') {
            Some(rest) => Item::Section(section(rest)?),
            None => entry(line)?,
        };
        self.lines.push(Line { place: place.clone(), item });
        Ok(())
    }

    fn include(&mut self, place: &Place, path: &str) -> Result<(), Problem> {
        if self.open.len() > DEPTH_MAX || self.read >= FILES_MAX {
            return Err(Problem::IncludeTooDeep);
        }
        let mut path = path.to_owned();
        let mut text = self.files.read(&path);
        if let Err(error) = &text
            && error.kind() == std::io::ErrorKind::NotFound
            && let Some(beside) = beside(&place.file, &path)
            && let Ok(found) = self.files.read(&beside)
        {
            (path, text) = (beside, Ok(found));
        }
        let text =
            text.map_err(|error| Problem::IncludeUnreadable(path.clone(), error.to_string()))?;
        if self.open.contains(&path) {
            return Err(Problem::IncludeLoop(path));
        }
        self.file(path, &text);
        Ok(())
    }
}

/// Where `path` is, when it is relative to the directory of the file that includes it.
fn beside(file: &str, path: &str) -> Option<String> {
    let (directory, _) = file.rsplit_once('/')?;
    (!path.starts_with('/')).then(|| format!("{directory}/{path}"))
}

/// The name of the section whose line goes on with `rest` behind the bracket.
fn section(rest: &str) -> Result<String, Problem> {
    let (name, rest) = rest.split_once(']').ok_or(Problem::SectionUnclosed)?;
    match rest.trim_start().as_bytes().first() {
        None | Some(b';' | b'#') => Ok(name.to_owned()),
        Some(_) => Err(Problem::AfterSection),
    }
}

fn entry(line: &str) -> Result<Item, Problem> {
    let (key, rest) = match line.strip_prefix('"') {
        Some(quoted) => quoted_key(quoted)?,
        None => {
            let end = line.find(|c| !is_key(c)).unwrap_or(line.len());
            (line[..end].to_owned(), &line[end..])
        }
    };
    let Some(value) = rest.trim_start().strip_prefix('=') else {
        return Err(Problem::NoEquals(key));
    };
    if key.is_empty() {
        return Err(Problem::NoKey);
    }
    Ok(Item::Entry { key, value: value.trim().to_owned() })
}

fn is_key(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '*')
}

/// A key in double quotes, where two of them stand for one, and what follows.
fn quoted_key(quoted: &str) -> Result<(String, &str), Problem> {
    let mut key = String::new();
    let mut rest = quoted;
    loop {
        let (part, tail) = rest.split_once('"').ok_or(Problem::KeyUnclosed)?;
        key.push_str(part);
        let Some(more) = tail.strip_prefix('"') else { return Ok((key, tail)) };
        key.push('"');
        rest = more;
    }
}

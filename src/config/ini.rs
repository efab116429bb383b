//! The ini format: text to sections and entries, each with its file and line.
//!
//! Files come through [`FileReader`], so that nothing here touches a disk. A line is a comment (`;`
//! or `#` in front), a section in brackets, `key = value`, or `%include FILE`. The value is
//! everything after the `=` and the spaces and tabs behind it, up to the end of the line: it has no
//! quotes, comments or continuation lines. A section goes on through included files and after them.
//! All errors are gathered, so that the operator sees them at once.

use std::borrow::Cow;

use super::diagnostic::{ConfigProblem, Diagnostic, FilePlace};
use super::text::keeping_bytes;
use crate::base::text::{is_space, trim_space};

/// Reads files for the loader.
pub trait FileReader {
    /// The content of the file at `path`, which may be relative to the working directory.
    fn read(&mut self, path: &str) -> Result<Vec<u8>, std::io::Error>;
}

/// How deep files may include each other.
pub const DEPTH_MAX: usize = 10;

/// How many files may be read in all, so that includes that fan out come to an end.
const FILES_MAX: usize = 1000;

/// After so many errors the rest is not read.
pub const ERRORS_MAX: usize = 100;

/// A section or an entry, and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IniLine {
    pub place: FilePlace,
    pub item: IniItem,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IniItem {
    Section(String),
    Entry { key: String, value: String },
}

/// What files hold, and what is wrong with them.
#[derive(Default)]
pub struct ParsedIni {
    pub lines: Vec<IniLine>,
    pub warnings: Vec<Diagnostic>,
    pub errors: Vec<Diagnostic>,
}

/// Reads the file at `path` and what it includes: its lines, and the mistakes among them.
pub fn parse(path: &str, files: &mut dyn FileReader) -> ParsedIni {
    let mut reader = IniReader { files, open: Vec::new(), read: 0, parsed: ParsedIni::default() };
    match reader.files.read(path) {
        Ok(text) => reader.file(path.to_owned(), &text),
        Err(error) => {
            reader.error(FilePlace::start_of(path), ConfigProblem::Unreadable(error.to_string()))
        }
    }
    reader.parsed
}

struct IniReader<'a> {
    files: &'a mut dyn FileReader,
    /// The files being read, each included by the one before.
    open: Vec<String>,
    /// How many files have been read.
    read: usize,
    parsed: ParsedIni,
}

impl IniReader<'_> {
    fn error(&mut self, place: FilePlace, problem: ConfigProblem) {
        self.parsed.errors.push(Diagnostic { place, key: None, problem });
    }

    fn warn(&mut self, place: &FilePlace, problem: ConfigProblem) {
        self.parsed.warnings.push(Diagnostic { place: place.clone(), key: None, problem });
    }

    fn file(&mut self, path: String, text: &[u8]) {
        self.read += 1;
        self.open.push(path.clone());
        let text = self.up_to_nul(&path, text);
        for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            if self.parsed.errors.len() >= ERRORS_MAX {
                break;
            }
            let first = line.iter().find(|byte| !is_space(**byte));
            if matches!(first, None | Some(b';' | b'#')) {
                continue;
            }
            let place = FilePlace { file: path.clone(), line: number };
            match self.line(&place, line) {
                Ok(Some(item)) => self.parsed.lines.push(IniLine { place, item }),
                Ok(None) => {}
                Err(problem) => self.error(place, problem),
            }
        }
        self.open.pop();
    }

    /// What stands before a zero byte, which ends the file.
    fn up_to_nul<'t>(&mut self, path: &str, text: &'t [u8]) -> &'t [u8] {
        let Some(end) = text.iter().position(|byte| *byte == 0) else { return text };
        let text = &text[..end];
        let before = text.iter().filter(|byte| **byte == b'\n').count();
        let line = u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1);
        self.warn(&FilePlace { file: path.to_owned(), line }, ConfigProblem::Nul);
        text
    }

    /// What a line says. A `%include` says nothing itself: the lines of its file are read in its
    /// place.
    fn line(&mut self, place: &FilePlace, line: &[u8]) -> Result<Option<IniItem>, ConfigProblem> {
        let line = match std::str::from_utf8(line) {
            Ok(line) => Cow::Borrowed(line),
            Err(_) => {
                self.warn(place, ConfigProblem::NotUtf8);
                Cow::Owned(keeping_bytes(line))
            }
        };
        let line = trim_space(&line);
        if let Some(directive) = line.strip_prefix('%') {
            let path =
                directive.strip_prefix("include").filter(|path| path.starts_with([' ', '\t']));
            self.include(place, trim_space(path.ok_or(ConfigProblem::Directive)?))?;
            return Ok(None);
        }
        Ok(Some(match line.strip_prefix('[') {
            Some(rest) => IniItem::Section(section(rest)?),
            None => entry(line)?,
        }))
    }

    fn include(&mut self, place: &FilePlace, path: &str) -> Result<(), ConfigProblem> {
        if self.open.len() > DEPTH_MAX || self.read >= FILES_MAX {
            return Err(ConfigProblem::IncludeTooDeep);
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
        let text = match text {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::IsADirectory => {
                let problem = ConfigProblem::IncludesFolder(path);
                self.warn(place, problem);
                return Ok(());
            }
            Err(error) => return Err(ConfigProblem::IncludeUnreadable(path, error.to_string())),
        };
        if self.open.contains(&path) {
            return Err(ConfigProblem::IncludeLoop(path));
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

/// The name of a section, from the `rest` of its line after the opening bracket.
fn section(rest: &str) -> Result<String, ConfigProblem> {
    let (name, rest) = rest.split_once(']').ok_or(ConfigProblem::SectionUnclosed)?;
    match trim_space(rest).as_bytes().first() {
        None | Some(b';' | b'#') => Ok(name.to_owned()),
        Some(_) => Err(ConfigProblem::AfterSection),
    }
}

fn entry(line: &str) -> Result<IniItem, ConfigProblem> {
    let (key, rest) = match line.as_bytes().first() {
        Some(b'"') => quoted_key(&line[1..], '"')?,
        Some(b'\'') => quoted_key(&line[1..], '\'')?,
        _ => {
            let end = line.find(|c| !is_key(c)).unwrap_or(line.len());
            (line[..end].to_owned(), &line[end..])
        }
    };
    let Some(value) = rest.trim_start_matches(is_space::<char>).strip_prefix('=') else {
        return Err(ConfigProblem::NoEquals(key));
    };
    Ok(IniItem::Entry { key, value: value.trim_start_matches([' ', '\t']).to_owned() })
}

fn is_key(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '*')
}

/// A key in quotes, where two of them stand for one, and what follows.
fn quoted_key(quoted: &str, quote: char) -> Result<(String, &str), ConfigProblem> {
    let mut key = String::new();
    let mut rest = quoted;
    loop {
        let (part, tail) = rest.split_once(quote).ok_or(ConfigProblem::KeyUnclosed)?;
        key.push_str(part);
        let Some(more) = tail.strip_prefix(quote) else { return Ok((key, tail)) };
        key.push(quote);
        rest = more;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::io;

    use super::*;

    struct Disk(HashMap<&'static str, &'static str>);

    impl FileReader for Disk {
        fn read(&mut self, path: &str) -> Result<Vec<u8>, io::Error> {
            let text = self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
            Ok(text.as_bytes().to_vec())
        }
    }

    /// Lines as `file:number item`, or mistakes as they are printed.
    fn read(files: &[(&'static str, &'static str)]) -> Vec<String> {
        let ParsedIni { lines, errors, .. } =
            parse(files[0].0, &mut Disk(files.iter().copied().collect()));
        if !errors.is_empty() {
            return errors.iter().map(Diagnostic::to_string).collect();
        }
        let line = |IniLine { place, item }| match item {
            IniItem::Section(name) => format!("{place} [{name}]"),
            IniItem::Entry { key, value } => format!("{place} {key}={value}"),
        };
        lines.into_iter().map(line).collect()
    }

    #[test]
    fn sections_entries_and_comments() {
        let text = "; c\n  # c\n\n [a] ; c\nk=v\n\t k.*-_9 \t=\t v ; no comment = \"x\" \r\nempty=";
        assert_eq!(
            read(&[("f", text)]),
            ["f:4 [a]", "f:5 k=v", "f:6 k.*-_9=v ; no comment = \"x\"", "f:7 empty="]
        );
    }

    #[test]
    fn white_space_around_lines_is_any_and_behind_the_equals_sign_spaces_and_tabs() {
        let text = "\x0b[a]\x0b;c\n\x0c\n\x0b;c\n\x0bk\t\x0b=\t v \x0b\x0c\nk=\x0bv\nk=\r\n";
        assert_eq!(read(&[("f", text)]), ["f:1 [a]", "f:4 k=v", "f:5 k=\x0bv", "f:6 k="]);
        let include = [("f", "\x0b%include g\x0b"), ("g", "k=v")];
        assert_eq!(read(&include), ["g:1 k=v"]);
    }

    #[test]
    fn names_in_double_quotes_may_hold_anything() {
        assert_eq!(read(&[("f", "\"a b\"\"=\" = x")]), ["f:1 a b\"==x"]);
        assert_eq!(read(&[("f", "'a b''=' = x")]), ["f:1 a b'==x"]);
        assert_eq!(read(&[("f", "\"a = x")]), ["f:1: the quote of the name is not closed"]);
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let text = "[a\n[a] b\nword\nword 3\nk: 3\n%foo";
        assert_eq!(
            read(&[("f", text)]),
            [
                "f:1: expected \"]\" behind the section's name",
                "f:2: expected nothing behind the section's name",
                "f:3: syntax error, expected \"=\" behind \"word\"",
                "f:4: syntax error, expected \"=\" behind \"word\"",
                "f:5: syntax error, expected \"=\" behind \"k\"",
                "f:6: expected \"%include FILE\"",
            ]
        );
    }

    #[test]
    fn bytes_that_are_no_text_matter_only_outside_comments() {
        struct Bytes;
        impl FileReader for Bytes {
            fn read(&mut self, _: &str) -> Result<Vec<u8>, io::Error> {
                Ok(b"; \xe9\nk=\xe9\nl=1".to_vec())
            }
        }
        let ParsedIni { lines, warnings, errors } = parse("f", &mut Bytes);
        assert_eq!((lines.len(), errors.len(), warnings.len()), (2, 0, 1));
        assert_eq!(warnings[0].to_string(), "f:2: expected text in UTF-8");
    }

    #[test]
    fn a_zero_byte_ends_its_file_and_no_other() {
        let files = HashMap::from([("f", "[a]\n%include g\nl=1"), ("g", "k=v\nx=y\0z\n[b")]);
        let ParsedIni { lines, warnings, errors } = parse("f", &mut Disk(files));
        let last = IniItem::Entry { key: "l".to_owned(), value: "1".to_owned() };
        assert_eq!((lines.len(), errors.len(), &lines[3].item), (4, 0, &last));
        assert_eq!(lines[2].item, IniItem::Entry { key: "x".to_owned(), value: "y".to_owned() });
        let told: Vec<String> = warnings.iter().map(Diagnostic::to_string).collect();
        assert_eq!(told, ["g:2: a zero byte; nothing behind it is read"]);
    }

    #[test]
    fn an_included_file_stands_in_the_place_of_the_line() {
        let files = [
            ("dir/f", "[a]\n  %include\tdir/g  \nlast=1"),
            ("dir/g", "k=v\n[b]\n%include h"),
            ("h", "x=y"),
        ];
        assert_eq!(
            read(&files),
            ["dir/f:1 [a]", "dir/g:1 k=v", "dir/g:2 [b]", "h:1 x=y", "dir/f:3 last=1"]
        );
    }

    #[test]
    fn a_file_that_is_not_in_the_working_directory_is_looked_for_beside_the_including_one() {
        let files =
            [("/etc/f", "%include sub/g"), ("/etc/sub/g", "%include h"), ("/etc/sub/h", "k=v")];
        assert_eq!(read(&files), ["/etc/sub/h:1 k=v"]);
        let both = [("/etc/f", "%include g"), ("/etc/g", "a=beside"), ("g", "a=here")];
        assert_eq!(read(&both), ["g:1 a=here"]);
    }

    #[test]
    fn a_file_that_is_missing_is_named_with_the_line_that_wants_it() {
        let found = read(&[("/etc/f", "\n%include g")]);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("/etc/f:2: could not load file \"g\": "), "{found:?}");
        let found = read(&[("f", "%include")]);
        assert_eq!(found, ["f:1: expected \"%include FILE\""]);
        let ParsedIni { errors, .. } = parse("none", &mut Disk(HashMap::new()));
        assert!(errors[0].to_string().starts_with("none: could not load file: "), "{errors:?}");
    }

    #[test]
    fn a_loop_ends() {
        let files = [("f", "%include g"), ("g", "%include f")];
        assert_eq!(read(&files), ["g:1: f includes itself"]);
        assert_eq!(read(&[("f", "%include f")]), ["f:1: f includes itself"]);
    }

    #[test]
    fn files_nest_ten_deep_and_no_deeper() {
        struct Chain(usize);
        impl FileReader for Chain {
            fn read(&mut self, path: &str) -> Result<Vec<u8>, io::Error> {
                let depth: usize = path.parse().expect("files are numbers here");
                let next = format!("%include {}", depth + 1);
                Ok(if depth == self.0 { b"k=v".to_vec() } else { next.into_bytes() })
            }
        }
        assert_eq!(parse("0", &mut Chain(10)).lines.len(), 1);
        let ParsedIni { errors, .. } = parse("0", &mut Chain(11));
        assert_eq!(errors[0].to_string(), "10:1: include nesting level too deep");
    }

    #[test]
    fn includes_that_fan_out_come_to_an_end() {
        struct Fan(usize);
        impl FileReader for Fan {
            fn read(&mut self, _: &str) -> Result<Vec<u8>, io::Error> {
                self.0 += 1;
                let line = |at| format!("%include {}.{at}\n", self.0);
                Ok((0..50).map(line).collect::<String>().into_bytes())
            }
        }
        let mut files = Fan(0);
        let ParsedIni { errors, .. } = parse("f", &mut files);
        assert!(!errors.is_empty() && files.0 <= FILES_MAX + ERRORS_MAX);
    }
}

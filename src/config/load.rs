//! From lines to a whole configuration, or to every mistake in them.

use super::database::DatabaseLine;
use super::diagnostic::{Diagnostic, Place, Problem};
use super::ini::{self, Files, Item, Line};
use super::peer::PeerLine;
use super::settings::Settings;
use super::table;
use super::user::UserLine;
use super::value::{Kind, ValueError};

/// All that the files say.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// The main file, as it was named.
    pub file: String,
    pub settings: Settings,
    pub databases: Vec<DatabaseLine>,
    pub users: Vec<UserLine>,
    pub peers: Vec<PeerLine>,
    /// What was accepted but deserves a word.
    pub warnings: Vec<Diagnostic>,
}

/// Reads the file at `path` and what it includes.
pub fn load(path: &str, files: &mut dyn Files) -> Result<Config, Vec<Diagnostic>> {
    let lines = ini::parse(path, files)?;
    let mut loader = Loader {
        config: Config {
            file: path.to_owned(),
            settings: fresh(path),
            databases: Vec::new(),
            users: Vec::new(),
            peers: Vec::new(),
            warnings: Vec::new(),
        },
        section: None,
        has_settings: false,
        unbuilt: Vec::new(),
        errors: Vec::new(),
    };
    for line in lines {
        loader.line(line);
    }
    loader.finish()
}

/// Reads `text` as if it were the file at `path`; nothing can be included.
pub fn load_text(path: &str, text: &str) -> Result<Config, Vec<Diagnostic>> {
    struct Text<'a>(Option<&'a str>);
    impl Files for Text<'_> {
        fn read(&mut self, _: &str) -> Result<Vec<u8>, std::io::Error> {
            let text = self.0.take().ok_or(std::io::ErrorKind::NotFound)?;
            Ok(text.as_bytes().to_vec())
        }
    }
    load(path, &mut Text(Some(text)))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Databases,
    Peers,
    Settings,
    Users,
}

/// The sections by name.
const SECTIONS: [(&str, Section); 4] = [
    ("pgbouncer", Section::Settings),
    ("databases", Section::Databases),
    ("users", Section::Users),
    ("peers", Section::Peers),
];

/// The name of the console's database.
const CONSOLE: &str = "pgbouncer";

struct Loader {
    config: Config,
    section: Option<Section>,
    has_settings: bool,
    /// Where settings without effect so far stand.
    unbuilt: Vec<(&'static str, Place)>,
    errors: Vec<Diagnostic>,
}

fn fresh(path: &str) -> Settings {
    Settings { conffile: Some(path.to_owned()), ..Settings::default() }
}

impl Loader {
    fn line(&mut self, line: Line) {
        let Line { place, item } = line;
        let (key, done) = match item {
            Item::Section(name) => (None, self.section(&place, &name)),
            Item::Entry { key, value } => {
                let done = self.entry(&place, &key, &value);
                (Some(key), done)
            }
        };
        if let Err(problem) = done {
            self.errors.push(Diagnostic { place, key, problem });
        }
    }

    fn section(&mut self, place: &Place, name: &str) -> Result<(), Problem> {
        let known = SECTIONS.iter().find(|(known, _)| *known == name).map(|(_, section)| *section);
        let Some(section) = known else {
            let nearest = table::nearest(name.trim(), SECTIONS.iter().map(|(name, _)| *name));
            self.section = None;
            return Err(Problem::UnknownSection { name: name.to_owned(), nearest });
        };
        self.section = Some(section);
        if section == Section::Settings {
            if std::mem::replace(&mut self.has_settings, true) {
                self.warn(place, None, Problem::SectionRepeated);
            }
            self.config.settings = fresh(&self.config.file);
            self.unbuilt.clear();
        }
        Ok(())
    }

    fn warn(&mut self, place: &Place, key: Option<String>, problem: Problem) {
        self.config.warnings.push(Diagnostic { place: place.clone(), key, problem });
    }

    fn entry(&mut self, place: &Place, key: &str, value: &str) -> Result<(), Problem> {
        match self.section {
            None => Err(Problem::NoSection),
            Some(Section::Settings) => self.setting(place, key, value),
            Some(Section::Databases) => self.database(key, value),
            Some(Section::Users) => self.user(key, value),
            Some(Section::Peers) => self.peer(key, value),
        }
    }

    fn setting(&mut self, place: &Place, key: &str, value: &str) -> Result<(), Problem> {
        if key == "suspend_timeout" {
            self.warn(place, Some(key.to_owned()), Problem::Gone);
            return Ok(());
        }
        let row = Settings::rows().iter().find(|row| row.name == key);
        self.config.settings.set(key, value).map_err(|error| {
            let is_open = row.is_some_and(|row| row.kind != Kind::Secret);
            Problem::Value { value: is_open.then(|| value.to_owned()), error }
        })?;
        if let Some(row) = row.filter(|row| !row.is_built()) {
            self.unbuilt.push((row.name, place.clone()));
        }
        Ok(())
    }

    fn database(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        if name == CONSOLE {
            return Err(Problem::Value { value: None, error: ValueError::Reserved });
        }
        let mut line = DatabaseLine { name: name.to_owned(), ..DatabaseLine::default() };
        fill(value, |key, value| line.set(key, value))?;
        put(&mut self.config.databases, line, |a, b| a.name == b.name);
        Ok(())
    }

    fn user(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        let mut line = UserLine { name: name.to_owned(), ..UserLine::default() };
        fill(value, |key, value| line.set(key, value))?;
        put(&mut self.config.users, line, |a, b| a.name == b.name);
        Ok(())
    }

    fn peer(&mut self, id: &str, value: &str) -> Result<(), Problem> {
        let error = ValueError::OutOfRange { min: 1, max: 16383 };
        let id = id.parse().ok().filter(|id| (1..=16383).contains(id));
        let id = id.ok_or(Problem::Value { value: None, error })?;
        let mut line = PeerLine { id, ..PeerLine::default() };
        fill(value, |key, value| line.set(key, value))?;
        put(&mut self.config.peers, line, |a, b| a.id == b.id);
        Ok(())
    }

    fn finish(mut self) -> Result<Config, Vec<Diagnostic>> {
        if !self.has_settings {
            let place = Place::start_of(&self.config.file);
            self.errors.push(Diagnostic { place, key: None, problem: Problem::NoSettings });
        }
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        let defaults = Settings::default();
        for (name, place) in std::mem::take(&mut self.unbuilt) {
            let value = self.config.settings.show(name);
            if value != defaults.show(name) && value.as_deref() != Some("disable") {
                let value = value.unwrap_or_default();
                self.warn(&place, Some(name.to_owned()), Problem::Unbuilt { value });
            }
        }
        Ok(self.config)
    }
}

/// Takes a connection string apart and hands its keys to `set`.
fn fill(
    text: &str,
    mut set: impl FnMut(&str, &str) -> Result<(), ValueError>,
) -> Result<(), Problem> {
    for (key, value) in super::line::pairs(text).map_err(Problem::Line)? {
        set(&key, &value).map_err(|error| Problem::LineValue { key, error })?;
    }
    Ok(())
}

/// Puts `line` into `lines`, in the place of the one that is the `same`.
fn put<T>(lines: &mut Vec<T>, line: T, same: impl Fn(&T, &T) -> bool) {
    match lines.iter_mut().find(|known| same(known, &line)) {
        Some(known) => *known = line,
        None => lines.push(line),
    }
}

//! From lines to a whole configuration, or to all errors in them.
//!
//! A later line of the same name replaces the earlier one, as in PgBouncer, and a second
//! `[pgbouncer]` sets every setting back first. What can be checked only when all is read, such as
//! which settings have no effect, is checked at the end.

use std::borrow::Cow;

use super::database::{self, DatabaseLine};
use super::diagnostic::{ConfigProblem, Diagnostic, FilePlace};
use super::host::{Hosts, Ports};
use super::ini::{self, FileReader, IniItem, IniLine};
use super::lenient;
use super::line::{self, Pairs};
use super::peer::PeerLine;
use super::settings::{self, Settings};
use super::table::{self, SettingRow};
use super::text::readable;
use super::user::UserLine;
use super::value::{Kind, SettingType, ValueError};
use crate::base::order;
use crate::base::places::Places;

/// All that the files say.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// The main file, as it was named.
    pub file: String,
    pub settings: Settings,
    /// In the order of the file, each name once; the fallback `*` is one of them.
    pub databases: Vec<DatabaseLine>,
    /// The places of database lines that say something on TLS, by name: errors in the files of TLS
    /// are found later, when those are read.
    pub secured: Vec<(String, FilePlace)>,
    pub users: Vec<UserLine>,
    pub peers: Vec<PeerLine>,
    /// What was accepted but deserves a warning.
    pub warnings: Vec<Diagnostic>,
}

/// Reads the file at `path` and what it includes.
pub fn load(path: &str, files: &mut dyn FileReader) -> Result<Config, Vec<Diagnostic>> {
    let ini::ParsedIni { lines, warnings, errors } = ini::parse(path, files);
    let is_readable = errors.is_empty() || !lines.is_empty();
    let mut loader = Loader::new(path, warnings, errors);
    for line in lines {
        loader.line(line);
    }
    loader.finish(is_readable)
}

/// Reads `text` as if it were the file at `path`; nothing can be included.
pub fn load_text(path: &str, text: &str) -> Result<Config, Vec<Diagnostic>> {
    struct FileText<'a>(Option<&'a str>);
    impl FileReader for FileText<'_> {
        fn read(&mut self, _: &str) -> Result<Vec<u8>, std::io::Error> {
            let text = self.0.take().ok_or(std::io::ErrorKind::NotFound)?;
            Ok(text.as_bytes().to_vec())
        }
    }
    load(path, &mut FileText(Some(text)))
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

/// The longest database name, in bytes, as in PostgreSQL.
pub const DATABASE_NAME_BYTES_MAX: usize = 63;

/// The longest user name, in bytes, as in PgBouncer.
const USER_NAME_BYTES_MAX: usize = 127;

/// The largest id of a peer: cancel keys have two bytes for it, and 0 is no id.
const PEER_ID_MAX: u16 = u16::MAX;

/// The names of syslog facilities.
const FACILITIES: [&str; 12] = [
    "auth", "authpriv", "daemon", "user", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

struct Loader {
    file: String,
    settings: Settings,
    databases: Keyed<DatabaseLine>,
    secured: Keyed<(String, FilePlace)>,
    users: Keyed<UserLine>,
    peers: Keyed<PeerLine>,
    section: Option<Section>,
    has_settings: bool,
    /// Where each setting was set last.
    places: Vec<(&'static str, FilePlace)>,
    warnings: Vec<Diagnostic>,
    errors: Vec<Diagnostic>,
}

/// Lines in the order of their first mention, each key once.
struct Keyed<T> {
    lines: Vec<T>,
    index: Places,
}

impl<T> Keyed<T> {
    fn new() -> Keyed<T> {
        Keyed { lines: Vec::new(), index: Places::default() }
    }

    fn put(&mut self, key: String, line: T) {
        match self.index.get(&key) {
            Some(index) => self.lines[index] = line,
            None => {
                self.index.insert(&key, self.lines.len());
                self.lines.push(line);
            }
        }
    }
}

impl Loader {
    fn new(path: &str, warnings: Vec<Diagnostic>, errors: Vec<Diagnostic>) -> Loader {
        Loader {
            file: path.to_owned(),
            settings: fresh(path),
            databases: Keyed::new(),
            secured: Keyed::new(),
            users: Keyed::new(),
            peers: Keyed::new(),
            section: None,
            has_settings: false,
            places: Vec::new(),
            warnings,
            errors,
        }
    }

    fn line(&mut self, line: IniLine) {
        if self.errors.len() >= ini::ERRORS_MAX {
            return;
        }
        let IniLine { place, item } = line;
        let (key, done) = match item {
            IniItem::Section(name) => (None, self.section(&place, &name)),
            IniItem::Entry { key, value } => {
                let key = readable(&key).into_owned();
                let done = self.entry(&place, &key, &value);
                (Some(key), done)
            }
        };
        if let Err(problem) = done {
            self.errors.push(Diagnostic { place, key, problem });
        }
    }

    fn section(&mut self, place: &FilePlace, name: &str) -> Result<(), ConfigProblem> {
        let known = SECTIONS.iter().find(|(known, _)| *known == name);
        self.section = known.map(|(_, section)| *section);
        let Some(section) = self.section else {
            let nearest = table::nearest(name.trim(), SECTIONS.iter().map(|(name, _)| *name));
            return Err(ConfigProblem::UnknownSection { name: name.to_owned(), nearest });
        };
        if section == Section::Settings {
            if std::mem::replace(&mut self.has_settings, true) && !self.places.is_empty() {
                self.warn(place.clone(), None, ConfigProblem::SectionRepeated);
            }
            self.settings = fresh(&self.file);
            self.places.clear();
        }
        Ok(())
    }

    fn warn(&mut self, place: FilePlace, key: Option<&str>, problem: ConfigProblem) {
        let key = key.map(str::to_owned);
        self.warnings.push(Diagnostic { place, key, problem });
    }

    fn warn_all(&mut self, place: &FilePlace, key: &str, problems: Vec<ConfigProblem>) {
        for problem in problems {
            self.warn(place.clone(), Some(key), problem);
        }
    }

    /// Goes on without a line that PgBouncer takes and that nobody can mean.
    fn leave_out(
        &mut self,
        place: &FilePlace,
        key: &str,
        problem: ConfigProblem,
    ) -> Result<(), ConfigProblem> {
        let key = (!key.is_empty()).then_some(key);
        self.warn(place.clone(), key, ConfigProblem::LeftOut(problem.into()));
        Ok(())
    }

    fn entry(&mut self, place: &FilePlace, key: &str, value: &str) -> Result<(), ConfigProblem> {
        match self.section {
            // An unknown section is one error; its entries are no further errors.
            None if self.errors.iter().any(is_unknown_section) => Ok(()),
            None => Err(ConfigProblem::NoSection),
            Some(Section::Databases | Section::Users) if key.is_empty() => {
                self.leave_out(place, key, ConfigProblem::NoKey)
            }
            Some(_) if key.is_empty() => Err(ConfigProblem::NoKey),
            Some(Section::Settings) => self.setting(place, key, value),
            Some(Section::Databases) => self.database(place, key, value),
            Some(Section::Users) => self.user(place, key, value),
            Some(Section::Peers) => self.peer(place, key, value),
        }
    }

    fn setting(&mut self, place: &FilePlace, key: &str, value: &str) -> Result<(), ConfigProblem> {
        let value = &*readable(value);
        if settings::GONE.contains(&key) {
            self.warn(place.clone(), Some(key), ConfigProblem::Gone);
            return Ok(());
        }
        let name = key;
        let key = canonical(settings::ALIASES, key);
        let row = Settings::row(key);
        if key == "auth_dbname" && value == CONSOLE {
            return Err(ConfigProblem::Value { value: None, error: ValueError::Reserved });
        }
        if let Err(error) = self.settings.set(key, value) {
            let shown = row.filter(|row| row.kind != Kind::Secret).map(|_| value.to_owned());
            let problem = ConfigProblem::Value { value: shown, error };
            let taken = row.and_then(|row| lenient::taken(value, &row.kind));
            let taken = taken.filter(|taken| self.settings.set(key, taken).is_ok());
            let Some(taken) = taken else { return Err(problem) };
            let problem = ConfigProblem::Taken { problem: problem.into(), taken };
            self.warn(place.clone(), Some(name), problem);
        }
        let mode = self.settings.unix_socket_mode;
        if key == "unix_socket_mode" && looks_octal(value) && mode > 0o777 {
            self.warn(place.clone(), Some(name), ConfigProblem::OctalLooking { mode });
        }
        if let Some(row) = row {
            self.places.push((row.name, place.clone()));
        }
        Ok(())
    }

    fn database(
        &mut self,
        place: &FilePlace,
        name: &str,
        value: &str,
    ) -> Result<(), ConfigProblem> {
        match self.database_line(place, name, value) {
            // PgBouncer looks at this line when a database is made of it, and then makes none.
            Err(problem) if name == database::FALLBACK => self.leave_out(place, name, problem),
            done => done,
        }
    }

    fn database_line(
        &mut self,
        place: &FilePlace,
        name: &str,
        value: &str,
    ) -> Result<(), ConfigProblem> {
        if name == CONSOLE {
            return Err(ConfigProblem::Value { value: None, error: ValueError::Reserved });
        }
        check_length(name, DATABASE_NAME_BYTES_MAX)?;
        let mut line = DatabaseLine::named(name.to_owned());
        let rows = DatabaseLine::rows();
        let set = |key: &str, value: &str| line.set(canonical(database::ALIASES, key), value);
        let mut mistakes = fill(value, rows, database::ALIASES, set)?;
        mistakes.extend(check_ports(&mut line.port, &line.host));
        self.warn_all(place, name, mistakes);
        if let (Some(size), Some(min)) = (line.pool_size, line.min_pool_size)
            && size < min
        {
            self.warn(place.clone(), Some(name), ConfigProblem::MinAboveSize { min, size });
        }
        if line.has_security() {
            self.secured.put(name.to_owned(), (name.to_owned(), place.clone()));
        }
        self.databases.put(name.to_owned(), line);
        Ok(())
    }

    fn user(&mut self, place: &FilePlace, name: &str, value: &str) -> Result<(), ConfigProblem> {
        if let Err(problem) = check_length(name, USER_NAME_BYTES_MAX) {
            return self.leave_out(place, name, problem);
        }
        let mut line = UserLine::named(name.to_owned());
        let mistakes = fill(value, UserLine::rows(), &[], |key, value| line.set(key, value))?;
        self.warn_all(place, name, mistakes);
        self.users.put(name.to_owned(), line);
        Ok(())
    }

    fn peer(&mut self, place: &FilePlace, name: &str, value: &str) -> Result<(), ConfigProblem> {
        let id = name.parse().ok().filter(|id| (1..=PEER_ID_MAX).contains(id));
        let mut line = PeerLine::named(id.ok_or(ConfigProblem::PeerId(PEER_ID_MAX))?);
        let mut mistakes = fill(value, PeerLine::rows(), &[], |key, value| line.set(key, value))?;
        line.check().map_err(|error| ConfigProblem::LineValue { key: "host".to_owned(), error })?;
        mistakes.extend(check_ports(&mut line.port, &line.host));
        self.warn_all(place, name, mistakes);
        self.peers.put(line.id.to_string(), line);
        Ok(())
    }

    fn finish(mut self, is_readable: bool) -> Result<Config, Vec<Diagnostic>> {
        if !self.has_settings && is_readable {
            let place = FilePlace::start_of(&self.file);
            self.errors.push(Diagnostic { place, key: None, problem: ConfigProblem::NoSettings });
        }
        self.check_security();
        if !self.errors.is_empty() {
            // What a zero byte has cut off may be why.
            let cuts = self.warnings.iter().filter(|warning| warning.problem == ConfigProblem::Nul);
            self.errors.extend(cuts.cloned());
            return Err(order::sorted(&self.errors, |a, b| a.place.cmp(&b.place)));
        }
        self.review();
        Ok(Config {
            file: self.file,
            settings: self.settings,
            databases: self.databases.lines,
            secured: self.secured.lines,
            users: self.users.lines,
            peers: self.peers.lines,
            warnings: order::sorted(&self.warnings, |a, b| a.place.cmp(&b.place)),
        })
    }

    /// What a line says on TLS must fit together, and fit the settings, which may come later in the
    /// file.
    fn check_security(&mut self) {
        for (name, place) in &self.secured.lines {
            let Some(index) = self.databases.index.get(name) else { continue };
            let line = &self.databases.lines[index];
            let Err((key, error)) = line.security(&self.settings).check() else { continue };
            let problem = ConfigProblem::LineValue { key: key.to_owned(), error };
            let (place, key) = (place.clone(), Some(name.clone()));
            self.errors.push(Diagnostic { place, key, problem });
        }
    }

    /// Warns of settings that will not do what they seem to.
    fn review(&mut self) {
        let defaults = Settings::default();
        for change in defaults.changes(&self.settings) {
            let value = change.new.unwrap_or_default();
            let is_off = matches!(value.as_str(), "" | "disable");
            if !change.row.is_built() && !is_off {
                let instead = INSTEAD.iter().find(|(name, _)| *name == change.row.name);
                let instead = instead.map_or(BUILT_WITHOUT_TLS, |(_, instead)| instead);
                self.warn_at(change.row.name, ConfigProblem::Unbuilt { instead });
            }
        }
        let facility = self.settings.syslog_facility.to_ascii_lowercase();
        if !FACILITIES.contains(&facility.as_str()) {
            self.warn_at("syslog_facility", ConfigProblem::UnknownFacility);
        }
        let (min, size) = (self.settings.min_pool_size, self.settings.default_pool_size);
        if size < min {
            self.warn_at("min_pool_size", ConfigProblem::MinAboveSize { min, size });
        }
    }

    /// Warns of a setting, at the line that set it.
    fn warn_at(&mut self, name: &'static str, problem: ConfigProblem) {
        let place = self.places.iter().rfind(|(set, _)| *set == name);
        let place = place.map(|(_, place)| place.clone());
        self.warn(place.unwrap_or_else(|| FilePlace::start_of(&self.file)), Some(name), problem);
    }
}

/// Whether a number is decimal, and could be a mode if it were octal.
fn looks_octal(text: &str) -> bool {
    !text.starts_with('0') && text.len() <= 4 && text.bytes().all(|b| (b'0'..=b'7').contains(&b))
}

fn fresh(path: &str) -> Settings {
    let mut settings = Settings::default();
    settings.conffile.replace(path.to_owned());
    settings
}

fn is_unknown_section(error: &Diagnostic) -> bool {
    matches!(error.problem, ConfigProblem::UnknownSection { .. })
}

/// The present name of `key`.
fn canonical<'a>(aliases: &[(&str, &'a str)], key: &'a str) -> &'a str {
    aliases.iter().find(|(old, _)| *old == key).map_or(key, |(_, new)| *new)
}

fn check_length(name: &str, max: usize) -> Result<(), ConfigProblem> {
    if name.len() > max { Err(ConfigProblem::NameTooLong(max)) } else { Ok(()) }
}

/// Leaves the first port where there are more or fewer than hosts, as PgBouncer does.
fn check_ports(ports: &mut Ports, hosts: &Hosts) -> Option<ConfigProblem> {
    let error = ports.check(hosts).err()?;
    *ports = ports.first();
    let taken = ports.show(&Kind::Ports).unwrap_or_default();
    let problem = ConfigProblem::LineValue { key: "port".to_owned(), error };
    Some(ConfigProblem::Taken { problem: problem.into(), taken })
}

/// Takes a connection string apart and hands its keys to `set`. Returns the errors that PgBouncer
/// tolerates.
fn fill(
    text: &str,
    rows: &'static [SettingRow],
    aliases: &[(&str, &str)],
    mut set: impl FnMut(&str, &str) -> Result<(), ValueError>,
) -> Result<Vec<ConfigProblem>, ConfigProblem> {
    let Pairs { pairs, mistakes } = line::pairs(text).map_err(ConfigProblem::Line)?;
    let mut mistakes: Vec<_> = mistakes.into_iter().map(ConfigProblem::Line).collect();
    for (index, (key, value)) in pairs.iter().enumerate() {
        let row = table::row(rows, canonical(aliases, key));
        let is_secret = row.is_some_and(|row| row.kind == Kind::Secret);
        let value = if is_secret { Cow::from(value) } else { readable(value) };
        let Err(error) = set(key, &value) else { continue };
        let is_known = !matches!(error, ValueError::UnknownKey { nearest: None });
        let told = if is_known { key.clone() } else { line::told(key, &pairs[..index]) };
        let problem = ConfigProblem::LineValue { key: told, error };
        let taken = row.and_then(|row| lenient::taken(&value, &row.kind));
        let taken = taken.filter(|taken| set(key, taken).is_ok());
        let Some(taken) = taken else { return Err(problem) };
        mistakes.push(ConfigProblem::Taken { problem: problem.into(), taken });
    }
    Ok(mistakes)
}

/// What to do instead of a setting that has no effect.
const INSTEAD: [(&str, &str); 2] = [
    (
        "dns_zone_check_period",
        "every name is looked up again after dns_max_ttl, whatever its zone says",
    ),
    (
        "resolv_conf",
        "the system's resolver is asked, by /etc/resolv.conf; for another file, give the service \
         one of its own there: BindReadOnlyPaths=FILE:/etc/resolv.conf in its systemd unit",
    ),
];

const BUILT_WITHOUT_TLS: &str = "this program was built without TLS";

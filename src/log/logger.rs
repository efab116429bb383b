//! Where lines go: the standard error stream, a file, the system's log.
//!
//! The file is opened for appending and every line is one write, so that several processes and a
//! `logrotate` that copies and truncates can share it, and a line that was written is never lost
//! with the process. The log waits for no place: a line that a place does not take is lost there
//! and counted, and the count is written there as soon as the place takes lines again.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::{env, fmt, process};

use crate::base::time::{LocalSecond, Now};
use crate::log::line;
use crate::log::sink::Sink;
use crate::log::syslog::Syslog;
use crate::log::{Level, LogMessage, SyslogOptions};

/// What the log needs of the system beyond files.
pub trait Platform {
    /// The local date, time and zone of a second since 1970-01-01 UTC.
    fn local_second(&self, unix_seconds: u64) -> LocalSecond;
    /// Writes to the standard error stream what it takes at once; `WouldBlock` when that is
    /// nothing.
    fn write_stderr(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Writes nothing to the standard error stream from now on.
    fn close_stderr(&mut self);
}

/// What a line looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// An object of JSON.
    Json,
    /// What PgBouncer writes.
    Plain,
}

/// What is written, and where to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Whether lines go to the standard error stream (not with `-q`, not in the background).
    pub stderr: bool,
    pub file: Option<PathBuf>,
    pub syslog: Option<SyslogOptions>,
    /// The least important level that is written.
    pub threshold: Level,
    pub format: Format,
}

/// The open log.
pub struct Logger {
    options: Options,
    file: Option<File>,
    syslog: Option<Syslog>,
    /// Whether the standard error stream leads anywhere; options cannot bring it back.
    has_stderr: bool,
    /// Whether the standard error stream is the journal's.
    is_journal: bool,
    platform: Box<dyn Platform>,
    pid: u32,
    /// The last second that was formatted, kept because many lines share it.
    second: (u64, LocalSecond),
    /// The line under construction, kept for its memory.
    line: String,
    /// What became of the lines of each [`SinkKind`].
    sinks: [Sink; 3],
}

/// Where a line can go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SinkKind {
    System,
    File,
    Stderr,
}

/// The file comes before the stream: somebody who saw a line on the stream may look for it in the
/// file.
const PLACES: [SinkKind; 3] = [SinkKind::System, SinkKind::File, SinkKind::Stderr];

impl SinkKind {
    fn words(self) -> &'static str {
        match self {
            SinkKind::System => "the system's log",
            SinkKind::File => "the log file",
            SinkKind::Stderr => "the standard error stream",
        }
    }
}

impl Logger {
    /// A log that writes to the standard error stream only: what there is before the
    /// configuration is known.
    pub fn new(platform: Box<dyn Platform>) -> Logger {
        Logger {
            options: Options {
                stderr: true,
                file: None,
                syslog: None,
                threshold: Level::Log,
                format: Format::Plain,
            },
            file: None,
            syslog: None,
            has_stderr: true,
            is_journal: is_journal(),
            platform,
            pid: process::id(),
            second: (u64::MAX, LocalSecond::default()),
            line: String::new(),
            sinks: Default::default(),
        }
    }

    /// Whether a line of this level would be written: to be asked before the line is made.
    pub fn is_enabled(&self, level: Level) -> bool {
        level <= self.options.threshold
    }

    /// Writes one line to every place there is, and waits for none.
    pub fn write(&mut self, now: Now, level: Level, text: &str) {
        self.write_message(now, level, LogMessage { text, details: None });
    }

    /// The same for a line that may have fields beside its text.
    pub fn write_message(&mut self, now: Now, level: Level, message: LogMessage<'_>) {
        if !self.is_enabled(level) {
            return;
        }
        for place in PLACES {
            if self.is_open(place) && self.tell_lost(place, now) {
                self.send(place, now, level, message);
            } else if self.is_open(place) {
                self.sinks[place as usize].lost += 1;
            }
        }
    }

    /// Takes over new options. When the new file cannot be opened all stays as it was.
    pub fn configure(&mut self, options: Options) -> Result<(), LogError> {
        if options.file != self.options.file {
            self.file = options.file.as_deref().map(open).transpose()?;
            self.sinks[SinkKind::File as usize].forget_rest();
        }
        if options.syslog != self.options.syslog {
            self.syslog = options.syslog.clone().map(Syslog::new);
        }
        self.options = options;
        Ok(())
    }

    /// Opens the file again under its name, after it was moved away. On an error the old one stays
    /// open.
    pub fn reopen(&mut self) -> Result<(), LogError> {
        if let Some(path) = &self.options.file {
            self.file = Some(open(path)?);
            self.sinks[SinkKind::File as usize].forget_rest();
        }
        Ok(())
    }

    /// What is written, and where to.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The process went into the background: its process id is another one, and its standard error
    /// stream leads nowhere.
    pub fn went_into_background(&mut self) {
        self.pid = process::id();
        self.has_stderr = false;
        self.platform.close_stderr();
    }

    fn is_open(&self, place: SinkKind) -> bool {
        match place {
            SinkKind::System => self.syslog.is_some(),
            SinkKind::File => self.file.is_some(),
            SinkKind::Stderr => self.options.stderr && self.has_stderr,
        }
    }

    /// Says how many lines the place did not take, if it takes lines again; false if it does not.
    fn tell_lost(&mut self, place: SinkKind, now: Now) -> bool {
        let lost = self.sinks[place as usize].lost;
        if lost == 0 {
            return true;
        }
        let text = format!("lines that {} did not take: {lost}", place.words());
        self.sinks[place as usize].lost = 0;
        let message = LogMessage { text: &text, details: None };
        let is_told = self.send(place, now, Level::Warning, message);
        if !is_told {
            self.sinks[place as usize].lost = lost;
        }
        is_told
    }

    /// Gives a line to a place. False if the place does not take the line, which is counted there.
    fn send(&mut self, place: SinkKind, now: Now, level: Level, message: LogMessage<'_>) -> bool {
        self.make_line(place, now, level, message);
        let bytes = self.line.as_bytes();
        let sink = &mut self.sinks[place as usize];
        match (place, &mut self.file, &self.syslog) {
            (SinkKind::System, _, Some(syslog)) => sink.put(bytes, &mut |line| syslog.send(line)),
            (SinkKind::File, Some(file), _) => sink.put(bytes, &mut |part| file.write(part)),
            (SinkKind::Stderr, _, _) => {
                let platform = &mut self.platform;
                sink.put(bytes, &mut |part| platform.write_stderr(part))
            }
            (SinkKind::System | SinkKind::File, _, _) => false,
        }
    }

    /// Puts the line into `self.line`, in the form that the place wants.
    fn make_line(&mut self, place: SinkKind, now: Now, level: Level, message: LogMessage<'_>) {
        let text = match self.options.format {
            Format::Json => Cow::Owned(line::object(now, self.pid, level, message)),
            Format::Plain => line::clean(message.text),
        };
        let is_plain = self.options.format == Format::Plain;
        let seconds = now.wall_us / 1_000_000;
        if self.second.0 != seconds {
            self.second = (seconds, self.platform.local_second(seconds));
        }
        self.line.clear();
        let line = &mut self.line;
        match (place, &self.syslog) {
            (SinkKind::Stderr, _) if self.is_journal => line::journal(line, level, &text),
            (SinkKind::System, Some(syslog)) => {
                line::syslog(line, syslog.options(), &self.second.1, self.pid, level, &text);
            }
            _ if is_plain => line::timed(line, now, &self.second.1, self.pid, level, &text),
            _ => {
                line.push_str(&text);
                line.push('\n');
            }
        }
    }
}

/// Why the log cannot be had as configured.
#[derive(Debug)]
pub enum LogError {
    Open { path: PathBuf, error: io::Error },
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            // PgBouncer's words, for tools and people that search for them.
            LogError::Open { path, error } => {
                write!(f, "Cannot open logfile: '{}': {}", path.display(), plain(error))
            }
        }
    }
}

/// The system's words for an error, without the number that std adds.
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error ") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

/// Without blocking, so that the log waits neither for a reader nor for room if the file is a pipe.
fn open(path: &Path) -> Result<File, LogError> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o644)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(|error| LogError::Open { path: path.to_owned(), error })
}

/// Whether the standard error stream leads to the journal: `JOURNAL_STREAM` names the device and
/// inode of the stream that the service manager made (systemd.exec(5)), and a stream that was
/// redirected since is another one.
pub fn is_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    let Some((device, inode)) = stream.split_once(':') else { return false };
    let Ok(fd) = io::stderr().as_fd().try_clone_to_owned() else { return false };
    let Ok(found) = File::from(fd).metadata() else { return false };
    device.parse() == Ok(found.dev()) && inode.parse() == Ok(found.ino())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::base::time::Moment;
    use crate::log::{
        ConnectionOwner, ConnectionSide, Details, LogFields, LogValue, PeerAddress, Prefix, ptr,
    };

    struct FakePlatform;

    impl Platform for FakePlatform {
        fn local_second(&self, unix_seconds: u64) -> LocalSecond {
            let date_time = format!("2026-01-07 15:05:{:02}", unix_seconds % 60);
            LocalSecond { date_time, zone: "XYZ".to_owned() }
        }
        fn write_stderr(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }
        fn close_stderr(&mut self) {}
    }

    const NOW: Now = Now { mono: Moment(0), wall_us: 7_042_000 };

    /// A quiet log into a file of its own, whose name ends in `name`.
    fn quiet(name: &str) -> (Logger, Options, PathBuf) {
        let logger = Logger::new(Box::new(FakePlatform));
        let path = env::temp_dir().join(format!("pgbouncer-log-{}-{name}", process::id()));
        let _ = fs::remove_file(&path);
        let options = Options {
            stderr: false,
            file: Some(path.clone()),
            syslog: None,
            threshold: Level::Log,
            format: Format::Plain,
        };
        (logger, options, path)
    }

    #[test]
    fn a_line_is_in_the_file_as_soon_as_it_is_written() {
        let (mut logger, options, path) = quiet("at-once");
        logger.configure(options).expect("open");
        logger.write(NOW, Level::Log, "one\ntwo");
        logger.write(NOW, Level::Debug, "not at this verbosity");
        let pid = process::id();
        let text = fs::read_to_string(&path).expect("log");
        assert_eq!(text, format!("2026-01-07 15:05:07.042 XYZ [{pid}] LOG one\n\ttwo\n"));
        fs::remove_file(path).expect("remove");
    }

    #[test]
    fn a_file_moved_away_is_opened_again_under_its_name() {
        let (mut logger, options, path) = quiet("moved");
        logger.configure(options).expect("open");
        let moved = path.with_extension("1");
        fs::rename(&path, &moved).expect("rename");
        logger.write(NOW, Level::Log, "to the old one");
        logger.reopen().expect("reopen");
        logger.write(NOW, Level::Log, "to the new one");
        assert!(fs::read_to_string(&moved).expect("old").ends_with("LOG to the old one\n"));
        assert!(fs::read_to_string(&path).expect("new").ends_with("LOG to the new one\n"));
        fs::remove_file(path).expect("remove");
        fs::remove_file(moved).expect("remove");
    }

    #[test]
    fn when_the_new_file_cannot_be_opened_the_old_one_goes_on() {
        let (mut logger, options, path) = quiet("kept");
        logger.configure(options.clone()).expect("open");
        let bad = Options { file: Some("/nonexistent/log".into()), ..options };
        let error = logger.configure(bad).expect_err("cannot be opened");
        assert_eq!(
            error.to_string(),
            "Cannot open logfile: '/nonexistent/log': No such file or directory"
        );
        logger.write(NOW, Level::Error, "still here");
        assert!(fs::read_to_string(&path).expect("log").contains("ERROR still here"));
        fs::remove_file(path).expect("remove");
    }

    #[test]
    fn the_systems_log_gets_a_datagram_and_is_not_waited_for() {
        let (mut logger, options, path) = quiet("syslog");
        let daemon = UnixDatagram::bind(&path).expect("bind");
        daemon.set_nonblocking(true).expect("a flag");
        let syslog = SyslogOptions { path: path.clone(), ident: "bouncer".to_owned(), facility: 3 };
        let options = Options { file: None, syslog: Some(syslog), ..options };
        logger.configure(options).expect("nothing to open");
        let read = || {
            let mut bytes = [0; 256];
            let length = daemon.recv(&mut bytes).ok()?;
            Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
        };
        logger.write(NOW, Level::Warning, "hm");
        let pid = process::id();
        assert_eq!(read(), Some(format!("<28>Jan  7 15:05:07 bouncer[{pid}]: hm")));
        const MANY: usize = 5000;
        (0..MANY).for_each(|_| logger.write(NOW, Level::Log, "nobody reads"));
        let taken = std::iter::from_fn(read).count();
        assert!((1..MANY).contains(&taken), "{taken}");
        logger.write(NOW, Level::Log, "somebody reads");
        let told = format!("did not take: {}", MANY - taken);
        assert!(read().is_some_and(|line| line.ends_with(&told)), "{taken}");
        assert!(read().is_some_and(|line| line.ends_with(": somebody reads")));
        fs::remove_file(path).expect("remove");
    }

    #[test]
    fn lines_of_json_tell_what_is_known_apart_and_hold_no_byte_that_acts() {
        let (mut logger, options, path) = quiet("json");
        logger.configure(Options { format: Format::Json, ..options }).expect("open");
        let prefix = Prefix {
            side: ConnectionSide::Client,
            ptr: ptr(1, ConnectionSide::Client),
            who: ConnectionOwner::Login {
                database: Some("a\"b/c@d"),
                user: Some("\u{1b}[2J\n{\u{85}"),
            },
            peer: PeerAddress::Tcp { ip: [10, 0, 0, 7].into(), port: 5000 },
        };
        let text = format!("{prefix}closing because: x (age=3s)\n");
        let length = prefix.to_string().len();
        let fields: LogFields<'_> =
            &[("reason", LogValue::Text("x")), ("age", LogValue::Number(3))];
        let details = Details::new(Some((&prefix, length)), fields);
        let message = LogMessage { text: &text, details: Some(&details) };
        logger.write_message(NOW, Level::Log, message);
        logger.write(NOW, Level::Warning, "two\nlines");
        let pid = process::id();
        let begin = "{\"time\":\"1970-01-01T00:00:07.042Z\",\"level\":";
        let expected = format!(
            "{begin}\"LOG\",\"pid\":{pid},\"connection\":\"C-0x550000000040\",\
             \"database\":\"a\\\"b/c@d\",\"user\":\"\\u001b[2J\\n{{\\u0085\",\
             \"address\":\"10.0.0.7:5000\",\"reason\":\"x\",\"age\":3,\
             \"message\":\"closing because: x (age=3s)\"}}\n\
             {begin}\"WARNING\",\"pid\":{pid},\"message\":\"two\\nlines\"}}\n"
        );
        assert_eq!(fs::read_to_string(&path).expect("log"), expected);
        fs::remove_file(path).expect("remove");
    }

    #[test]
    fn an_object_stands_behind_the_head_that_syslog_and_the_journal_want() {
        let (mut logger, options, _) = quiet("heads");
        let syslog = SyslogOptions { path: "/x".into(), ident: "b".to_owned(), facility: 3 };
        let options = Options { format: Format::Json, syslog: Some(syslog), ..options };
        logger.configure(Options { file: None, ..options }).expect("nothing to open");
        logger.is_journal = true;
        let pid = process::id();
        let message = LogMessage { text: "a\nb", details: None };
        let mut line = |place| {
            logger.make_line(place, NOW, Level::Warning, message);
            logger.line.clone()
        };
        let object = format!(
            "{{\"time\":\"1970-01-01T00:00:07.042Z\",\"level\":\"WARNING\",\"pid\":{pid},\
             \"message\":\"a\\nb\"}}"
        );
        assert_eq!(line(SinkKind::Stderr), format!("<4>{object}\n"));
        assert_eq!(line(SinkKind::System), format!("<28>Jan  7 15:05:07 b[{pid}]: {object}"));
        assert_eq!(line(SinkKind::File), format!("{object}\n"));
    }

    #[test]
    fn lines_lost_to_a_full_disk_are_counted_and_told() {
        let (mut logger, options, path) = quiet("full");
        logger
            .configure(Options { file: Some("/dev/full".into()), ..options.clone() })
            .expect("open");
        logger.write(NOW, Level::Log, "lost");
        logger.write(NOW, Level::Log, "lost too");
        logger.configure(options).expect("open");
        logger.write(NOW, Level::Log, "there is room again");
        let text = fs::read_to_string(&path).expect("log");
        assert!(text.contains("LOG there is room again\n"), "{text}");
        assert!(text.contains("did not take: 2\n"), "{text}");
        fs::remove_file(path).expect("remove");
    }
}

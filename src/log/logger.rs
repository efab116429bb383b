//! Where lines go: the standard error stream, a file, the system's log.
//!
//! The file is opened for appending and every line is one write, so that several processes and a
//! `logrotate` that copies and truncates can share it, and a line that was written is never lost
//! with the process.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::{env, fmt, process};

use crate::base::time::Now;
use crate::log::line::{self, LocalSecond};
use crate::log::{Level, SyslogOptions};

/// What the log needs of the system beyond files.
pub trait Platform {
    /// The local date, time and zone of a second since 1970-01-01 UTC.
    fn local_second(&self, unix_seconds: u64) -> LocalSecond;
    /// Opens the system's log, anew when it is open already; None closes it.
    fn open_syslog(&mut self, options: Option<&SyslogOptions>);
    /// Sends a message to the system's log, when it is open.
    fn syslog(&mut self, level: Level, message: &str);
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
}

/// The open log.
pub struct Logger {
    options: Options,
    file: Option<File>,
    /// Whether the standard error stream leads anywhere; options cannot bring it back.
    has_stderr: bool,
    /// Whether the standard error stream is the journal's.
    is_journal: bool,
    platform: Box<dyn Platform>,
    pid: u32,
    /// The last second that was put into words, kept because many lines share it.
    second: (u64, LocalSecond),
    /// The line under construction, kept for its memory.
    line: String,
    /// Lines that the file did not take, and that it was not told of yet.
    lost: u64,
    /// Whether the last line was one of them.
    is_losing: bool,
}

impl Logger {
    /// A log that writes to the standard error stream only: what there is before the
    /// configuration is known.
    pub fn new(platform: Box<dyn Platform>) -> Logger {
        Logger {
            options: Options { stderr: true, file: None, syslog: None, threshold: Level::Log },
            file: None,
            has_stderr: true,
            is_journal: is_journal(),
            platform,
            pid: process::id(),
            second: (u64::MAX, LocalSecond::default()),
            line: String::new(),
            lost: 0,
            is_losing: false,
        }
    }

    /// Whether a line of this level would be written: ask before making words for it.
    pub fn is_enabled(&self, level: Level) -> bool {
        level <= self.options.threshold
    }

    /// Writes one line to every place there is. What a place does not take is lost there.
    pub fn write(&mut self, now: Now, level: Level, message: &str) {
        if !self.is_enabled(level) {
            return;
        }
        let message = line::clean(message);
        if self.options.syslog.is_some() {
            self.platform.syslog(level, &message);
        }
        let stderr = self.options.stderr && self.has_stderr;
        if stderr && self.is_journal {
            self.line.clear();
            line::journal(&mut self.line, level, &message);
            let _ = io::stderr().write_all(self.line.as_bytes());
        }
        let wants_stderr = stderr && !self.is_journal;
        if !wants_stderr && self.file.is_none() {
            return;
        }
        self.make_line(now, level, &message);
        // The file first: who saw a line on the stream may look for it in the file.
        self.write_file();
        if wants_stderr {
            let _ = io::stderr().write_all(self.line.as_bytes());
        }
        self.tell_lost(now);
    }

    /// Takes over new options. When the new file cannot be opened all stays as it was.
    pub fn configure(&mut self, options: Options) -> Result<(), LogError> {
        if options.file != self.options.file {
            self.file = options.file.as_deref().map(open).transpose()?;
        }
        if options.syslog != self.options.syslog {
            self.platform.open_syslog(options.syslog.as_ref());
        }
        self.options = options;
        Ok(())
    }

    /// Opens the file again under its name, for whoever moved it away. On an error the old one
    /// stays open.
    pub fn reopen(&mut self) -> Result<(), LogError> {
        if let Some(path) = &self.options.file {
            self.file = Some(open(path)?);
        }
        Ok(())
    }

    /// What is written, and where to.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The process went into the background: its number is another one, and its standard error
    /// stream leads nowhere.
    pub fn went_into_background(&mut self) {
        self.pid = process::id();
        self.has_stderr = false;
    }

    /// Puts the line for people into `self.line`.
    fn make_line(&mut self, now: Now, level: Level, message: &str) {
        let seconds = now.wall_us / 1_000_000;
        if self.second.0 != seconds {
            self.second = (seconds, self.platform.local_second(seconds));
        }
        self.line.clear();
        line::timed(&mut self.line, now, &self.second.1, self.pid, level, message);
    }

    /// Writes `self.line` to the file, or counts it as lost.
    fn write_file(&mut self) {
        let Some(file) = &mut self.file else { return };
        if file.write_all(self.line.as_bytes()).is_err() {
            self.lost = self.lost.saturating_add(1);
            self.is_losing = true;
        } else {
            self.is_losing = false;
        }
    }

    /// Once the file takes lines again, says how many it did not.
    fn tell_lost(&mut self, now: Now) {
        if self.lost == 0 || self.is_losing {
            return;
        }
        let message = format!("lines that the log file did not take: {}", self.lost);
        self.make_line(now, Level::Warning, &message);
        self.write_file();
        if !self.is_losing {
            self.lost = 0;
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
            // The words that the reference uses, for those who look for them.
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

fn open(path: &Path) -> Result<File, LogError> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o644)
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
    use std::sync::mpsc::{self, Receiver, Sender};

    use super::*;
    use crate::base::time::Moment;

    struct FakePlatform {
        sent: Sender<String>,
        is_open: bool,
    }

    impl Platform for FakePlatform {
        fn local_second(&self, unix_seconds: u64) -> LocalSecond {
            LocalSecond { date_time: format!("second {unix_seconds}"), zone: "XYZ".to_owned() }
        }
        fn open_syslog(&mut self, options: Option<&SyslogOptions>) {
            self.is_open = options.is_some();
        }
        fn syslog(&mut self, level: Level, message: &str) {
            assert!(self.is_open);
            self.sent.send(format!("{level} {message}")).expect("somebody listens");
        }
    }

    const NOW: Now = Now { mono: Moment(0), wall_us: 7_042_000 };

    /// A quiet log into a file of its own, whose name ends in `name`.
    fn quiet(name: &str) -> (Logger, Options, PathBuf, Receiver<String>) {
        let (sender, sent) = mpsc::channel();
        let logger = Logger::new(Box::new(FakePlatform { sent: sender, is_open: false }));
        let path = env::temp_dir().join(format!("pgbouncer-log-{}-{name}", process::id()));
        let _ = fs::remove_file(&path);
        let options = Options {
            stderr: false,
            file: Some(path.clone()),
            syslog: None,
            threshold: Level::Log,
        };
        (logger, options, path, sent)
    }

    #[test]
    fn a_line_is_in_the_file_as_soon_as_it_is_written() {
        let (mut logger, options, path, _) = quiet("at-once");
        logger.configure(options).expect("open");
        logger.write(NOW, Level::Log, "one\ntwo");
        logger.write(NOW, Level::Debug, "not at this verbosity");
        let pid = process::id();
        let text = fs::read_to_string(&path).expect("log");
        assert_eq!(text, format!("second 7.042 XYZ [{pid}] LOG one\n\ttwo\n"));
        fs::remove_file(path).expect("remove");
    }

    #[test]
    fn a_file_moved_away_is_opened_again_under_its_name() {
        let (mut logger, options, path, _) = quiet("moved");
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
        let (mut logger, options, path, _) = quiet("kept");
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
    fn the_systems_log_gets_the_bare_message() {
        let (mut logger, options, _, sent) = quiet("syslog");
        let syslog = SyslogOptions { ident: "pgbouncer".to_owned(), facility: 3 };
        logger
            .configure(Options { file: None, syslog: Some(syslog), ..options })
            .expect("nothing to open");
        logger.write(NOW, Level::Warning, "hm");
        assert_eq!(sent.try_iter().collect::<Vec<_>>(), ["WARNING hm"]);
    }

    #[test]
    fn lines_lost_to_a_full_disk_are_counted_and_told() {
        let (mut logger, options, path, _) = quiet("full");
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

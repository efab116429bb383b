//! The pid file: it tells scripts the process id, and its lock keeps a second instance out.
//!
//! A lock on the file decides whether its instance still runs: the kernel releases the lock when
//! the process ends. The number in the file decides nothing: after a crash it may belong to any
//! other process, in a container even to this one.
//!
//! Only a regular file at that path is overwritten: no target of a link, and no pipe.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;

use crate::log::plain;
use crate::sys::lock;

/// How often to try again if the file is replaced meanwhile.
const ATTEMPTS_MAX: u32 = 8;

/// The pid file of this process: locked while the value lives, removed when it is dropped.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    /// The open file, which keeps the lock.
    file: File,
}

#[derive(Debug)]
pub enum PidFileError {
    /// Another instance has the lock. `pid` is the number in the file, if it can be read.
    InUse {
        path: PathBuf,
        pid: Option<u32>,
    },
    Io {
        path: PathBuf,
        error: io::Error,
    },
    /// The path is not a regular file, so it is not overwritten.
    NoFile {
        path: PathBuf,
    },
}

/// What was found at the path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FoundPidFile {
    Nothing,
    /// The file of an instance that no longer runs.
    Stale,
}

/// Fails if another instance holds the file. Changes nothing.
pub fn check_free(path: &Path) -> Result<FoundPidFile, PidFileError> {
    // Other problems of the path are reported when the file is written.
    let Ok(file) = without_following(OpenOptions::new().read(true)).open(path) else {
        return Ok(FoundPidFile::Nothing);
    };
    if is_free(&file) { Ok(FoundPidFile::Stale) } else { Err(in_use(path, file)) }
}

impl PidFile {
    /// Locks the file and writes this process's id into it.
    pub fn create(path: &Path) -> Result<PidFile, PidFileError> {
        let failed = |error| PidFileError::Io { path: path.to_owned(), error };
        for _ in 0..ATTEMPTS_MAX {
            let mut file = match open(path) {
                // Another user's old file cannot be written, but perhaps it can be replaced.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    check_free(path)?;
                    fs::remove_file(path).map_err(|_| failed(error))?;
                    continue;
                }
                result => result.map_err(failed)?,
            };
            if !file.metadata().map_err(failed)?.is_file() {
                return Err(PidFileError::NoFile { path: path.to_owned() });
            }
            if !is_free(&file) {
                return Err(in_use(path, file));
            }
            // The last owner may have removed the file after it was opened. Then this lock is on a
            // file that no other process can find.
            if !is_at(&file, path) {
                continue;
            }
            file.set_len(0).map_err(failed)?;
            writeln!(file, "{}", process::id()).map_err(failed)?;
            return Ok(PidFile { path: path.to_owned(), file });
        }
        Err(failed(io::ErrorKind::ResourceBusy.into()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if is_at(&self.file, &self.path) {
            // The process ends, so a file that stays is stale from now on.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl fmt::Display for PidFileError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            PidFileError::InUse { path, pid } => {
                write!(f, "pidfile '{}' exists, another instance running?", path.display())?;
                pid.map_or(Ok(()), |pid| write!(f, " (process {pid})"))
            }
            PidFileError::Io { path, error } => {
                write!(f, "could not open pidfile '{}': {}", path.display(), plain(error))?;
                match error.raw_os_error() {
                    Some(libc::ELOOP) => f.write_str(": it must not be a symbolic link"),
                    _ => Ok(()),
                }
            }
            PidFileError::NoFile { path } => {
                write!(f, "could not open pidfile '{}': Not a regular file", path.display())
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    without_following(&mut options).open(path)
}

/// Opens without following a link, and without waiting for a pipe.
fn without_following(options: &mut OpenOptions) -> &mut OpenOptions {
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
}

/// Takes the lock for as long as `file` is open. On a file system without locks every process gets
/// it; then the addresses in use keep a second instance out.
fn is_free(file: &File) -> bool {
    lock::try_lock(file).unwrap_or(true)
}

fn in_use(path: &Path, file: File) -> PidFileError {
    const DIGITS: u64 = 16;
    let mut text = String::new();
    // A number that cannot be read is not reported.
    let _ = file.take(DIGITS).read_to_string(&mut text);
    PidFileError::InUse { path: path.to_owned(), pid: text.trim().parse().ok() }
}

/// Whether the open file is still the one at the path.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => {
            named.is_file() && (open.dev(), open.ino()) == (named.dev(), named.ino())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;

    fn path(name: &str) -> PathBuf {
        let path = env::temp_dir().join(format!("pgbouncer-pid-{}-{name}", process::id()));
        let _ = fs::remove_file(&path);
        path
    }

    #[test]
    fn it_holds_our_number_and_goes_with_us() {
        let path = path("plain");
        let held = PidFile::create(&path).expect("create");
        assert_eq!(fs::read_to_string(&path).expect("read"), format!("{}\n", process::id()));
        drop(held);
        assert!(!path.exists());
    }

    #[test]
    fn a_second_instance_is_refused_while_the_first_lives() {
        let path = path("second");
        let held = PidFile::create(&path).expect("create");
        let expected = format!(
            "pidfile '{}' exists, another instance running? (process {})",
            path.display(),
            process::id()
        );
        assert_eq!(check_free(&path).expect_err("held").to_string(), expected);
        assert_eq!(PidFile::create(&path).expect_err("held").to_string(), expected);
        drop(held);
        assert_eq!(check_free(&path).expect("free"), FoundPidFile::Nothing);
    }

    #[test]
    fn a_stale_file_is_no_obstacle_whatever_number_it_holds() {
        let path = path("stale");
        for number in [process::id().to_string(), "1".to_owned(), "junk".repeat(99), "".to_owned()]
        {
            fs::write(&path, &number).expect("write");
            assert_eq!(check_free(&path).expect("stale"), FoundPidFile::Stale);
            let held = PidFile::create(&path).expect("taken over");
            assert_eq!(fs::read_to_string(&path).expect("read"), format!("{}\n", process::id()));
            drop(held);
        }
    }

    #[test]
    fn a_file_that_replaced_ours_is_left_alone() {
        let path = path("replaced");
        let held = PidFile::create(&path).expect("create");
        fs::remove_file(&path).expect("remove");
        fs::write(&path, "another").expect("write");
        drop(held);
        assert_eq!(fs::read_to_string(&path).expect("still there"), "another");
        fs::remove_file(&path).expect("remove");
    }

    #[test]
    fn what_a_link_leads_to_is_not_written_over() {
        let (path, precious) = (path("link"), path("precious"));
        fs::write(&precious, "precious").expect("write");
        std::os::unix::fs::symlink(&precious, &path).expect("link");
        let error = PidFile::create(&path).expect_err("a link").to_string();
        assert!(error.ends_with(": it must not be a symbolic link"), "{error}");
        assert_eq!(fs::read_to_string(&precious).expect("read"), "precious");
        fs::remove_file(&path).expect("remove");
        fs::remove_file(&precious).expect("remove");
    }

    #[test]
    fn a_pipe_in_its_place_is_refused_at_once() {
        let path = path("pipe");
        assert!(process::Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
        assert_eq!(check_free(&path).expect("told when it is written"), FoundPidFile::Stale);
        let error = PidFile::create(&path).expect_err("a pipe").to_string();
        assert!(error.ends_with(": Not a regular file"), "{error}");
        fs::remove_file(&path).expect("remove");
    }

    #[test]
    fn a_path_that_cannot_be_written_is_named() {
        let error = PidFile::create(Path::new("/nonexistent/x.pid")).expect_err("no directory");
        assert_eq!(
            error.to_string(),
            "could not open pidfile '/nonexistent/x.pid': No such file or directory"
        );
    }
}

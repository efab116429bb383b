//! What the next RELOAD would change, for the page. The files are read only while a browser asks,
//! not too often, and in a thread beside the loop, since a disk may be slow and a network file
//! system may hang.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::words;
use crate::base::time::Moment;
use crate::config::{self, Config, Diagnostic};
use crate::net::jobs::{Jobs, Wake};
use crate::pages::PendingReload;
use crate::pool::core::Core;

/// How often the file is checked for changes.
const LOOK_PAUSE: Duration = Duration::from_secs(10);

/// An unchanged file is read again after this time: files that it includes may have changed.
const READ_PAUSE: Duration = Duration::from_secs(120);

const STACK_BYTES: usize = 1024 * 1024;

/// The modification time and the length of a file.
type ModifiedStamp = Option<(SystemTime, u64)>;

/// The function that reads a file.
type Read = fn(&Path) -> Result<Config, Vec<Diagnostic>>;

pub struct Lookout {
    jobs: Jobs<Moment, FoundChange>,
    /// Whether a thread is reading.
    is_busy: bool,
    read: Read,
    looked_at: Option<Moment>,
    /// When the file was last read, with its stamp.
    known: Option<(Moment, ModifiedStamp)>,
}

/// `None` if the file has not changed.
type FoundChange = Option<Box<(ModifiedStamp, Result<Config, Vec<Diagnostic>>)>>;

impl Lookout {
    pub fn new(wake: Wake, read: Read) -> Lookout {
        let jobs = Jobs::new("configuration", STACK_BYTES, wake);
        Lookout { jobs, is_busy: false, read, looked_at: None, known: None }
    }

    /// Forgets everything, after a RELOAD.
    pub fn forget(&mut self) {
        self.looked_at = None;
        self.known = None;
    }

    /// A browser asks. [`Self::collect`] gets the result.
    pub fn ask(&mut self, now: Moment, file: impl Fn() -> PathBuf) {
        let is_early = self.looked_at.is_some_and(|at| now.since(at) < LOOK_PAUSE);
        // A read that hangs keeps its thread, and no other is started until it ends.
        if is_early || self.is_busy {
            return;
        }
        self.is_busy = true;
        self.looked_at = Some(now);
        let known = self.known.filter(|(read_at, _)| now.since(*read_at) < READ_PAUSE);
        let (file, read) = (file(), self.read);
        self.jobs.start(now, move || {
            let stamp = stamp(&file);
            Ok(match known {
                Some((_, known)) if known == stamp => None,
                _ => Some(Box::new((stamp, read(&file)))),
            })
        });
    }

    /// Takes in the result of a read.
    pub fn collect(&mut self, core: &Core, pending: &mut PendingReload) {
        while let Some((asked_at, found)) = self.jobs.next_done() {
            self.is_busy = false;
            let (changes, error) = match found {
                Ok(None) => continue,
                Ok(Some(found)) => {
                    let (stamp, read) = *found;
                    self.known = Some((asked_at, stamp));
                    match read {
                        Ok(new) => (config::diff(&core.config, &new).lines(), None),
                        Err(errors) => (Vec::new(), errors.first().map(words)),
                    }
                }
                Err(why) => (Vec::new(), Some(why)),
            };
            *pending = PendingReload { is_known: true, changes, error };
        }
    }
}

fn stamp(file: &Path) -> ModifiedStamp {
    let found = fs::metadata(file).ok()?;
    Some((found.modified().ok()?, found.len()))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::{env, process};

    use super::*;
    use crate::base::rng::SeededRng;
    use crate::base::time::Now;
    use crate::config::load_text;
    use crate::pool::records::access::{Access, SystemFacts};

    const INI: &str = "[databases]\na = host=127.0.0.1\n[pgbouncer]\nauth_type = trust\n";

    fn core() -> Core {
        let config = load_text("test.ini", INI).expect("a good configuration");
        let host = SystemFacts { uid: 1000, uid_name: |_| None, name: || None, descriptors: 1024 };
        Core::new(config, Access::default(), host, Box::new(SeededRng::new(1)), Now::default())
    }

    /// Blocks until a pipe is written to, like a read from a file system that hangs.
    fn read_slowly(file: &Path) -> Result<Config, Vec<Diagnostic>> {
        load_text("test.ini", &fs::read_to_string(file).expect("text"))
    }

    #[test]
    fn a_file_that_hangs_holds_up_nobody_and_is_asked_for_once() {
        let fifo = env::temp_dir().join(format!("pgbouncer-pending-{}", process::id()));
        let _ = fs::remove_file(&fifo);
        assert!(process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
        let (sender, wakes) = mpsc::channel();
        let wake = Wake::new(move || sender.send(()).unwrap_or(()));
        let (mut lookout, core) = (Lookout::new(wake, read_slowly), core());
        let mut pending = PendingReload::default();
        for second in 0..100 {
            lookout.ask(Moment(second * 1_000_000), || fifo.clone());
            lookout.collect(&core, &mut pending);
            assert!(!pending.is_known);
        }
        assert_eq!(lookout.jobs.running(), 1);
        let new = format!("{INI}[databases]\nb = host=127.0.0.1\n");
        fs::write(&fifo, new).expect("somebody reads");
        wakes.recv_timeout(Duration::from_secs(30)).expect("a wake");
        lookout.collect(&core, &mut pending);
        assert!(pending.is_known && pending.error.is_none());
        assert_eq!(pending.changes.len(), 1, "{:?}", pending.changes);
        // Not again so soon, but at once after a RELOAD.
        let soon = Moment(100_000_000);
        lookout.looked_at = Some(soon);
        lookout.ask(soon + Duration::from_secs(9), || panic!("too early"));
        lookout.forget();
        lookout.ask(soon, || "/nonexistent".into());
        fs::remove_file(fifo).expect("remove");
    }
}

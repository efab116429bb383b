//! What the next RELOAD would change, for the page: found out while somebody asks, not too often,
//! and beside the loop, since a disk may be slow and a network's file system silent.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::words;
use crate::base::time::Moment;
use crate::config::{self, Config, Diagnostic};
use crate::net::jobs::{Jobs, Wake};
use crate::pages::PendingReload;
use crate::pool::core::Core;

/// How often the file is looked at.
const LOOK_PAUSE: Duration = Duration::from_secs(10);

/// A file that seems to be the same is read again after this time: others that it includes may have
/// changed.
const READ_PAUSE: Duration = Duration::from_secs(120);

const STACK_BYTES: usize = 1024 * 1024;

/// When a file was changed, and its length.
type ModifiedStamp = Option<(SystemTime, u64)>;

/// How a file is read.
type Read = fn(&Path) -> Result<Config, Vec<Diagnostic>>;

pub struct Lookout {
    jobs: Jobs<Moment, FoundChange>,
    /// A job is under way.
    is_busy: bool,
    read: Read,
    looked_at: Option<Moment>,
    /// When the file was read, and what it was like.
    known: Option<(Moment, ModifiedStamp)>,
}

/// Nothing where the file is the same as before.
type FoundChange = Option<Box<(ModifiedStamp, Result<Config, Vec<Diagnostic>>)>>;

impl Lookout {
    pub fn new(wake: Wake, read: Read) -> Lookout {
        let jobs = Jobs::new("configuration", STACK_BYTES, wake);
        Lookout { jobs, is_busy: false, read, looked_at: None, known: None }
    }

    /// After a RELOAD all is to be found out anew.
    pub fn forget(&mut self) {
        self.looked_at = None;
        self.known = None;
    }

    /// Somebody wants to know. What is found comes by [`Self::collect`].
    pub fn ask(&mut self, now: Moment, file: impl Fn() -> PathBuf) {
        let is_early = self.looked_at.is_some_and(|at| now.since(at) < LOOK_PAUSE);
        // One that hangs keeps its thread, and the next one waits for it.
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

    #[inline]
    pub fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Takes in what has been found.
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

    /// Waits for whoever writes into a pipe, as a file of a silent network would be waited for.
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
        // Not so soon again, and after a RELOAD at once.
        let soon = Moment(100_000_000);
        lookout.looked_at = Some(soon);
        lookout.ask(soon + Duration::from_secs(9), || panic!("too early"));
        lookout.forget();
        lookout.ask(soon, || "/nonexistent".into());
        fs::remove_file(fifo).expect("remove");
    }
}

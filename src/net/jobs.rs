//! Work that may block, on helper threads: the loop must not wait for it.
//!
//! Such work is rare, so each piece gets a thread that ends with it. The caller decides how many
//! run at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crate::log::plain;

/// Wakes the loop. Shared, because every thread calls it and a poll has one waker only.
#[derive(Clone)]
pub struct Wake(Arc<dyn Fn() + Send + Sync>);

impl Wake {
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Wake {
        Wake(Arc::new(wake))
    }

    fn call(&self) {
        (self.0)();
    }
}

/// A piece of work under way. The thread returns the answer, so that no channel is needed.
struct Job<Key, Answer> {
    key: Key,
    /// Set when the work is done and the thread has only to end.
    is_done: Arc<AtomicBool>,
    thread: JoinHandle<Answer>,
}

/// Pieces of work of one kind, each under a key.
pub struct Jobs<Key, Answer> {
    running: Vec<Job<Key, Result<Answer, String>>>,
    /// Keys whose thread could not be started, and why.
    failed: Vec<(Key, String)>,
    wake: Wake,
    /// The threads' name, as the system shows it.
    name: &'static str,
    stack_bytes: usize,
}

impl<Key, Answer: Send + 'static> Jobs<Key, Answer> {
    /// `wake` is called on a helper thread whenever an answer is there to be fetched.
    pub fn new(name: &'static str, stack_bytes: usize, wake: Wake) -> Jobs<Key, Answer> {
        Jobs { running: Vec::new(), failed: Vec::new(), wake, name, stack_bytes }
    }

    /// Starts work on a thread of its own. The answer comes by [`Self::next_done`].
    pub fn start(
        &mut self,
        key: Key,
        work: impl FnOnce() -> Result<Answer, String> + Send + 'static,
    ) {
        let is_done = Arc::new(AtomicBool::new(false));
        let (done, wake) = (Arc::clone(&is_done), self.wake.clone());
        let thread = thread::Builder::new().name(self.name.to_owned()).stack_size(self.stack_bytes);
        let started = thread.spawn(move || {
            let answer = work();
            done.store(true, Ordering::Release);
            wake.call();
            answer
        });
        match started {
            Ok(thread) => self.running.push(Job { key, is_done, thread }),
            Err(error) => {
                self.failed.push((key, plain(&error)));
                self.wake.call();
            }
        }
    }

    /// An answer that has come, or why there will be none.
    pub fn next_done(&mut self) -> Option<(Key, Result<Answer, String>)> {
        let is_done = |job: &Job<_, _>| job.is_done.load(Ordering::Acquire);
        let Some(place) = self.running.iter().position(is_done) else {
            return self.failed.pop().map(|(key, why)| (key, Err(why)));
        };
        let Job { key, thread, .. } = self.running.swap_remove(place);
        Some((key, thread.join().unwrap_or_else(|_| Err("the work failed".to_owned()))))
    }

    /// The keys of work that is under way, or whose answer has not been fetched yet.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.running.iter().map(|job| &job.key).chain(self.failed.iter().map(|(key, _)| key))
    }

    /// How many threads there are.
    pub fn running(&self) -> usize {
        self.running.len()
    }
}

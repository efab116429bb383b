//! Another client that must not notice: it runs queries through the pooler all the while a test
//! misbehaves beside it, and fails the test when one of them fails, is answered wrongly or waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::Client;
use super::postgres::APP;

/// How long a query of a witness may take. The machine may be busy; a pooler that serves nobody
/// while it waits for a peer takes far longer.
const LONGEST: Duration = Duration::from_secs(5);

pub struct Witness {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Account>>,
}

/// What a witness saw.
#[derive(Debug, Default)]
pub struct Account {
    pub queries: usize,
    pub longest: Duration,
}

impl Witness {
    /// Logs in to database `app` and begins; returns when the first query was answered.
    pub fn start(port: u16) -> Witness {
        let mut client = Client::login(port, APP.name, APP.password, "app");
        assert_eq!(client.one("select 0"), "0");
        let is_over = Arc::new(AtomicBool::new(false));
        let theirs = is_over.clone();
        let thread = thread::spawn(move || watch(&mut client, &theirs));
        Witness { is_over, thread: Some(thread) }
    }

    /// Ends the watch: at least one more query was answered since the misbehaviour.
    pub fn finish(mut self) -> Account {
        self.is_over.store(true, Ordering::SeqCst);
        let account = self.thread.take().map(JoinHandle::join);
        let account = account.expect("the thread").expect("a witness that noticed nothing");
        assert!(account.longest < LONGEST, "another client waited {:?}", account.longest);
        account
    }
}

impl Drop for Witness {
    /// Ends the watch before the pooler ends, so that a failed test fails once.
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn watch(client: &mut Client, is_over: &AtomicBool) -> Account {
    let mut account = Account::default();
    loop {
        let is_last = is_over.load(Ordering::SeqCst);
        let start = Instant::now();
        account.queries += 1;
        let number = account.queries.to_string();
        assert_eq!(client.one(&format!("select {number}")), number);
        account.longest = account.longest.max(start.elapsed());
        if is_last {
            return account;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

//! LISTEN for clients that share their servers (`shared_listen`): which channels one connection
//! listens to for all of them, and what each has and has not been told.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::time::Moment;
use crate::pool::ids::ClientId;

/// Channels that one client may listen to.
pub const MOST_CHANNELS: usize = 1000;

/// What a client may have of notifications that it has not taken, in bytes.
pub const MOST_UNDELIVERED_BYTES: usize = 1024 * 1024;

/// Channels of one query to the shared connection.
const MOST_AT_ONCE: usize = 500;

/// The name of a channel, as PostgreSQL has it: folded, without quotes.
pub type Channel = Box<[u8]>;

/// What one client listens to.
#[derive(Debug, Default)]
pub struct Listens {
    pub channels: BTreeSet<Channel>,
    /// Notifications that came while the client was in the middle of something.
    pub undelivered: Vec<u8>,
    /// The client's transaction is over, and it is told so when its channels are heard.
    pub awaits: Option<Awaits>,
    /// Nothing but the channels keeps the end of the transaction from the client.
    pub is_due: bool,
    /// The channels could not be had, and it has not been told so.
    pub failure: Option<Box<str>>,
}

/// A client's wait for its channels to be heard.
#[derive(Debug)]
pub struct Awaits {
    pub since: Moment,
    /// What it listened to before, and listens to again where the others cannot be had.
    pub before: BTreeSet<Channel>,
}

/// What the session of a server has of its client's channels, until the end of the transaction.
#[derive(Debug, Default)]
pub struct Handing {
    /// The client's channels were given back to the session, so that it can take some away.
    pub recalled: Recalled,
    /// What the session has told of its channels, and of the transaction that was asked after.
    pub channels: BTreeSet<Channel>,
    pub told: Option<Box<str>>,
    /// The session has more channels than a client may listen to.
    pub has_too_many: bool,
    /// Channels were taken away where they could not be given back first.
    pub is_missed: bool,
}

/// Whether and how channels were given back to a session.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Recalled {
    #[default]
    No,
    /// Outside of a transaction: for certain.
    Yes,
    /// In the transaction of this number: if that was committed.
    In(Box<str>),
}

/// The channels of the shared connection of one pool.
#[derive(Debug, Default)]
pub struct Listening {
    channels: BTreeMap<Channel, Heard>,
    /// Channels of which the connection must be told something.
    due: BTreeSet<Channel>,
    /// Channels that the query under way is about.
    asked: Vec<Channel>,
    /// That query has ended, or the connection could not be had.
    pub is_told: bool,
    /// What the connection said of a query that failed.
    pub failure: Option<Box<str>>,
    /// Clients whose end of a transaction waits for channels to be heard.
    pub awaiting: BTreeSet<u64>,
    /// The connection was lost, with channels that it listened to.
    pub is_lost: bool,
}

/// Who listens to a channel, and whether the connection does.
#[derive(Debug, Default)]
struct Heard {
    clients: BTreeSet<u64>,
    is_heard: bool,
}

impl Listening {
    /// Whether a connection is needed.
    pub fn is_wanted(&self) -> bool {
        !self.channels.is_empty()
    }

    pub fn count(&self) -> usize {
        self.channels.len()
    }

    pub fn is_heard(&self, channel: &[u8]) -> bool {
        self.channels.get(channel).is_some_and(|heard| heard.is_heard)
    }

    /// A client listens to other channels than before.
    pub fn change(&mut self, id: ClientId, from: &BTreeSet<Channel>, to: &BTreeSet<Channel>) {
        from.difference(to).for_each(|gone| self.remove(gone, id));
        to.difference(from).for_each(|new| self.add(new, id));
    }

    fn add(&mut self, channel: &Channel, client: ClientId) {
        let heard = self.channels.entry(channel.clone()).or_default();
        heard.clients.insert(client.to_bits());
        if !heard.is_heard {
            self.due.insert(channel.clone());
        }
    }

    pub fn remove(&mut self, channel: &Channel, client: ClientId) {
        let Some(heard) = self.channels.get_mut(channel) else { return };
        heard.clients.remove(&client.to_bits());
        if heard.clients.is_empty() {
            self.due.insert(channel.clone());
        }
    }

    /// Who listens to a channel.
    pub fn clients(&self, channel: &[u8]) -> Vec<ClientId> {
        let heard = self.channels.get(channel);
        heard.map_or(Vec::new(), |heard| {
            heard.clients.iter().map(|bits| ClientId::from_bits(*bits)).collect()
        })
    }

    /// The next query to the connection, if it must be told something.
    pub fn next_query(&mut self) -> Option<Vec<u8>> {
        let mut sql = Vec::new();
        while self.asked.len() < MOST_AT_ONCE
            && let Some(channel) = self.due.pop_first()
        {
            let Some(heard) = self.channels.get(&channel) else { continue };
            let command: &[u8] = match (heard.clients.is_empty(), heard.is_heard) {
                (true, false) => {
                    self.channels.remove(&channel);
                    continue;
                }
                (false, true) => continue,
                (true, true) => b"UNLISTEN ",
                (false, false) => b"LISTEN ",
            };
            sql.extend_from_slice(if sql.is_empty() { b"" } else { b"; " });
            sql.extend_from_slice(command);
            push_quoted(&mut sql, &channel);
            self.asked.push(channel);
        }
        (!sql.is_empty()).then_some(sql)
    }

    /// The query has succeeded: what it was about is heard, or no more. Who came or went meanwhile
    /// is due again.
    pub fn done(&mut self) {
        for channel in std::mem::take(&mut self.asked) {
            let Some(heard) = self.channels.get_mut(&channel) else { continue };
            heard.is_heard = !heard.is_heard;
            match (heard.is_heard, heard.clients.is_empty()) {
                (false, true) => drop(self.channels.remove(&channel)),
                (true, true) | (false, false) => drop(self.due.insert(channel)),
                (true, false) => {}
            }
        }
    }

    /// The query has failed. Nothing of it was done; channels that could not be heard are none.
    /// Returns those, and who has listened to them.
    pub fn failed(&mut self) -> Vec<(Channel, ClientId)> {
        let mut lost = Vec::new();
        for channel in std::mem::take(&mut self.asked) {
            if self.channels.get(&channel).is_some_and(|heard| !heard.is_heard)
                && let Some(heard) = self.channels.remove(&channel)
            {
                let clients = heard.clients.into_iter().map(ClientId::from_bits);
                lost.extend(clients.map(|client| (channel.clone(), client)));
            }
        }
        lost
    }

    /// The connection has ended, and with it what it was asked and has said. Returns how many
    /// channels it has listened to.
    pub fn lost(&mut self) -> usize {
        self.asked.clear();
        self.failure = None;
        let mut count = 0;
        self.channels.retain(|channel, heard| {
            count += usize::from(std::mem::take(&mut heard.is_heard));
            let is_wanted = !heard.clients.is_empty();
            if is_wanted {
                self.due.insert(channel.clone());
            }
            is_wanted
        });
        self.is_lost |= count > 0;
        count
    }
}

/// Appends a name as an identifier in quotes.
pub fn push_quoted(sql: &mut Vec<u8>, name: &[u8]) {
    sql.push(b'"');
    for &byte in name {
        sql.push(byte);
        if byte == b'"' {
            sql.push(byte);
        }
    }
    sql.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u64) -> ClientId {
        ClientId::from_bits(number << 32 | 1)
    }

    fn text(sql: Option<Vec<u8>>) -> String {
        String::from_utf8(sql.unwrap_or_default()).expect("text")
    }

    #[test]
    fn a_channel_is_listened_to_once_and_as_long_as_somebody_does() {
        let mut all = Listening::default();
        let (one, odd): (Channel, Channel) = (b"one"[..].into(), b"O\"dd; --"[..].into());
        all.add(&one, client(1));
        all.add(&odd, client(1));
        all.add(&one, client(2));
        assert_eq!(text(all.next_query()), "LISTEN \"O\"\"dd; --\"; LISTEN \"one\"");
        assert!(all.next_query().is_none() && !all.is_heard(b"one"));
        all.done();
        assert!(all.is_heard(b"one") && all.next_query().is_none());
        all.remove(&one, client(1));
        assert!(all.next_query().is_none());
        assert_eq!(all.clients(b"one"), [client(2)]);
        all.remove(&one, client(2));
        assert_eq!(text(all.next_query()), "UNLISTEN \"one\"");
        // Somebody comes meanwhile.
        all.add(&one, client(3));
        all.done();
        assert_eq!(text(all.next_query()), "LISTEN \"one\"");
        // And goes before it is heard.
        all.remove(&one, client(3));
        all.done();
        assert_eq!(text(all.next_query()), "UNLISTEN \"one\"");
        all.done();
        assert_eq!(all.count(), 1);
    }

    #[test]
    fn after_a_loss_all_is_listened_to_again() {
        let mut all = Listening::default();
        let (one, two): (Channel, Channel) = (b"one"[..].into(), b"two"[..].into());
        all.add(&one, client(1));
        assert!(all.next_query().is_some());
        all.done();
        all.add(&two, client(1));
        assert_eq!((all.lost(), all.is_lost), (1, true));
        assert_eq!(text(all.next_query()), "LISTEN \"one\"; LISTEN \"two\"");
        // What the connection has said at its end is nothing that the next one says.
        all.failure = Some("terminating connection".into());
        all.lost();
        assert!(all.failure.is_none() && all.next_query().is_some());
        assert_eq!(all.failed(), [(one, client(1)), (two, client(1))]);
        assert!(!all.is_wanted());
    }
}

//! LISTEN for clients that share servers (`shared_listen`): the channels to which one connection
//! listens for all of them, and the notifications that each client is still owed.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::time::Moment;
use crate::pool::ids::ClientId;

/// The most channels that one client may listen to.
pub const MOST_CHANNELS: usize = 1000;

/// The most bytes of notifications that are kept for one client.
pub const MOST_UNDELIVERED_BYTES: usize = 1024 * 1024;

/// The most channels in one query to the shared connection.
const MOST_CHANNELS_AT_ONCE: usize = 500;

/// The name of a channel as PostgreSQL stores it: folded, without quotes.
pub type Channel = Box<[u8]>;

/// The channels of one client.
#[derive(Debug, Default)]
pub struct Listens {
    pub channels: BTreeSet<Channel>,
    /// Notifications that came while the client could not be sent any.
    pub undelivered: Vec<u8>,
    /// The client's transaction has ended. The client is told so once its channels are listened to.
    pub awaits: Option<Awaits>,
    /// Only the channels still delay the end of the client's transaction.
    pub is_due: bool,
    /// Why the client's channels could not be listened to, until the client is told.
    pub failure: Option<Box<str>>,
}

/// A client's wait until its channels are listened to.
#[derive(Debug)]
pub struct Awaits {
    pub since: Moment,
    /// The channels before: the client falls back to them if the new ones cannot be listened to.
    pub before: BTreeSet<Channel>,
}

/// The channels of its client that a server's session has, until the end of the transaction.
#[derive(Debug, Default)]
pub struct Handing {
    /// Whether the client's channels were given back to the session, so that UNLISTEN works there.
    pub recalled: Recalled,
    /// The channels that the session has reported, and the state of the transaction that was asked
    /// after.
    pub channels: BTreeSet<Channel>,
    pub told: Option<Box<str>>,
    /// Whether the session has more channels than a client may listen to.
    pub has_too_many: bool,
    /// Whether an UNLISTEN ran without the channels having been given back before.
    pub is_missed: bool,
}

/// Whether the channels were given back to a session.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Recalled {
    #[default]
    No,
    /// Outside of a transaction, so for certain.
    Yes,
    /// In the transaction of this number, so only if that was committed.
    In(Box<str>),
}

/// The channels of the shared connection of one pool.
#[derive(Debug, Default)]
pub struct Listening {
    channels: BTreeMap<Channel, Heard>,
    /// Channels for which a LISTEN or UNLISTEN is still to be sent.
    due: BTreeSet<Channel>,
    /// Channels in the query under way.
    asked: Vec<Channel>,
    /// Whether that query has ended, or the connection could not be opened.
    pub is_told: bool,
    /// The server's error for a failed query.
    pub failure: Option<Box<str>>,
    /// Clients whose end of a transaction waits for channels.
    pub awaiting: BTreeSet<u64>,
    /// Whether the connection was lost while it listened to channels.
    pub is_lost: bool,
}

/// The clients that listen to a channel, and whether the connection does.
#[derive(Debug, Default)]
struct Heard {
    clients: BTreeSet<u64>,
    is_heard: bool,
}

impl Listening {
    /// Whether a shared connection is needed.
    pub fn is_wanted(&self) -> bool {
        !self.channels.is_empty()
    }

    pub fn count(&self) -> usize {
        self.channels.len()
    }

    pub fn is_heard(&self, channel: &[u8]) -> bool {
        self.channels.get(channel).is_some_and(|heard| heard.is_heard)
    }

    /// Changes the channels of a client.
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

    /// The clients that listen to a channel.
    pub fn clients(&self, channel: &[u8]) -> Vec<ClientId> {
        let heard = self.channels.get(channel);
        heard.map_or(Vec::new(), |heard| {
            heard.clients.iter().map(|bits| ClientId::from_bits(*bits)).collect()
        })
    }

    /// The next query to the shared connection, if one is due.
    pub fn next_query(&mut self) -> Option<Vec<u8>> {
        let mut sql = Vec::new();
        while self.asked.len() < MOST_CHANNELS_AT_ONCE
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

    /// The query has succeeded: the connection has begun or ceased to listen to its channels. A
    /// channel whose clients have come or gone meanwhile is due again.
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

    /// The query has failed and changed nothing. Channels that could not be listened to are
    /// dropped. Returns each of them with its clients.
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

    /// The connection has ended, with its query and its error. Returns the number of channels that
    /// it listened to.
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

/// Appends a name as a quoted identifier.
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
        // A client comes meanwhile.
        all.add(&one, client(3));
        all.done();
        assert_eq!(text(all.next_query()), "LISTEN \"one\"");
        // And goes before the connection listens.
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
        // An error of a connection that has ended does not concern the next one.
        all.failure = Some("terminating connection".into());
        all.lost();
        assert!(all.failure.is_none() && all.next_query().is_some());
        assert_eq!(all.failed(), [(one, client(1)), (two, client(1))]);
        assert!(!all.is_wanted());
    }
}

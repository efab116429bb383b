//! LISTEN without a server of its own (`shared_listen`): the channels of clients that share their
//! servers are those of one connection for each pool, which stands in a pool beside theirs.
//!
//! What a client listens to is asked of the session in which it said so (`messages::listen`), never
//! read from its words. What the shared connection is told follows from who listens to what, and is
//! told at the end of a turn (`time::listening`).

use std::collections::BTreeSet;

use crate::pool::core::{Action, Core};
use crate::pool::ids::{ClientId, PoolId, ServerId};
use crate::pool::records::client::{Client, QueryRefusal, Standing};
use crate::pool::records::listening::{Awaits, Channel, Listens, MOST_UNDELIVERED_BYTES};
use crate::pool::records::pool::{Pool, Purpose};
use crate::pool::telling::reason::Reason;
use crate::pool::telling::refusal::StatementRefusal;
use crate::wire::build::{self, Message};
use crate::wire::kind::Back;

/// The encoding of the shared connection. Names and texts that are not ASCII are for clients that
/// have it, too.
pub(in crate::pool) const ENCODING: &str = "UTF8";

impl Core {
    /// What a client listens to from now on. Where not all of it is heard already it waits for
    /// that.
    pub(in crate::pool) fn set_channels(&mut self, id: ClientId, channels: BTreeSet<Channel>) {
        let now = self.mono();
        let Some(own) = self.clients[id].pool() else { return };
        let (database, user) = (self.pools[own].database, self.pools[own].user);
        let pool = self.ensure_pool(database, user, Purpose::Listening);
        let listens = self.clients[id].rare.get_or_insert_default().listens.get_or_insert_default();
        let all = self.pools[pool].listening.get_or_insert_default();
        all.change(id, &listens.channels, &channels);
        let before = std::mem::replace(&mut listens.channels, channels);
        if !listens.channels.iter().all(|channel| all.is_heard(channel)) {
            listens.awaits = Some(Awaits { since: now, before });
            all.awaiting.insert(id.to_bits());
        }
        self.untuned.push(pool);
    }

    /// A client listens to what it did before, and is told why with the end of a transaction.
    pub(in crate::pool) fn keep_channels(&mut self, id: ClientId, why: &str) {
        let listens = self.clients[id].rare.get_or_insert_default().listens.get_or_insert_default();
        listens.failure = Some(why.into());
    }

    /// Clients have gone: nobody listens for them any more.
    pub(in crate::pool) fn forget_listeners(&mut self) {
        for (id, pool, listens) in std::mem::take(&mut self.gone_listeners) {
            let Some(Pool { database, user, .. }) = self.pools.get(pool) else { continue };
            let pool = self.directory.find_pool(*database, *user, Purpose::Listening);
            let Some(pool) = pool else { continue };
            let Some(all) = &mut self.pools[pool].listening else { continue };
            all.awaiting.remove(&id.to_bits());
            for channel in &listens.channels {
                all.remove(channel, id);
            }
            self.untuned.push(pool);
        }
    }

    /// The query has ended by which the shared connection was told of channels.
    pub(in crate::pool) fn channels_told(&mut self, id: PoolId) {
        let Some(all) = &mut self.pools[id].listening else { return };
        let Some(failure) = all.failure.take() else {
            all.done();
            return self.release_listeners(id, None);
        };
        let lost = all.failed();
        self.release_listeners(id, Some(&failure));
        // Clients that listened by an earlier connection wait for nothing, and would not be told.
        for (channel, client) in lost {
            let listens = self.clients.get(client).and_then(Client::listens);
            if listens.is_some_and(|listens| listens.channels.contains(&channel)) {
                self.close_client(client, Reason::NotificationsLost);
            }
        }
    }

    /// Lets clients go on whose channels are heard; or, if they cannot be, all, with those that
    /// they had before.
    pub(in crate::pool) fn release_listeners(&mut self, pool: PoolId, failure: Option<&str>) {
        let Core { clients, pools, .. } = self;
        let Some(all) = &mut pools[pool].listening else { return };
        let mut released = Vec::new();
        for bits in std::mem::take(&mut all.awaiting) {
            let id = ClientId::from_bits(bits);
            let rare = clients.get_mut(id).and_then(|client| client.rare.as_mut());
            let Some(listens) = rare.and_then(|rare| rare.listens.as_mut()) else { continue };
            let are_heard = listens.channels.iter().all(|channel| all.is_heard(channel));
            if !are_heard && failure.is_none() {
                all.awaiting.insert(bits);
                continue;
            }
            if let Some(awaits) = listens.awaits.take()
                && !are_heard
            {
                all.change(id, &listens.channels, &awaits.before);
                listens.channels = awaits.before;
            }
            released.push((id, failure.filter(|_| !are_heard)));
        }
        for (id, failure) in released {
            self.end_wait_for_channels(id, failure);
        }
    }

    fn listens_mut(&mut self, id: ClientId) -> Option<&mut Listens> {
        self.clients.get_mut(id)?.rare.as_mut()?.listens.as_deref_mut()
    }

    /// The wait for channels is over, and with it, if nothing else is under way, the transaction.
    fn end_wait_for_channels(&mut self, id: ClientId, failure: Option<&str>) {
        let Some(listens) = self.listens_mut(id) else { return };
        if let Some(failure) = failure {
            listens.failure = Some(failure.into());
        }
        let mut bytes = Vec::new();
        if std::mem::take(&mut listens.is_due) {
            self.take_notifications(id, &mut bytes);
            build::ready_for_query(&mut bytes, b'I');
        } else if self.is_at_rest(id) {
            // It has heard of the end of its transaction before.
            self.take_undelivered(id, &mut bytes);
        }
        if !bytes.is_empty() {
            self.act(Action::SendClient { client: id, bytes });
        }
        self.wake(id);
    }

    /// Whether the end of a client's transaction, which is due, waits for channels.
    pub(in crate::pool) fn waits_for_channels(&mut self, id: ClientId) -> bool {
        let Some(listens) = self.listens_mut(id) else { return false };
        listens.is_due = listens.awaits.is_some();
        listens.is_due
    }

    /// Appends what a client has not been told yet, now that its transaction is over.
    pub(in crate::pool) fn take_notifications(&mut self, id: ClientId, into: &mut Vec<u8>) {
        let Some(listens) = self.listens_mut(id) else { return };
        if let Some(failure) = listens.failure.take() {
            build::report(into, &StatementRefusal::of_listening(&failure).report());
        }
        self.take_undelivered(id, into);
    }

    /// Appends notifications that came while the client was in the middle of something.
    pub(in crate::pool) fn take_undelivered(&mut self, id: ClientId, into: &mut Vec<u8>) {
        let Some(listens) = self.listens_mut(id) else { return };
        into.append(&mut std::mem::take(&mut listens.undelivered));
    }

    /// A notification of the shared connection's, for all who listen to its channel.
    pub(in crate::pool) fn notified(&mut self, listener: ServerId, body: &[u8]) {
        let pool = self.servers[listener].pool;
        let Some(all) = &self.pools[pool].listening else { return };
        let Some((sender, text)) = body.split_first_chunk::<4>() else { return };
        let Some(end) = text.iter().position(|byte| *byte == 0) else { return };
        let clients = all.clients(&text[..end]);
        let notifier = self.notifier(pool, *sender);
        for id in clients {
            let Some(client) = self.clients.get(id) else { continue };
            // Who has sent it knows itself by the process id that it was told.
            let from = if notifier == Some(id) { client.process_id() } else { *sender };
            let mut bytes = Vec::new();
            Message::back(&mut bytes, Back::NotificationResponse).bytes(&from).bytes(text).end();
            if !text.is_ascii() && !self.has_shared_encoding(id) {
                self.close_client(id, Reason::NotificationEncoding);
                continue;
            }
            self.deliver(id, bytes);
        }
    }

    /// The client that has notified others by this server, as far as is known.
    fn notifier(&self, listening: PoolId, process: [u8; 4]) -> Option<ClientId> {
        let Pool { database, user, .. } = self.pools[listening];
        let pool = self.directory.find_pool(database, user, Purpose::Clients)?;
        let is_theirs = |id: &ServerId| self.servers[*id].key.first_chunk() == Some(&process);
        let pool = &self.pools[pool];
        let mut servers = pool.active.iter(&self.servers).chain(pool.idle.iter(&self.servers));
        let server = servers.find(is_theirs)?;
        self.servers[server].notifier.or(self.servers[server].client())
    }

    pub(in crate::pool) fn has_shared_encoding(&self, id: ClientId) -> bool {
        let told = self.vars.named(&self.clients[id].vars.told, "client_encoding");
        told.is_some_and(|encoding| encoding.eq_ignore_ascii_case(ENCODING))
    }

    /// Gives a notification to a client: at once where it is in the middle of nothing, else with
    /// the end of its transaction.
    fn deliver(&mut self, id: ClientId, bytes: Vec<u8>) {
        if self.is_at_rest(id) && !self.clients[id].awaits_channels() {
            return self.act(Action::Notify { client: id, bytes });
        }
        let Some(listens) = self.listens_mut(id) else { return };
        if listens.undelivered.len() + bytes.len() > MOST_UNDELIVERED_BYTES {
            return self.close_client(id, Reason::NotificationsUnread);
        }
        listens.undelivered.extend_from_slice(&bytes);
    }

    /// Whether a client is in the middle of nothing, so that it can be told something.
    fn is_at_rest(&self, id: ClientId) -> bool {
        let client = &self.clients[id];
        match client.standing() {
            // While a refusal lasts, the client's ReadyForQuery is still to come.
            Some(Standing::Idle | Standing::Waiting) => client.refusal == QueryRefusal::None,
            Some(Standing::Active { server }) => {
                let server = &self.servers[server];
                server.replies.is_clean() && server.own.is_nothing() && !server.is_mid_reply
            }
            Some(Standing::AwaitWelcome) | None => false,
        }
    }

    /// A client does not take the notifications that it is sent.
    pub fn client_is_deaf(&mut self, id: ClientId) {
        self.close_client(id, Reason::NotificationsUnread);
    }
}

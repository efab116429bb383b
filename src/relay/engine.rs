//! The engine: connections, the run queue, and the core's actions carried out.
//!
//! The caller hands events to [`Engine::client_event`], [`Engine::server_event`] and
//! [`Engine::carrier_event`], and calls [`Engine::turn`] once in each turn of the loop;
//! ARCHITECTURE.md has the order of all steps. What the core asks of the process rather than of
//! connections waits in the core for the caller.

use std::collections::VecDeque;
use std::io;

use super::conn::{Conn, ConnTable, Heading, Offered, OutboundConn, Phase, Readiness, Stream};
use super::room::ConnId;
use crate::auth::inquiry::Inquiry;
use crate::base::time::{Moment, Now};
use crate::console::{self, BufferedBytes, Buffers};
use crate::log::Ends;
use crate::pool::core::{Action, Core, Target};
use crate::pool::ids::{
    CarrierId, CarrierKind, ClientId, ClientKind, Outbound, ServerId, ServerKind,
};
use crate::pool::login::entry::Arrival;
use crate::pool::owed::outgoing::OutgoingRoom;
use crate::pool::owed::said::Room;
use crate::pool::records::client::Client;
use crate::pool::records::listening::MOST_UNDELIVERED_BYTES;
use crate::pool::records::secured::{Secured, ServerTls};
use crate::pool::records::server::Server;
use crate::pool::telling::journal::JournalLine;

/// The size of the one read block, in bytes.
const BLOCK_BYTES: usize = 64 * 1024;

/// How often a peer is read before its connection is closed. Bytes left unread would make the
/// system send a reset, and the peer would lose the last words to it.
pub(super) const DRAIN_READS: usize = 4;

/// The system below the relay.
pub trait Io {
    type Stream: Stream;

    /// Begins to connect. The outcome is told by an event for this connection.
    fn connect(&mut self, id: Outbound, to: &Target) -> Result<Self::Stream, NotBegun>;

    /// How the connection came out, and both its ends.
    fn connected(&mut self, stream: &Self::Stream) -> Result<Option<Ends>, String>;

    /// Puts a client's connection under TLS; `early` is what has come of its handshake already.
    fn secure_client(&mut self, stream: &mut Self::Stream, early: &[u8]) -> Result<(), String>;

    /// Puts a server's connection under TLS.
    fn secure_server(&mut self, stream: &mut Self::Stream, tls: &ServerTls) -> Result<(), String>;

    /// Goes on with the handshake of a connection that was put under TLS.
    fn handshake(&mut self, stream: &mut Self::Stream) -> Handshake;

    /// Has the poll tell, or not, when a connection has room for bytes. Returns whether it does: a
    /// connection that tells of room only when it had none before may go on telling.
    fn hear_of_room(
        &mut self,
        whose: ConnId,
        stream: &mut Self::Stream,
        is_wanted: bool,
    ) -> io::Result<bool>;

    /// Closes for good.
    fn close(&mut self, stream: Self::Stream);

    fn resolve(&mut self, name: String);

    /// Asks a judge about a client; the answer goes to [`Core::judged`], in a later turn.
    fn inquire(&mut self, client: ClientId, inquiry: Inquiry);

    /// Writes lines to the log.
    fn log(&mut self, now: Now, lines: Vec<JournalLine>);
}

/// How far a TLS handshake has come.
#[derive(Debug)]
#[cfg_attr(not(any(feature = "tls", test)), allow(dead_code, reason = "without TLS all fail"))]
pub enum Handshake {
    Done(Box<Secured>),
    Failed(String),
    /// It waits for the other end.
    Pending,
}

/// Why a connection to a server could not be begun.
#[derive(Debug)]
pub enum NotBegun {
    /// This process or this machine has no more to give, which says nothing of the server.
    Exhausted(io::Error),
    Failed(io::Error),
}

/// A connection that is to be run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Runnable {
    Client(ClientId),
    /// The rest of what a console session was asked.
    Console(ClientId),
    Outbound(Outbound),
}

pub struct Engine<I: Io> {
    pub core: Core,
    pub io: I,
    pub(super) clients: ConnTable<ClientKind, Conn<I::Stream, ServerId>>,
    pub(super) servers: ConnTable<ServerKind, OutboundConn<I::Stream>>,
    pub(super) carriers: ConnTable<CarrierKind, OutboundConn<I::Stream>>,
    /// Every read goes here, whosever it is.
    pub(super) block: Box<[u8]>,
    /// Memory for what comes of a run of a client.
    pub(super) said: Room,
    /// Memory for what comes of a run of a server.
    pub(super) answers: OutgoingRoom,
    queue: VecDeque<Runnable>,
    /// Steps of TLS handshakes in this turn.
    pub(super) handshakes: usize,
}

impl<I: Io> Engine<I> {
    pub fn new(core: Core, io: I) -> Engine<I> {
        let clients = ConnTable::with_room(core.settings().max_client_conn as usize);
        Engine {
            core,
            io,
            clients,
            servers: ConnTable::default(),
            carriers: ConnTable::default(),
            block: vec![0; BLOCK_BYTES].into_boxed_slice(),
            said: Room::default(),
            answers: OutgoingRoom::default(),
            queue: VecDeque::new(),
            handshakes: 0,
        }
    }

    /// Takes in a connection that the listener has accepted; `register` gives its stream, known
    /// to the poll under the client's id. If `has_bytes`, its first bytes have probably come, and
    /// are read in this turn.
    pub fn admit(
        &mut self,
        arrival: Arrival,
        has_bytes: bool,
        register: impl FnOnce(&mut I, ClientId) -> io::Result<I::Stream>,
    ) -> ClientId {
        let id = self.core.client_arrived(arrival);
        // `client_arrived` may have closed another client: its descriptor is free before the next
        // accept.
        self.carry_out();
        match register(&mut self.io, id) {
            Ok(stream) => {
                self.clients.insert(id, Conn::accepted(stream, has_bytes));
                if has_bytes {
                    self.queue_client(id);
                }
            }
            Err(error) => self.core.client_gone(id, Some(crate::log::plain(&error))),
        }
        id
    }

    /// The kernel has news of a client. Nothing happens for an id that is gone.
    #[inline(always)]
    pub fn client_event(&mut self, id: ClientId, readiness: &Readiness) {
        let Some(conn) = self.clients.get_mut(id) else { return };
        conn.hear_less(readiness, |stream| self.io.hear_of_room(ConnId::Client(id), stream, false));
        conn.take_news(readiness);
        if readiness.writable && !conn.is_flushed() {
            self.flush_client(id);
        }
        self.run_client(id);
    }

    /// The kernel has news of a server.
    #[inline(always)]
    pub fn server_event(&mut self, id: ServerId, readiness: &Readiness) {
        let Some(server) = self.servers.get_mut(id) else { return };
        let whose = ConnId::Outbound(Outbound::Server(id));
        server.conn.hear_less(readiness, |stream| self.io.hear_of_room(whose, stream, false));
        server.conn.take_news(readiness);
        if server.phase != Phase::Open {
            return self.go_on_to_open(Outbound::Server(id), *readiness);
        }
        if readiness.writable && !server.conn.is_flushed() {
            self.flush_server(id);
        }
        self.run_server(id);
    }

    /// Everything of a turn that follows the events: what was put off, actions, and the sweep.
    /// Returns when there will be something to do again. What concerns the process is left to the
    /// caller.
    #[inline(always)]
    pub fn turn(&mut self) -> Moment {
        let next = match self.core.has_chores() || !self.queue.is_empty() {
            true => self.do_chores(),
            false => self.core.next_sweep_by_time(),
        };
        self.handshakes = 0;
        #[cfg(debug_assertions)]
        self.core.check();
        next
    }

    #[inline(never)]
    fn do_chores(&mut self) -> Moment {
        self.carry_out();
        // What is queued while this runs is for the next turn, so that events get theirs.
        for _ in 0..self.queue.len() {
            let Some(run) = self.queue.pop_front() else { break };
            self.run(run);
            self.carry_out();
        }
        if self.core.has_derivations() {
            self.core.derive_keys();
        }
        self.core.send_inquiries();
        self.core.sweep();
        self.carry_out();
        if self.has_work() { self.core.mono() } else { self.core.next_sweep() }
    }

    /// Whether something is to be run at once, so that the poll must not sleep.
    pub fn has_work(&self) -> bool {
        !self.queue.is_empty() || self.core.has_derivations()
    }

    fn run(&mut self, run: Runnable) {
        match run {
            Runnable::Client(id) => {
                if let Some(conn) = self.clients.get_mut(id) {
                    conn.is_queued = false;
                    self.run_client(id);
                }
            }
            Runnable::Console(id) => self.core.turn_has_come(id),
            Runnable::Outbound(id) => self.go_on_with_outbound(id),
        }
    }

    pub(super) fn queue_client(&mut self, id: ClientId) {
        if let Some(conn) = self.clients.get_mut(id)
            && !std::mem::replace(&mut conn.is_queued, true)
        {
            self.queue.push_back(Runnable::Client(id));
        }
    }

    pub(super) fn queue_server(&mut self, id: ServerId) {
        self.queue_outbound(Outbound::Server(id));
    }

    pub(super) fn queue_outbound(&mut self, id: Outbound) {
        if let Some(outbound) = self.outbound(id)
            && !std::mem::replace(&mut outbound.conn.is_queued, true)
        {
            self.queue.push_back(Runnable::Outbound(id));
        }
    }

    /// Carries out actions that concern connections, now, so that their bytes keep their place.
    #[inline(always)]
    pub(super) fn carry_out(&mut self) {
        if self.core.has_actions() {
            self.carry_out_all();
        }
    }

    fn carry_out_all(&mut self) {
        while let Some(action) = self.core.poll_action() {
            match action {
                Action::Connect { id, to } => self.connect(id, &to),
                Action::SendClient { client, bytes } => self.tell_client(client, &bytes),
                Action::Notify { client, bytes } => self.notify_client(client, &bytes),
                Action::SendServer { server, bytes } => self.send_server(server, &bytes),
                Action::SendCarrier { carrier, bytes } => {
                    self.send_outbound(Outbound::Carrier(carrier), &bytes);
                }
                Action::CloseClient { client, is_told } => self.close_client(client, is_told),
                Action::CloseServer(id) => self.close_server(id),
                Action::CloseCarrier(id) => self.close_carrier(id),
                Action::RunClient(id) => self.queue_client(id),
                Action::NextTurn(id) => self.queue.push_back(Runnable::Console(id)),
                Action::Repeat { client, bytes } => self.repeat(client, bytes),
                Action::SecureClient(id) => self.secure_client(id, &[]),
                Action::RunServer(id) => self.queue_server(id),
                Action::PartIfDrained(id) => self.part_if_drained(id),
                Action::Resolve(name) => self.io.resolve(name),
                Action::Inquire { client, inquiry } => self.io.inquire(client, *inquiry),
                Action::ConsoleDone { client, outcome } => {
                    let held = HeldBytes {
                        clients: &self.clients,
                        servers: &self.servers,
                        carriers: &self.carriers,
                    };
                    console::finish(&mut self.core, &held, client, outcome);
                }
            }
        }
    }

    /// Has bytes of a client judged once more, before those that it has sent since.
    fn repeat(&mut self, id: ClientId, mut bytes: Vec<u8>) {
        let Some(conn) = self.clients.get_mut(id) else { return };
        debug_assert!(conn.inbound.is_boundary(), "they would come within a message");
        bytes.append(&mut conn.take_carry());
        conn.put_carry(bytes);
        conn.want = 0;
        self.queue_client(id);
    }

    /// Sends words of the pooler's own, unless they would be taken for the rest of a message.
    fn tell_client(&mut self, id: ClientId, bytes: &[u8]) {
        if self.clients.get(id).is_some_and(|conn| !conn.is_cut) {
            self.send_client(id, bytes);
        }
    }

    /// Sends now what the core has for a client that got its server in this run, such as the
    /// welcome of a replication client: it comes before what the server has said since.
    #[cold]
    pub(super) fn tell_first(&mut self, id: ClientId) {
        while let Some(bytes) = self.core.take_words(id) {
            self.tell_client(id, &bytes);
        }
    }

    /// A client that does not take what it is notified of is not waited for.
    fn notify_client(&mut self, id: ClientId, bytes: &[u8]) {
        let unsent = self.clients.get(id).map_or(0, Conn::unsent);
        match unsent + bytes.len() > MOST_UNDELIVERED_BYTES {
            true => self.core.client_is_deaf(id),
            false => self.tell_client(id, bytes),
        }
    }

    #[inline(always)]
    pub(super) fn send_client(&mut self, id: ClientId, bytes: &[u8]) {
        self.send_client_bytes(id, bytes, None);
    }

    #[cold]
    #[inline(never)]
    pub(super) fn send_client_rest(
        &mut self,
        id: ClientId,
        bytes: &[u8],
        offered: Option<io::Result<usize>>,
    ) {
        let Some(conn) = self.clients.get_mut(id) else { return };
        let hear = |stream: &mut _| self.io.hear_of_room(ConnId::Client(id), stream, true);
        if let Err(error) = conn.send_rest(bytes, offered, hear) {
            self.core.client_gone(id, Some(crate::log::plain(&error)));
        }
    }

    #[inline(always)]
    pub(super) fn send_server(&mut self, id: ServerId, bytes: &[u8]) {
        self.write_lines();
        let Some(server) = self.servers.get_mut(id) else { return };
        if let Offered::Not(outcome) = server.conn.offer(bytes) {
            self.send_server_rest(id, bytes, outcome);
        }
    }

    #[cold]
    #[inline(never)]
    fn send_server_rest(&mut self, id: ServerId, bytes: &[u8], offered: Option<io::Result<usize>>) {
        let Some(server) = self.servers.get_mut(id) else { return };
        let whose = ConnId::Outbound(Outbound::Server(id));
        let hear = |stream: &mut _| self.io.hear_of_room(whose, stream, true);
        if let Err(error) = server.conn.send_rest(bytes, offered, hear) {
            self.outbound_broke(Outbound::Server(id), &error);
        }
    }

    #[inline(never)]
    fn flush_client(&mut self, id: ClientId) {
        let Some(conn) = self.clients.get_mut(id) else { return };
        let hear = |stream: &mut _| self.io.hear_of_room(ConnId::Client(id), stream, true);
        match conn.flush(hear) {
            Err(error) => self.core.client_gone(id, Some(crate::log::plain(&error))),
            Ok(()) if !conn.is_flushed() => {}
            Ok(()) => {
                // The server was not read while this client's outbox was full.
                if let Some(server) = self.core.clients.get(id).and_then(Client::server) {
                    self.queue_server(server);
                    self.part_if_drained(server);
                }
            }
        }
    }

    #[inline(never)]
    fn flush_server(&mut self, id: ServerId) {
        let Some(server) = self.servers.get_mut(id) else { return };
        let whose = ConnId::Outbound(Outbound::Server(id));
        let hear = |stream: &mut _| self.io.hear_of_room(whose, stream, true);
        match server.conn.flush(hear) {
            Err(error) => self.outbound_broke(Outbound::Server(id), &error),
            Ok(()) if !server.conn.is_flushed() => {}
            Ok(()) => {
                if let Some(client) = self.core.servers.get(id).and_then(Server::client) {
                    self.queue_client(client);
                }
                self.part_if_drained(id);
            }
        }
    }

    /// Asks the core whether the server's client is done with it, if both directions are drained.
    pub(super) fn part_if_drained(&mut self, id: ServerId) {
        if !self.core.may_part(id) {
            return;
        }
        let Some(server) = self.servers.get(id) else { return };
        let server_drained = server.conn.is_flushed()
            && server.conn.inbound.is_boundary()
            && server.conn.carry().is_empty();
        let client = self.core.servers[id].client().and_then(|client| self.clients.get(client));
        let client_drained = client.is_none_or(|conn| {
            conn.is_flushed() && !matches!(conn.inbound.way(), Heading::Forward(_))
        });
        if server_drained && client_drained {
            self.core.part_if_done(id);
        }
    }

    fn close_client(&mut self, id: ClientId, is_told: bool) {
        self.write_lines();
        if let Some(mut conn) = self.clients.remove(id) {
            // Most clients have said goodbye: they wait for no words, and what they have sent was
            // read just now.
            let may_have_bytes = conn.is_readable && !conn.is_ending;
            if is_told || may_have_bytes || !conn.is_flushed() {
                conn.is_writable = true;
                // Best effort: a peer that does not read has had its chance.
                let _ = conn.flush(|_| Ok(true));
                drain(&mut conn.stream);
            }
            self.io.close(conn.stream);
        }
        self.core.free_client(id);
    }

    fn close_server(&mut self, id: ServerId) {
        self.write_lines();
        if let Some(mut server) = self.servers.remove(id) {
            let is_session = server.phase == Phase::Open && server.conn.is_flushed();
            if is_session && self.core.servers.get(id).is_some_and(|s| s.may_say_goodbye()) {
                let _ = server.conn.stream.write(&crate::pool::login::server_login::terminate());
            }
            self.io.close(server.conn.stream);
        }
        self.core.free_server(id);
    }

    /// Connections of clients, and those that the pooler has opened, for tests.
    #[cfg(test)]
    pub fn connection_counts(&self) -> (usize, usize) {
        (self.clients.len(), self.servers.len() + self.carriers.len())
    }

    /// The memory that a client's bytes take: for tests.
    #[cfg(test)]
    pub fn held_bytes(&self, id: ClientId) -> usize {
        self.clients.get(id).map_or(0, |conn| conn.reserved())
    }
}

/// What the console may know of the connections.
pub(super) struct HeldBytes<'a, S> {
    pub clients: &'a ConnTable<ClientKind, Conn<S, ServerId>>,
    pub servers: &'a ConnTable<ServerKind, OutboundConn<S>>,
    pub carriers: &'a ConnTable<CarrierKind, OutboundConn<S>>,
}

impl<S: Stream> Buffers for HeldBytes<'_, S> {
    fn client(&self, id: ClientId) -> BufferedBytes {
        self.clients.get(id).map_or(BufferedBytes::default(), held)
    }

    fn server(&self, id: ServerId) -> BufferedBytes {
        self.servers.get(id).map_or(BufferedBytes::default(), |server| held(&server.conn))
    }

    fn carrier(&self, id: CarrierId) -> BufferedBytes {
        self.carriers.get(id).map_or(BufferedBytes::default(), |carrier| held(&carrier.conn))
    }
}

fn held<S: Stream, To: Copy>(conn: &Conn<S, To>) -> BufferedBytes {
    BufferedBytes { received: conn.carry().len(), unsent: conn.unsent() }
}

/// Reads and throws away what a peer has sent, so that closing does not turn into a reset. The
/// engine's block does not serve for that: a run that closes its own client has taken it.
fn drain(stream: &mut impl Stream) {
    let mut block = vec![0; BLOCK_BYTES];
    for _ in 0..DRAIN_READS {
        match stream.read(&mut block) {
            Ok(count) if count > 0 => {}
            _ => return,
        }
    }
}

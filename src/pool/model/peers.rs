//! What clients and servers of the model do.

use super::rules::{DATABASES, HOSTS, USERS};
use super::verify::Count;
use super::world::{HERE, Inn, Mood, Socket, Visitor, World};
use crate::base::rng::Rng;
use crate::pool::core::Target;
use crate::pool::ids::{Outbound, ServerId};
use crate::pool::login::entry::Arrival;
use crate::pool::owed::outgoing::OutgoingBytes;
use crate::pool::owed::said::Said;
use crate::pool::owed::verdict::Verdict;
use crate::pool::records::client::Standing;
use crate::pool::records::server;
use crate::wire::build::{self, ErrorReport, Severity};
use crate::wire::head::{HEAD_BYTES, Head};
use crate::wire::startup;

impl World {
    /// A client comes; it is let in exactly when the limits allow it.
    pub fn invite(&mut self) {
        let database = self.rng.below(DATABASES as u64) as usize;
        let user = self.rng.below(USERS as u64) as usize;
        let refused = self.must_refuse(database, user);
        let id = self.core.client_arrived(Arrival { peer: HERE, local: HERE, uid: None });
        self.note(format!("client {id:?} comes to d{database} as u{user}, refused: {refused:?}"));
        self.visitors.push(Visitor { id, has_asked: false, served: 0 });
        let (database, user) = (format!("d{database}"), format!("u{user}"));
        let mut packet = Vec::new();
        startup::startup_message(&mut packet, 0, &[("user", &user), ("database", &database)]);
        self.core.client_opening(id, &packet);
        let is_closed = self.core.clients[id].is_closing();
        assert_eq!(is_closed, refused.is_some(), "a client is let in or not: {refused:?}");
        self.figures.refused_clients += u32::from(is_closed);
        self.carry_out();
    }

    fn must_refuse(&self, database: usize, user: usize) -> Option<&'static str> {
        let (count, rules) = (Count::of(&self.core), &self.rules);
        let reached = |limit: u32, count: usize| limit > 0 && count >= limit as usize;
        if count.clients >= rules.max_client_conn as usize {
            return Some("max_client_conn");
        }
        if rules.databases[database].is_missing {
            return Some("no such database");
        }
        if reached(rules.db_clients(database), count.db_clients[database]) {
            return Some("max_db_client_connections");
        }
        let is_full = reached(rules.user_clients(user), count.user_clients[user]);
        is_full.then_some("max_user_client_connections")
    }

    /// The client asks, or ends its transaction.
    pub fn go_on(&mut self, at: usize) {
        let visitor = &self.visitors[at];
        let client = &self.core.clients[visitor.id];
        match client.standing() {
            Some(Standing::Idle) => self.ask(at),
            Some(Standing::Active { server }) => self.commit(at, server),
            Some(Standing::AwaitWelcome | Standing::Waiting) => {}
            None => panic!("a client in {:?}", client.state()),
        }
    }

    /// As [`World::go_on`], but no more once it was served.
    pub fn finish(&mut self, at: usize) {
        let Some(visitor) = self.visitors.get(at) else { return };
        if visitor.served == 0 || self.core.clients[visitor.id].server().is_some() {
            self.go_on(at);
        }
    }

    pub fn ask(&mut self, at: usize) {
        let id = self.visitors[at].id;
        let body = b"begin\0";
        let head = Head { kind: b'Q', body: body.len() };
        let verdict = self.core.judge_client(id, head, body, &mut Said::default());
        self.note(format!("client {id:?} asks: {verdict:?}"));
        self.visitors[at].has_asked = matches!(verdict, Verdict::Hold(_));
        match verdict {
            Verdict::Forward(server) => {
                self.figures.served += 1;
                self.visitors[at].served += 1;
                self.reply(server, b'C', b"BEGIN\0");
                self.reply(server, b'Z', b"T");
            }
            Verdict::Hold(_) => self.figures.waited += 1,
            Verdict::Closed => {}
            other => panic!("a question gets {other:?}"),
        }
        self.carry_out();
    }

    fn commit(&mut self, at: usize, server: ServerId) {
        let id = self.visitors[at].id;
        self.note(format!("client {id:?} gives {server:?} back"));
        let body = b"commit\0";
        let verdict = self.core.judge_client(
            id,
            Head { kind: b'Q', body: body.len() },
            body,
            &mut Said::default(),
        );
        assert_eq!(verdict, Verdict::Forward(server));
        self.reply(server, b'C', b"COMMIT\0");
        self.reply(server, b'Z', b"I");
        self.core.part_if_done(server);
        self.carry_out();
    }

    fn reply(&mut self, server: ServerId, kind: u8, body: &[u8]) {
        self.core.judge_server(
            server,
            Head { kind, body: body.len() },
            body,
            &mut OutgoingBytes::default(),
        );
    }

    pub fn connect(&mut self, server: ServerId, to: &Target) {
        let Target::Tcp(address) = to else { panic!("{to:?} is no host of the model") };
        let std::net::IpAddr::V4(ip) = address.ip() else { panic!("{to:?} is no host") };
        let host = usize::from(ip.octets()[3]);
        let pool = self.core.servers[server].pool;
        self.note(format!("server {server:?} of {} to host {host}", self.core.pool_name(pool)));
        self.sockets.push(Socket { server, pool, host, stands: false });
    }

    /// The record of a server is given back; a login that has not succeeded has failed.
    pub fn server_closed(&mut self, id: ServerId) {
        self.core.free_server(id);
        let Some(at) = self.sockets.iter().position(|socket| socket.server == id) else { return };
        let socket = self.sockets.remove(at);
        self.inns[socket.host].failed_at = Some(self.core.mono());
    }

    pub fn some_server_acts(&mut self) {
        if !self.sockets.is_empty() {
            let at = self.rng.below(self.sockets.len() as u64) as usize;
            self.server_acts(at);
        }
    }

    /// The next thing that a server in login does.
    pub fn server_acts(&mut self, at: usize) {
        let Some(socket) = self.sockets.get_mut(at) else { return };
        let (id, host, pool) = (socket.server, socket.host, socket.pool);
        match (self.inns[host].mood, socket.stands) {
            (Mood::Hanging, _) => return,
            (Mood::Refusing, false) => {
                self.figures.hosts_down += 1;
                self.core.connect_failed(Outbound::Server(id), "refused");
            }
            (Mood::Refusing, true) => self.core.outbound_gone(Outbound::Server(id), None),
            (Mood::Well, false) => {
                socket.stands = true;
                self.core.connected(Outbound::Server(id), (HERE, HERE), None);
            }
            (Mood::Well, true) if self.refusals > 0 && self.rng.one_in(self.refusals) => {
                self.sockets.remove(at);
                self.refuse(id);
                self.refused_at.insert(pool.to_bits(), self.core.mono());
                self.inns[host].failed_at = None;
            }
            (Mood::Well, true) => {
                self.sockets.remove(at);
                self.inns[host].failed_at = None;
                self.refused_at.remove(&pool.to_bits());
                self.logged_in.push(pool);
                self.reply(id, b'R', &[0; 4]);
                self.reply(id, b'S', b"server_version\x0015\0");
                self.reply(id, b'K', &[0, 0, 0, 42, 1, 2, 3, 4]);
                self.reply(id, b'Z', b"I");
                self.note(format!("server {id:?} has logged in"));
            }
        }
        self.carry_out();
    }

    fn refuse(&mut self, id: ServerId) {
        self.figures.refused_logins += 1;
        let mut bytes = Vec::new();
        build::report(
            &mut bytes,
            &ErrorReport {
                severity: Severity::Fatal,
                sqlstate: "53300",
                message: "sorry, too many clients already",
                detail: None,
                hint: None,
            },
        );
        self.reply(id, b'E', &bytes[HEAD_BYTES..]);
    }

    pub fn some_server_dies(&mut self) {
        let is_session = |server: &server::Server| server.is_session();
        let ids: Vec<ServerId> =
            self.core.servers.iter().filter(|(_, s)| is_session(s)).map(|(id, _)| id).collect();
        if !ids.is_empty() {
            let id = ids[self.rng.below(ids.len() as u64) as usize];
            self.note(format!("server {id:?} dies"));
            self.core.outbound_gone(Outbound::Server(id), None);
            self.carry_out();
        }
    }

    pub fn a_host_changes(&mut self) {
        let host = self.rng.below(HOSTS as u64) as usize;
        let mood = [Mood::Well, Mood::Well, Mood::Refusing, Mood::Hanging];
        let mood = mood[self.rng.below(4) as usize];
        self.note(format!("host {host} is {mood:?}"));
        self.inns[host] = Inn { mood, ..self.inns[host] };
    }
}

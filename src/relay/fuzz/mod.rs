//! The entry point for fuzzing the relay: clients and servers send arbitrary bytes in arbitrary
//! pieces, through the same engine and core that the program runs. Nothing may panic, the core's
//! records must agree after each turn, all output must be messages, and after the last peer has
//! left nothing may be left over.
//!
//! The input is a script of steps, separated by bytes of 0xff. The first byte of a step is the
//! action, the second is the peer, the rest are the arguments; 0xfe stands for a byte of 0xff.

mod pipe;
mod watch;

use std::time::Duration;

use self::pipe::{End, Pipe, PipeNetwork};
use super::conn::Readiness;
use super::engine::Engine;
use crate::auth::secret::Secret;
use crate::base::rng::SeededRng;
use crate::base::time::{Moment, Now};
use crate::config::load::load_text;
use crate::log::PeerAddress;
use crate::pool::core::{Core, ProcessAction};
use crate::pool::ids::{ClientId, Outbound};
use crate::pool::login::entry::Arrival;
use crate::pool::records::access::{Access, SystemFacts};

const INI: &str = "
[databases]
trans = host=127.0.0.1 pool_mode=transaction
sess = host=127.0.0.1 pool_mode=session
stmt = host=127.0.0.1 pool_mode=statement
asks = host=127.0.0.1 auth_user=ann
[pgbouncer]
auth_type = trust
admin_users = joe
default_pool_size = 2
pkt_buf = 64
query_wait_timeout = 20
transaction_timeout = 60
";

/// Scripts that go through a login and beyond: the input for [`fuzz`] is made from them.
pub const SAMPLES: &[&[u8]] = &[
    // A simple query, then BEGIN, a notice, and a client that vanishes.
    b"c0\0\0\0\x21\0\x03\0\0user\0joe\0database\0trans\0\0\
      \xffs0R\0\0\0\x08\0\0\0\0S\0\0\0\x16server_version\x0017\0K\0\0\0\x0c\0\0\0\x01\0\0\0\x02\
      Z\0\0\0\x05I\xffc0Q\0\0\0\x0dselect 1\0\
      \xffs0T\0\0\0\x1a\0\x01a\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xfe\xfe\xfe\xfe\0\0\
      D\0\0\0\x0b\0\x01\0\0\0\x011C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I\
      \xffc0Q\0\0\0\x0abegin\0\xffs0C\0\0\0\x0aBEGIN\0N\0\0\0\x09Mhi\0\0Z\0\0\0\x05T\xffx0",
    // The extended protocol byte by byte, with a name that is rewritten, and a COPY.
    b"c0\0\0\0\x21\0\x03\0\0user\0joe\0database\0trans\0\0\
      \xffs0R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I\xffp3\
      \xffc0P\0\0\0\x13one\0select 1\0\0\0B\0\0\0\x0f\0one\0\0\0\0\0\0\0E\0\0\0\x09\0\0\0\0\0\
      S\0\0\0\x04\xffs01\0\0\0\x042\0\0\0\x04C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I\
      \xffc0Q\0\0\0\x16copy t from stdin\0\xffs0G\0\0\0\x09\0\0\x01\0\0\
      \xffc0d\0\0\0\x071\x0a2c\0\0\0\x04\xffs0C\0\0\0\x0bCOPY 1\0Z\0\0\0\x05I\xffX0",
    // Session pooling, a client that stops reading, another client's server, and a PAUSE that waits
    // for both.
    b"c0\0\0\0\x20\0\x03\0\0user\0joe\0database\0sess\0\0\
      \xffs0R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I\
      \xffw0\x01\xffc0Q\0\0\0\x0dselect 1\0\xffs0D\0\0\0\x18\0\x01\0\0\0\x0e01234567890123\
      C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I\xfft9\xffw0\x09\
      \xffc1\0\0\0\x20\0\x03\0\0user\0ann\0database\0stmt\0\0\
      \xffs1R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I\xffc1Q\0\0\0\x0dselect 2\0\
      \xffc2\0\0\0\x25\0\x03\0\0user\0joe\0database\0pgbouncer\0\0\
      \xffc2Q\0\0\0\x1ePAUSE; SHOW STATE; RESUME\0\
      \xffs1C\0\0\0\x0dSELECT 0\0Z\0\0\0\x05I\xffe0\
      \xffs0C\0\0\0\x0cDISCARD\0Z\0\0\0\x05I\xffc2X\0\0\0\x04\xffe1",
    // A user that is looked up, and one whose lookup fails.
    b"c0\0\0\0\x20\0\x03\0\0user\0eve\0database\0asks\0\0\
      \xffs0R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I\
      \xffs01\0\0\0\x042\0\0\0\x04T\0\0\0\x06\0\x02\
      D\0\0\0\x13\0\x02\0\0\0\x03eve\0\0\0\x02pwC\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I\
      \xffs1R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I\
      \xffc1\0\0\0\x20\0\x03\0\0user\0mal\0database\0asks\0\0\
      \xffs0E\0\0\0\x09Mno\0\0Z\0\0\0\x05I",
];

/// Plays a script.
pub fn fuzz(data: &[u8]) {
    let mut bench = Bench::new();
    bench.play(data);
    bench.end();
}

/// The most clients at once.
const MOST_CLIENTS: usize = 4;

/// The most turns until everything is closed at the end.
const LAST_TURNS: usize = 100;

/// The pooler and its peers.
struct Bench {
    engine: Engine<PipeNetwork>,
    clients: [Option<ClientId>; MOST_CLIENTS],
    outbound: Vec<Outbound>,
    /// The size of the pieces in which bytes arrive.
    piece: usize,
    is_over: bool,
}

/// A peer of the pooler.
#[derive(Clone, Copy)]
enum Far {
    Client(ClientId),
    Outbound(Outbound),
}

impl Bench {
    fn new() -> Bench {
        let config = load_text("fuzz.ini", INI).expect("a good file");
        let host = SystemFacts { uid: 1, uid_name: |_| None, name: || None, descriptors: 100_000 };
        let now = Now { mono: Moment(1_000_000), wall_us: 1_700_000_000_000_000 };
        let rng = Box::new(SeededRng::new(1));
        let users = ["joe", "ann"].map(|name| (name.to_owned(), Secret::parse(b"secret")));
        let access = Access { users: users.into_iter().collect(), ..Access::default() };
        let core = Core::new(config, access, host, rng, now);
        let engine = Engine::new(core, PipeNetwork::default());
        let clients = [None; MOST_CLIENTS];
        Bench { engine, clients, outbound: Vec::new(), piece: usize::MAX, is_over: false }
    }

    fn play(&mut self, data: &[u8]) {
        for step in data.split(|&byte| byte == 0xff) {
            let [what, whom, rest @ ..] = step else { continue };
            let rest: Vec<u8> = rest.iter().map(|&b| if b == 0xfe { 0xff } else { b }).collect();
            self.step(*what, usize::from(whom.wrapping_sub(b'0')), &rest);
            if self.is_over {
                return;
            }
        }
    }

    fn step(&mut self, what: u8, number: usize, rest: &[u8]) {
        let room = usize::from(rest.first().copied().unwrap_or(0)) * 16;
        match (what, self.far(what, number)) {
            // A client or a server sends, ends, breaks, or takes this many more bytes and no
            // others.
            (b'c' | b's', Some(far)) => self.send(far, rest),
            (b'e' | b'E', Some(far)) => self.finish(far, End::Finished),
            (b'x' | b'X', Some(far)) => self.finish(far, End::Broken),
            (b'w' | b'W', Some(far)) => {
                self.change(far, |pipe| pipe.room = room);
                self.tell(far, Readiness { writable: true, ..Readiness::default() });
            }
            // Time passes; later bytes arrive in pieces of this size.
            (b't', _) => self.pass(Duration::from_millis((number * number * 100) as u64)),
            (b'p', _) => self.piece = if number == 0 { usize::MAX } else { number },
            _ => {}
        }
    }

    /// The peer that a step concerns. A client connects when a step names it. A step that names a
    /// server establishes all begun connections, unless the step breaks one.
    fn far(&mut self, what: u8, number: usize) -> Option<Far> {
        match what {
            b'c' | b'e' | b'x' | b'w' => Some(Far::Client(self.client(number % MOST_CLIENTS))),
            b's' | b'E' | b'X' | b'W' => {
                if what != b'X' {
                    self.connect();
                }
                self.outbound.append(&mut self.engine.io.begun);
                let engine = &mut self.engine;
                self.outbound.retain(|&id| engine.outbound_stream(id).is_some());
                let count = self.outbound.len().max(1);
                self.outbound.get(number % count).map(|&id| Far::Outbound(id))
            }
            _ => None,
        }
    }

    fn client(&mut self, number: usize) -> ClientId {
        let here = self.clients[number].filter(|&id| self.engine.clients.get(id).is_some());
        here.unwrap_or_else(|| {
            let peer = PeerAddress::Tcp { ip: [127, 0, 0, 1].into(), port: number as u16 };
            let arrival = Arrival { peer, local: peer, uid: None };
            let id = self.engine.admit(arrival, false, |_, _| Ok(Pipe::to_client()));
            self.clients[number] = Some(id);
            self.tell(Far::Client(id), Readiness { writable: true, ..Readiness::default() });
            id
        })
    }

    /// Establishes the connections that the pooler has begun.
    fn connect(&mut self) {
        for id in std::mem::take(&mut self.engine.io.begun) {
            self.outbound.push(id);
            self.tell(Far::Outbound(id), Readiness { writable: true, ..Readiness::default() });
        }
    }

    fn send(&mut self, far: Far, bytes: &[u8]) {
        for piece in bytes.chunks(self.piece) {
            self.change(far, |pipe| pipe.arrived.extend_from_slice(piece));
            self.tell(far, Readiness { readable: true, ..Readiness::default() });
        }
    }

    fn finish(&mut self, far: Far, end: End) {
        self.change(far, |pipe| pipe.end = Some(end));
        let writable = end == End::Broken;
        self.tell(far, Readiness { readable: true, writable, ending: true });
    }

    fn change(&mut self, far: Far, change: impl FnOnce(&mut Pipe)) {
        let pipe = match far {
            Far::Client(id) => self.engine.clients.get_mut(id).map(|conn| &mut conn.stream),
            Far::Outbound(id) => self.engine.outbound_stream(id),
        };
        if let Some(pipe) = pipe {
            change(pipe);
        }
    }

    fn tell(&mut self, far: Far, news: Readiness) {
        match far {
            Far::Client(id) => self.engine.client_event(id, &news),
            Far::Outbound(id) => self.engine.outbound_event(id, news),
        }
        self.turn();
    }

    fn pass(&mut self, time: Duration) {
        self.engine.core.now.mono = self.engine.core.now.mono + time;
        self.turn();
    }

    fn turn(&mut self) {
        self.engine.turn();
        self.engine.core.take_lines();
        while let Some(action) = self.engine.core.poll_process_action() {
            match action {
                ProcessAction::Reload { client: Some(client) } => {
                    self.engine.core.end_reload(client, Ok(()))
                }
                ProcessAction::Exit => self.is_over = true,
                ProcessAction::Reload { client: None }
                | ProcessAction::SettingsChanged
                | ProcessAction::Status(_)
                | ProcessAction::StopListening => {}
            }
        }
    }

    /// All peers leave, and nothing may be left over. The end of a client must be noticed at once,
    /// whatever the client waits for.
    fn end(&mut self) {
        let databases = self.engine.core.databases.ids().into_iter().map(Some);
        for paused in databases.chain([None]) {
            self.engine.core.resume(paused);
        }
        for id in self.clients.into_iter().flatten() {
            self.finish(Far::Client(id), End::Broken);
        }
        let has_left = |id: &ClientId| self.engine.clients.get(*id).is_none();
        assert!(self.is_over || self.clients.iter().flatten().all(has_left), "a client is left");
        self.connect();
        for id in self.outbound.clone() {
            self.finish(Far::Outbound(id), End::Broken);
        }
        for _ in 0..LAST_TURNS {
            self.pass(Duration::from_secs(1));
        }
        assert!(self.is_over || !self.engine.has_work(), "there is always something to be done");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(script: &[u8]) -> Bench {
        let mut bench = Bench::new();
        bench.play(script);
        bench
    }

    /// The kinds of all messages that were sent.
    fn sent(bench: &mut Bench) -> String {
        let mut sent = std::mem::take(&mut bench.engine.io.sent);
        for id in bench.clients.into_iter().flatten() {
            bench.change(Far::Client(id), |pipe| sent.append(&mut pipe.written));
        }
        for id in bench.outbound.clone() {
            bench.change(Far::Outbound(id), |pipe| sent.append(&mut pipe.written));
        }
        sent.into_iter().map(|kind| if kind == 0 { '0' } else { char::from(kind) }).collect()
    }

    #[test]
    fn the_samples_go_through_what_they_say() {
        let expected = [
            "0QQXRSSSSKZTDCZCNZ",
            "0PBESQdcRSSSKZ12CZGCZ",
            "0QRSSSKZDCZ0QQRSSSSSSSSKZCTDDCCZRSSSKZCZ",
            "ERSSSKZ0PBDESPBDES0",
        ];
        for (sample, expected) in SAMPLES.iter().zip(expected) {
            let mut bench = played(sample);
            assert_eq!(sent(&mut bench), expected, "{}", sample.escape_ascii());
            bench.end();
        }
    }
}

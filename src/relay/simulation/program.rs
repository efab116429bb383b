//! The program of a simulated client: a random stream of queries of every kind, in units that are
//! sent together. Every query carries a tag of its own, so that its answer shows whose it is.

use std::collections::{BTreeMap, VecDeque};

use super::parameters::VARYING;
use super::walsender;
use super::wire::{self, Packet};
use crate::base::rng::{Rng, SeededRng};
use crate::wire::kind::Front;

/// What a client may do in its pool.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// It may use named statements: they are tracked, or the server is the client's own.
    pub names: bool,
    pub blocks: bool,
    /// It may use DISCARD ALL and RESET: its startup packet sets nothing.
    pub resets: bool,
    /// It may use statements that do not exist, and do what ends the client.
    pub rogue: bool,
    /// It may use results and queries of many kilobytes.
    pub big: bool,
    /// It may leave session state and ask for it.
    pub leaves: bool,
    /// It may listen and publish.
    pub publishes: bool,
    /// It may prepare an unnamed statement behind an error, and bind the one that was there.
    pub skips: bool,
    /// It has a walsender.
    pub replicates: Option<walsender::Kind>,
}

/// What must have come before the next unit is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    Nothing,
    /// All answers.
    Answers,
    /// So many messages of a stream, or its end.
    Streamed(usize),
}

pub struct Unit {
    pub packets: Vec<Packet>,
    pub wait: Wait,
}

pub struct Program {
    pub(super) profile: Profile,
    client: usize,
    pub(super) tags: usize,
    /// Whether a transaction block is open, as far as it can be predicted.
    in_block: bool,
    names: BTreeMap<String, String>,
    pub(super) script: VecDeque<Unit>,
    /// Whether the client leaves after the script, whatever is under way.
    pub is_last: bool,
    pub(super) rng: SeededRng,
}

/// Texts that several clients use, so that they share statements; the tag is a parameter.
const SHARED: [&str; 7] = [
    "SELECT one $",
    "SELECT two $ $",
    "ROWS 3 20 three $",
    "ROWS 2 0 four $",
    "SLEEP 3000 five $",
    "TABLE six $",
    "TABLE seven $ $",
];

impl Program {
    pub fn new(client: usize, profile: Profile, rng: SeededRng) -> Program {
        Program {
            profile,
            client,
            tags: 0,
            in_block: false,
            names: BTreeMap::new(),
            script: VecDeque::new(),
            is_last: false,
            rng,
        }
    }

    /// The next unit.
    pub fn next(&mut self) -> Unit {
        if let Some(unit) = self.script.pop_front() {
            return unit;
        }
        if let Some(kind) = self.profile.replicates {
            return self.replicate(kind);
        }
        if self.profile.leaves && self.rng.one_in(4) {
            let packets = self.leave();
            return Unit { packets, wait: self.some_wait() };
        }
        if self.profile.publishes && self.rng.one_in(3) {
            let packets = self.channel();
            return Unit { packets, wait: self.some_wait() };
        }
        let packets = match self.rng.below(22) {
            0..=4 => vec![self.simple()],
            5..=6 => return self.block(),
            7 => vec![self.parameter()],
            8 => return self.copy_in(),
            9 => vec![self.call()],
            10 => self.oddity(),
            11 if self.profile.rogue && self.rng.one_in(4) => self.rogue(),
            19 if !self.in_block => return self.apart(),
            20 | 21 if self.profile.names => return self.lone_use(),
            _ => return self.batch(),
        };
        Unit { packets, wait: self.some_wait() }
    }

    /// The unit that completes what was begun.
    pub fn finish(&mut self) -> Option<Unit> {
        self.script.pop_front()
    }

    pub(super) fn some_wait(&mut self) -> Wait {
        if self.rng.one_in(3) { Wait::Answers } else { Wait::Nothing }
    }

    pub(super) fn tag(&mut self) -> String {
        self.tags += 1;
        format!("c{}q{}", self.client, self.tags)
    }

    pub(super) fn size(&mut self) -> usize {
        match self.rng.below(8) {
            0 if self.profile.big => self.rng.below(150_000) as usize,
            1 => self.rng.below(9_000) as usize,
            _ => self.rng.below(100) as usize,
        }
    }

    pub(super) fn simple(&mut self) -> Packet {
        let tag = self.tag();
        let size = self.size();
        let text = match self.rng.below(12) {
            0 => format!("ROWS {} {} {tag}", 1 + self.rng.below(20), size / 10),
            1 => format!("ROWS 1 {size} {tag}"),
            2 => format!("SLEEP {} {tag}", self.rng.below(20_000)),
            3 => format!("FAIL {tag}"),
            4 => format!("OOPS {tag}"),
            5 => String::new(),
            6 => format!("SELECT {tag}; ROWS 2 10 {tag}; SELECT {tag}"),
            7 => format!("SELECT {tag}; FAIL {tag}; SELECT {tag}"),
            8 => format!("COPYOUT {} {} {tag}", self.rng.below(20), size / 10),
            9 => format!("SELECT {tag} {}", "x".repeat(size)),
            10 => format!("NOTICE {tag}"),
            _ => format!("SELECT {tag}"),
        };
        wire::query(&text)
    }

    pub(super) fn block(&mut self) -> Unit {
        if !self.profile.blocks {
            return Unit { packets: vec![self.simple()], wait: Wait::Nothing };
        }
        let text = match (self.in_block, self.rng.below(3)) {
            (false, _) => "BEGIN",
            (true, 0) => "ROLLBACK",
            (true, _) => "COMMIT",
        };
        self.in_block = !self.in_block;
        let packets = if self.rng.one_in(3) { self.unnamed(text) } else { vec![wire::query(text)] };
        Unit { packets, wait: self.some_wait() }
    }

    pub(super) fn parameter(&mut self) -> Packet {
        let tag = self.tag();
        let text = match self.rng.below(9) {
            0 => format!("SET application_name='{tag}'"),
            1 => "SET TimeZone='cet'".to_owned(),
            2 => "SET TimeZone='utc'".to_owned(),
            3 => "SET DateStyle='german'".to_owned(),
            4 if self.profile.resets => "RESET TimeZone".to_owned(),
            5 => format!("SET application_name='{tag}'; FAIL {tag}"),
            6 => "SET TimeZone='bad'".to_owned(),
            7 => "SHOW application_name".to_owned(),
            _ => match self.tags % 3 {
                0 => format!("SHOW {VARYING}"),
                1 => "SHOW search_path".to_owned(),
                _ => "SHOW TimeZone".to_owned(),
            },
        };
        wire::query(&text)
    }

    /// Listens, unlistens or publishes.
    fn channel(&mut self) -> Vec<Packet> {
        let (tag, channel) = (self.tag(), self.rng.below(3));
        let text = match self.rng.below(10) {
            0..=2 => format!("LISTEN pub{channel}"),
            3 => format!("UNLISTEN pub{channel}"),
            4 => format!("SELECT {tag}; UNLISTEN pub{channel}; LISTEN pub0"),
            5 => "UNLISTEN *".to_owned(),
            6 => format!("LISTEN pub{channel}; FAIL {tag}"),
            _ => format!("PUBLISH pub{channel} {tag}x"),
        };
        match text.contains(';') || self.rng.one_in(2) {
            true => vec![wire::query(&text)],
            false => self.unnamed(&text),
        }
    }

    /// Leaves session state, clears it, or asks for it.
    fn leave(&mut self) -> Vec<Packet> {
        let tag = self.tag();
        let text = match self.rng.below(22) {
            0 => format!("LISTEN {tag}"),
            1 => format!("CREATE TEMP TABLE {tag} ()"),
            2 => format!("SELECT pg_advisory_lock('{tag}')"),
            3 => format!("PREPARE {tag} AS x"),
            4 => format!("DECLARE {tag} CURSOR WITH HOLD FOR x"),
            5 => format!("SET x.mark='{tag}'"),
            6 => format!("SET ROLE {tag}"),
            7 => format!("SET SESSION AUTHORIZATION {tag}"),
            8 => format!("DO '{tag}'"),
            9 => format!("SELECT {tag}; LISTEN {tag}; FAIL {tag}"),
            10 => format!("LISTEN {tag}; UNLISTEN *; SET x.mark='{tag}'"),
            11 => format!("SELECT {tag} '{}'; LISTEN {tag}", "x".repeat(self.size().min(60_000))),
            12 => "UNLISTEN *".to_owned(),
            13 => "DISCARD TEMP".to_owned(),
            14 => "SELECT pg_advisory_unlock_all()".to_owned(),
            15 => "CLOSE ALL".to_owned(),
            16 => ["RESET ROLE", "SET SESSION AUTHORIZATION DEFAULT"][self.tags % 2].to_owned(),
            17 if self.profile.resets => "RESET ALL".to_owned(),
            _ => "STATE".to_owned(),
        };
        let is_simple = text.contains(';') || text.contains("pg_advisory");
        match is_simple || self.rng.one_in(2) {
            true => vec![wire::query(&text)],
            false => self.unnamed(&text),
        }
    }

    pub(super) fn call(&mut self) -> Packet {
        let fails = if self.rng.one_in(4) { "FAIL " } else { "" };
        let text = format!("{fails}{}", self.tag());
        wire::front(Front::FunctionCall, &[&[0, 0, 0, 7][..], &wire::cstr(&text)].concat())
    }

    /// Rare but legal messages.
    fn oddity(&mut self) -> Vec<Packet> {
        match self.rng.below(9) {
            0 => vec![wire::sync()],
            1 => vec![wire::front(Front::Flush, b"")],
            2 => vec![wire::front(Front::CopyData, b"late")],
            3 => vec![wire::front(Front::CopyDone, b""), wire::front(Front::CopyFail, b"late\0")],
            4 if self.profile.resets => {
                self.names.clear();
                vec![wire::query("DISCARD ALL")]
            }
            5 if self.profile.names => {
                self.names.clear();
                vec![wire::query("DEALLOCATE ALL")]
            }
            6 | 7 if self.profile.names => {
                let name = self.some_name().unwrap_or("nosuch".to_owned());
                self.names.remove(&name);
                vec![wire::query(&format!("DEALLOCATE {name}"))]
            }
            _ => {
                let tag = self.tag();
                vec![wire::query(&format!("NOTIFY {tag}"))]
            }
        }
    }

    fn rogue(&mut self) -> Vec<Packet> {
        let tag = self.tag();
        match self.rng.below(4) {
            0 => vec![wire::bind("", "nosuch", &[]), wire::sync()],
            1 => vec![wire::named(Front::Describe, b'S', "nosuch"), wire::sync()],
            // Without tracking, the next client of the server would find this name.
            2 if self.profile.names => {
                let name = self.some_name().unwrap_or("s".to_owned());
                vec![wire::parse(&name, &format!("SELECT {tag}"), &[]), wire::sync()]
            }
            _ => {
                let copy = wire::query(&format!("COPYIN {tag}"));
                vec![copy, wire::query(&format!("SELECT {tag}"))]
            }
        }
    }

    /// A statement on the table that changes is used only when nothing else is under way, in a
    /// query that asks for the columns.
    fn lone_use(&mut self) -> Unit {
        const TEXT: &str = "TABLE six $";
        let name = "table".to_owned();
        let known = self.names.insert(name.clone(), TEXT.to_owned()).is_some();
        let first = match known {
            true => vec![wire::sync()],
            false => vec![wire::parse(&name, TEXT, &[]), wire::sync()],
        };
        let values = self.values(TEXT);
        let portal = wire::named(Front::Describe, b'P', "");
        let run = [wire::bind("", &name, &values), portal, wire::execute("", 0)];
        let description = wire::named(Front::Describe, b'S', &name);
        let mut packets: Vec<Packet> = match self.rng.below(3) {
            0 => vec![description],
            1 => vec![wire::parse(&name, TEXT, &[]), description],
            _ => run.into(),
        };
        if self.rng.one_in(3) {
            packets.push(wire::front(Front::Flush, b""));
            self.script.push_back(Unit { packets, wait: Wait::Answers });
            packets = vec![wire::sync()];
        } else {
            packets.push(wire::sync());
        }
        self.script.push_back(Unit { packets, wait: Wait::Answers });
        Unit { packets: first, wait: Wait::Answers }
    }

    fn some_name(&mut self) -> Option<String> {
        let at = self.rng.below(self.names.len() as u64) as usize;
        self.names.keys().nth(at).cloned()
    }

    fn values(&mut self, text: &str) -> Vec<Vec<u8>> {
        (0..super::sql::parameters(text)).map(|_| self.tag().into_bytes()).collect()
    }

    fn text(&mut self) -> String {
        let tag = self.tag();
        let size = self.size();
        match self.rng.below(12) {
            0 => format!("FAIL {tag}"),
            1 => format!("ROWS 5 {} {tag}", size / 5),
            2 => format!("SELECT {tag} {}", "y".repeat(size)),
            3 => format!("COPYOUT 3 {size} {tag}"),
            4 => String::new(),
            5 => "SHOW TimeZone".to_owned(),
            6 => format!("SET application_name='{tag}'"),
            _ => SHARED[self.rng.below(SHARED.len() as u64) as usize].to_owned(),
        }
    }

    /// Parse, Bind, Execute, Sync, of the unnamed statement and portal.
    pub(super) fn unnamed(&mut self, text: &str) -> Vec<Packet> {
        let values = self.values(text);
        vec![
            wire::parse("", text, &[]),
            wire::bind("", "", &values),
            wire::execute("", 0),
            wire::sync(),
        ]
    }

    /// Prepares and describes the unnamed statement, and binds it later: once, several times, after
    /// a simple query has dropped it, or after a Parse that is skipped has not replaced it.
    fn apart(&mut self) -> Unit {
        let mut text = self.text();
        while text.len() > 4000 || super::sql::reads_table(&text) {
            // A longer text is not kept, and the table may change meanwhile.
            text = self.text();
        }
        let first =
            vec![wire::parse("", &text, &[]), wire::named(Front::Describe, b'S', ""), wire::sync()];
        for _ in 0..1 + self.rng.below(3) {
            if self.rng.one_in(6) {
                let packets = vec![self.simple()];
                let wait = self.some_wait();
                self.script.push_back(Unit { packets, wait });
            }
            let mut packets = Vec::new();
            if self.profile.skips && self.rng.one_in(2) {
                // No portal is there, so that the server skips the Parse.
                packets.push(wire::execute("", 0));
                packets.push(wire::parse("", &self.passed_over(), &[]));
                packets.push(wire::sync());
            }
            if self.rng.one_in(4) {
                packets.push(wire::named(Front::Describe, b'S', ""));
            }
            let values = self.values(&text);
            self.push_portal(&mut packets, "", values);
            packets.push(wire::sync());
            let wait = self.some_wait();
            self.script.push_back(Unit { packets, wait });
        }
        // If it is bound in the same transaction, it need not be kept for another server.
        Unit { packets: first, wait: Wait::Answers }
    }

    /// A text that the server does not come to prepare. It may be one that would clear what the
    /// client has left.
    fn passed_over(&mut self) -> String {
        let tag = self.tag();
        match self.tags % 4 {
            0 if self.profile.leaves => "UNLISTEN *".to_owned(),
            1 if self.profile.leaves => "DISCARD TEMP".to_owned(),
            2 if self.profile.leaves && self.profile.resets => "RESET ALL".to_owned(),
            _ => format!("SELECT {tag}"),
        }
    }

    /// An extended query of several steps.
    fn batch(&mut self) -> Unit {
        let mut packets = Vec::new();
        for _ in 0..1 + self.rng.below(4) {
            if self.profile.names && !self.rng.one_in(4) {
                self.push_named(&mut packets);
            } else {
                self.push_unnamed(&mut packets);
            }
            if self.rng.one_in(6) {
                packets.push(wire::front(Front::Flush, b""));
            }
        }
        if self.rng.one_in(4) {
            packets.push(wire::front(Front::Flush, b""));
            self.script.push_back(Unit { packets: vec![wire::sync()], wait: Wait::Nothing });
            return Unit { packets, wait: Wait::Answers };
        }
        packets.push(wire::sync());
        Unit { packets, wait: self.some_wait() }
    }

    fn push_unnamed(&mut self, packets: &mut Vec<Packet>) {
        let text = if self.rng.one_in(12) { format!("OOPS {}", self.tag()) } else { self.text() };
        let mut values = self.values(&text);
        if self.rng.one_in(15) {
            values.push(b"one too many".to_vec());
        }
        let types: &[u32] = if self.rng.one_in(3) { &[25] } else { &[] };
        packets.push(wire::parse("", &text, types));
        if self.rng.one_in(4) {
            packets.push(wire::named(Front::Describe, b'S', ""));
        }
        self.push_portal(packets, "", values);
    }

    fn push_portal(&mut self, packets: &mut Vec<Packet>, name: &str, values: Vec<Vec<u8>>) {
        let portal = if self.rng.one_in(4) { "p" } else { "" };
        packets.push(wire::bind(portal, name, &values));
        if self.rng.one_in(2) {
            packets.push(wire::named(Front::Describe, b'P', portal));
        }
        if self.rng.one_in(4) {
            packets.push(wire::execute(portal, 1 + self.rng.below(3) as u32));
        }
        packets.push(wire::execute(portal, 0));
        if !portal.is_empty() {
            packets.push(wire::named(Front::Close, b'P', portal));
        }
    }

    fn push_named(&mut self, packets: &mut Vec<Packet>) {
        let known = self.some_name().filter(|_| !self.rng.one_in(3));
        let name = match known {
            Some(name) => {
                if self.rng.one_in(8) {
                    // The same Parse again.
                    packets.push(wire::parse(&name, &self.names[&name].clone(), &[]));
                }
                name
            }
            None => {
                let name = format!("s{}", self.rng.below(12));
                if self.names.contains_key(&name) {
                    packets.push(wire::named(Front::Close, b'S', &name));
                }
                let text = self.text();
                packets.push(wire::parse(&name, &text, &[]));
                self.names.insert(name.clone(), text);
                name
            }
        };
        if self.rng.one_in(4) {
            packets.push(wire::named(Front::Describe, b'S', &name));
        }
        let text = self.names[&name].clone();
        if !self.rng.one_in(6) {
            let values = self.values(&text);
            self.push_portal(packets, &name, values);
        }
        if self.rng.one_in(6) {
            packets.push(wire::named(Front::Close, b'S', &name));
            self.names.remove(&name);
        }
    }

    /// COPY FROM STDIN in its forms: with data at once or when the server asks for it, and with a
    /// Sync before, within or after the data.
    pub(super) fn copy_in(&mut self) -> Unit {
        let is_extended = self.rng.one_in(2);
        let mixed = self.rng.one_in(4);
        let tag = self.tag();
        let text = format!("COPYIN {tag}{}", if mixed { " mixed" } else { "" });
        let mut packets = match is_extended {
            true => self.unnamed(&text),
            false => vec![wire::query(&text)],
        };
        let is_synced = is_extended && self.rng.one_in(2);
        if is_extended && !is_synced {
            packets.pop();
        }
        let waits = self.rng.one_in(2);
        if waits && is_extended {
            packets.push(wire::front(Front::Flush, b""));
        }
        let data = self.copy_data(mixed, is_extended);
        if waits {
            let wait = self.some_wait();
            self.script.push_back(Unit { packets: data, wait });
            return Unit { packets, wait: Wait::Answers };
        }
        packets.extend(data);
        Unit { packets, wait: self.some_wait() }
    }

    fn copy_data(&mut self, mixed: bool, is_extended: bool) -> Vec<Packet> {
        let mut packets = Vec::new();
        for _ in 0..self.rng.below(6) {
            let size = self.size();
            packets.push(wire::front(Front::CopyData, "z".repeat(size).as_bytes()));
            if mixed && self.rng.one_in(3) {
                packets.push(wire::front(Front::Flush, b""));
            }
            if mixed && self.rng.one_in(4) {
                packets.push(wire::sync());
            }
        }
        packets.push(match self.rng.below(4) {
            0 => wire::front(Front::CopyFail, b"no more\0"),
            _ => wire::front(Front::CopyDone, b""),
        });
        if self.rng.one_in(8) {
            packets.push(wire::front(Front::CopyData, b"late"));
        }
        if is_extended {
            packets.push(wire::sync());
        }
        packets
    }
}

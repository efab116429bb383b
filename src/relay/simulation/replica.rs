//! Replication clients: how they come, and what they send. Each must get a walsender of its own,
//! which is nobody else's and ends with it.

use super::client::{Character, Wish, shadow_rules};
use super::program::{Profile, Program, Unit, Wait};
use super::session::Pooled;
use super::setup::{DATABASES, PASSWORD, USERS};
use super::walsender::Kind;
use super::wire::{self, Packet};
use super::world::World;
use crate::auth::secret::Password;
use crate::auth::server::Credential;
use crate::base::rng::Rng;
use crate::config::SessionState;
use crate::wire::kind::Front;

/// The most replication clients at once.
const MOST_REPLICAS: usize = 4;

impl World {
    /// Lets a replication client come, if the seed has any.
    pub(super) fn invite_replica(&mut self) {
        let all = self.clients.iter().filter(|client| !client.is_over());
        let here = all.filter(|client| client.character.replication.is_some()).count();
        let Some(rng) = &mut self.replicator else { return };
        if here >= MOST_REPLICAS || !rng.one_in(5) {
            return;
        }
        let kind = [Kind::Logical, Kind::Physical][rng.below(2) as usize];
        let word = match kind {
            Kind::Logical => "database",
            Kind::Physical => ["true", "on", "1", "yes"][rng.below(4) as usize],
        };
        let (name, mut mode) = DATABASES[rng.below(DATABASES.len() as u64) as usize];
        let user = USERS[rng.below(2) as usize].to_owned();
        let (sets, asks) = (rng.one_in(3), rng.one_in(4));
        let (units, depth) = (rng.below(40) as u32, [1, 4, 40][rng.below(3) as usize]);
        let chosen = ["session", "transaction", "statement"][rng.below(3) as usize];
        let slowness = [1, 1, 1, 8][rng.below(4) as usize];
        let profile = Profile {
            names: false,
            blocks: true,
            resets: !sets,
            rogue: rng.one_in(4),
            big: rng.one_in(3),
            leaves: false,
            publishes: false,
            skips: false,
            replicates: Some(kind),
        };
        let index = self.made;
        self.made += 1;
        let mut startup = vec![("replication".to_owned(), word.to_owned())];
        if sets {
            startup.push(("TimeZone".to_owned(), "UTC".to_owned()));
            startup.push(("application_name".to_owned(), format!("app{index}")));
        }
        if self.chooser.is_some() {
            mode = chosen;
            startup.push(("pool_mode".to_owned(), mode.to_owned()));
        }
        // It keeps its server whatever the mode. The mode decides whether its statements are
        // tracked, all of which its server refuses.
        let pooled = Pooled {
            tracks: mode != "session" && self.setup.tracks,
            is_statement_mode: false,
            policy: SessionState::Allow,
            shares: false,
        };
        let mut character = Character {
            database: name.to_owned(),
            user,
            startup,
            replication: Some(kind),
            minor: self.setup.minor,
            credential: Credential::Plain(Password::new(PASSWORD)),
            rules: shadow_rules(self.setup.late_reports, pooled),
            is_session_mode: true,
            tls: if asks { Wish::Ask } else { Wish::Plain },
            fault: None,
            units,
            depth,
            slowness,
        };
        let program = Program::new(index, profile, self.fork());
        if self.setup.shakes {
            (character.tls, character.fault) = self.wish(asks);
        }
        self.connect_client(index, character, program, None);
    }
}

impl Program {
    /// The next unit of a replication client.
    pub(super) fn replicate(&mut self, kind: Kind) -> Unit {
        if kind == Kind::Logical && self.rng.one_in(3) {
            return self.use_sql();
        }
        let tag = self.tag();
        let packets = match self.rng.below(10) {
            0 => vec![wire::query(&format!("IDENTIFY_SYSTEM {tag}"))],
            1 => vec![wire::query("SHOW TimeZone")],
            3 => {
                let (count, size) = (self.rng.below(20), self.size() / 4);
                vec![wire::query(&format!("BASE_BACKUP {count} {size} {tag}"))]
            }
            4 => self.refused(&tag),
            5 if self.rng.one_in(2) => {
                vec![[wire::sync(), wire::front(Front::Flush, b"")][self.tags % 2].clone()]
            }
            _ => return self.stream(kind, &tag),
        };
        Unit { packets, wait: self.some_wait() }
    }

    /// Ordinary statements, which logical walsenders know.
    fn use_sql(&mut self) -> Unit {
        let tag = self.tag();
        let packet = match self.rng.below(6) {
            0 | 1 => return self.block(),
            2 => return self.copy_in(),
            3 => self.parameter(),
            4 => wire::query(&format!("LISTEN {tag}")),
            _ => self.simple(),
        };
        Unit { packets: vec![packet], wait: self.some_wait() }
    }

    /// What every walsender refuses, and a query that a physical one refuses.
    fn refused(&mut self, tag: &str) -> Vec<Packet> {
        match self.rng.below(5) {
            0 => vec![self.call()],
            1 => self.unnamed(&format!("SELECT {tag}")),
            2 => vec![wire::parse("s1", &format!("SELECT {tag}"), &[]), wire::sync()],
            3 => vec![wire::named(Front::Describe, b'S', ""), wire::sync()],
            _ => vec![wire::query(&format!("SELECT {tag}"))],
        }
    }

    /// A stream, with what the client sends within it and at its end.
    fn stream(&mut self, kind: Kind, tag: &str) -> Unit {
        let (count, size) = (self.rng.below(30), self.size() / 4);
        let plan = match (self.rng.below(8), kind) {
            (0, _) => "refused",
            (1, _) => "failing",
            (2, _) => "history",
            (3..=5, Kind::Logical) => "logical",
            _ => "endless",
        };
        let mut first =
            vec![wire::query(&format!("START_REPLICATION {plan} {count} {size} {tag}"))];
        for at in 0..self.rng.below(5) {
            let data = self.feedback(tag, at);
            if self.rng.one_in(4) {
                first.extend(data);
                continue;
            }
            let wait = match self.rng.below(3) {
                0 => Wait::Nothing,
                _ => Wait::Streamed(self.rng.below(40) as usize),
            };
            self.script.push_back(Unit { packets: data, wait });
        }
        let last = match self.rng.below(6) {
            0 | 2 => {
                // It leaves in the middle.
                self.is_last = true;
                return Unit { packets: first, wait: Wait::Answers };
            }
            1 if self.profile.rogue => self.breach(tag),
            _ => self.end_of_stream(tag),
        };
        let wait = self.some_wait();
        if self.rng.one_in(6) {
            first.extend(last);
        } else {
            self.script.push_back(Unit { packets: last, wait });
        }
        Unit { packets: first, wait: self.some_wait() }
    }

    /// What a client reports of its progress.
    fn feedback(&mut self, tag: &str, at: u64) -> Vec<Packet> {
        let body = |part: u64, size: usize| format!("r{tag}:{at}:{part}{}", ".".repeat(size));
        let count = 1 + self.rng.below(3);
        (0..count)
            .map(|part| wire::front(Front::CopyData, body(part, self.size() / 8).as_bytes()))
            .collect()
    }

    /// CopyDone, and what may be sent behind it at once.
    fn end_of_stream(&mut self, tag: &str) -> Vec<Packet> {
        let mut packets = vec![wire::front(Front::CopyDone, b"")];
        match self.rng.below(6) {
            0 => packets.push(wire::query(&format!("IDENTIFY_SYSTEM {tag}"))),
            1 => packets.push(wire::sync()),
            2 => packets.extend([wire::front(Front::CopyData, b"late"), wire::sync()]),
            3 => packets.extend(self.unnamed(&format!("SELECT {tag}"))),
            _ => {}
        }
        packets
    }

    /// What ends a connection within a stream.
    fn breach(&mut self, tag: &str) -> Vec<Packet> {
        vec![match self.rng.below(5) {
            0 => wire::query(&format!("IDENTIFY_SYSTEM {tag}")),
            1 => wire::sync(),
            2 => wire::front(Front::Flush, b""),
            3 => wire::front(Front::CopyFail, b"no more\0"),
            _ => wire::parse("", &format!("SELECT {tag}"), &[]),
        }]
    }
}

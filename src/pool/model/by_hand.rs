//! A core that a test moves by hand: clients that come, servers that let the pooler in at once.

use super::world::HERE;
use crate::auth::secret::Secret;
use crate::base::rng::SeededRng;
use crate::base::time::{Moment, Now};
use crate::config;
use crate::pool::core::{Action, Core};
use crate::pool::ids::{ClientId, Outbound, ServerId};
use crate::pool::login::entry::Arrival;
use crate::pool::owed::outgoing::OutgoingBytes;
use crate::pool::records::access::{Access, SystemFacts};
use crate::pool::records::calendar::STEP;
use crate::wire::head::Head;
use crate::wire::startup;

/// A core with this configuration, and with so many users.
pub fn core_of(text: &str, users: usize) -> Core {
    let config = config::load_text("by_hand.ini", text).expect("a good file");
    let users = (0..users).map(|user| (format!("u{user}"), Secret::parse(b"secret")));
    let access = Access { users: users.collect(), ..Access::default() };
    let host = SystemFacts { uid: 1000, uid_name: |_| None, name: || None, descriptors: 100_000 };
    let now = Now { mono: Moment(1_000_000_000), wall_us: 1_700_000_000_000_000 };
    Core::new(config, access, host, Box::new(SeededRng::new(1)), now)
}

/// A client logs in.
pub fn come(core: &mut Core, database: usize, user: usize) -> ClientId {
    come_for(core, database, user, "off")
}

/// A client logs in that asks for this kind of replication.
pub fn come_for(core: &mut Core, database: usize, user: usize, replication: &str) -> ClientId {
    let id = core.client_arrived(Arrival { peer: HERE, local: HERE, uid: None });
    let (database, user) = (format!("d{database}"), format!("u{user}"));
    let pairs = [("user", &*user), ("database", &database), ("replication", replication)];
    let mut packet = Vec::new();
    startup::startup_message(&mut packet, 0, &pairs);
    core.client_opening(id, &packet);
    let_in(core);
    core.sweep();
    id
}

/// Servers that are being opened let the pooler in.
pub fn let_in(core: &mut Core) {
    while let Some(action) = core.poll_action() {
        if let Action::Connect { id: Outbound::Server(server), .. } = action {
            core.connected(Outbound::Server(server), (HERE, HERE), None);
            reply(core, server, b'R', &[0; 4]);
            reply(core, server, b'K', &[0, 0, 0, 42, 1, 2, 3, 4]);
            reply(core, server, b'Z', b"I");
        }
    }
}

pub fn reply(core: &mut Core, server: ServerId, kind: u8, body: &[u8]) {
    core.judge_server(server, Head { kind, body: body.len() }, body, &mut OutgoingBytes::default());
}

/// The time of a sweep, and the sweep.
pub fn step(core: &mut Core) {
    core.now.mono = core.now.mono + STEP;
    core.sweep();
    let_in(core);
    core.take_lines();
}

//! What the judges of messages produce besides their verdicts, on its way out. None of it waits in
//! the core, where the next message could meet it.

use super::outgoing::{OutgoingBytes, OutgoingRoom};

/// The output of one run of a client. The judge of the client's messages appends to it. The relay
/// owns it: it passes stretches on, and sends all parts when the run is over.
#[derive(Default)]
pub struct Said<'a> {
    pub to_server: OutgoingBytes<'a>,
    /// What the pooler answers instead of the server.
    pub to_client: OutgoingBytes<'static>,
    /// A message of the run uses a tracked statement, and nothing was under way before that message
    /// (see [`crate::pool::prepared::repeat`]).
    pub may_repeat: bool,
}

/// The memory of the output, kept from run to run.
#[derive(Default)]
pub struct Room {
    to_server: OutgoingRoom,
    to_client: OutgoingRoom,
}

impl<'a> Said<'a> {
    /// No output yet; `data` is what was read.
    #[inline]
    pub fn of(data: &'a [u8], room: &mut Room) -> Said<'a> {
        Said {
            to_server: OutgoingBytes::new(data, room.to_server.take()),
            to_client: OutgoingBytes::new(&[], room.to_client.take()),
            may_repeat: false,
        }
    }
}

impl Room {
    #[inline]
    pub fn take_back(&mut self, said: &mut Said<'_>) {
        self.to_server.put_back(std::mem::take(&mut said.to_server).into_room());
        self.to_client.put_back(std::mem::take(&mut said.to_client).into_room());
    }
}

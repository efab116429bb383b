//! What the judges of messages say besides their verdicts, where it goes out: nothing of it waits
//! in the core, where the next message could meet it.

use super::outgoing::OutgoingBytes;

/// What comes of a run of a client. The judge of its messages writes into it; the relay, whose it
/// is, passes stretches on and takes it apart when the run is over.
#[derive(Default)]
pub struct Said<'a> {
    pub to_server: OutgoingBytes<'a>,
    /// What the pooler answers in the server's place.
    pub to_client: OutgoingBytes<'static>,
    /// Among the messages was one that uses a tracked statement, and before it nothing was under
    /// way (see [`crate::pool::prepared::repeat`]).
    pub may_repeat: bool,
}

/// Memory for what is said, from run to run.
#[derive(Default)]
pub struct Room {
    to_server: Vec<u8>,
    to_client: Vec<u8>,
}

impl<'a> Said<'a> {
    /// Nothing yet, about what was read.
    #[inline]
    pub fn of(data: &'a [u8], room: &mut Room) -> Said<'a> {
        Said {
            to_server: OutgoingBytes::new(data, std::mem::take(&mut room.to_server)),
            to_client: OutgoingBytes::new(&[], std::mem::take(&mut room.to_client)),
            may_repeat: false,
        }
    }
}

impl Room {
    #[inline]
    pub fn take_back(&mut self, said: &mut Said<'_>) {
        self.to_server = said.to_server.take_room();
        self.to_client = said.to_client.take_room();
    }
}

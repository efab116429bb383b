//! What the judges of messages say.

use crate::pool::ids::{ClientId, ServerId};

/// What the relay does with a message. Bytes in [`Core::back`] go to the client in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict<To> {
    /// As it is.
    Forward(To),
    /// [`Core::splice`] in place of the first `taken` bytes (the head counts), then the rest.
    Replace { to: To, taken: usize },
    /// Not at all; [`Core::splice`] in its place, where there is any.
    Drop,
    /// So many bytes of the body must be there first.
    Need(usize),
    /// Later: the client must wait for a server, and is not read until it is run again.
    Hold,
    /// It is for the console, whole.
    Console,
    /// The connection is being closed; what follows is of no interest.
    Closed,
}

/// Messages to a server go to that server, messages of a server to its client.
pub type ClientVerdict = Verdict<ServerId>;
pub type ServerVerdict = Verdict<ClientId>;

//! What the messages of a server's client wait for before they are judged.

/// A bar in the way of a client's messages, over the requests under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Bar {
    #[default]
    Open,
    /// The answer to all that was sent.
    UntilAnswered,
    /// The answers to so many Syncs.
    UntilSynced(usize),
}

impl Bar {
    #[inline]
    pub fn holds(self) -> bool {
        match self {
            Bar::Open | Bar::UntilSynced(0) => false,
            Bar::UntilAnswered | Bar::UntilSynced(_) => true,
        }
    }

    /// One of the Syncs under way was answered, or will not be.
    #[inline]
    pub fn sync_is_gone(&mut self) {
        if let Bar::UntilSynced(count) = self {
            *count = count.saturating_sub(1);
        }
    }
}

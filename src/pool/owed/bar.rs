//! Which answers a client's further messages wait for before they are judged.

/// A bar that holds back a client's messages until requests under way are answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Bar {
    #[default]
    Open,
    /// Until everything that was sent is answered.
    UntilAnswered,
    /// Until this many Syncs are answered.
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

    /// One of the Syncs under way was answered, or will not be answered any more.
    #[inline]
    pub fn sync_is_gone(&mut self) {
        if let Bar::UntilSynced(count) = self {
            *count = count.saturating_sub(1);
        }
    }
}

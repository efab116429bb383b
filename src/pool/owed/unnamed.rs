//! What a client has done to its unnamed statement on the server that it has.

/// The longest Parse of the unnamed statement that is kept for a later Bind, in bytes.
pub(in crate::pool) const MOST_KEPT_BYTES: usize = 8 * 1024;

/// What a client has done to its unnamed statement on the server that it has.
#[derive(Debug, Default)]
pub struct UnnamedText {
    /// Everything after the name of its Parse, where it is `Prepared` or `Lasting`. The room
    /// stays.
    text: Vec<u8>,
    fate: Fate,
    /// Before the last Parse.
    before: Fate,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Fate {
    /// Nothing: what the client keeps from another server holds.
    #[default]
    Untouched,
    /// It was prepared and not bound.
    Prepared,
    /// It was prepared, and not bound before the next Sync: a client that works so may bind it any
    /// number of times.
    Lasting,
    /// It is gone, or need not be kept.
    Done,
}

impl UnnamedText {
    /// Nothing was done to what the client keeps from another server.
    pub(in crate::pool) fn is_untouched(&self) -> bool {
        self.fate == Fate::Untouched
    }

    /// What the client may bind later of what it has prepared here: `Some(None)` for nothing.
    /// `None` where what it kept before holds.
    #[inline]
    pub(in crate::pool) fn result(&self) -> Option<Option<&[u8]>> {
        match self.fate {
            Fate::Untouched => None,
            Fate::Prepared | Fate::Lasting => Some(Some(&self.text)),
            Fate::Done => Some(None),
        }
    }

    /// Another client has the server.
    pub(in crate::pool) fn begin(&mut self) {
        (self.fate, self.before) = (Fate::Untouched, Fate::Untouched);
    }

    /// The client prepares this: everything after the name.
    #[inline]
    pub(in crate::pool) fn prepared(&mut self, text: &[u8]) {
        self.prepared_long();
        if text.len() < MOST_KEPT_BYTES {
            self.text.clear();
            self.text.extend_from_slice(text);
            self.fate = Fate::Prepared;
        }
    }

    /// The client prepares a text that is not kept.
    #[inline]
    pub(in crate::pool) fn prepared_long(&mut self) {
        self.before = self.fate;
        self.fate = Fate::Done;
    }

    /// What was prepared on this server need not be kept.
    #[inline]
    pub(in crate::pool) fn bound(&mut self) {
        if self.fate == Fate::Prepared {
            self.fate = Fate::Done;
        }
    }

    /// The client has sent Sync.
    #[inline]
    pub(in crate::pool) fn synced(&mut self) {
        if self.fate == Fate::Prepared {
            self.fate = Fate::Lasting;
        }
    }

    /// The client has no unnamed statement any more.
    pub(in crate::pool) fn dropped(&mut self) {
        self.fate = Fate::Done;
    }

    /// The server has passed over the last Parse: the statement before it is there yet.
    pub(in crate::pool) fn skipped(&mut self) {
        self.fate = match self.before {
            Fate::Untouched => Fate::Untouched,
            Fate::Prepared | Fate::Lasting | Fate::Done => Fate::Done,
        };
    }
}

/// The body of a Describe or Close of the unnamed statement.
pub(in crate::pool) const UNNAMED: &[u8] = b"S\0";

//! What a client has done to its unnamed statement on its present server.

/// A Parse of the unnamed statement must be shorter than this, in bytes, to be kept for a later
/// Bind.
pub(in crate::pool) const MOST_KEPT_BYTES: usize = 8 * 1024;

/// What a client has done to its unnamed statement on its present server.
#[derive(Debug, Default)]
pub struct UnnamedText {
    /// Everything after the name in the last Parse, if `fate` is `Prepared` or `Lasting`. The
    /// memory is kept.
    text: Vec<u8>,
    fate: Fate,
    /// The fate before the last Parse.
    before: Fate,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Fate {
    /// The client has done nothing to it: the text kept from another server still counts.
    #[default]
    Untouched,
    /// The client has prepared it and not bound it.
    Prepared,
    /// The client has prepared it and sent Sync without a Bind. Such a client may bind the
    /// statement any number of times.
    Lasting,
    /// The statement is gone, or its text need not be kept.
    Done,
}

impl UnnamedText {
    /// Whether the text kept from another server still counts.
    pub(in crate::pool) fn is_untouched(&self) -> bool {
        self.fate == Fate::Untouched
    }

    /// The text that the client may bind later: `Some(None)` if there is none, `None` if the text
    /// kept before still counts.
    #[inline]
    pub(in crate::pool) fn result(&self) -> Option<Option<&[u8]>> {
        match self.fate {
            Fate::Untouched => None,
            Fate::Prepared | Fate::Lasting => Some(Some(&self.text)),
            Fate::Done => Some(None),
        }
    }

    /// Another client gets the server.
    pub(in crate::pool) fn begin(&mut self) {
        (self.fate, self.before) = (Fate::Untouched, Fate::Untouched);
    }

    /// The client prepares this text: everything after the name.
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

    /// The client binds the statement: its text need not be kept.
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

    /// The client has dropped its unnamed statement.
    pub(in crate::pool) fn dropped(&mut self) {
        self.fate = Fate::Done;
    }

    /// The server has skipped the last Parse: the statement before that is still there.
    pub(in crate::pool) fn skipped(&mut self) {
        self.fate = match self.before {
            Fate::Untouched => Fate::Untouched,
            Fate::Prepared | Fate::Lasting | Fate::Done => Fate::Done,
        };
    }
}

/// The body of a Describe or Close of the unnamed statement.
pub(in crate::pool) const UNNAMED: &[u8] = b"S\0";

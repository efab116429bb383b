//! What a client has done to its unnamed statement on its present server.

/// A Parse of the unnamed statement must be shorter than this, in bytes, to be kept for a later
/// Bind.
pub(in crate::pool) const MOST_KEPT_BYTES: usize = 8 * 1024;

/// What a client has done to its unnamed statement on its present server.
#[derive(Debug, Default)]
pub struct UnnamedText {
    /// What it will be when the server has carried out all that was sent.
    now: KeptText,
    /// What it was when the server had nothing to do before the last change: it is that again if
    /// the server skips every change since.
    before: KeptText,
    /// The changes sent since then that the server has not skipped.
    changes: u32,
    /// Whether the server has had nothing to do since the last change.
    is_settled: bool,
}

#[derive(Debug, Default)]
struct KeptText {
    fate: Fate,
    /// Everything after the name in its Parse, if that was short. It counts while `fate` is
    /// `Prepared` or `Lasting`. The memory is kept.
    text: Vec<u8>,
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
        self.now.fate == Fate::Untouched
    }

    /// The text that the client may bind later: `Some(None)` if there is none, `None` if the text
    /// kept before still counts.
    #[inline]
    pub(in crate::pool) fn result(&self) -> Option<Option<&[u8]>> {
        match self.now.fate {
            Fate::Untouched => None,
            Fate::Prepared | Fate::Lasting => Some(Some(&self.now.text)),
            Fate::Done => Some(None),
        }
    }

    /// Another client gets the server.
    pub(in crate::pool) fn begin(&mut self) {
        (self.now.fate, self.before.fate, self.changes) = (Fate::Untouched, Fate::Untouched, 0);
    }

    /// Nothing is under way at the server: what was changed is known.
    #[inline]
    pub(in crate::pool) fn settled(&mut self) {
        self.is_settled = true;
    }

    /// The client prepares this text: everything after the name.
    #[inline]
    pub(in crate::pool) fn prepared(&mut self, text: &[u8]) {
        self.replaced();
        if text.len() < MOST_KEPT_BYTES {
            self.now.text.extend_from_slice(text);
            self.now.fate = Fate::Prepared;
        }
    }

    /// The client prepares a text that is not kept, or sends a simple query, which drops the
    /// statement.
    #[inline]
    pub(in crate::pool) fn replaced(&mut self) {
        if std::mem::take(&mut self.is_settled) {
            self.changes = 0;
            self.before.fate = self.now.fate;
            if matches!(self.now.fate, Fate::Prepared | Fate::Lasting) {
                std::mem::swap(&mut self.before.text, &mut self.now.text);
            }
        }
        self.changes = self.changes.saturating_add(1);
        self.now.fate = Fate::Done;
        self.now.text.clear();
    }

    /// The client binds the statement: its text need not be kept.
    #[inline]
    pub(in crate::pool) fn bound(&mut self) {
        if self.now.fate == Fate::Prepared {
            self.now.fate = Fate::Done;
        }
    }

    /// The client has sent Sync.
    #[inline]
    pub(in crate::pool) fn synced(&mut self) {
        if self.now.fate == Fate::Prepared {
            self.now.fate = Fate::Lasting;
        }
    }

    /// The client has dropped its unnamed statement.
    pub(in crate::pool) fn dropped(&mut self) {
        (self.now.fate, self.before.fate) = (Fate::Done, Fate::Done);
    }

    /// The server has skipped so many changes. `is_last` tells that no change is under way: the
    /// statement is what it was before if no change was carried out, and else none that is known.
    pub(in crate::pool) fn skipped(&mut self, count: usize, is_last: bool) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.changes = self.changes.saturating_sub(count);
        if !is_last {
            return;
        }
        let fate = if self.changes == 0 { self.before.fate } else { Fate::Done };
        self.now.fate = match fate {
            Fate::Untouched | Fate::Done => fate,
            Fate::Prepared | Fate::Lasting => {
                std::mem::swap(&mut self.before.text, &mut self.now.text);
                // The server skips up to a Sync.
                Fate::Lasting
            }
        };
        self.before.fate = if fate == Fate::Untouched { fate } else { Fate::Done };
    }

    /// The SQL of the last change, if that was a Parse whose text was short.
    pub(in crate::pool) fn last_sql(&self) -> &[u8] {
        let end = self.now.text.iter().position(|byte| *byte == 0);
        &self.now.text[..end.unwrap_or_default()]
    }
}

/// The body of a Describe or Close of the unnamed statement.
pub(in crate::pool) const UNNAMED: &[u8] = b"S\0";

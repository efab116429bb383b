//! What the unnamed statement of a server may do, of a client whose texts are scanned; and where a
//! statement is bound.

use crate::pool::statements::traces::Effects;

/// What the unnamed statement of a server may do.
#[derive(Debug, Default)]
pub struct UnnamedEffects {
    /// The effects of the text that was sent last.
    last: Effects,
    /// The segment of its Parse, unless a COPY makes it doubtful where that ends.
    segment: Option<u32>,
    /// The effects of the texts that are there instead if the server refuses or skips each Parse
    /// under way.
    older: Option<Effects>,
}

/// What a Bind of the client's is, besides the effects of its statement.
#[derive(Clone, Copy, Debug)]
pub struct BindPlace {
    /// Whether nothing else is under way.
    pub is_first: bool,
    /// Whether the portal has no name.
    pub is_unnamed: bool,
    /// Whether the statement is the unnamed one for sure. Where none is tracked, any other may
    /// leave what the unnamed one would, but clears nothing of what that would clear.
    pub is_of_unnamed: bool,
}

impl UnnamedEffects {
    /// Nothing is known of the statement but these effects.
    pub(super) fn set(&mut self, effects: Effects) {
        *self = UnnamedEffects { last: effects, ..UnnamedEffects::default() };
    }

    /// A Parse of another text is sent in this segment.
    #[inline]
    pub(super) fn replace(&mut self, effects: Effects, segment: Option<u32>) {
        self.older = Some(self.any());
        (self.last, self.segment) = (effects, segment);
    }

    /// What a Bind in this segment may run. In the segment of the last Parse that is its text:
    /// where the server refuses or skips the Parse, it skips the Bind too.
    #[inline]
    pub(super) fn bound_in(&self, segment: u32) -> Effects {
        if self.segment == Some(segment) { self.last } else { self.any() }
    }

    /// It has become doubtful where the segment ends.
    pub(super) fn doubt(&mut self) {
        self.segment = None;
    }

    #[inline]
    fn any(&self) -> Effects {
        self.older.map_or(self.last, |older| self.last.or(older))
    }

    /// An error has come. It may be that of the last Parse, or what made the server skip it.
    #[inline]
    pub(super) fn failed(&mut self) {
        self.last = self.any();
    }

    /// All that was sent is answered.
    #[inline]
    pub(super) fn answered(&mut self) {
        self.older = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::statements::scan;

    fn after(texts: &[(&[u8], u32)]) -> UnnamedEffects {
        let mut unnamed = UnnamedEffects::default();
        unnamed.set(scan::read(b"set x = 1"));
        for (text, segment) in texts {
            unnamed.replace(scan::read(text), Some(*segment));
        }
        unnamed
    }

    #[test]
    fn a_bind_runs_the_text_of_its_own_segment_or_any_that_may_be_there() {
        let [sets, resets] = [&b"set x = 1"[..], b"reset all"].map(scan::read);
        let mut unnamed = after(&[(b"select 1", 1), (b"reset all", 2)]);
        assert_eq!(unnamed.bound_in(2), resets);
        let any = unnamed.bound_in(3);
        assert_eq!((any.leaves, any.clears), (sets.leaves, Effects::default().clears));
        unnamed.answered();
        assert_eq!(unnamed.bound_in(3), resets);
    }

    #[test]
    fn where_a_segment_ends_that_has_a_copy_nobody_knows() {
        let mut unnamed = after(&[(b"reset all", 1)]);
        unnamed.doubt();
        assert_eq!(unnamed.bound_in(1).leaves, scan::read(b"set x = 1").leaves);
    }

    #[test]
    fn after_an_error_any_text_may_be_there_until_the_next_parse() {
        let mut unnamed = after(&[(b"reset all", 1)]);
        unnamed.failed();
        unnamed.answered();
        for segment in [1, 2] {
            let any = unnamed.bound_in(segment);
            assert_eq!(any.leaves, scan::read(b"set x = 1").leaves, "{segment}");
            assert_eq!(any.clears, Effects::default().clears, "{segment}");
        }
        unnamed.replace(scan::read(b"reset all"), Some(3));
        assert_eq!(unnamed.bound_in(3), scan::read(b"reset all"));
    }

    #[test]
    fn a_set_that_is_harmless_is_known_behind_a_text_that_may_have_replaced_it() {
        let mut unnamed = UnnamedEffects::default();
        unnamed.replace(scan::read(b"set application_name = 'x'"), Some(1));
        unnamed.answered();
        unnamed.replace(scan::read(b"select 1"), Some(2));
        assert!(unnamed.bound_in(3).sets_harmlessly);
        assert!(!unnamed.bound_in(2).sets_harmlessly);
    }
}

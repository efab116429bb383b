//! What a statement may leave in the session of its server, where the next client would find it.

use std::fmt;

/// A set of kinds of session state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Traces(u16);

/// A kind of session state: its bit, its word in logs and tables, and what it stands for.
struct TraceKind {
    bit: Traces,
    word: &'static str,
    /// What it is called in messages to clients.
    meaning: &'static str,
}

impl Traces {
    pub const NONE: Traces = Traces(0);
    /// A parameter was SET that servers do not report.
    pub const SET: Traces = Traces(1);
    /// SET ROLE.
    pub const ROLE: Traces = Traces(1 << 1);
    /// SET SESSION AUTHORIZATION.
    pub const AUTHORIZATION: Traces = Traces(1 << 2);
    /// LISTEN.
    pub const LISTEN: Traces = Traces(1 << 3);
    /// A prepared statement that the pooler does not track.
    pub const PREPARED: Traces = Traces(1 << 4);
    /// A cursor WITH HOLD.
    pub const CURSOR: Traces = Traces(1 << 5);
    /// A temporary table, view or sequence.
    pub const TEMPORARY: Traces = Traces(1 << 6);
    /// An advisory lock of the session.
    pub const LOCK: Traces = Traces(1 << 7);
    /// Code on the server that may do anything: DO, CALL, a function call of the protocol.
    pub const UNKNOWN: Traces = Traces(1 << 8);
    /// What no command undoes: a loaded library, a dblink connection, a temporary slot.
    pub const LASTING: Traces = Traces(1 << 9);
    /// extra_float_digits was SET to a value that PostgreSQL 12 and later take for its default:
    /// drivers do so unasked, and do not need the value later.
    pub const DIGITS: Traces = Traces(1 << 10);
    pub const ALL: Traces = Traces((1 << 11) - 1);

    /// The kinds of which DISCARD ALL leaves nothing.
    pub const DISCARDED: Traces = Traces(Traces::ALL.0 & !Traces::LASTING.0);

    #[inline(always)]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[inline(always)]
    pub fn has(self, other: Traces) -> bool {
        self.0 & other.0 != 0
    }

    #[inline(always)]
    pub const fn and(self, other: Traces) -> Traces {
        Traces(self.0 | other.0)
    }

    #[inline(always)]
    pub const fn without(self, other: Traces) -> Traces {
        Traces(self.0 & !other.0)
    }

    #[inline(always)]
    pub const fn in_both(self, other: Traces) -> Traces {
        Traces(self.0 & other.0)
    }

    /// The query that undoes these traces, and its number of statements.
    pub fn undoing_query(self) -> (String, u8) {
        if self.has(Traces::UNKNOWN) {
            return ("DISCARD ALL".to_owned(), 1);
        }
        let role = Traces::ROLE.and(Traces::AUTHORIZATION);
        let steps = [
            (Traces::AUTHORIZATION, "RESET SESSION AUTHORIZATION"),
            // Not SET ROLE NONE: ALTER ROLE may have given the user a default role.
            (role, "RESET ROLE"),
            (Traces::SET.and(Traces::DIGITS), "RESET ALL"),
            (Traces::LISTEN, "UNLISTEN *"),
            (Traces::PREPARED, "DEALLOCATE ALL"),
            (Traces::CURSOR, "CLOSE ALL"),
            (Traces::TEMPORARY, "DISCARD TEMP"),
            (Traces::LOCK, "SELECT pg_catalog.pg_advisory_unlock_all()"),
        ];
        let steps: Vec<&str> =
            steps.into_iter().filter(|(traces, _)| self.has(*traces)).map(|(_, sql)| sql).collect();
        (steps.join("; "), steps.len() as u8)
    }

    /// Each kind of the set, by its meaning.
    pub fn meanings(self) -> String {
        let of_set = KINDS.iter().filter(|kind| self.has(kind.bit));
        of_set.map(|kind| kind.meaning).collect::<Vec<_>>().join(", ")
    }
}

/// The words of the set, separated by commas.
impl fmt::Display for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_set = KINDS.iter().filter(|kind| self.has(kind.bit));
        f.write_str(&of_set.map(|kind| kind.word).collect::<Vec<_>>().join(","))
    }
}

const KINDS: &[TraceKind] = &[
    TraceKind { bit: Traces::SET, word: "set", meaning: "a parameter that was SET" },
    TraceKind { bit: Traces::DIGITS, word: "digits", meaning: "extra_float_digits" },
    TraceKind { bit: Traces::ROLE, word: "role", meaning: "a role that was SET" },
    TraceKind {
        bit: Traces::AUTHORIZATION,
        word: "authorization",
        meaning: "a session authorization that was SET",
    },
    TraceKind { bit: Traces::LISTEN, word: "listen", meaning: "a channel that it LISTENs to" },
    TraceKind { bit: Traces::PREPARED, word: "prepared", meaning: "a prepared statement" },
    TraceKind { bit: Traces::CURSOR, word: "cursor", meaning: "a cursor WITH HOLD" },
    TraceKind { bit: Traces::TEMPORARY, word: "temporary", meaning: "a temporary object" },
    TraceKind { bit: Traces::LOCK, word: "lock", meaning: "an advisory lock of the session" },
    TraceKind {
        bit: Traces::UNKNOWN,
        word: "unknown",
        meaning: "what DO, CALL or a function does",
    },
    TraceKind { bit: Traces::LASTING, word: "lasting", meaning: "what no command undoes" },
];

/// What the text of one message may do to the session, as far as its words tell.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Effects {
    /// What it may leave.
    pub leaves: Traces,
    /// What is gone after the text if all of it succeeds: no statement after the one that clears
    /// these kinds leaves anything of them.
    pub clears: Traces,
    /// It runs a statement that PREPARE made, or what a cursor was declared for.
    pub executes: bool,
    /// It declares a cursor: each FETCH or MOVE runs a part of what that is for.
    pub declares: bool,
    /// It has a SET of which nothing is left: SET LOCAL, or of a parameter that follows its client.
    pub sets_harmlessly: bool,
    /// It takes or gives back advisory locks.
    pub touches_locks: bool,
    /// It takes channels away, or begins what may be rolled back in part: UNLISTEN, DISCARD,
    /// SAVEPOINT.
    pub needs_channels: bool,
    /// It may notify those who listen.
    pub notifies: bool,
    /// It has a COPY ... FROM STDIN.
    pub copies_in: bool,
}

impl Effects {
    pub fn leave(&mut self, traces: Traces) {
        self.leaves = self.leaves.and(traces);
        self.clears = self.clears.without(traces);
    }

    pub fn clear(&mut self, traces: Traces) {
        self.clears = self.clears.and(traces);
    }

    /// What a text may do that is one of two.
    #[inline]
    pub fn or(self, other: Effects) -> Effects {
        Effects {
            leaves: self.leaves.and(other.leaves),
            clears: self.clears.in_both(other.clears),
            executes: self.executes || other.executes,
            declares: self.declares || other.declares,
            sets_harmlessly: self.sets_harmlessly || other.sets_harmlessly,
            touches_locks: self.touches_locks || other.touches_locks,
            needs_channels: self.needs_channels || other.needs_channels,
            notifies: self.notifies || other.notifies,
            copies_in: self.copies_in || other.copies_in,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_is_undone() {
        assert_eq!(Traces::SET.undoing_query(), ("RESET ALL".into(), 1));
        assert_eq!(Traces::LOCK.and(Traces::UNKNOWN).undoing_query(), ("DISCARD ALL".into(), 1));
        let (sql, count) = Traces::AUTHORIZATION.and(Traces::LISTEN).undoing_query();
        assert_eq!(sql, "RESET SESSION AUTHORIZATION; RESET ROLE; UNLISTEN *");
        assert_eq!(count, 3);
        let all = Traces::ALL.without(Traces::UNKNOWN);
        assert_eq!(usize::from(all.undoing_query().1), all.undoing_query().0.split("; ").count());
    }
}

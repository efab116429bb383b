//! What the text of a message may do to the session of its server: one pass over its words.
//!
//! This is no parser: the first words of each statement say what kind it is, and a few names of
//! functions count wherever they stand. What is not sure counts as done. What code on the server
//! does (functions, DO, CALL, triggers) is not seen. Most texts are plain, which `plain` finds out
//! without taking them apart.
//!
//! Source: PostgreSQL manual, "SQL Commands"; 'gram.y' for what may stand where.

use super::lexer::{Lexer, SqlToken};
use super::plain::is_plain;
use super::set_config::{Call, REPORTED};
use super::traces::{Effects, Traces};

/// The effects of a whole text.
#[inline]
pub fn read(text: &[u8]) -> Effects {
    if is_plain(text) { Effects::default() } else { read_words(text) }
}

fn read_words(text: &[u8]) -> Effects {
    let mut scan = Scan::default();
    scan.feed(text);
    scan.finish()
}

/// Takes a text in pieces.
#[derive(Debug, Default)]
pub struct Scan {
    lexer: Lexer,
    reader: StatementReader,
}

impl Scan {
    pub fn feed(&mut self, text: &[u8]) {
        let reader = &mut self.reader;
        self.lexer.feed(text, |token, is_suspicious| reader.take(token, is_suspicious));
    }

    pub fn finish(mut self) -> Effects {
        let reader = &mut self.reader;
        self.lexer.finish(|token, is_suspicious| reader.take(token, is_suspicious));
        self.reader.end_statement();
        self.reader.effects
    }
}

/// What is known of the statement under way, and of those before it.
#[derive(Debug, Default)]
struct StatementReader {
    effects: Effects,
    head: StatementHead,
    /// The word before this token.
    before: PreviousWord,
    /// Parentheses that are open.
    depth: u32,
    call: Call,
    /// Whether a semicolon has come, in a text whose quotes are not trusted: any word may begin a
    /// statement then.
    begins_anywhere: bool,
}

/// How far the first words of a statement have been read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum StatementHead {
    #[default]
    Start,
    /// The place of a word tells nothing more.
    Other,
    Close,
    Copy,
    Deallocate,
    Declare,
    Discard,
    Insert,
    Prepare,
    /// PREPARE TRANSACTION, or the PREPARE of a statement of that name.
    PrepareTransaction,
    Reset,
    ResetSession,
    /// SELECT pg_advisory_unlock_all(), so far.
    Select(Unlock),
    Set,
    /// After a word behind SET, which may be the parameter's name, or say what is set.
    SetWord(SetWord),
    /// SET extra_float_digits TO, and whether 1, 2 or 3 has come after it.
    SetDigits(bool),
    SetSession,
    SetAuthorization,
    Unlisten,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SetWord {
    /// extra_float_digits.
    Digits,
    /// LOCAL, TRANSACTION, CONSTRAINTS: nothing is left.
    Harmless,
    /// The name of a parameter that follows its client; TIME ZONE and NAMES stand for two.
    Reported,
    Role,
    Session,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unlock {
    Begun,
    Schema,
    Dot,
    Name,
    Open,
    Closed,
}

/// The word before a token, where it matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum PreviousWord {
    #[default]
    Other,
    /// CREATE, OR REPLACE, GLOBAL, LOCAL: TEMP may follow.
    Create,
    From,
    Into,
    With,
    /// A `&`, after which a quote may hold a name in escapes.
    Ampersand,
}

impl StatementReader {
    fn take(&mut self, token: SqlToken<'_>, is_suspicious: bool) {
        match token {
            SqlToken::Sign(b';') => {
                self.end_statement();
                self.begins_anywhere = is_suspicious;
                return;
            }
            SqlToken::Sign(b'(') => self.depth = self.depth.saturating_add(1),
            SqlToken::Sign(b')') => self.depth = self.depth.saturating_sub(1),
            SqlToken::Sign(_) | SqlToken::Text(_) | SqlToken::Word { .. } => {}
        }
        if let SqlToken::Word { text, is_quoted } = token {
            if self.before == PreviousWord::Ampersand && is_quoted {
                // A name in escapes, such as U&"\0073et_config", may be any.
                self.effects.leave(Traces::ALL.without(Traces::LASTING));
            }
            self.heed_name(text, is_quoted, is_suspicious);
            if self.begins_anywhere {
                self.may_begin(text);
            }
        }
        self.head = self.next_head(token);
        self.call.heed(token, self.depth, &mut self.effects);
        self.before = PreviousWord::of(token);
    }

    fn end_statement(&mut self) {
        if self.head == StatementHead::Select(Unlock::Closed) {
            self.effects.clear(Traces::LOCK);
        }
        if self.head == StatementHead::SetDigits(true) {
            self.effects.leave(Traces::DIGITS);
            self.effects.sets_harmlessly = true;
        }
        if self.call.is_open() || self.head == StatementHead::SetDigits(false) {
            self.effects.leave(Traces::SET);
        }
        self.call = Call::None;
        (self.head, self.before, self.depth) = (StatementHead::Start, PreviousWord::Other, 0);
    }

    /// Takes a word that may be the first of a statement.
    fn may_begin(&mut self, word: &[u8]) {
        let may_leave = match word {
            b"call" | b"do" => Traces::UNKNOWN,
            b"declare" => Traces::CURSOR,
            b"listen" => Traces::LISTEN,
            b"load" => Traces::LASTING,
            b"prepare" => Traces::PREPARED,
            b"set" => AUTHORIZATION.and(Traces::SET),
            _ => Traces::NONE,
        };
        self.note_head(word);
        self.effects.leave(may_leave);
        self.head = StatementHead::Other;
    }

    /// Notes what the first word of a statement may do to channels, and to cursors.
    fn note_head(&mut self, word: &[u8]) {
        self.effects.declares |= word == b"declare";
        self.effects.executes |= matches!(word, b"fetch" | b"move");
        self.effects.needs_channels |= matches!(word, b"unlisten" | b"discard" | b"savepoint");
        self.effects.notifies |= word == b"notify";
    }

    /// Takes a name that may count wherever it stands.
    fn heed_name(&mut self, name: &[u8], is_quoted: bool, is_suspicious: bool) {
        let effects = &mut self.effects;
        if contains(name, b"advisory") {
            effects.touches_locks = true;
            if !contains(name, b"xact") && !contains(name, b"unlock") {
                effects.leave(Traces::LOCK);
            }
        } else if name.starts_with(b"pg_temp") {
            effects.leave(Traces::TEMPORARY);
        } else if name == b"pg_notify" {
            effects.notifies = true;
        } else if is_lasting(name) {
            effects.leave(Traces::LASTING);
        } else if name == b"set_config" {
            if is_suspicious || self.call != Call::None {
                effects.leave(Traces::SET);
            }
            self.call = Call::Named;
            return;
        }
        if is_quoted {
            return;
        }
        effects.executes |= name == b"execute";
        effects.copies_in |= name == b"stdin"
            && (self.head, self.before, self.depth) == (StatementHead::Copy, PreviousWord::From, 0);
        let is_into = self.before == PreviousWord::Into && self.head != StatementHead::Insert;
        let may_be_temporary = is_into || self.before == PreviousWord::Create || is_suspicious;
        effects.leave(match name {
            b"temp" | b"temporary" if may_be_temporary => Traces::TEMPORARY,
            b"hold" if self.head == StatementHead::Declare && self.before == PreviousWord::With => {
                Traces::CURSOR
            }
            _ => Traces::NONE,
        });
    }

    fn next_head(&mut self, token: SqlToken<'_>) -> StatementHead {
        let word = match token {
            SqlToken::Word { text, is_quoted: false } => text,
            _ => return self.behind_head(token),
        };
        match self.head {
            StatementHead::Start => self.begin(word),
            StatementHead::Close if word == b"all" => self.done(Traces::CURSOR),
            StatementHead::Deallocate if word == b"prepare" => StatementHead::Deallocate,
            StatementHead::Deallocate if word == b"all" => self.done(Traces::PREPARED),
            StatementHead::Discard => match word {
                b"all" => self.done(Traces::DISCARDED),
                b"temp" | b"temporary" => self.done(Traces::TEMPORARY),
                _ => StatementHead::Other,
            },
            StatementHead::Prepare if word == b"transaction" => StatementHead::PrepareTransaction,
            StatementHead::Reset => match word {
                b"all" => self.done(Traces::SET.and(Traces::DIGITS)),
                b"role" => self.done(Traces::ROLE),
                b"session_authorization" => self.done(AUTHORIZATION),
                b"session" => StatementHead::ResetSession,
                _ => StatementHead::Other,
            },
            StatementHead::ResetSession if word == b"authorization" => self.done(AUTHORIZATION),
            StatementHead::Select(Unlock::Begun) if word == b"pg_catalog" => {
                StatementHead::Select(Unlock::Schema)
            }
            StatementHead::Select(Unlock::Begun | Unlock::Dot)
                if word == b"pg_advisory_unlock_all" =>
            {
                StatementHead::Select(Unlock::Name)
            }
            StatementHead::Set => self.behind_set(word),
            StatementHead::SetWord(known) => self.behind_set_word(known, word),
            StatementHead::SetSession => self.behind_set_session(word),
            StatementHead::SetAuthorization if word == b"default" => {
                self.effects.sets_harmlessly = true;
                self.done(AUTHORIZATION)
            }
            _ => self.behind_head(token),
        }
    }

    /// Takes the first word of a statement.
    fn begin(&mut self, word: &[u8]) -> StatementHead {
        self.note_head(word);
        match word {
            b"close" => StatementHead::Close,
            b"copy" => StatementHead::Copy,
            b"deallocate" => StatementHead::Deallocate,
            b"declare" => StatementHead::Declare,
            b"discard" => StatementHead::Discard,
            b"insert" => StatementHead::Insert,
            b"prepare" => StatementHead::Prepare,
            b"reset" => StatementHead::Reset,
            b"select" => StatementHead::Select(Unlock::Begun),
            b"set" => StatementHead::Set,
            b"unlisten" => StatementHead::Unlisten,
            b"call" | b"do" => self.leave(Traces::UNKNOWN),
            b"listen" => self.leave(Traces::LISTEN),
            b"load" => self.leave(Traces::LASTING),
            _ => StatementHead::Other,
        }
    }

    /// Takes a token that is no keyword after the words before it.
    fn behind_head(&mut self, token: SqlToken<'_>) -> StatementHead {
        let is_sign = |sign| token == SqlToken::Sign(sign);
        match self.head {
            StatementHead::Copy | StatementHead::Declare | StatementHead::Insert => self.head,
            StatementHead::Prepare => self.leave(Traces::PREPARED),
            StatementHead::PrepareTransaction if matches!(token, SqlToken::Text(_)) => {
                StatementHead::Other
            }
            StatementHead::PrepareTransaction => self.leave(Traces::PREPARED),
            StatementHead::Select(Unlock::Schema) if is_sign(b'.') => {
                StatementHead::Select(Unlock::Dot)
            }
            StatementHead::Select(Unlock::Name) if is_sign(b'(') => {
                StatementHead::Select(Unlock::Open)
            }
            StatementHead::Select(Unlock::Open) if is_sign(b')') => {
                StatementHead::Select(Unlock::Closed)
            }
            StatementHead::Set | StatementHead::SetSession => self.behind_set_token(token),
            StatementHead::SetWord(SetWord::Reported) if !is_sign(b'.') => self.set_harmlessly(),
            StatementHead::SetWord(SetWord::Role) if !is_sign(b'.') => self.leave(Traces::ROLE),
            StatementHead::SetWord(SetWord::Digits) if is_sign(b'=') => {
                StatementHead::SetDigits(false)
            }
            StatementHead::SetDigits(false) if b"123".iter().any(|digit| is_sign(*digit)) => {
                StatementHead::SetDigits(true)
            }
            StatementHead::SetDigits(_) => self.leave(Traces::SET),
            StatementHead::SetWord(SetWord::Session) if !is_sign(b'.') && !is_sign(b'=') => {
                self.behind_set_token(token)
            }
            StatementHead::SetWord(SetWord::Harmless) if !is_sign(b'.') && !is_sign(b'=') => {
                self.set_harmlessly()
            }
            StatementHead::SetWord(_) => self.leave(Traces::SET),
            StatementHead::SetAuthorization => self.leave(AUTHORIZATION),
            StatementHead::Unlisten if is_sign(b'*') => self.done(Traces::LISTEN),
            _ => StatementHead::Other,
        }
    }

    fn behind_set(&mut self, word: &[u8]) -> StatementHead {
        StatementHead::SetWord(match word {
            b"local" | b"transaction" | b"constraints" => SetWord::Harmless,
            b"session" => SetWord::Session,
            _ => return self.name_set(word),
        })
    }

    /// Takes the name of what is set.
    fn name_set(&mut self, name: &[u8]) -> StatementHead {
        match name {
            b"time" | b"names" => StatementHead::SetWord(SetWord::Reported),
            b"role" => StatementHead::SetWord(SetWord::Role),
            b"session_authorization" => self.leave(AUTHORIZATION),
            b"extra_float_digits" => StatementHead::SetWord(SetWord::Digits),
            _ if REPORTED.contains(&name) => StatementHead::SetWord(SetWord::Reported),
            _ => self.leave(Traces::SET),
        }
    }

    /// Takes a word after one that may have been a name: `SET local TO 1` sets a parameter.
    fn behind_set_word(&mut self, known: SetWord, word: &[u8]) -> StatementHead {
        match known {
            SetWord::Harmless | SetWord::Session if word == b"to" => self.leave(Traces::SET),
            SetWord::Digits if word == b"to" => StatementHead::SetDigits(false),
            SetWord::Digits => self.leave(Traces::SET),
            SetWord::Harmless | SetWord::Reported => self.set_harmlessly(),
            SetWord::Role => self.leave(Traces::ROLE),
            SetWord::Session => self.behind_set_session(word),
        }
    }

    fn behind_set_session(&mut self, word: &[u8]) -> StatementHead {
        match word {
            b"authorization" => StatementHead::SetAuthorization,
            b"session" => StatementHead::SetSession,
            _ => self.name_set(word),
        }
    }

    /// Takes a name in quotes, or a token that makes no sense, so that PostgreSQL refuses the
    /// statement.
    fn behind_set_token(&mut self, token: SqlToken<'_>) -> StatementHead {
        match token {
            SqlToken::Word { text, .. } => self.name_set(&text.to_ascii_lowercase()),
            SqlToken::Sign(_) | SqlToken::Text(_) => self.leave(Traces::SET),
        }
    }

    fn leave(&mut self, traces: Traces) -> StatementHead {
        self.effects.leave(traces);
        StatementHead::Other
    }

    fn set_harmlessly(&mut self) -> StatementHead {
        self.effects.sets_harmlessly = true;
        StatementHead::Other
    }

    fn done(&mut self, cleared: Traces) -> StatementHead {
        self.effects.clear(cleared);
        StatementHead::Other
    }
}

/// What SET SESSION AUTHORIZATION changes: it also takes back a role that was SET.
const AUTHORIZATION: Traces = Traces::AUTHORIZATION.and(Traces::ROLE);

impl PreviousWord {
    fn of(token: SqlToken<'_>) -> PreviousWord {
        match token {
            SqlToken::Sign(b'&') => PreviousWord::Ampersand,
            SqlToken::Word { text, is_quoted: false } => match text {
                b"create" | b"global" | b"local" | b"replace" => PreviousWord::Create,
                b"from" => PreviousWord::From,
                b"into" => PreviousWord::Into,
                b"with" => PreviousWord::With,
                _ => PreviousWord::Other,
            },
            _ => PreviousWord::Other,
        }
    }
}

fn contains(name: &[u8], part: &[u8]) -> bool {
    name.windows(part.len()).any(|window| window == part)
}

/// Functions whose effect no command of the session undoes.
fn is_lasting(name: &[u8]) -> bool {
    name.starts_with(b"dblink_connect")
        || name == b"pg_replication_origin_session_setup"
        || contains(name, b"replication_slot")
            && (name.starts_with(b"pg_create") || name.starts_with(b"pg_copy"))
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;

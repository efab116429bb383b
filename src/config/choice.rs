//! Settings that are one word of a few, as enums.

use super::value::{Kind, SettingType, ValueError};

/// Declares enums whose variants are words of the configuration.
/// Row: `Variant = "word",` in the order in which an error lists them.
macro_rules! choices {
    ($($(#[$meta:meta])* $name:ident { $($variant:ident = $word:literal,)+ })+) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $name { $($variant,)+ }

        impl $name {
            pub const WORDS: &'static [&'static str] = &[$($word,)+];

            /// The word as the configuration spells it.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }
        }

        impl SettingType for $name {
            fn read(text: &str, kind: &Kind) -> Result<Self, ValueError> {
                let words = if let Kind::Choice(words) = *kind { words } else { Self::WORDS };
                let variants = [$($name::$variant,)+];
                let found = place(text, words, Self::WORDS).and_then(|place| variants.get(place));
                found.copied().ok_or(ValueError::NotOneOf(words))
            }
            fn show(&self, _: &Kind) -> Option<String> {
                Some(self.word().to_owned())
            }
            fn unset() -> Self {
                [$($name::$variant,)+][0]
            }
        }
    )+};
}

choices! {
    /// When a server goes back to the pool.
    PoolMode {
        Session = "session",
        Transaction = "transaction",
        Statement = "statement",
    }

    /// How clients prove who they are. `peer` stands in HBA files only.
    AuthType {
        Any = "any",
        Cert = "cert",
        Hba = "hba",
        Ldap = "ldap",
        Md5 = "md5",
        Pam = "pam",
        Peer = "peer",
        Plain = "plain",
        ScramSha256 = "scram-sha-256",
        Trust = "trust",
    }

    /// Which entry of a host list the next connection goes to.
    LoadBalanceHosts {
        RoundRobin = "round-robin",
        Disable = "disable",
    }

    /// How a server asks the pooler to prove who it is: libpq's words (`require_auth`).
    ServerAuth {
        Password = "password",
        Md5 = "md5",
        ScramSha256 = "scram-sha-256",
        None = "none",
    }

    /// Whether a connection is, may be or must be under TLS.
    TlsMode {
        Disable = "disable",
        Allow = "allow",
        Prefer = "prefer",
        Require = "require",
        VerifyCa = "verify-ca",
        VerifyFull = "verify-full",
    }

    /// How TLS to a server begins.
    Negotiation {
        Postgres = "postgres",
        Direct = "direct",
    }

    /// Whether a login to a server is, may be or must be bound to its certificate.
    ChannelBinding {
        Disable = "disable",
        Prefer = "prefer",
        Require = "require",
    }

    /// What is done about state that a client leaves in the session of its server. Each word is
    /// stricter than the one before it.
    SessionState {
        Allow = "allow",
        Warn = "warn",
        Reset = "reset",
        Pin = "pin",
        Error = "error",
    }

    /// What a line of the log looks like.
    LogFormat {
        Plain = "plain",
        Json = "json",
    }

    /// What is done with a server whose client left in the middle of a transaction.
    ServerAbandon {
        Close = "close",
        Rollback = "rollback",
    }
}

/// The index of `text` in `all` words, if it is also one of the words that are `taken`.
fn place(text: &str, taken: &[&str], all: &[&str]) -> Option<usize> {
    let is_it = |word: &&str| text.eq_ignore_ascii_case(word);
    if taken.iter().any(is_it) { all.iter().position(is_it) } else { None }
}

/// The mode where nothing is configured.
impl Default for TlsMode {
    fn default() -> TlsMode {
        TlsMode::Disable
    }
}

#[allow(clippy::derivable_impls, reason = "the variants are declared by a macro, for many types")]
impl Default for SessionState {
    fn default() -> SessionState {
        SessionState::Allow
    }
}

impl TlsMode {
    /// Whether a connection without TLS must not be used.
    pub fn is_required(self) -> bool {
        matches!(self, TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_in_any_case_and_shown_in_one() {
        let kind = Kind::Choice(PoolMode::WORDS);
        assert_eq!(PoolMode::read("TransAction", &kind), Ok(PoolMode::Transaction));
        assert_eq!(PoolMode::Transaction.show(&kind).as_deref(), Some("transaction"));
        for text in ["", "trans", " session", "session "] {
            let error = PoolMode::read(text, &kind).expect_err(text);
            assert_eq!(error.to_string(), "expected one of session, transaction, statement");
        }
    }

    #[test]
    fn a_row_may_allow_fewer_words_than_there_are() {
        let kind = Kind::Choice(&["md5"]);
        assert_eq!(AuthType::read("md5", &kind), Ok(AuthType::Md5));
        assert_eq!(AuthType::read("peer", &kind), Err(ValueError::NotOneOf(&["md5"])));
    }
}

//! The error for a statement that leaves state which the next client of its server would meet.

use crate::wire::build::{ErrorReport, Severity};
use crate::wire::sqlstate;

const REFUSED: &str = "statement leaves state in a session that clients share";

/// The words of one such error.
pub struct StatementRefusal {
    message: &'static str,
    sqlstate: &'static str,
    detail: String,
    hint: &'static str,
}

impl StatementRefusal {
    /// With `session_state = error`; `what` would be left, or was left if the refusal `is_late`.
    pub fn of_policy(what: &str, is_late: bool) -> StatementRefusal {
        let detail = match is_late {
            true => format!("It has left {what}, which is undone now."),
            false => format!("It would leave {what}. It was not run."),
        };
        StatementRefusal {
            message: REFUSED,
            sqlstate: sqlstate::FEATURE_NOT_SUPPORTED,
            detail,
            hint: "SET LOCAL and pg_advisory_xact_lock last for a transaction only. The operator \
                   allows the statement with session_state = reset or pin, or with a database line \
                   in session pooling.",
        }
    }

    /// With `session_state = pin`, when as many servers are pinned as the setting allows.
    pub fn of_limit(what: &str, pinned: usize, most: usize) -> StatementRefusal {
        StatementRefusal {
            message: "session state cannot be kept: too many servers are pinned (pin_limit)",
            sqlstate: sqlstate::TOO_MANY_CONNECTIONS,
            detail: format!(
                "The statement has left {what}, which is undone now. {pinned} servers of the pool \
                 are pinned, and pin_limit allows {most}."
            ),
            hint: "Try again later, or have the operator raise pin_limit or pool_size, or add a \
                   database line in session pooling.",
        }
    }

    /// With `shared_listen`, when a LISTEN or UNLISTEN cannot be carried out.
    pub fn of_listening(why: &str) -> StatementRefusal {
        StatementRefusal {
            message: "LISTEN or UNLISTEN has had no effect (shared_listen)",
            sqlstate: sqlstate::FEATURE_NOT_SUPPORTED,
            detail: why.to_owned(),
            hint: "What the client has listened to before is as it was.",
        }
    }

    pub fn report(&self) -> ErrorReport<'_> {
        ErrorReport {
            severity: Severity::Error,
            sqlstate: self.sqlstate,
            message: self.message,
            detail: Some(&self.detail),
            hint: Some(self.hint),
        }
    }
}

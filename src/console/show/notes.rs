//! Two tables that PgBouncer does not have: ERRORS, what went wrong and how often; EVENTS, what
//! happened lately.

use super::super::table::{Sheet, Value, int8, text};
use super::time;
use crate::base::order;

/// A row is an index into the list of tallies.
pub static ERRORS: Sheet<usize> = Sheet {
    columns: &[&[
        text("side", |scene, &at| {
            Value::text(scene.core.journal.events.tallies[at].concern.word())
        }),
        text("reason", |scene, &at| Value::text(&scene.core.journal.events.tallies[at].reason)),
        int8("count", |scene, &at| Value::Number(scene.core.journal.events.tallies[at].count)),
        text("last_time", |scene, &at| time(scene.core.journal.events.tallies[at].last_us)),
        text("database", |scene, &at| Value::text(&scene.core.journal.events.tallies[at].database)),
        text("user", |scene, &at| Value::text(&scene.core.journal.events.tallies[at].user)),
        text("detail", |scene, &at| Value::text(&scene.core.journal.events.tallies[at].detail)),
    ]],
    rows: |scene| {
        let tallies = &scene.core.journal.events.tallies;
        let rows: Vec<usize> = (0..tallies.len()).collect();
        // The latest first.
        order::sorted(&rows, |&a, &b| tallies[b].last_us.cmp(&tallies[a].last_us))
    },
};

/// A row is an index into the list of events, the oldest first.
pub static EVENTS: Sheet<usize> = Sheet {
    columns: &[&[
        text("time", |scene, &at| time(scene.core.journal.events.events[at].wall_us)),
        int8("count", |scene, &at| Value::Number(scene.core.journal.events.events[at].count)),
        text("event", |scene, &at| Value::text(&scene.core.journal.events.events[at].text)),
    ]],
    rows: |scene| (0..scene.core.journal.events.events.len()).collect(),
};

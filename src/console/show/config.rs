//! SHOW CONFIG: the settings that PgBouncer has, in its order, with values as it spells them.

use super::super::table::{Sheet, Value, text};
use crate::config::{SettingRow, Settings};

pub static CONFIG: Sheet<&'static SettingRow> = Sheet {
    columns: &[&[
        text("key", |_, row| Value::text(row.name)),
        text("value", |scene, row| match scene.core.settings().show(row.name) {
            Some(value) => Value::owned(value),
            None => Value::Null,
        }),
        text("default", |_, row| Value::text_or_null(row.default)),
        text("changeable", |_, row| Value::text(if row.is_changeable() { "yes" } else { "no" })),
    ]],
    rows: |_| Settings::rows().iter().filter(|row| !row.is_ours()).collect(),
};

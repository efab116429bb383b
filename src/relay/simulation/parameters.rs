//! The run-time parameters of a simulated session: SET, RESET, rollback, and reports.

use std::collections::BTreeMap;

use super::traces::{Kind, Traces};

/// The parameters of a new session. Those that are not in [`REPORTED`] are never reported.
const DEFAULTS: [(&str, &str); 10] = [
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("application_name", ""),
    ("client_encoding", "UTF8"),
    (VARYING, ""),
    ("in_hot_standby", "off"),
    ("search_path", "\"$user\", public"),
    ("server_version", "17.2"),
    ("standard_conforming_strings", "on"),
];

const UNREPORTED: &str = "search_path";

/// The parameter whose default an operator changes and that no client sets. Servers opened later
/// have another value, which PostgreSQL itself would not accept.
pub const VARYING: &str = "default_transaction_read_only";

/// The default of [`VARYING`] after this many changes. All values are of one length.
pub fn varying(changes: u32) -> String {
    format!("d{changes:05}")
}

#[derive(Clone, Debug)]
pub struct Parameters {
    values: BTreeMap<&'static str, String>,
    /// The values to which RESET returns.
    defaults: BTreeMap<&'static str, String>,
    /// The values at the beginning of the transaction.
    saved: Option<BTreeMap<&'static str, String>>,
    /// The values that the peer was told last.
    reported: BTreeMap<&'static str, String>,
    /// The other state of the session.
    pub traces: Traces,
}

/// The server refuses the value.
pub struct Refused;

impl Parameters {
    /// The parameters of a startup packet. The simulation sends no unknown names.
    pub fn new(startup: &[(String, String)], changes: u32) -> Result<Parameters, Refused> {
        let mut values: BTreeMap<_, _> =
            DEFAULTS.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        values.insert(VARYING, varying(changes));
        for (name, value) in startup {
            if let Some(name) = find(name) {
                values.insert(name, canonical(name, value)?);
            }
        }
        let (defaults, reported) = (values.clone(), values.clone());
        Ok(Parameters { defaults, reported, saved: None, values, traces: Traces::default() })
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(find(name)?).map(String::as_str)
    }

    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Refused> {
        let name = find(name).ok_or(Refused)?;
        // A value that is not ASCII contains the name of its encoding: it is invalid in any other.
        let is_read = value.is_ascii() || value.contains(&self.values["client_encoding"]);
        let value = if is_read { value } else { "misread" };
        self.values.insert(name, canonical(name, value)?);
        Ok(())
    }

    pub fn reset(&mut self, name: &str) -> Result<(), Refused> {
        let name = find(name).ok_or(Refused)?;
        self.values.insert(name, self.defaults[name].clone());
        Ok(())
    }

    pub fn reset_all(&mut self) {
        self.values = self.defaults.clone();
        self.traces.clear(&[Kind::Parameter, Kind::Hidden]);
    }

    /// A transaction begins. Within a transaction this does nothing.
    pub fn begin(&mut self) {
        if self.saved.is_none() {
            self.saved = Some(self.values.clone());
        }
        self.traces.begin();
    }

    pub fn commit(&mut self) {
        self.saved = None;
        self.traces.commit();
    }

    pub fn rollback(&mut self) {
        if let Some(saved) = self.saved.take() {
            self.values = saved;
        }
        self.traces.rollback();
    }

    /// All values that are reported at login.
    pub fn welcome(&self) -> Vec<(&'static str, String)> {
        let told = self.values.iter().filter(|(name, _)| **name != UNREPORTED);
        told.map(|(name, value)| (*name, value.clone())).collect()
    }

    /// The values that have changed since they were last reported.
    pub fn changes(&mut self) -> Vec<(&'static str, String)> {
        let mut changes = Vec::new();
        for (name, value) in &self.values {
            if *name != UNREPORTED && self.reported[name] != *value {
                changes.push((*name, value.clone()));
            }
        }
        for (name, value) in &changes {
            self.reported.insert(name, value.clone());
        }
        changes
    }

    /// Notes that the peer was told a value, although its cause was undone.
    pub fn was_told(&mut self, name: &str, value: &str) {
        if let Some(name) = find(name) {
            self.reported.insert(name, value.to_owned());
        }
    }
}

fn find(name: &str) -> Option<&'static str> {
    DEFAULTS.iter().map(|(known, _)| *known).find(|known| known.eq_ignore_ascii_case(name))
}

/// The spelling in which PostgreSQL reports a value.
fn canonical(name: &str, value: &str) -> Result<String, Refused> {
    match (name, value) {
        (_, value) if value.starts_with("bad") => Err(Refused),
        ("TimeZone", value) => Ok(value.to_ascii_uppercase()),
        ("DateStyle", "iso") => Ok("ISO, MDY".to_owned()),
        ("DateStyle", "german") => Ok("German, DMY".to_owned()),
        _ => Ok(value.to_owned()),
    }
}

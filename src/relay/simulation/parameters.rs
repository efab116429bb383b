//! The run-time parameters of a simulated session: SET, RESET, rollback, and what is reported.

use std::collections::BTreeMap;

use super::traces::{Kind, Traces};

/// What a new session has. Parameters that are not in [`REPORTED`] are never told.
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

/// The parameter whose default an operator changes, and that no client sets. Servers that are
/// opened later have another value, which is no value of PostgreSQL's.
pub const VARYING: &str = "default_transaction_read_only";

/// The default of [`VARYING`] after so many changes. All are of one length.
pub fn varying(changes: u32) -> String {
    format!("d{changes:05}")
}

#[derive(Clone, Debug)]
pub struct Parameters {
    values: BTreeMap<&'static str, String>,
    /// What RESET goes back to.
    defaults: BTreeMap<&'static str, String>,
    /// At the beginning of the transaction.
    saved: Option<BTreeMap<&'static str, String>>,
    /// What the peer was told last.
    reported: BTreeMap<&'static str, String>,
    /// What else the session has.
    pub traces: Traces,
}

/// The server does not take this value.
pub struct Refused;

impl Parameters {
    /// With what a startup packet asks for. Unknown names are none of the simulation's.
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
        // A value that is not ASCII holds the name of its encoding: in another it is another text.
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

    /// A transaction begins; inside one nothing changes.
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

    /// All that is told at login.
    pub fn welcome(&self) -> Vec<(&'static str, String)> {
        let told = self.values.iter().filter(|(name, _)| **name != UNREPORTED);
        told.map(|(name, value)| (*name, value.clone())).collect()
    }

    /// What has changed since it was told last.
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

    /// The peer was told this, though what brought it about is undone.
    pub fn was_told(&mut self, name: &str, value: &str) {
        if let Some(name) = find(name) {
            self.reported.insert(name, value.to_owned());
        }
    }
}

fn find(name: &str) -> Option<&'static str> {
    DEFAULTS.iter().map(|(known, _)| *known).find(|known| known.eq_ignore_ascii_case(name))
}

/// PostgreSQL tells some values in a spelling of its own.
fn canonical(name: &str, value: &str) -> Result<String, Refused> {
    match (name, value) {
        (_, value) if value.starts_with("bad") => Err(Refused),
        ("TimeZone", value) => Ok(value.to_ascii_uppercase()),
        ("DateStyle", "iso") => Ok("ISO, MDY".to_owned()),
        ("DateStyle", "german") => Ok("German, DMY".to_owned()),
        _ => Ok(value.to_owned()),
    }
}

//! Reads the files beside the configuration: user list, HBA file, ident map.

use std::path::Path;

use super::files;
use crate::auth::hba::HbaRules;
use crate::auth::ident::IdentMaps;
use crate::auth::secret::Secret;
use crate::auth::{hba_file, ident, userlist};
use crate::config::{AuthType, Settings};
use crate::log::{Level, plain};
use crate::pool::records::access::Access;

/// Told what is wrong, line by line.
pub type Report<'a> = &'a mut dyn FnMut(Level, String);

/// Why the files cannot be put in force: it has been reported.
#[derive(Debug)]
pub struct Refused;

/// Reads all that the settings name. A user list that cannot be read leaves those users that were
/// known `before`; a broken HBA file is refused, since leaving out a line may let in those whom it
/// was to keep out.
pub fn read(settings: &Settings, before: &Access, report: Report<'_>) -> Result<Access, Refused> {
    let users = read_users(settings, report).unwrap_or_else(|| before.users.clone());
    let ident = read_ident(settings, report)?;
    let hba = read_hba(settings, &ident, report)?;
    Ok(Access { users, hba, ident })
}

fn read_users(settings: &Settings, report: Report<'_>) -> Option<Vec<(String, Secret)>> {
    let Some(path) = settings.auth_file.as_deref().filter(|path| !path.is_empty()) else {
        return Some(Vec::new());
    };
    let text = match files::read(path) {
        Ok(text) => text,
        Err(error) => {
            report(Level::Error, format!("could not open auth_file {path}: {}", plain(&error)));
            return None;
        }
    };
    let list = userlist::parse(&text);
    if !list.problems.is_empty() {
        report(Level::Error, format!("broken auth file {path}"));
    }
    for problem in &list.problems {
        report(Level::Error, format!("{path}: {problem}"));
    }
    let entries = list.entries.into_iter();
    Some(entries.map(|e| (String::from_utf8_lossy(&e.name).into_owned(), e.secret)).collect())
}

fn read_ident(settings: &Settings, report: Report<'_>) -> Result<IdentMaps, Refused> {
    let Some(path) = settings.auth_ident_file.as_deref().filter(|path| !path.is_empty()) else {
        return Ok(IdentMaps::default());
    };
    let text = read_or_report(path, "auth_ident_file", report)?;
    let (maps, problems) = ident::parse(&text);
    for problem in &problems {
        report(Level::Error, format!("{path}: {problem}"));
    }
    if problems.is_empty() { Ok(maps) } else { Err(Refused) }
}

fn read_hba(
    settings: &Settings,
    maps: &IdentMaps,
    report: Report<'_>,
) -> Result<HbaRules, Refused> {
    if settings.auth_type != AuthType::Hba || settings.auth_hba_file.is_empty() {
        return Ok(HbaRules::default());
    }
    let path = settings.auth_hba_file.as_str();
    let text = read_or_report(path, "auth_hba_file", report)?;
    let beside = Path::new(path).parent().unwrap_or(Path::new("."));
    let mut read_list = |name: &[u8]| {
        let name = std::str::from_utf8(name).ok()?;
        files::read(beside.join(name).to_str()?).ok()
    };
    let (rules, problems) = hba_file::parse(&text, maps, &mut read_list);
    for problem in &problems {
        report(Level::Error, format!("{path}: {problem}"));
    }
    if problems.is_empty() { Ok(rules) } else { Err(Refused) }
}

fn read_or_report(path: &str, key: &str, report: Report<'_>) -> Result<Vec<u8>, Refused> {
    files::read(path).map_err(|error| {
        report(Level::Error, format!("could not open {key} {path}: {}", plain(&error)));
        Refused
    })
}

//! Reads the files beside the configuration: user list, HBA file, ident map.
//!
//! A line that cannot be parsed does not end the start, as in PgBouncer: it is reported and left
//! out. A file shared with PostgreSQL has lines that a pooler does not know. If such a line made
//! the whole file invalid, its old version would stay in force and might admit a user that another
//! line now refuses. With `strict_files` the file is refused all the same.

use std::path::Path;

use super::files;
use crate::auth::hba::HbaRules;
use crate::auth::hba_file::HbaProblemKind;
use crate::auth::ident::IdentMaps;
use crate::auth::inquiry::Judge;
use crate::auth::known::Known;
use crate::auth::ldap::Directory;
use crate::auth::{hba_file, ident, userlist};
use crate::base::wipe::wipe;
use crate::config::{AuthType, Settings};
use crate::log::plain;
use crate::pool::records::access::{Access, Users};
use crate::sys::pam;

/// The file that has a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    Hba,
    Ident,
    /// The options of LDAP or PAM, which judge passwords.
    Judge,
    Users,
}

/// Gets each problem, which is always an error.
pub type Report<'a> = &'a mut dyn FnMut(File, String);

/// The rules have a problem, and `strict_files` is set. The problem has been reported.
#[derive(Debug)]
pub struct Refused;

/// Reads all files that the settings name. If a file cannot be read, its content `before` stays in
/// force, which is empty at the start.
pub fn read(settings: &Settings, before: &Access, report: Report<'_>) -> Result<Access, Refused> {
    let (users, known) = read_users(settings, before, report);
    let mut is_whole = true;
    let mut refuse = |file, text| {
        is_whole = false;
        report(file, text);
    };
    let (hba, ident) = read_rules(settings, before, &mut refuse);
    let ldap = read_directory(settings, &mut refuse);
    let uses_pam = settings.auth_type == AuthType::Pam
        || hba.rules().iter().any(|rule| matches!(rule.judge, Some(Judge::Pam { .. })));
    if uses_pam && let Err(why) = pam::find() {
        refuse(File::Judge, format!("PAM lets nobody in: {why}"));
    }
    if !is_whole && settings.strict_files {
        return Err(Refused);
    }
    Ok(Access { users, known, hba, ident, ldap })
}

/// The directory of `auth_ldap_options`. Problems of the options matter only with `auth_type =
/// ldap`.
fn read_directory(settings: &Settings, report: Report<'_>) -> Option<Directory> {
    let options = settings.auth_ldap_options.as_ref().map(|options| options.expose());
    match Directory::parse(options.as_deref().unwrap_or_default()) {
        Ok(directory) => Some(directory),
        Err(error) => {
            if settings.auth_type == AuthType::Ldap {
                let text = format!("auth_ldap_options: {error}; nobody is let in");
                report(File::Judge, text);
            }
            None
        }
    }
}

fn read_users(settings: &Settings, before: &Access, report: Report<'_>) -> (Users, Known) {
    let path = settings.auth_file.as_deref().filter(|path| !path.is_empty());
    let Some(path) = path else { return (Users::Listed(Vec::new()), Known::default()) };
    let mut text = match files::read(path) {
        Ok(text) => text,
        Err(error) => {
            report(File::Users, unreadable("auth_file", path, &error));
            return (Users::AsBefore, Known::default());
        }
    };
    let list = userlist::parse_changed(&text, &before.known);
    wipe(&mut text);
    let Some(list) = list else { return (Users::AsBefore, Known::default()) };
    if !list.problems.is_empty() {
        report(File::Users, format!("broken auth file {path}"));
    }
    for problem in &list.problems {
        report(File::Users, format!("{path}: {problem}"));
    }
    (Users::Listed(list.entries), list.known)
}

/// The HBA rules and the ident maps that they name. Both count only with `auth_type = hba`.
fn read_rules(settings: &Settings, before: &Access, report: Report<'_>) -> (HbaRules, IdentMaps) {
    if settings.auth_type != AuthType::Hba {
        return (HbaRules::default(), IdentMaps::default());
    }
    let (maps, missing) = read_ident(settings, &before.ident, report);
    let path = settings.auth_hba_file.as_str();
    let text = match files::read(path) {
        Ok(text) => text,
        Err(_) if path.is_empty() => {
            let text = "auth_type hba needs an auth_hba_file, without one it lets nobody in";
            report(File::Hba, text.to_owned());
            return (HbaRules::default(), maps);
        }
        Err(error) => {
            report(File::Hba, unreadable("auth_hba_file", path, &error));
            return (before.hba.clone(), maps);
        }
    };
    let beside = Path::new(path).parent().unwrap_or(Path::new("."));
    let mut read_list = |name: &[u8]| {
        let name = std::str::from_utf8(name).ok()?;
        files::read(beside.join(name).to_str()?).ok()
    };
    let (rules, problems) = hba_file::parse(&text, &maps, &mut read_list);
    let names_maps = rules.rules().iter().any(|rule| rule.map.is_some())
        || problems.iter().any(|problem| problem.kind == HbaProblemKind::MapUnknown);
    // A missing ident file matters only if a rule names a map.
    if let Some(text) = missing.filter(|_| names_maps) {
        report(File::Ident, text);
    }
    for problem in &problems {
        report(File::Hba, format!("{path}: {problem}"));
    }
    (rules, maps)
}

/// The ident maps, and why the file cannot be read, if so.
fn read_ident(
    settings: &Settings,
    before: &IdentMaps,
    report: Report<'_>,
) -> (IdentMaps, Option<String>) {
    let path = settings.auth_ident_file.as_deref().filter(|path| !path.is_empty());
    let Some(path) = path else { return (IdentMaps::default(), None) };
    match files::read(path) {
        Ok(text) => {
            let (maps, problems) = ident::parse(&text);
            for problem in &problems {
                report(File::Ident, format!("{path}: {problem}"));
            }
            (maps, None)
        }
        Err(error) => (before.clone(), Some(unreadable("auth_ident_file", path, &error))),
    }
}

fn unreadable(key: &str, path: &str, error: &std::io::Error) -> String {
    format!("could not open {key} {path}: {}", plain(error))
}

#[cfg(test)]
mod tests {
    use std::{env, fs, process};

    use super::*;

    #[test]
    fn a_user_list_that_is_what_it_was_is_not_read_again_unless_something_is_wrong_with_it() {
        let path = env::temp_dir().join(format!("pgbouncer-users-{}", process::id()));
        let settings =
            Settings { auth_file: path.to_str().map(str::to_owned), ..Settings::default() };
        let mut before = Access::default();
        let mut read = |text: &str| {
            fs::write(&path, text).expect("write");
            let mut told = 0;
            let mut report = |_, _| told += 1;
            let mut found = super::read(&settings, &before, &mut report).expect("not strict");
            let is_as_before = matches!(found.users, Users::AsBefore);
            if is_as_before {
                found.known = std::mem::take(&mut before.known);
            }
            before = found;
            (is_as_before, before.users.new_ones().count(), told)
        };
        assert_eq!(read("\"a\" \"1\""), (false, 1, 0));
        assert_eq!(read("\"a\" \"1\""), (true, 0, 0));
        assert_eq!(read("\"a\" \"2\""), (false, 1, 0));
        assert_eq!(read("\"a\" \"2\"\nb"), (false, 0, 2));
        assert_eq!(read("\"a\" \"2\"\nb"), (false, 0, 2), "it is told again");
        assert_eq!(read("\"b\" \"1\"\n\"a\" \"2\""), (false, 1, 0));
        fs::remove_file(&path).expect("remove");
    }
}

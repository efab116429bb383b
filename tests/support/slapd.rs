//! A throw-away LDAP directory: OpenLDAP's slapd, with its data in files of the scratch folder, as
//! the user that servers run as.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::runner::skip_or_fail;
use super::{eventually, host};

const PROGRAM: &str = "/usr/sbin/slapd";

/// The directory's base, and who may do everything in it.
pub const BASE: &str = "dc=example,dc=net";
pub const ADMIN: &str = "cn=admin,dc=example,dc=net";
pub const ADMIN_PASSWORD: &str = "directory-secret";

pub struct Slapd {
    pub port: u16,
    /// Of `ldaps`, where there is a certificate.
    pub tls_port: u16,
    pub folder: PathBuf,
    /// Kept until the end, so that it is not taken for one that has been forgotten.
    _child: std::process::Child,
}

impl Slapd {
    /// Starts a directory with these entries (LDIF), and a certificate and key where there are any.
    /// None when slapd is missing and the test may be skipped.
    pub fn start(entries: &str, pair: Option<(&str, &str)>) -> Option<Slapd> {
        if !Path::new(PROGRAM).exists() {
            skip_or_fail("a login by LDAP", "slapd");
            return None;
        }
        let folder = host::new_folder("slapd");
        for name in ["data", "none.d"] {
            fs::create_dir(folder.join(name)).expect("a folder");
            host::give_away(&folder.join(name));
        }
        host::write_file(&folder.join("slapd.conf"), configuration(&folder, pair.is_some()));
        host::write_file(&folder.join("entries.ldif"), entries);
        let (certificate, key) = pair.unwrap_or_default();
        host::write_file(&folder.join("cert.pem"), certificate);
        host::write_file(&folder.join("key.pem"), key);
        fill(&folder);
        Some(launch(folder, pair.is_some()))
    }
}

fn configuration(folder: &Path, has_certificate: bool) -> String {
    let folder = folder.display();
    let schemas = ["core", "cosine", "inetorgperson"];
    let mut text: String =
        schemas.iter().map(|name| format!("include /etc/ldap/schema/{name}.schema\n")).collect();
    text += &format!("pidfile {folder}/slapd.pid\nargsfile {folder}/slapd.args\n");
    if has_certificate {
        text += &format!(
            "TLSCertificateFile {folder}/cert.pem\nTLSCertificateKeyFile {folder}/key.pem\n"
        );
    }
    text + &format!(
        "database ldif\nsuffix \"{BASE}\"\nrootdn \"{ADMIN}\"\nrootpw {ADMIN_PASSWORD}\n\
         directory {folder}/data\n"
    )
}

/// Writes the entries as slapadd does.
fn fill(folder: &Path) {
    let mut command = Command::new(PROGRAM);
    command.args(["-T", "add", "-f"]).arg(folder.join("slapd.conf"));
    command.arg("-l").arg(folder.join("entries.ldif")).stdin(Stdio::null());
    host::drop_privileges(&mut command);
    let output = command.output().expect("slapd can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn launch(folder: PathBuf, has_certificate: bool) -> Slapd {
    let (port, tls_port) = (host::free_port(), host::free_port());
    let mut places = format!("ldap://127.0.0.1:{port}");
    if has_certificate {
        places += &format!(" ldaps://127.0.0.1:{tls_port}");
    }
    let mut command = Command::new(PROGRAM);
    // With `-d` it stays in the foreground.
    command.arg("-f").arg(folder.join("slapd.conf")).args(["-h", &places, "-d", "256"]);
    let log = folder.join("log");
    let child = host::spawn_server(&mut command, &log);
    eventually("slapd to start", || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.contains("slapd starting").then_some(())
    });
    Slapd { port, tls_port, folder, _child: child }
}

//! The pooler that runs with a configuration: found by its pid file, asked over its Unix socket.
//!
//! Its console is trusted as little as any peer: the length of messages and the time are bounded.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;
use std::time::Duration;

use super::super::pidfile::{self, PidFileError};
use crate::config::Settings;
use crate::wire::build;
use crate::wire::fields::Fields;
use crate::wire::head::{self, HEAD_BYTES, Head, ParsedHead};
use crate::wire::kind::{Back, Front};
use crate::wire::startup;

/// How long to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest message that is accepted from the console, in bytes.
const MESSAGE_BYTES_MAX: usize = 0x10_0000;

/// The user that the console admits without a password if the process has the same system user.
const USER: &str = "pgbouncer";

/// The process that holds the pid file.
pub fn holder(pid_file: &Path) -> Option<u32> {
    match pidfile::check_free(pid_file) {
        Err(PidFileError::InUse { pid, .. }) => pid,
        _ => None,
    }
}

/// The hard limit of a process on descriptors.
pub fn fd_limit(pid: u32) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The answer of the running process to SHOW CONFIG, by name; None stands for NULL.
pub fn settings(settings: &Settings) -> io::Result<HashMap<String, Option<String>>> {
    let mut console = Console { stream: connect(settings)? };
    let mut packet = Vec::new();
    startup::startup_message(&mut packet, 0, &[("user", USER), ("database", USER)]);
    console.ask(&packet, |_| {})?;
    let mut shown = HashMap::new();
    packet.clear();
    build::query(&mut packet, "SHOW CONFIG");
    console.ask(&packet, |row| {
        let mut fields = Fields::new(row);
        if let (Some(_), Some(Some(name)), Some(value)) =
            (fields.u16(), field(&mut fields), field(&mut fields))
        {
            shown.insert(name, value);
        }
    })?;
    packet.clear();
    build::empty_front(&mut packet, Front::Terminate);
    console.stream.write_all(&packet)?;
    Ok(shown)
}

/// One field of a DataRow; an inner None is NULL.
fn field(fields: &mut Fields<'_>) -> Option<Option<String>> {
    let Ok(length) = usize::try_from(fields.u32()? as i32) else { return Some(None) };
    let bytes = (0..length).map(|_| fields.u8()).collect::<Option<Vec<u8>>>()?;
    Some(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// The Unix socket of a process with these settings.
pub fn socket_path(settings: &Settings) -> String {
    format!("{}/.s.PGSQL.{}", settings.unix_socket_dir, settings.listen_port)
}

fn connect(settings: &Settings) -> io::Result<UnixStream> {
    let path = socket_path(settings);
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&path)?,
    };
    let stream = UnixStream::connect_addr(&address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

struct Console {
    stream: UnixStream,
}

impl Console {
    /// Sends a packet and reads up to the next ReadyForQuery; `see` gets each DataRow.
    fn ask(&mut self, packet: &[u8], mut see: impl FnMut(&[u8])) -> io::Result<()> {
        self.stream.write_all(packet)?;
        loop {
            let (kind, body) = self.message()?;
            match Back::from_byte(kind) {
                Some(Back::DataRow) => see(&body),
                Some(Back::ReadyForQuery) => return Ok(()),
                Some(Back::ErrorResponse) => return Err(io::ErrorKind::PermissionDenied.into()),
                // The console asks for a password, and there is none.
                Some(Back::Authentication) if body != [0; 4] => {
                    return Err(io::ErrorKind::PermissionDenied.into());
                }
                _ => {}
            }
        }
    }

    fn message(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut bytes = [0; HEAD_BYTES];
        self.stream.read_exact(&mut bytes)?;
        match head::parse(&bytes) {
            ParsedHead::Head(Head { kind, body }) if body <= MESSAGE_BYTES_MAX => {
                let mut bytes = vec![0; body];
                self.stream.read_exact(&mut bytes)?;
                Ok((kind, bytes))
            }
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

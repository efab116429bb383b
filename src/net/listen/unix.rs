//! The Unix socket: its name, its file, and whether another instance listens on it.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::SocketAddr as UnixAddr;
use std::path::{Path, PathBuf};

use mio::net::{UnixListener, UnixStream};

use super::error::NAME_TOO_LONG;
use super::{ListenError, ListenOptions, Listener, UnixOptions, report_refusal};
use crate::log::Level;
use crate::sys::account;
use crate::sys::socket;

/// An error if another process listens on our Unix socket. The caller asks before it touches
/// anything else; opening asks again.
pub fn check_free(options: &ListenOptions) -> Result<(), ListenError> {
    let Some(unix) = &options.unix else { return Ok(()) };
    let path = path(unix, options.port);
    match address(&path).map(|address| UnixStream::connect_addr(&address)) {
        Ok(Ok(stream)) => {
            let pid = socket::peer_credentials(stream.as_fd()).ok().map(|found| found.pid);
            Err(ListenError::UnixInUse { path, pid })
        }
        // The queue of the socket is full: a process listens, and is busy.
        Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(ListenError::UnixInUse { path, pid: None })
        }
        _ => Ok(()),
    }
}

/// Refuses a directory whose name is too long for a socket in it, and an unknown group.
pub(super) fn check_names(unix: &UnixOptions, port: u16) -> Result<(), ListenError> {
    let path = path(unix, port);
    address(&path).map_err(|_| ListenError::UnixTooLong)?;
    unix.group.as_ref().map_or(Ok(()), |name| group(name, Path::new(&path)).map(|_| ()))
}

/// Opens the socket and gives its file mode and group.
pub(super) fn open(
    unix: &UnixOptions,
    options: &ListenOptions,
    report: &mut dyn FnMut(Level, &str),
) -> Result<Listener, ListenError> {
    check_free(options)?;
    let path = path(unix, options.port);
    let Ok(address) = address(&path) else {
        let text = format!("cannot listen on unix:{path}: {NAME_TOO_LONG}");
        report(Level::Warning, &text);
        return Err(ListenError::UnixTooLong);
    };
    let bound = remove_stale(&address, report)
        .and_then(|()| socket::listen_unix(&address, options.tcp.backlog));
    let socket = bound.map_err(|error| {
        report_refusal(&format_args!("unix:{path}"), &error, report);
        ListenError::UnixCreate { error }
    })?;
    let file = match path.starts_with('@') {
        true => None,
        false => Some(set_mode_and_group(Path::new(&path), unix)?),
    };
    report(Level::Log, &format!("listening on unix:{path}"));
    Ok(Listener::Unix { socket: UnixListener::from_std(socket), port: options.port, file })
}

/// The file of a socket that this process made, unlinked on drop unless it was replaced since.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<SocketFile> {
        let found = fs::symlink_metadata(path)?;
        Ok(SocketFile { path: path.to_owned(), device: found.dev(), inode: found.ino() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| found.dev() == self.device && found.ino() == self.inode);
        if is_ours {
            // If this fails, nothing else can be done about the file.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes the socket file of a process that is gone. The caller has found that nobody listens on
/// it. A file of another kind is left alone.
fn remove_stale(address: &UnixAddr, report: &mut dyn FnMut(Level, &str)) -> io::Result<()> {
    let Some(path) = address.as_pathname() else { return Ok(()) };
    if !fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        return Ok(());
    }
    fs::remove_file(path)?;
    report(Level::Log, &format!("removed unix socket {} that nobody listened on", path.display()));
    Ok(())
}

/// Gives the socket's file its mode and group. The umask does not change the mode.
fn set_mode_and_group(path: &Path, unix: &UnixOptions) -> Result<SocketFile, ListenError> {
    let failed = |error| ListenError::FileAttributes { path: path.to_owned(), error };
    let file = SocketFile::new(path).map_err(failed)?;
    if let Some(name) = &unix.group {
        chown(path, None, Some(group(name, path)?)).map_err(failed)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(unix.mode)).map_err(failed)?;
    Ok(file)
}

/// The group of that name; `path` is for the error.
fn group(name: &str, path: &Path) -> Result<u32, ListenError> {
    account::group_by_name(name)
        .map_err(|error| ListenError::FileAttributes { path: path.to_owned(), error })?
        .ok_or_else(|| ListenError::GroupUnknown { name: name.to_owned() })
}

/// The path as clients compute it from directory and port.
pub(super) fn path(unix: &UnixOptions, port: u16) -> String {
    match &unix.path {
        Some(path) => path.clone(),
        None => format!("{}/.s.PGSQL.{port}", unix.directory.trim_end_matches('/')),
    }
}

/// The port at the end of `.s.PGSQL.PORT`.
pub(super) fn port_in_name(name: &str) -> Option<u16> {
    name.rsplit_once(".s.PGSQL.")?.1.parse().ok()
}

/// An error if the name is too long.
fn address(path: &str) -> io::Result<UnixAddr> {
    match path.strip_prefix('@') {
        Some(name) => UnixAddr::from_abstract_name(name),
        None => UnixAddr::from_pathname(path),
    }
}

pub(super) fn name(address: &UnixAddr) -> String {
    if let Some(name) = address.as_abstract_name() {
        return format!("@{}", String::from_utf8_lossy(name));
    }
    let path = address.as_pathname().unwrap_or(Path::new("(unnamed)"));
    path.to_string_lossy().into_owned()
}

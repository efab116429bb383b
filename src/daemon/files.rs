//! Reads the files that the configuration names, for floors without I/O.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

use crate::config::FileReader;
use crate::log::plain;

/// The largest file of configuration that is read, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The files of the system; paths are relative to the working directory.
pub struct Disk;

impl FileReader for Disk {
    fn read(&mut self, path: &str) -> io::Result<Vec<u8>> {
        read(path).map_err(|error| io::Error::new(error.kind(), plain(&error)))
    }
}

/// The whole content of a file, up to a limit that no sane file reaches. A pipe or socket is
/// refused, since a reload must not wait until another process fills it.
pub fn read(path: &str) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    // Allocated at once, since a vector that grows leaves copies of secrets behind.
    let length = file.metadata()?.len().min(FILE_BYTES_MAX);
    let mut bytes = Vec::with_capacity(length as usize + 1);
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

fn open(path: &str) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let kind = file.metadata()?.file_type();
    // Reading a directory fails with the system's words; /dev/null is an empty file.
    if kind.is_file() || kind.is_dir() || kind.is_char_device() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "Not a regular file"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::{env, fs, process};

    use super::*;

    #[test]
    fn nothing_is_read_that_somebody_would_have_to_fill_first() {
        assert_eq!(read("/dev/null").expect("empty"), b"");
        let fifo = env::temp_dir().join(format!("pgbouncer-fifo-{}", process::id()));
        let _ = fs::remove_file(&fifo);
        assert!(process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
        let error = Disk.read(&fifo.to_string_lossy()).expect_err("a pipe");
        assert_eq!(error.to_string(), "Not a regular file");
        fs::remove_file(&fifo).expect("remove");
        let _listener = UnixListener::bind(&fifo).expect("bind");
        assert!(read(&fifo.to_string_lossy()).is_err());
        fs::remove_file(&fifo).expect("remove");
    }

    #[test]
    fn what_cannot_be_read_is_told_in_the_systems_words_alone() {
        let missing = Disk.read("/nonexistent/file.ini").expect_err("missing");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert_eq!(missing.to_string(), "No such file or directory");
        assert_eq!(Disk.read("/").expect_err("a directory").to_string(), "Is a directory");
    }
}

//! Reading the files that the configuration names, for the floors that touch none themselves.

use std::fs::File;
use std::io::{self, Read};

use crate::config::Files;
use crate::log::plain;

/// A file of configuration that is larger than this is something else.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The files of the system, relative to the working directory.
pub struct Disk;

impl Files for Disk {
    fn read(&mut self, path: &str) -> io::Result<Vec<u8>> {
        read(path).map_err(|error| io::Error::new(error.kind(), plain(&error)))
    }
}

/// The whole content of a file, up to a limit that no sane one reaches.
pub fn read(path: &str) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_told_in_the_systems_words_alone() {
        let missing = Disk.read("/nonexistent/file.ini").expect_err("missing");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert_eq!(missing.to_string(), "No such file or directory");
        assert_eq!(Disk.read("/").expect_err("a directory").to_string(), "Is a directory");
    }
}

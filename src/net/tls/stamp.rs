//! Whether a file is still the one that was read.

use std::fs;
use std::os::unix::fs::MetadataExt;

/// The metadata that differ once a file is written to or replaced by another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FileStamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileStamp {
    /// The stamp of a file; a file that does not exist has the default stamp.
    pub fn of(path: &str) -> FileStamp {
        let Ok(found) = fs::metadata(path) else { return FileStamp::default() };
        FileStamp {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

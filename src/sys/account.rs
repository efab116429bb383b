//! Users and groups of the system, by the C library's own lookup (so that NSS modules and
//! preloaded wrappers are heard), and the change to another user.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use super::check;

/// Room for the strings of one entry; doubled on `ERANGE` up to [`ENTRY_BYTES_MAX`].
const ENTRY_BYTES: usize = 1024;
const ENTRY_BYTES_MAX: usize = 1024 * 1024;

/// One entry of the user database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PasswdEntry {
    pub name: String,
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
}

/// The user of that name, or None when the system knows none.
pub fn user_by_name(name: &str) -> io::Result<Option<PasswdEntry>> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    with_growing_buffer(|buffer| {
        let mut entry = MaybeUninit::<libc::passwd>::uninit();
        let mut found = ptr::null_mut();
        // SAFETY: the name is NUL-terminated, the buffer's length is its own, and the other
        // pointers are to locals that outlive the call.
        let code = unsafe {
            libc::getpwnam_r(
                name.as_ptr(),
                entry.as_mut_ptr(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                &mut found,
            )
        };
        lookup_result(code, found).map(|entry| entry.map(account))
    })
}

/// The user of that number, or None when the system knows none.
pub fn user_by_id(uid: u32) -> io::Result<Option<PasswdEntry>> {
    with_growing_buffer(|buffer| {
        let mut entry = MaybeUninit::<libc::passwd>::uninit();
        let mut found = ptr::null_mut();
        // SAFETY: the buffer's length is its own, and the other pointers are to locals that
        // outlive the call.
        let code = unsafe {
            libc::getpwuid_r(
                uid,
                entry.as_mut_ptr(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                &mut found,
            )
        };
        lookup_result(code, found).map(|entry| entry.map(account))
    })
}

/// The number of the group of that name, or None when the system knows none.
pub fn group_by_name(name: &str) -> io::Result<Option<u32>> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    with_growing_buffer(|buffer| {
        let mut entry = MaybeUninit::<libc::group>::uninit();
        let mut found = ptr::null_mut();
        // SAFETY: the name is NUL-terminated, the buffer's length is its own, and the other
        // pointers are to locals that outlive the call.
        let code = unsafe {
            libc::getgrnam_r(
                name.as_ptr(),
                entry.as_mut_ptr(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                &mut found,
            )
        };
        lookup_result(code, found).map(|entry| entry.map(|group| group.gr_gid))
    })
}

/// Whether the process may write there, by the rights that it has now.
pub fn can_write(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return false };
    // SAFETY: the path is NUL-terminated and outlives the call.
    let result =
        unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), libc::W_OK, libc::AT_EACCESS) };
    result == 0
}

/// The user whose rights the process has.
pub fn effective_uid() -> u32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// Gives up the present rights for those of `account`: its groups, its primary group, its uid, in
/// that order, since the last step takes the right to do the others.
pub fn become_user(account: &PasswdEntry) -> io::Result<()> {
    let name = CString::new(account.name.as_str())?;
    // SAFETY: the name is NUL-terminated and outlives the call.
    check(unsafe { libc::initgroups(name.as_ptr(), account.gid) })?;
    // SAFETY: takes a number.
    check(unsafe { libc::setgid(account.gid) })?;
    // SAFETY: takes a number.
    check(unsafe { libc::setuid(account.uid) })?;
    Ok(())
}

/// Calls `lookup` with more and more room until the entry's strings fit.
fn with_growing_buffer<T>(mut lookup: impl FnMut(&mut [u8]) -> io::Result<T>) -> io::Result<T> {
    let mut buffer = vec![0; ENTRY_BYTES];
    loop {
        match lookup(&mut buffer) {
            Err(error)
                if error.raw_os_error() == Some(libc::ERANGE) && buffer.len() < ENTRY_BYTES_MAX =>
            {
                buffer.resize(buffer.len() * 2, 0);
            }
            result => return result,
        }
    }
}

/// What a `get*_r` call said: its error number and the pointer it set.
fn lookup_result<T: Copy>(code: i32, found: *mut T) -> io::Result<Option<T>> {
    match code {
        // SAFETY: with code 0 the pointer is null or the address of the caller's filled entry.
        0 => Ok(unsafe { found.as_ref() }.copied()),
        // How libraries say "no such entry" besides code 0, by the manual of getpwnam(3).
        libc::ENOENT | libc::ESRCH => Ok(None),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// Copies what we need out of an entry whose strings still live in the lookup's buffer.
fn account(entry: libc::passwd) -> PasswdEntry {
    // SAFETY: a found entry's name is NUL-terminated and lies in the buffer, which still lives.
    let name = unsafe { CStr::from_ptr(entry.pw_name) };
    PasswdEntry { name: name.to_string_lossy().into_owned(), uid: entry.pw_uid, gid: entry.pw_gid }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_by_name_and_by_number() {
        let root = user_by_name("root").expect("lookup").expect("root exists");
        assert_eq!((root.uid, root.gid), (0, 0));
        assert_eq!(user_by_id(0).expect("lookup"), Some(root));
        assert_eq!(group_by_name("root").expect("lookup"), Some(0));
    }

    #[test]
    fn an_unknown_name_is_none_and_not_an_error() {
        assert_eq!(user_by_name("no such user here").expect("lookup"), None);
        assert_eq!(user_by_name("nul\0inside").expect("lookup"), None);
        assert_eq!(group_by_name("no such group here").expect("lookup"), None);
    }
}

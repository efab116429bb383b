//! What is made before the program is compiled: Unicode's tables, packed. And how the release
//! program is linked: without what nobody needs at run time.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "build/saslprep.rs"]
mod saslprep;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build/saslprep.rs");
    println!("cargo:rerun-if-changed=scripts/no-unwind.ld");
    println!("cargo:rustc-check-cfg=cfg(no_unwind_tables)");
    write_tables();
    let is = |name, value| env::var(name).is_ok_and(|found| found == value);
    let has_gnu_linker = is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu");
    if is("PROFILE", "release") && is("DEBUG", "false") && has_gnu_linker {
        leave_out_unwinding();
        if let Some(directory) = own_linker().filter(|path| path.join("ld.lld").exists()) {
            println!("cargo:rustc-link-arg-bins=-B{}", directory.display());
            println!("cargo:rustc-link-arg-bins=-fuse-ld=lld");
            merge_equal_functions();
            pack_relocations();
        }
    }
}

/// The tables that `src/crypto/unicode.rs` takes in.
fn write_tables() {
    let directory = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names the folder"));
    let packed = saslprep::packed();
    for (name, table) in [
        ("treatments", packed.treatments),
        ("classes", packed.classes),
        ("forms", packed.forms),
        ("pairs", packed.pairs),
    ] {
        fs::write(directory.join(name), table).expect("cargo's folder can be written to");
    }
}

/// The program ends where it panics (`panic = "abort"`), so nobody reads the tables that unwind its
/// stack, but rustc emits them still and the standard library comes with its own: a tenth of the
/// program. What would read them for a backtrace goes with them (`sys::backtrace`). A build with
/// debug information keeps all of it, for the debugger.
fn leave_out_unwinding() {
    let root = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let script = Path::new(&root).join("scripts/no-unwind.ld");
    println!("cargo:rustc-link-arg-bins=-Wl,--no-eh-frame-hdr,-T,{}", script.display());
    println!("cargo:rustc-cfg=no_unwind_tables");
}

/// Functions that came out as the same instructions become one. Nothing here compares the addresses
/// of functions.
fn merge_equal_functions() {
    println!("cargo:rustc-link-arg-bins=-Wl,--icf=all");
}

/// Which words of the program hold addresses, in a bit for each in place of 24 bytes. The C library
/// reads that from 2.36 on; the linker puts into the program that it needs one that does, so that an
/// older one says so. dpkg-shlibdeps overlooks that: it stands in debian/control.
fn pack_relocations() {
    if own_glibc().is_some_and(|version| version >= (2, 36)) {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of the C library of this machine.
fn own_glibc() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}

/// Where the toolchain keeps its linker, if it brings one that can do what follows.
fn own_linker() -> Option<PathBuf> {
    let output = Command::new(env::var_os("RUSTC")?).args(["--print", "sysroot"]).output().ok()?;
    let sysroot = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    Some(sysroot.join("lib/rustlib").join(env::var_os("HOST")?).join("bin/gcc-ld"))
}

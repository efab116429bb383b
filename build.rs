//! How the release program is linked: without what nobody needs at run time.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=scripts/no-unwind.ld");
    println!("cargo:rustc-check-cfg=cfg(no_unwind_tables)");
    let is = |name, value| env::var(name).is_ok_and(|found| found == value);
    let has_gnu_linker = is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu");
    if is("PROFILE", "release") && is("DEBUG", "false") && has_gnu_linker {
        leave_out_unwinding();
        merge_equal_functions();
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

/// Functions that came out as the same instructions become one, where the toolchain brings the
/// linker that can do it. Nothing here compares the addresses of functions.
fn merge_equal_functions() {
    let Some(directory) = own_linker().filter(|path| path.join("ld.lld").exists()) else { return };
    println!("cargo:rustc-link-arg-bins=-B{}", directory.display());
    println!("cargo:rustc-link-arg-bins=-fuse-ld=lld");
    println!("cargo:rustc-link-arg-bins=-Wl,--icf=all");
}

/// Where the toolchain keeps its linker, if it has one.
fn own_linker() -> Option<PathBuf> {
    let output = Command::new(env::var_os("RUSTC")?).args(["--print", "sysroot"]).output().ok()?;
    let sysroot = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    Some(sysroot.join("lib/rustlib").join(env::var_os("HOST")?).join("bin/gcc-ld"))
}

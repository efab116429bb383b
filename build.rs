//! What the release program is linked without: the tables that unwind its stack.
//!
//! The program ends where it panics (`panic = "abort"`), so nobody reads them, but rustc emits them
//! still and the standard library comes with its own: a tenth of the program. A build with debug
//! information keeps them, for the debugger.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=scripts/no-unwind.ld");
    let is = |name, value| env::var(name).is_ok_and(|found| found == value);
    let has_gnu_linker = is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu");
    if is("PROFILE", "release") && is("DEBUG", "false") && has_gnu_linker {
        let root = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        let script = Path::new(&root).join("scripts/no-unwind.ld");
        println!("cargo:rustc-link-arg-bins=-Wl,--no-eh-frame-hdr,-T,{}", script.display());
    }
}

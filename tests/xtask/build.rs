//! Passes the target triple on: static binaries are built for it by name.

fn main() {
    println!(
        "cargo::rustc-env=XTASK_TARGET={}",
        std::env::var("TARGET").unwrap_or_default()
    );
}

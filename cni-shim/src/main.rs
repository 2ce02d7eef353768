//! The plugin's process: the environment as text, and the exit code. Everything else is the library's.

mod alloc;

use std::collections::BTreeMap;

fn main() {
    // A variable that is no text is none of ours, or as bad as one of ours can be: either way its parser decides.
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let variables = std::env::vars_os().map(|(name, value)| (text(name), text(value)));
    let environment: BTreeMap<String, String> = variables.collect();
    // Nothing of ours needs a destructor: what matters is printed and on disk.
    std::process::exit(cni_shim::plugin(&environment));
}

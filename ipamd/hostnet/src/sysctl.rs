//! Settings that we expect and do not make: `/proc/sys` may be read-only for us.

use std::path::{Path, PathBuf};

use crate::Error;

/// Whether the node forwards IPv4 at all (Documentation/networking/ip-sysctl.rst, `ip_forward`).
///
/// # Errors
/// When the setting cannot be read.
pub fn forwards_ipv4() -> Result<bool, Error> {
    read(Path::new("/proc/sys/net/ipv4/ip_forward")).map(|value| value == "1")
}

/// The boot id: changes with each boot of the node's kernel.
///
/// # Errors
/// When the setting cannot be read.
pub fn boot_id() -> Result<String, Error> {
    read(Path::new("/proc/sys/kernel/random/boot_id"))
}

fn read(path: &Path) -> Result<String, Error> {
    let text = std::fs::read_to_string(path);
    text.map(|text| text.trim().to_owned())
        .map_err(|source| Error::Setting {
            path: PathBuf::from(path),
            source,
        })
}

//! Settings of the kernel. Those of a pod's pair the plugin makes; those of the node the daemon makes only where somebody has
//! not made them yet, because `/proc/sys` may be read-only for it.

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use ipamd_core::id::IfName;

use crate::Error;

/// Whether the node forwards IPv4 at all (Documentation/networking/ip-sysctl.rst, `ip_forward`).
///
/// # Errors
/// When the setting cannot be read.
pub fn forwards_ipv4() -> Result<bool, Error> {
    read(Path::new("/proc/sys/net/ipv4/ip_forward")).map(|value| value == "1")
}

/// Makes the node forward IPv6. Where the kernel takes the default route from router advertisements on the primary device, it
/// goes on to do so, which forwarding would end otherwise (Documentation/networking/ip-sysctl.rst, `forwarding`,
/// `accept_ra`): 1 becomes 2, and 0 is somebody else's choice. What is as it should be is not written.
///
/// # Errors
/// When a setting is otherwise and cannot be written.
pub fn forward_ipv6(primary: &IfName) -> Result<(), Error> {
    let conf = Path::new("/proc/sys/net/ipv6/conf");
    let accept = conf.join(primary.as_str()).join("accept_ra");
    if read(&accept)? == "1" {
        set_at(&accept, "2")?;
    }
    let forwarding = conf.join("all/forwarding");
    if read(&forwarding)? != "1" {
        set_at(&forwarding, "1")?;
    }
    Ok(())
}

/// What the host end of a pod with IPv6 needs before it goes up: its link-local address is usable at once, with which the
/// node asks for the pod's MAC, and the pod cannot advertise itself as a router.
pub(crate) fn let_speak_ipv6(host_end: &IfName) -> Result<(), Error> {
    // Of the interface identifier (include/uapi/linux/if_link.h, `IN6_ADDR_GEN_MODE_EUI64`): a node's default may be none.
    for (setting, value) in [
        ("disable_ipv6", "0"),
        ("addr_gen_mode", "0"),
        ("accept_ra", "0"),
        ("accept_dad", "0"),
    ] {
        set(host_end, setting, value)?;
    }
    Ok(())
}

/// Lets the pod have IPv6, whatever the namespace was made with.
pub(crate) fn let_have_ipv6(namespace: BorrowedFd<'_>, pod_end: &IfName) -> Result<(), Error> {
    let write = || {
        set_at(Path::new("/proc/sys/net/ipv6/conf/lo/disable_ipv6"), "0")?;
        set(pod_end, "disable_ipv6", "0")
    };
    let done = netlink::netns::inside(namespace, write);
    done.map_err(|source| Error::Namespace {
        path: PathBuf::from("the pod's"),
        source,
    })?
}

/// Sets one IPv6 setting of a device.
fn set(device: &IfName, setting: &str, value: &str) -> Result<(), Error> {
    let conf = Path::new("/proc/sys/net/ipv6/conf");
    set_at(&conf.join(device.as_str()).join(setting), value)
}

fn set_at(path: &Path, value: &str) -> Result<(), Error> {
    std::fs::write(path, value).map_err(|source| Error::SetSetting {
        path: PathBuf::from(path),
        source,
    })
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

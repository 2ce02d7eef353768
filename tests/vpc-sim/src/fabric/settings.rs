//! Namespaces of the fabric and the settings of their kernels.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nix::sched::{CloneFlags, unshare};

use super::Error;

/// A new network namespace, alive as long as the descriptor (or a socket or device in it) is.
pub(super) fn fresh_namespace() -> Result<OwnedFd, Error> {
    let made = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|source| Error::Unshare { source })?;
        netlink::netns::current().map_err(|source| Error::Namespace { source })
    });
    made.join().map_err(|_| Error::Unshare {
        source: nix::errno::Errno::ECHILD,
    })?
}

/// Writes settings under `/proc/sys` of a namespace.
pub(super) fn write(namespace: BorrowedFd<'_>, settings: &[(&str, &str)]) -> Result<(), Error> {
    netlink::netns::inside(namespace, || {
        for (name, value) in settings {
            let path = PathBuf::from("/proc/sys").join(name);
            std::fs::write(&path, value).map_err(|source| Error::Setting { path, source })?;
        }
        Ok(())
    })
    .map_err(|source| Error::Namespace { source })?
}

/// The router's kernel: forwards, answers ARP for the addresses of the asked device and for same-subnet peers, says
/// nothing else of its own accord, and leaves source checks to nftables. Its IPv6 addresses are those that it is given.
pub(super) const ROUTER: [(&str, &str); 21] = [
    ("net/ipv6/conf/all/disable_ipv6", "0"),
    ("net/ipv6/conf/default/disable_ipv6", "0"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv6/conf/default/forwarding", "1"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    // No link-local addresses but those of routers: subnets without IPv6 have none.
    ("net/ipv6/conf/default/addr_gen_mode", "1"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/icmp/echo_ignore_all", "1"),
    ("net/ipv6/icmp/ratelimit", "0"),
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/conf/all/src_valid_mark", "0"),
    ("net/ipv4/conf/all/arp_ignore", "1"),
    ("net/ipv4/conf/all/proxy_arp", "0"),
    ("net/ipv4/conf/default/proxy_arp", "1"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    ("net/ipv4/conf/all/accept_redirects", "0"),
    // The router of a subnet does not answer ping.
    ("net/ipv4/icmp_echo_ignore_all", "1"),
    // "Fragmentation needed" comes every time, not once a second.
    ("net/ipv4/icmp_ratelimit", "0"),
];

/// The internet's kernel: one host that is every host.
pub(super) const INTERNET: [(&str, &str); 5] = [
    ("net/ipv6/conf/all/disable_ipv6", "1"),
    ("net/ipv6/conf/default/disable_ipv6", "1"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/icmp_ratelimit", "0"),
];

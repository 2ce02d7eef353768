//! The kernel's "no", with its own explanation where it gives one.

use netlink_packet_core::{ErrorMessage, NlasIterator};
use nix::errno::Errno;

use crate::error::Error;

/// The header of our own message that a capped error repeats before its attributes.
const ECHOED_HEADER_BYTES: usize = 16;

/// The explanation's attribute (kernel, include/uapi/linux/netlink.h, `NLMSGERR_ATTR_MSG`).
const NLMSGERR_ATTR_MSG: u16 = 1;

/// The error for a refusal of `attempt`.
pub(crate) fn read(error: &ErrorMessage, attempt: String) -> Error {
    Error::Refused {
        attempt,
        explained: explanation(error.header.get(ECHOED_HEADER_BYTES..).unwrap_or_default()),
        errno: Errno::from_raw(error.raw_code().saturating_neg()),
    }
}

fn explanation(attributes: &[u8]) -> String {
    NlasIterator::new(attributes)
        .map_while(Result::ok)
        .find(|attribute| attribute.kind() == NLMSGERR_ATTR_MSG)
        .map(|attribute| {
            String::from_utf8_lossy(attribute.value())
                .trim_end_matches('\0')
                .to_owned()
        })
        .unwrap_or_default()
}

//! The only place that reads clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipamd_core::moment::{Moment, Stamp};
use nix::time::{ClockId, clock_gettime};

/// The boot-time clock. Reading it cannot fail on Linux; were it to, time would stand still and nothing be released.
pub(crate) fn now() -> Moment {
    Moment(
        clock_gettime(ClockId::CLOCK_BOOTTIME)
            .map(Duration::from)
            .unwrap_or_default(),
    )
}

/// Since 1970; a clock before that counts as 1970.
pub(crate) fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Both clocks.
pub(crate) fn stamp() -> Stamp {
    Stamp {
        moment: now(),
        wall: wall(),
    }
}

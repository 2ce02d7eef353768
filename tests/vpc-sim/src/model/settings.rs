//! What a run of the model is given: the seed, the account, how late each viewer is and how fast buckets fill.
//!
//! Every default that EC2 does not publish says whether it was observed or is assumed; all are inputs, because they
//! change and differ between accounts.

use std::collections::BTreeMap;
use std::time::Duration;

use super::request::Operation;
use super::throttle::{Bucket, BucketSize, published_buckets};

/// A time chosen by the seed between two bounds, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The shortest.
    pub least: Duration,
    /// The longest.
    pub most: Duration,
}

impl Span {
    /// At once.
    pub const ZERO: Self = Self {
        least: Duration::ZERO,
        most: Duration::ZERO,
    };

    /// Between so many and so many milliseconds.
    #[must_use]
    pub const fn millis(least: u64, most: u64) -> Self {
        Self {
            least: Duration::from_millis(least),
            most: Duration::from_millis(most),
        }
    }

    /// Always the same.
    #[must_use]
    pub const fn exactly(time: Duration) -> Self {
        Self {
            least: time,
            most: time,
        }
    }
}

impl Span {
    fn speed_up(&mut self, times: u32) {
        self.least /= times.max(1);
        self.most /= times.max(1);
    }
}

/// How late things happen and how late they are seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delays {
    /// From the arrival of a call to its answer. Default 50 to 250 ms (assumed); the effect is at the arrival.
    pub call: Span,
    /// The same for single operations, in place of `call`. Default: none.
    pub call_of: BTreeMap<Operation, Span>,
    /// From an attach to the state `attached`. Default 0.5 to 2 s (assumed).
    pub attach: Span,
    /// From an attach to the device in the instance's kernel. Default 1 to 3 s (observed; up to ten in documents of
    /// clients, minutes in bug reports).
    pub device: Span,
    /// From a detach to the device's disappearance. Default 0.2 to 1 s (assumed).
    pub device_gone: Span,
    /// From a detach to the state `available`; a delete before that fails. Default 1 to 2.5 s (observed: "currently in
    /// use" for about two seconds).
    pub detach: Span,
    /// From a launch by the API to the state `running`. Default 2 to 8 s (assumed).
    pub launch: Span,
    /// From a termination to the state `terminated`. Default 5 to 15 s (assumed).
    pub terminate: Span,
    /// How long a fresh id is "not found". Default 0 to 500 ms (documented as possible, length assumed).
    pub api_created: Span,
    /// How long describe misses a fresh tag, attachment, address or attribute. Default 0 to 700 ms (documented as
    /// possible, length assumed).
    pub api_changed: Span,
    /// How long a deleted ENI is still listed. Default 0 to 1 s (documented as possible, length assumed).
    pub api_deleted: Span,
    /// How long a subnet's free count misses what was taken or freed. Default none: nobody has observed that it lags.
    pub subnet_count: Span,
    /// From an attach to the ENI's appearance in metadata. Default 200 to 900 ms (observed: some tenths of a second).
    pub metadata_attached: Span,
    /// From that appearance to the secondary addresses'; also from an assignment to its appearance. Default 0.2 to 1 s
    /// (observed: up to about a second, sometimes much later).
    pub metadata_assigned: Span,
    /// How long metadata still lists an unassigned address. Default 0.5 to 3 s (observed to linger).
    pub metadata_unassigned: Span,
    /// How long metadata still lists a detached ENI. Default 1 to 5 s (observed: up to hours).
    pub metadata_detached: Span,
    /// From an assignment, an unassignment or a change of the source check to its effect on packets. Default 0 to
    /// 200 ms (assumed).
    pub packets: Span,
}

impl Default for Delays {
    fn default() -> Self {
        Self {
            call: Span::millis(50, 250),
            call_of: BTreeMap::new(),
            attach: Span::millis(500, 2000),
            device: Span::millis(1000, 3000),
            device_gone: Span::millis(200, 1000),
            detach: Span::millis(1000, 2500),
            launch: Span::millis(2000, 8000),
            terminate: Span::millis(5000, 15_000),
            api_created: Span::millis(0, 500),
            api_changed: Span::millis(0, 700),
            api_deleted: Span::millis(0, 1000),
            subnet_count: Span::ZERO,
            metadata_attached: Span::millis(200, 900),
            metadata_assigned: Span::millis(200, 1000),
            metadata_unassigned: Span::millis(500, 3000),
            metadata_detached: Span::millis(1000, 5000),
            packets: Span::millis(0, 200),
        }
    }
}

impl Delays {
    /// The same story, this many times as fast.
    #[must_use]
    pub fn faster(mut self, times: u32) -> Self {
        let Self { call_of, .. } = &mut self;
        call_of.values_mut().for_each(|span| span.speed_up(times));
        for span in [
            &mut self.call,
            &mut self.attach,
            &mut self.device,
            &mut self.device_gone,
            &mut self.detach,
            &mut self.launch,
            &mut self.terminate,
            &mut self.api_created,
            &mut self.api_changed,
            &mut self.api_deleted,
            &mut self.subnet_count,
            &mut self.metadata_attached,
            &mut self.metadata_assigned,
            &mut self.metadata_unassigned,
            &mut self.metadata_detached,
            &mut self.packets,
        ] {
            span.speed_up(times);
        }
        self
    }

    /// Everything happens and is seen at once.
    #[must_use]
    pub fn none() -> Self {
        Self {
            call: Span::ZERO,
            call_of: BTreeMap::new(),
            attach: Span::ZERO,
            device: Span::ZERO,
            device_gone: Span::ZERO,
            detach: Span::ZERO,
            launch: Span::ZERO,
            terminate: Span::ZERO,
            api_created: Span::ZERO,
            api_changed: Span::ZERO,
            api_deleted: Span::ZERO,
            subnet_count: Span::ZERO,
            metadata_attached: Span::ZERO,
            metadata_assigned: Span::ZERO,
            metadata_unassigned: Span::ZERO,
            metadata_detached: Span::ZERO,
            packets: Span::ZERO,
        }
    }
}

/// What the account allows; per Region, changeable by AWS on request (AWS documentation, "Amazon VPC quotas").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// ENIs per Region. Default 5000.
    pub enis: usize,
    /// Security groups per ENI. Default 5.
    pub groups_per_eni: usize,
    /// Security groups per Region. Default 2500.
    pub groups: usize,
    /// Rules of a security group, each direction by itself. Default 60.
    pub rules_per_group: usize,
    /// Tags per resource. 50, not changeable.
    pub tags: usize,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            enis: 5000,
            groups_per_eni: 5,
            groups: 2500,
            rules_per_group: 60,
            tags: 50,
        }
    }
}

/// Everything a run of the model is given.
#[derive(Clone, Debug)]
pub struct Settings {
    /// From which all ids, MACs, chosen addresses and delays follow.
    pub seed: u64,
    /// The wall clock at the model's epoch, as time since 1970. Default 2026-01-01T00:00:00Z; whoever serves clients that
    /// compare times with their own clock sets it to the present.
    pub epoch: Duration,
    /// Default `us-east-1`.
    pub region: String,
    /// The owner of everything. Default 123456789012, the account of AWS's own examples.
    pub account: String,
    /// See [`Delays`].
    pub delays: Delays,
    /// See [`Quotas`].
    pub quotas: Quotas,
    /// Token buckets; an operation that is missing is never throttled. Default: AWS's published numbers.
    pub buckets: BTreeMap<Bucket, BucketSize>,
}

/// 2026-01-01T00:00:00Z in seconds since 1970.
const DEFAULT_EPOCH_SECONDS: u64 = 1_767_225_600;

impl Settings {
    /// The defaults, with this seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self {
            seed,
            epoch: Duration::from_secs(DEFAULT_EPOCH_SECONDS),
            region: "us-east-1".to_owned(),
            account: "123456789012".to_owned(),
            delays: Delays::default(),
            quotas: Quotas::default(),
            buckets: published_buckets(),
        }
    }

    /// No delay and no throttling: every viewer sees the truth.
    #[must_use]
    pub fn instant(seed: u64) -> Self {
        Self {
            delays: Delays::none(),
            buckets: BTreeMap::new(),
            ..Self::seeded(seed)
        }
    }
}

//! Token buckets per account, Region and operation (AWS documentation, "Request throttling for the Amazon EC2 API",
//! read 2026-11). The numbers change and differ between accounts, so they are inputs, never constants of a client.

use std::collections::BTreeMap;
use std::time::Duration;

use super::request::Operation;

/// Which bucket a call draws from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bucket {
    /// Each operation has buckets of its own.
    pub operation: Operation,
    /// Describes without a filter or pagination draw from a smaller bucket.
    pub narrowed: bool,
}

/// How much a bucket holds and how fast it fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketSize {
    /// Tokens when full.
    pub capacity: u32,
    /// Tokens per second.
    pub refill: u32,
}

/// The published sizes for the operations that are served.
#[must_use]
pub fn published_buckets() -> BTreeMap<Bucket, BucketSize> {
    Operation::ALL
        .into_iter()
        .flat_map(|operation| {
            [true, false].map(|narrowed| (Bucket { operation, narrowed }, published(operation, narrowed)))
        })
        .collect()
}

fn published(operation: Operation, narrowed: bool) -> BucketSize {
    let (capacity, refill) = match operation {
        Operation::CreateNetworkInterface
        | Operation::DeleteNetworkInterface
        | Operation::ModifyNetworkInterfaceAttribute
        | Operation::AssignPrivateIpAddresses
        | Operation::UnassignPrivateIpAddresses
        | Operation::AssignIpv6Addresses
        | Operation::TerminateInstances => (100, 5),
        Operation::AttachNetworkInterface
        | Operation::DetachNetworkInterface
        | Operation::UnassignIpv6Addresses
        | Operation::CreateSecurityGroup
        | Operation::DeleteSecurityGroup
        | Operation::AuthorizeSecurityGroupIngress
        | Operation::AuthorizeSecurityGroupEgress
        | Operation::RevokeSecurityGroupIngress
        | Operation::RevokeSecurityGroupEgress
        | Operation::DeleteSubnetCidrReservation => (50, 5),
        Operation::CreateTags | Operation::DeleteTags => (100, 10),
        Operation::RunInstances => (5, 2),
        Operation::CreateSubnetCidrReservation => (5, 1),
        Operation::DescribeNetworkInterfaces
        | Operation::DescribeInstances
        | Operation::DescribeSecurityGroups => {
            if narrowed {
                (100, 20)
            } else {
                (50, 10)
            }
        }
        Operation::DescribeSubnets
        | Operation::DescribeInstanceTypes
        | Operation::DescribeVpcs
        | Operation::DescribeSecurityGroupRules
        | Operation::DescribeAvailabilityZones
        | Operation::DescribeTags
        | Operation::GetSubnetCidrReservations => (100, 20),
    };
    BucketSize { capacity, refill }
}

/// How full each bucket is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Throttle {
    levels: BTreeMap<Bucket, Level>,
}

/// In billionths of a token, so that refilling is exact.
#[derive(Clone, Debug)]
struct Level {
    nano_tokens: u128,
    seen: Duration,
}

const TOKEN: u128 = 1_000_000_000;

impl Throttle {
    /// Take a token; false when there is none.
    pub(crate) fn take(&mut self, now: Duration, bucket: Bucket, size: BucketSize) -> bool {
        let full = u128::from(size.capacity) * TOKEN;
        let level = self.levels.entry(bucket).or_insert(Level {
            nano_tokens: full,
            seen: now,
        });
        let passed = now.saturating_sub(level.seen).as_nanos();
        level.nano_tokens = full.min(level.nano_tokens + passed * u128::from(size.refill));
        level.seen = level.seen.max(now);
        let enough = level.nano_tokens >= TOKEN;
        if enough {
            level.nano_tokens -= TOKEN;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_refills_at_its_rate() {
        let bucket = Bucket {
            operation: Operation::AttachNetworkInterface,
            narrowed: true,
        };
        let size = published_buckets()[&bucket];
        assert_eq!((size.capacity, size.refill), (50, 5));
        let mut throttle = Throttle::default();
        let taken = (0..60)
            .filter(|_| throttle.take(Duration::ZERO, bucket, size))
            .count();
        assert_eq!(taken, 50);
        assert!(!throttle.take(Duration::from_millis(199), bucket, size));
        assert!(throttle.take(Duration::from_millis(200), bucket, size));
        let second = (0..10)
            .filter(|_| throttle.take(Duration::from_millis(1200), bucket, size))
            .count();
        assert_eq!(second, 5);
    }
}

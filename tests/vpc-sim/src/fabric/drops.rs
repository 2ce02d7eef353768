//! What the fabric dropped, by ENI and reason, and what each reason says about the node.

use std::fmt;

use crate::model::id::EniId;

/// Why the VPC dropped a packet or left a question unanswered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The frame's source MAC is not the ENI's.
    ForeignMac,
    /// The packet's source is not an address or prefix of the ENI.
    SourceCheck,
    /// The destination is in the VPC and assigned to nobody.
    NoHost,
    /// The subnet's route table has no way to the destination.
    NoRoute,
    /// The source has no public address, so the internet gateway cannot translate it.
    NoPublicAddress,
    /// The security groups of the ENI that it would have reached let it not in.
    GroupIn,
    /// The security groups of the ENI that it came from let it not out.
    GroupOut,
    /// An ARP question for an address outside the ENI's subnet; nobody answers those.
    Unanswered,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::ForeignMac,
        Self::SourceCheck,
        Self::NoHost,
        Self::NoRoute,
        Self::NoPublicAddress,
        Self::GroupIn,
        Self::GroupOut,
        Self::Unanswered,
    ];

    /// A short word for counters and messages.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::ForeignMac => "badmac",
            Self::SourceCheck => "srccheck",
            Self::NoHost => "nohost",
            Self::NoRoute => "noroute",
            Self::NoPublicAddress => "noeip",
            Self::GroupIn => "sg-in",
            Self::GroupOut => "sg-out",
            Self::Unanswered => "unanswered",
        }
    }

    /// What usually is wrong on the node when this counts.
    #[must_use]
    pub fn explain(self) -> &'static str {
        match self {
            Self::ForeignMac => {
                "a pod's own frames reached the ENI: it is bridged or a macvlan child, instead of routed by the node"
            }
            Self::SourceCheck => {
                "a packet left by an ENI that does not own its source: a missing or misplaced from-rule, a wrong \
                 table, a reply to a NodePort without its connection mark, missing SNAT between ENIs, or an address \
                 used before it was assigned or after it was unassigned"
            }
            Self::NoHost => {
                "traffic to an address that no ENI owns: its pod is gone and the address was given back"
            }
            Self::NoRoute => "the subnet's route table has no route to this destination",
            Self::NoPublicAddress => {
                "a packet reached the internet gateway from a source without a public address: SNAT is missing, or \
                 went to a secondary address"
            }
            Self::GroupIn => {
                "no rule of this ENI's security groups lets this in, and it answers nothing that left by this ENI: a \
                 missing rule, an ENI made without the node's groups, or a reply that comes by another ENI than its \
                 question"
            }
            Self::GroupOut => {
                "no rule of this ENI's security groups lets this out, and it answers nothing that came in by this \
                 ENI: a missing rule, or a reply that leaves by another ENI than its question came"
            }
            Self::Unanswered => {
                "an on-link route or gateway of another subnet: the VPC answers only for this one's"
            }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What was dropped of one ENI for one reason since the ENI was first attached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Drop {
    /// The ENI it came in by, or the one whose groups did not let it in.
    pub eni: EniId,
    /// Why.
    pub reason: Reason,
    /// Packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

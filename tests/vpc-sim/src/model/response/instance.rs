//! Instances as describe shows them.

use std::time::Duration;

use super::{EniDescription, Zone};
use crate::model::id::{InstanceId, ReservationId};
use crate::model::limits::InstanceTypeInfo;
use crate::model::request::{MetadataOptions, Tags};

/// The state of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InstanceState {
    /// On its way up.
    Pending,
    /// Up.
    Running,
    /// On its way out.
    ShuttingDown,
    /// Gone; listed for a while.
    Terminated,
}

impl InstanceState {
    /// As EC2 writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::ShuttingDown => "shutting-down",
            Self::Terminated => "terminated",
        }
    }

    /// EC2's number for it (AWS documentation, `InstanceState`).
    #[must_use]
    pub fn code(self) -> u32 {
        match self {
            Self::Pending => 0,
            Self::Running => 16,
            Self::ShuttingDown => 32,
            Self::Terminated => 48,
        }
    }
}

/// An instance as describe shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceDescription {
    /// Its id.
    pub id: InstanceId,
    /// Its type.
    pub instance_type: &'static InstanceTypeInfo,
    /// Its state.
    pub state: InstanceState,
    /// Its zone.
    pub zone: Zone,
    /// The account that owns it.
    pub owner: String,
    /// The name of its role, if it has one.
    pub role: Option<String>,
    /// How metadata answers it.
    pub metadata: MetadataOptions,
    /// The image it was started from.
    pub image: String,
    /// The launch it came from.
    pub reservation: ReservationId,
    /// Its number in that launch, from 0.
    pub launch_index: u32,
    /// The token of that launch.
    pub client_token: Option<String>,
    /// When, as time since 1970.
    pub launched_at: Duration,
    /// Its tags.
    pub tags: Tags,
    /// Its ENIs, the primary first.
    pub enis: Vec<EniDescription>,
}

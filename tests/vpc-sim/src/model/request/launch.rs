//! Parameters of `RunInstances`.

use super::{CreateEni, Tags};
use crate::model::id::EniId;
use crate::model::limits::InstanceType;

/// Parameters of `RunInstances`: the ENIs stand for the parameters of the primary one too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunInstances {
    /// At least so many instances, or none.
    pub least: u32,
    /// At most so many.
    pub most: u32,
    /// Which decides what each may have.
    pub instance_type: InstanceType,
    /// The image, which nothing here starts.
    pub image: String,
    /// The zone that the caller insists on, by name.
    pub zone: Option<String>,
    /// The role whose credentials metadata hands out.
    pub role: Option<String>,
    /// How metadata answers.
    pub metadata: MetadataOptions,
    /// The tags of each instance.
    pub tags: Tags,
    /// The ENIs of each instance, the primary one among them.
    pub enis: Vec<LaunchedEni>,
    /// The same token with the same parameters names the same instances for ever.
    pub client_token: Option<String>,
}

impl RunInstances {
    /// The subnets and ENIs it is about.
    pub(crate) fn subjects(&self) -> Vec<String> {
        let subject = |eni: &LaunchedEni| match &eni.source {
            EniSource::New { eni, .. } => eni.subnet.to_string(),
            EniSource::Existing(id) => id.to_string(),
        };
        self.enis.iter().map(subject).collect()
    }
}

/// How metadata answers an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataOptions {
    /// How many hops the answer to a token request travels.
    pub hop_limit: u8,
    /// Whether it answers at all.
    pub enabled: bool,
    /// Whether it answers over IPv6 too.
    pub over_ipv6: bool,
}

impl Default for MetadataOptions {
    /// EC2's own: one hop, IPv4 only (AWS documentation, "Instance metadata options").
    fn default() -> Self {
        Self {
            hop_limit: 1,
            enabled: true,
            over_ipv6: false,
        }
    }
}

/// An ENI that an instance is launched with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchedEni {
    /// Unique on its card; 0 on the default card is the primary ENI.
    pub device_index: u32,
    /// The card.
    pub network_card: u32,
    /// Whether it goes with the instance.
    pub delete_on_termination: bool,
    /// Where it comes from.
    pub source: EniSource,
}

/// Where an ENI of a new instance comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EniSource {
    /// It is made for the instance.
    New {
        /// What is made; its client token is ignored.
        eni: Box<CreateEni>,
        /// Whether its primary address gets a public one; as the subnet says when absent.
        public: Option<bool>,
    },
    /// It was there before.
    Existing(EniId),
}

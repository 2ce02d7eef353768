//! How many pods a node of one instance type can have, and why.
//!
//! The arithmetic of the calculator that EKS documents (`max-pods-calculator.sh` of amazon-eks-ami), with the
//! daemon's own rules where the two disagree: prefixes on bare metal, `MAX_ENI=0` meaning unset, the trunk ENI
//! serving no ordinary pods. No number is given that cannot be defended: unknown data is an error, never zero.

use crate::instance::{Limits, Trunk};

/// Pods that every node runs in the host's network, the CNI daemon and kube-proxy: added back by convention.
const HOST_NETWORK_PODS: u32 = 2;

/// Addresses in a delegated IPv4 prefix, a /28 (EC2 user guide, "Prefix delegation").
const ADDRESSES_PER_PREFIX: u32 = 16;

/// The calculator's caps, from Kubernetes' published scalability threshold and EKS's own tests: 250 pods with more
/// than 30 vCPUs, otherwise 110.
const VCPUS_ABOVE_WHICH_THE_HIGH_CAP_HOLDS: u32 = 30;
const HIGH_CAP: u32 = 250;
const LOW_CAP: u32 = 110;

/// What is asked about a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Where pod addresses come from.
    pub mode: Mode,
    /// Custom networking: the primary ENI serves no pods.
    pub custom_networking: bool,
    /// Security groups for pods: a trunk ENI takes a slot and brings branch ENIs.
    pub security_groups_for_pods: bool,
    /// The operator's ceiling on ENIs, `MAX_ENI`; the primary and the trunk count.
    pub max_eni: Option<u32>,
    /// ENI slots of the default card that serve no pods for any other reason.
    pub reserved_enis: u32,
    /// Whether the caps by vCPU count apply.
    pub cap: Cap,
    /// The CNI version, which gates prefixes and IPv6.
    pub cni_version: CniVersion,
}

impl Default for Question {
    fn default() -> Self {
        Self {
            mode: Mode::SecondaryIp,
            custom_networking: false,
            security_groups_for_pods: false,
            max_eni: None,
            reserved_enis: 0,
            cap: Cap::ByVcpus,
            cni_version: CniVersion::NEWEST,
        }
    }
}

/// Where pod addresses come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One secondary address a pod.
    SecondaryIp,
    /// Delegated /28 prefixes.
    Prefix,
    /// A delegated /80 prefix on the primary ENI.
    Ipv6,
    /// Windows, secondary addresses of the primary ENI.
    Windows,
    /// Windows, prefixes of the primary ENI.
    WindowsPrefix,
}

/// Whether the caps by vCPU count apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cap {
    /// 250 above 30 vCPUs, otherwise 110.
    ByVcpus,
    /// The raw number.
    Off,
}

/// Major and minor version of the CNI; the rest never matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CniVersion(pub u32, pub u32, pub u32);

impl CniVersion {
    /// Nothing is gated.
    pub const NEWEST: Self = Self(u32::MAX, 0, 0);
    /// The first with IPv4 prefix delegation.
    const PREFIXES: Self = Self(1, 9, 0);
    /// The first with prefix delegation on bare metal.
    const PREFIXES_ON_METAL: Self = Self(1, 11, 0);
    /// The first with IPv6.
    const IPV6: Self = Self(1, 10, 1);

    /// Reads `1.9.0`, `v1.18.3-eksbuild.2` or `2`; `None` for what is no version.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let text = text.split_once(['-', '+']).map_or(text, |(version, _)| version);
        let mut parts = text.split('.').map(|part| part.parse().ok());
        let mut next = || parts.next().unwrap_or(Some(0));
        let version = Self(next()?, next()?, next()?);
        if text.is_empty() { None } else { Some(version) }
    }
}

/// The number, and every term that led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What kubelet should be told.
    pub max_pods: u32,
    /// Pods with ordinary addresses before the cap, the two host-network pods included where they count; `None`
    /// where addresses never bind (IPv6).
    pub standard: Option<u32>,
    /// Pods on branch ENIs, when security groups for pods were asked for.
    pub branch: Option<u32>,
    /// The cap that was applied, whether or not it changed the number.
    pub cap: Option<u32>,
    /// ENIs that serve ordinary pods.
    pub serving_enis: u32,
    /// The mode that was really used.
    pub mode: Mode,
    /// The formula, term by term, with numbers.
    pub terms: Vec<String>,
    /// What the caller should know beside the number.
    pub notes: Vec<Note>,
}

/// Something worth saying beside the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Note {
    /// `MAX_ENI=0` is not a ceiling.
    #[error("MAX_ENI=0 is ignored, as the daemon ignores it; set 1 or more to limit ENIs")]
    MaxEniIgnored,
    /// The CNI is older than prefix delegation on this kind of type.
    #[error("this CNI version has no prefix delegation on this type; counted with secondary addresses")]
    CniTooOldForPrefixes,
    /// The type cannot have prefixes.
    #[error("prefixes need a Nitro or bare-metal type; counted with secondary addresses")]
    TypeWithoutPrefixes,
    /// The calculator script says otherwise here.
    #[error(
        "prefixes on bare metal are counted, as the daemon uses them; max-pods-calculator.sh does not count them"
    )]
    PrefixesOnMetal,
    /// No ENI is left for pods.
    #[error("no ENI is left for pods: only pods in the host's network will run")]
    OnlyHostNetworkPods,
    /// A limit of older large types.
    #[error(
        "from its 32nd address on, an ENI of this type cannot reach instance metadata, VPC DNS or the time service"
    )]
    LinkLocalServicesStop,
    /// Windows counts addresses.
    #[error("on Windows this is the number of addresses, without host-network pods and without a cap")]
    WindowsAddresses,
}

/// Why there is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// The cap depends on a number that no source has.
    #[error(
        "the vCPU count of this type is not known, so its cap is not; ask without the cap (--show-max-allowed)"
    )]
    VcpusUnknown,
    /// Not trunk compatible.
    #[error("this type cannot carry a trunk ENI, which security groups for pods need; choose another type")]
    NoTrunk,
    /// No public table has the type.
    #[error(
        "no public table says whether this type can carry a trunk ENI; ask without security groups for pods"
    )]
    TrunkUnknown,
    /// IPv6 needs prefixes.
    #[error("IPv6 needs prefix delegation, so a Nitro or bare-metal type; choose another type")]
    Ipv6NeedsNitro,
    /// IPv6 needs a newer CNI.
    #[error("IPv6 needs CNI 1.10.1 or newer; upgrade the CNI")]
    Ipv6NeedsNewerCni,
}

/// How many pods a node of the type `name` with `limits` can have.
///
/// # Errors
/// [`NoAnswer`] where the type cannot do what is asked, or data is missing that the number depends on.
pub fn max_pods(name: &str, limits: &Limits, question: &Question) -> Result<Answer, NoAnswer> {
    let mut notes = Vec::new();
    let mut terms = vec![format!(
        "{name}: {} ENIs on the default network card, {} IPv4 addresses per ENI, {} vCPUs",
        limits.enis(),
        limits.ipv4_per_eni,
        limits
            .vcpus
            .map_or("an unknown number of".to_owned(), |vcpus| vcpus.to_string()),
    )];
    let branch = branches(limits, question, &mut terms)?;
    let mode = usable_mode(limits, question, &mut notes)?;
    let serving_enis = serving_enis(limits, question, mode, &mut terms, &mut notes);
    let standard = standard(limits, mode, serving_enis, &mut terms);
    let cap = cap(limits, question, mode, &mut terms)?;
    let all = standard.map(|standard| standard.saturating_add(branch.unwrap_or(0)));
    if serving_enis == 0 && branch.is_none() && mode != Mode::Ipv6 {
        notes.push(Note::OnlyHostNetworkPods);
    }
    if matches!(mode, Mode::Windows | Mode::WindowsPrefix) {
        notes.push(Note::WindowsAddresses);
    }
    if limits.pod_slots_per_eni() > 31 && NO_LINK_LOCAL_FROM_THE_32ND.contains(&name) {
        notes.push(Note::LinkLocalServicesStop);
    }
    let max_pods = match (all, cap) {
        (Some(all), Some(cap)) => all.min(cap),
        (Some(number), None) | (None, Some(number)) => number,
        (None, None) => HIGH_CAP,
    };
    Ok(Answer {
        max_pods,
        standard,
        branch,
        cap,
        serving_enis,
        mode,
        terms,
        notes,
    })
}

/// EC2 user guide, "Elastic network interfaces": types on which link-local services stop at the 32nd address.
const NO_LINK_LOCAL_FROM_THE_32ND: [&str; 5] = [
    "f1.16xlarge",
    "g3.16xlarge",
    "h1.16xlarge",
    "i3.16xlarge",
    "r4.16xlarge",
];

fn branches(limits: &Limits, question: &Question, terms: &mut Vec<String>) -> Result<Option<u32>, NoAnswer> {
    if !question.security_groups_for_pods {
        return Ok(None);
    }
    match limits.trunk {
        Trunk::Branches(branches) => {
            terms.push(format!(
                "security groups for pods: {branches} branch ENIs, one pod each"
            ));
            Ok(Some(branches))
        }
        Trunk::Impossible => Err(NoAnswer::NoTrunk),
        Trunk::Unknown => Err(NoAnswer::TrunkUnknown),
    }
}

fn usable_mode(limits: &Limits, question: &Question, notes: &mut Vec<Note>) -> Result<Mode, NoAnswer> {
    let on_metal = limits.hypervisor == crate::instance::Hypervisor::BareMetal;
    match question.mode {
        Mode::Ipv6 if !limits.prefixes() => Err(NoAnswer::Ipv6NeedsNitro),
        Mode::Ipv6 if question.cni_version < CniVersion::IPV6 => Err(NoAnswer::Ipv6NeedsNewerCni),
        Mode::Prefix | Mode::WindowsPrefix => {
            let needed = if on_metal {
                CniVersion::PREFIXES_ON_METAL
            } else {
                CniVersion::PREFIXES
            };
            let without = if question.mode == Mode::Prefix {
                Mode::SecondaryIp
            } else {
                Mode::Windows
            };
            if !limits.prefixes() {
                notes.push(Note::TypeWithoutPrefixes);
                Ok(without)
            } else if question.cni_version < needed {
                notes.push(Note::CniTooOldForPrefixes);
                Ok(without)
            } else {
                notes.extend(on_metal.then_some(Note::PrefixesOnMetal));
                Ok(question.mode)
            }
        }
        mode @ (Mode::SecondaryIp | Mode::Ipv6 | Mode::Windows) => Ok(mode),
    }
}

fn serving_enis(
    limits: &Limits,
    question: &Question,
    mode: Mode,
    terms: &mut Vec<String>,
    notes: &mut Vec<Note>,
) -> u32 {
    if matches!(mode, Mode::Windows | Mode::WindowsPrefix) {
        terms.push("Windows: pods use the primary ENI only".to_owned());
        return 1;
    }
    let mut enis = limits.enis();
    match question.max_eni {
        Some(0) => notes.push(Note::MaxEniIgnored),
        Some(ceiling) if ceiling < enis => {
            enis = ceiling;
            terms.push(format!("MAX_ENI: at most {ceiling} ENIs"));
        }
        Some(_) | None => {}
    }
    let taken = [
        (
            u32::from(question.custom_networking),
            "custom networking: the primary ENI serves no pods",
        ),
        (
            u32::from(question.security_groups_for_pods),
            "security groups for pods: the trunk takes one ENI",
        ),
        (question.reserved_enis, "reserved or unmanaged ENIs"),
    ];
    for (count, why) in taken {
        if count > 0 {
            enis = enis.saturating_sub(count);
            terms.push(format!("{why}: −{count}"));
        }
    }
    enis
}

fn standard(limits: &Limits, mode: Mode, enis: u32, terms: &mut Vec<String>) -> Option<u32> {
    let slots = limits.pod_slots_per_eni();
    let per_eni = format!("({} − 1)", limits.ipv4_per_eni);
    let (number, formula) = match mode {
        Mode::SecondaryIp => (
            enis * slots + HOST_NETWORK_PODS,
            format!("{enis} × {per_eni} + 2"),
        ),
        Mode::Prefix => (
            enis * slots * ADDRESSES_PER_PREFIX + HOST_NETWORK_PODS,
            format!("{enis} × {per_eni} × {ADDRESSES_PER_PREFIX} + 2"),
        ),
        Mode::Windows => (slots, per_eni),
        Mode::WindowsPrefix => (
            slots * ADDRESSES_PER_PREFIX,
            format!("{per_eni} × {ADDRESSES_PER_PREFIX}"),
        ),
        Mode::Ipv6 => {
            terms.push("IPv6: a /80 prefix holds more addresses than a node runs pods".to_owned());
            return None;
        }
    };
    terms.push(format!("{formula} = {number}"));
    Some(number)
}

fn cap(
    limits: &Limits,
    question: &Question,
    mode: Mode,
    terms: &mut Vec<String>,
) -> Result<Option<u32>, NoAnswer> {
    let windows = matches!(mode, Mode::Windows | Mode::WindowsPrefix);
    if windows || (question.cap == Cap::Off && mode != Mode::Ipv6) {
        return Ok(None);
    }
    let vcpus = limits.vcpus.ok_or(NoAnswer::VcpusUnknown)?;
    let (cap, sign) = if vcpus > VCPUS_ABOVE_WHICH_THE_HIGH_CAP_HOLDS {
        (HIGH_CAP, ">")
    } else {
        (LOW_CAP, "≤")
    };
    terms.push(format!(
        "cap: {cap}, because {vcpus} vCPUs {sign} {VCPUS_ABOVE_WHICH_THE_HIGH_CAP_HOLDS}"
    ));
    Ok(Some(cap))
}

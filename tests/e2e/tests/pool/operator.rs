//! What somebody with an access key does to the VPC while a node lives in it, and what a node holds of it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use anyhow::{Context, Result, bail};
use e2e::site::Site;
use ipnet::Ipv4Net;
use vpc_sim::cloud::Heard;
use vpc_sim::model::id::{AttachmentId, EniId, SubnetId};
use vpc_sim::model::request::{Call, Caller, CreateEni, Describe, Request, Wanted};
use vpc_sim::model::response::Response;
use vpc_sim::model::view::EniView;

/// Makes a call as the operator.
pub(crate) async fn call(site: &Site, request: Request) -> Result<Response> {
    let call = Call {
        caller: Caller::AccessKey("operator".to_owned()),
        dry_run: false,
        request,
    };
    match site.vpc.cloud().call(call).await? {
        Heard::Answer(answer) => Ok(answer?),
        Heard::Nothing => bail!("the answer was lost"),
    }
}

/// Takes addresses of a subnet, all by one ENI; deleting it gives them back.
pub(crate) async fn take(site: &Site, subnet: &SubnetId, addresses: Vec<Ipv4Addr>) -> Result<EniId> {
    let (primary, others) = addresses.split_first().context("take at least one address")?;
    let create = CreateEni {
        primary: Some(*primary),
        wanted: Wanted::ExplicitAddresses(others.to_vec()),
        ..CreateEni::plain(subnet.clone())
    };
    match call(site, create.into()).await? {
        Response::Created { eni, .. } => Ok(eni.id.clone()),
        other => bail!("expected an ENI, not {other:?}"),
    }
}

/// The primary ENI of a node, with its id.
pub(crate) fn primary(site: &Site, node: &str) -> Result<(EniId, EniView)> {
    attached(site, node)?
        .into_iter()
        .find(|(_, eni)| eni.device_index == 0)
        .with_context(|| format!("find the primary ENI of {node}"))
}

/// Every ENI whose device is on a node, with its id.
pub(crate) fn attached(site: &Site, node: &str) -> Result<Vec<(EniId, EniView)>> {
    let instance = site.machine(node)?.instance();
    let view = site.vpc.cloud().kernel_view().borrow().clone();
    let enis = view.enis.into_iter();
    Ok(enis.filter(|(_, eni)| eni.instance == *instance).collect())
}

/// What a node's ENIs hold for pods: secondary addresses and prefixes.
pub(crate) fn held(site: &Site, node: &str) -> Result<(BTreeSet<Ipv4Addr>, BTreeSet<Ipv4Net>)> {
    let enis = attached(site, node)?;
    let addresses = enis.iter().flat_map(|(_, eni)| {
        let secondary = eni.addresses.iter().filter(|address| **address != eni.primary);
        secondary.copied()
    });
    let prefixes = enis.iter().flat_map(|(_, eni)| eni.prefixes.clone());
    Ok((addresses.collect(), prefixes.collect()))
}

/// Gives an ENI's addresses back to its subnet.
pub(crate) async fn give_back(site: &Site, eni: EniId) -> Result<()> {
    call(site, Request::DeleteNetworkInterface { eni })
        .await
        .map(drop)
}

/// The attachment of an ENI, by which it can be detached.
pub(crate) async fn attachment(site: &Site, eni: &EniId) -> Result<AttachmentId> {
    let ask = Describe {
        ids: vec![eni.clone()],
        narrowed: false,
    };
    let Response::Enis(enis) = call(site, Request::DescribeNetworkInterfaces(ask)).await? else {
        bail!("expected ENIs");
    };
    let attachment = enis.into_iter().find_map(|eni| eni.attachment);
    Ok(attachment
        .with_context(|| format!("find the attachment of {eni}"))?
        .id)
}

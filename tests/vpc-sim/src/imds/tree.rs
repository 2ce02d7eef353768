//! The tree of metadata paths: leaves with text, folders that list what is in them.
//!
//! The absence of a key is information: an ENI without prefixes has no `ipv4-prefix`, a type with one network card no
//! `network-card`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use super::document;
use crate::ec2::private_dns_name;
use crate::model::mac::Mac;
use crate::model::metadata::{EniMetadata, InstanceMetadata};

/// Leaves by path, without a slash at either end.
#[derive(Debug, Default)]
pub(super) struct Tree(BTreeMap<String, String>);

impl Tree {
    /// The text of a leaf, or the names in a folder, one a line; folders in it end in a slash.
    pub(super) fn read(&self, path: &str) -> Option<String> {
        if let Some(text) = self.0.get(path) {
            return Some(text.clone());
        }
        let folder = if path.is_empty() {
            String::new()
        } else {
            format!("{path}/")
        };
        let names: BTreeSet<&str> = self
            .0
            .range(folder.clone()..)
            .map_while(|(leaf, _)| leaf.strip_prefix(&folder))
            .map(|rest| {
                rest.find('/')
                    .and_then(|slash| rest.get(..=slash))
                    .unwrap_or(rest)
            })
            .collect();
        (!names.is_empty()).then(|| lines(names))
    }

    fn put(&mut self, path: &str, text: impl Display) {
        self.0.insert(path.to_owned(), text.to_string());
    }

    /// Only when there is something: an empty list is an absent key.
    fn put_lines<T: Display>(&mut self, path: &str, members: impl IntoIterator<Item = T>) {
        let text = lines(members);
        if !text.is_empty() {
            self.put(path, text);
        }
    }
}

fn lines<T: Display>(members: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<String> = members.into_iter().map(|member| member.to_string()).collect();
    texts.join("\n")
}

/// Everything an instance is told.
pub(super) fn of(metadata: &InstanceMetadata) -> Tree {
    let mut tree = Tree::default();
    tree.put(
        "latest/dynamic/instance-identity/document",
        document::identity(metadata),
    );
    put_instance(&mut tree, metadata);
    if let Some(role) = &metadata.role {
        tree.put("latest/meta-data/iam/info", document::role(metadata, role));
        let path = format!("latest/meta-data/iam/security-credentials/{role}");
        tree.put(&path, document::credentials(metadata));
    }
    for (mac, eni) in &metadata.enis {
        put_eni(&mut tree, metadata, *mac, eni);
    }
    tree
}

fn put_instance(tree: &mut Tree, metadata: &InstanceMetadata) {
    let mut put = |key: &str, text: &dyn Display| tree.put(&format!("latest/meta-data/{key}"), text);
    put("ami-id", &"ami-00000000000000000");
    put("instance-id", &metadata.id);
    put("instance-type", &metadata.instance_type.instance_type);
    put("instance-life-cycle", &"on-demand");
    put("placement/availability-zone", &metadata.zone.name);
    put("placement/availability-zone-id", &metadata.zone.id);
    put("placement/region", &metadata.region);
    put("services/domain", &"amazonaws.com");
    put("services/partition", &"aws");
    let primary = metadata
        .primary
        .and_then(|mac| Some((mac, metadata.enis.get(&mac)?)));
    if let Some((mac, eni)) = primary {
        put("mac", &mac);
        put("security-groups", &lines(eni.groups.iter().map(|(_, name)| name)));
        if let Some(address) = eni.addresses.first() {
            put("local-ipv4", address);
            let name = private_dns_name(&metadata.region, *address);
            put("local-hostname", &name);
            put("hostname", &name);
            if let Some(public) = eni.public.get(address) {
                put("public-ipv4", public);
            }
        }
        if let Some(address) = eni.ipv6.first() {
            put("ipv6", address);
        }
    }
}

fn put_eni(tree: &mut Tree, metadata: &InstanceMetadata, mac: Mac, eni: &EniMetadata) {
    let at = |key: &str| format!("latest/meta-data/network/interfaces/macs/{mac}/{key}");
    tree.put(&at("device-number"), eni.device_index);
    tree.put(&at("interface-id"), &eni.id);
    tree.put(&at("mac"), mac);
    tree.put(&at("owner-id"), &metadata.account);
    tree.put(&at("subnet-id"), &eni.subnet);
    tree.put(&at("subnet-ipv4-cidr-block"), eni.subnet_cidr);
    tree.put(&at("vpc-id"), &metadata.vpc);
    tree.put_lines(&at("vpc-ipv4-cidr-block"), metadata.vpc_cidrs.first());
    tree.put_lines(&at("vpc-ipv4-cidr-blocks"), &metadata.vpc_cidrs);
    tree.put_lines(&at("security-group-ids"), eni.groups.iter().map(|(id, _)| id));
    tree.put_lines(&at("security-groups"), eni.groups.iter().map(|(_, name)| name));
    tree.put_lines(&at("local-ipv4s"), &eni.addresses);
    tree.put_lines(&at("ipv4-prefix"), &eni.prefixes);
    tree.put_lines(&at("ipv6s"), &eni.ipv6);
    tree.put_lines(&at("ipv6-prefix"), &eni.ipv6_prefixes);
    tree.put_lines(&at("subnet-ipv6-cidr-blocks"), eni.subnet_ipv6_cidr);
    // Whether an ENI without IPv6 in a VPC with some has this key is assumed: the others of IPv6 are absent there.
    if eni.subnet_ipv6_cidr.is_some() {
        tree.put_lines(&at("vpc-ipv6-cidr-blocks"), &metadata.vpc_ipv6_cidrs);
    }
    tree.put_lines(
        &at("local-hostname"),
        eni.addresses
            .first()
            .map(|address| private_dns_name(&metadata.region, *address)),
    );
    tree.put_lines(
        &at("public-ipv4s"),
        eni.addresses.iter().filter_map(|a| eni.public.get(a)),
    );
    for (private, public) in &eni.public {
        tree.put(&at(&format!("ipv4-associations/{public}")), private);
    }
    if metadata.instance_type.max_cards > 1 {
        tree.put(&at("network-card"), eni.network_card);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_list_their_names_with_and_without_the_final_slash() {
        let mut tree = Tree::default();
        tree.put("a/b/c", 1);
        tree.put("a/b/d/e", 2);
        tree.put("a/bb", 3);
        let read = |path: &str| tree.read(path);
        assert_eq!(read("").as_deref(), Some("a/"));
        assert_eq!(read("a").as_deref(), Some("b/\nbb"));
        assert_eq!(read("a/b").as_deref(), Some("c\nd/"));
        assert_eq!(read("a/b/c").as_deref(), Some("1"));
        assert_eq!(read("a/x"), None);
        assert_eq!(read("a/b/c/d"), None);
    }
}

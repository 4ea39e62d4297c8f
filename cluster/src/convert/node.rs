//! Nodes.

use std::net::IpAddr;

use crate::api;

use super::subject::Subject;
use super::{ZONE_LABEL, some_name};
use crate::address::parse_range;
use crate::{Kind, Node, Taint, Warning};

/// The facts of a Node.
///
/// # Errors
/// The warning for a Node without a name: it is left out.
pub fn node(object: &api::Node, notes: &mut Vec<Warning>) -> Result<Node, Warning> {
    let (subject, name) = Subject::cluster_wide(Kind::Node, &object.metadata)?;
    let spec = object.spec.as_ref();
    let taints = spec.and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let labels = object.metadata.labels.as_ref();
    Ok(Node {
        name,
        zone: some_name(labels.and_then(|labels| labels.get(ZONE_LABEL))),
        addresses: addresses(&subject, object.status.as_ref(), notes),
        pod_cidrs: pod_cidrs(&subject, spec, notes),
        taints: taints.iter().map(|taint| Taint { key: taint.key.as_str().into() }).collect(),
        deleting: object.metadata.deletion_timestamp.is_some(),
    })
}

fn addresses(subject: &Subject, status: Option<&api::NodeStatus>, notes: &mut Vec<Warning>) -> Vec<IpAddr> {
    let entries = status.and_then(|status| status.addresses.as_deref()).unwrap_or_default();
    let of_type = |wanted: &'static str| {
        let indexed = entries.iter().enumerate().filter(move |(_, entry)| entry.type_ == wanted);
        indexed.map(|(index, entry)| (format!("status.addresses[{index}].address"), entry.address.as_str()))
    };
    subject.addresses(of_type("InternalIP").chain(of_type("ExternalIP")), notes)
}

fn pod_cidrs(subject: &Subject, spec: Option<&api::NodeSpec>, notes: &mut Vec<Warning>) -> Vec<ipnet::IpNet> {
    let listed = spec.and_then(|spec| spec.pod_cidrs.as_deref()).unwrap_or_default();
    let single = spec.and_then(|spec| spec.pod_cidr.as_ref()).filter(|text| !text.is_empty());
    let single = single.filter(|_| listed.is_empty());
    let mut ranges = Vec::new();
    for (index, text) in listed.iter().chain(single).enumerate() {
        match parse_range(text) {
            Some(range) => ranges.push(range),
            None => notes.push(subject.warning(
                format!("spec.podCIDRs[{index}]"),
                format!("{text:?} is not an address range; left out"),
            )),
        }
    }
    ranges
}

//! Virtual addresses of a Service, and the sources that may reach them.

use std::net::IpAddr;

use crate::api;
use ipnet::IpNet;

use super::subject::Subject;
use crate::address::{parse_ip, parse_range};
use crate::{AddressFamily, Ingress, Warning};

/// The value of `spec.clusterIP` of a headless Service.
pub(crate) const NO_CLUSTER_IP: &str = "None";

/// Whether `spec.clusterIP` says that the Service has no virtual address.
pub(super) fn is_headless(spec: &api::ServiceSpec) -> bool {
    cluster_ip_texts(spec).first() == Some(&NO_CLUSTER_IP)
}

/// `clusterIPs`, or what `clusterIP` says where the list is absent.
pub(crate) fn cluster_ip_texts(spec: &api::ServiceSpec) -> Vec<&str> {
    let listed = spec.cluster_ips.as_deref().unwrap_or_default();
    if listed.is_empty() {
        spec.cluster_ip.as_deref().filter(|text| !text.is_empty()).into_iter().collect()
    } else {
        listed.iter().map(String::as_str).collect()
    }
}

/// The cluster IP of each family: the one at the family's place in `ipFamilies`, or, without
/// families, only `spec.clusterIP` (kube-proxy `GetClusterIPByFamily`).
pub(super) fn cluster_ips(subject: &Subject, spec: &api::ServiceSpec) -> Result<Vec<IpAddr>, Warning> {
    let texts = cluster_ip_texts(spec);
    let single = spec.cluster_ip.as_deref().unwrap_or_default();
    if !single.is_empty() && texts.first() != Some(&single) {
        let problem = format!("{:?} is not spec.clusterIP {single:?}, as it must be", texts[0]);
        return Err(subject.warning("spec.clusterIPs[0]", problem));
    }
    let families = spec.ip_families.as_deref().unwrap_or_default();
    let kept = if families.is_empty() { 1 } else { families.len() };
    let mut addresses = Vec::new();
    for (index, text) in texts.into_iter().enumerate().take(kept) {
        let field = format!("spec.clusterIPs[{index}]");
        let Some(address) = parse_ip(text) else {
            return Err(subject.warning(field, format!("{text:?} is not an IP address")));
        };
        let family = AddressFamily::of(address);
        if families.get(index).is_some_and(|declared| declared != family.as_str()) {
            let problem = format!("{address} is not of the family spec.ipFamilies[{index}] says");
            return Err(subject.warning(field, problem));
        }
        addresses.push(address);
    }
    Ok(addresses)
}

/// The external IPs that are addresses.
pub(super) fn external_ips(
    subject: &Subject,
    spec: &api::ServiceSpec,
    notes: &mut Vec<Warning>,
) -> Vec<IpAddr> {
    subject.addresses(indexed("spec.externalIPs", spec.external_ips.as_deref()), notes)
}

/// Addresses that the proxy has to serve: an absent mode means `VIP`, and every other mode than
/// that one says that the load balancer answers for itself (KEP-1860).
pub(super) fn ingress_ips(
    subject: &Subject,
    status: Option<&api::ServiceStatus>,
    notes: &mut Vec<Warning>,
) -> Vec<IpAddr> {
    let ingress = status.and_then(|status| status.load_balancer.as_ref()?.ingress.as_deref());
    let texts = ingress.unwrap_or_default().iter().enumerate().filter_map(|(index, entry)| {
        let text = entry.ip.as_deref().filter(|text| !text.is_empty())?;
        let virtual_ip = entry.ip_mode.as_deref().is_none_or(|mode| mode == "VIP");
        virtual_ip.then(|| (format!("status.loadBalancer.ingress[{index}].ip"), text))
    });
    subject.addresses(texts, notes)
}

/// All addresses and names of the load balancer; what is no address has been noted already.
pub(super) fn ingress(status: Option<&api::ServiceStatus>) -> Vec<Ingress> {
    let ingress = status.and_then(|status| status.load_balancer.as_ref()?.ingress.as_deref());
    let entry = |entry: &api::LoadBalancerIngress| {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        match (given(&entry.ip), given(&entry.hostname)) {
            (Some(ip), _) => parse_ip(&ip).map(Ingress::Address),
            (None, host) => host.map(|host| Ingress::Host(host.into())),
        }
    };
    ingress.unwrap_or_default().iter().filter_map(entry).collect()
}

/// The source ranges that are ranges.
pub(super) fn source_ranges(
    subject: &Subject,
    spec: &api::ServiceSpec,
    notes: &mut Vec<Warning>,
) -> Vec<IpNet> {
    let mut ranges = Vec::new();
    for (field, text) in indexed("spec.loadBalancerSourceRanges", spec.load_balancer_source_ranges.as_deref())
    {
        match parse_range(text) {
            Some(range) => ranges.push(range),
            None => notes.push(subject.warning(
                field,
                format!(
                    "{text:?} is not an address range; left out (with no range left, every source is let in)"
                ),
            )),
        }
    }
    ranges
}

fn indexed<'a>(field: &str, texts: Option<&'a [String]>) -> impl Iterator<Item = (String, &'a str)> {
    let texts = texts.unwrap_or_default().iter().enumerate();
    texts.map(move |(index, text)| (format!("{field}[{index}]"), text.as_str()))
}

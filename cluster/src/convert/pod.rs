//! Pods.

use std::net::IpAddr;

use crate::api;

use super::some_name;
use super::subject::{Subject, shared_map};
use crate::address::parse_ip;
use crate::{Kind, Pod, PodPort, Warning};

/// The facts of a Pod.
///
/// # Errors
/// The warning for a Pod that the API server would refuse: it is left out.
pub fn pod(object: &api::Pod, notes: &mut Vec<Warning>) -> Result<Pod, Warning> {
    let (subject, name) = Subject::namespaced(Kind::Pod, &object.metadata)?;
    let default_spec = api::PodSpec::default();
    let spec = object.spec.as_ref().unwrap_or(&default_spec);
    let status = object.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    Ok(Pod {
        name,
        labels: shared_map(object.metadata.labels.as_ref()),
        addresses: addresses(&subject, status, notes),
        node: some_name(spec.node_name.as_ref()),
        host_network: spec.host_network.unwrap_or_default(),
        hostname: some_name(spec.hostname.as_ref()),
        subdomain: some_name(spec.subdomain.as_ref()),
        ready: conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        deleting: object.metadata.deletion_timestamp.is_some(),
        finished: matches!(phase, Some("Succeeded" | "Failed")),
        ports: ports(&subject, spec)?,
    })
}

fn addresses(subject: &Subject, status: Option<&api::PodStatus>, notes: &mut Vec<Warning>) -> Vec<IpAddr> {
    let listed = status.and_then(|status| status.pod_ips.as_deref()).unwrap_or_default();
    let single = status.and_then(|status| status.pod_ip.as_deref()).filter(|text| !text.is_empty());
    let single = single.filter(|_| listed.is_empty());
    let texts = listed.iter().map(|entry| entry.ip.as_str()).chain(single);
    let indexed = texts.enumerate().map(|(index, text)| (format!("status.podIPs[{index}]"), text));
    subject.addresses(indexed, notes)
}

/// Ports of the containers, then those of sidecars, in the order in which a named target port is
/// looked up.
fn ports(subject: &Subject, spec: &api::PodSpec) -> Result<Vec<PodPort>, Warning> {
    let containers = ("containers", spec.containers.as_slice());
    let init_containers = ("initContainers", spec.init_containers.as_deref().unwrap_or_default());
    let mut ports = Vec::new();
    for (list, containers) in [containers, init_containers] {
        for (index, container) in containers.iter().enumerate() {
            let sidecar = container.restart_policy.as_deref() == Some("Always");
            if list == "containers" || sidecar {
                for (number, port) in container.ports.as_deref().unwrap_or_default().iter().enumerate() {
                    let field = format!("spec.{list}[{index}].ports[{number}]");
                    ports.push(pod_port(subject, &field, port)?);
                }
            }
        }
    }
    Ok(ports)
}

fn pod_port(subject: &Subject, field: &str, object: &api::ContainerPort) -> Result<PodPort, Warning> {
    let host_ip = match object.host_ip.as_deref().unwrap_or_default() {
        "" => None,
        text => Some(parse_ip(text).ok_or_else(|| {
            subject.warning(format!("{field}.hostIP"), format!("{text:?} is not an IP address"))
        })?),
    };
    Ok(PodPort {
        name: object.name.as_deref().unwrap_or_default().into(),
        protocol: subject.protocol(&format!("{field}.protocol"), object.protocol.as_deref())?,
        container_port: subject.port(&format!("{field}.containerPort"), object.container_port)?,
        host_port: subject.port_or_none(&format!("{field}.hostPort"), object.host_port)?,
        // 0.0.0.0 and :: are how some charts write "every address".
        host_ip: host_ip.filter(|address| !address.is_unspecified()),
    })
}

//! Ports of a Service.

use std::collections::BTreeMap;

use crate::api;
use crate::api::NumberOrName;

use super::subject::Subject;
use crate::{ServicePort, TargetPort, Warning};

/// All of `spec.ports`.
///
/// One name in two protocols is kept though the API server refuses it: kube-proxy keeps the two
/// apart by protocol as well.
pub(super) fn service_ports(
    subject: &Subject,
    objects: &[api::ServicePort],
) -> Result<Vec<ServicePort>, Warning> {
    let mut ports = Vec::with_capacity(objects.len());
    for (index, object) in objects.iter().enumerate() {
        ports.push(service_port(subject, &format!("spec.ports[{index}]"), object)?);
    }
    let by_name = ports.iter().map(|port| ("name", port.name.to_string(), port));
    unique(subject, by_name)?;
    let by_number = ports.iter().map(|port| ("port", port.port.to_string(), port));
    unique(subject, by_number)?;
    let by_node_port = ports.iter().map(|port| ("nodePort", port.node_port.to_string(), port));
    unique(subject, by_node_port.filter(|(_, _, port)| port.node_port != 0))?;
    Ok(ports)
}

fn service_port(subject: &Subject, field: &str, object: &api::ServicePort) -> Result<ServicePort, Warning> {
    let port = subject.port(&format!("{field}.port"), object.port)?;
    Ok(ServicePort {
        name: object.name.as_deref().unwrap_or_default().into(),
        protocol: subject.protocol(&format!("{field}.protocol"), object.protocol.as_deref())?,
        port,
        node_port: subject.port_or_none(&format!("{field}.nodePort"), object.node_port)?,
        target: target(subject, &format!("{field}.targetPort"), object.target_port.as_ref(), port)?,
    })
}

/// Absent, 0 and the empty name all mean the Service's own port.
fn target(
    subject: &Subject,
    field: &str,
    object: Option<&NumberOrName>,
    own: u16,
) -> Result<TargetPort, Warning> {
    match object {
        None | Some(NumberOrName::Number(0)) => Ok(TargetPort::Number(own)),
        Some(NumberOrName::Number(number)) => Ok(TargetPort::Number(subject.port(field, *number)?)),
        Some(NumberOrName::Name(name)) if name.is_empty() => Ok(TargetPort::Number(own)),
        Some(NumberOrName::Name(name)) if name.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(subject.warning(field, format!("\"{name}\" is a text; write the number without quotes")))
        }
        Some(NumberOrName::Name(name)) => Ok(TargetPort::Name(name.as_str().into())),
    }
}

fn unique<'a>(
    subject: &Subject,
    values: impl Iterator<Item = (&'static str, String, &'a ServicePort)>,
) -> Result<(), Warning> {
    let mut seen = BTreeMap::new();
    for (field, value, port) in values {
        if seen.insert((value.clone(), port.protocol), ()).is_some() {
            let problem = format!("two entries with {field} {value:?} and protocol {}", port.protocol);
            return Err(subject.warning("spec.ports", problem));
        }
    }
    Ok(())
}

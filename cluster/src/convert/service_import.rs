//! ServiceImports.

use crate::api;

use super::subject::{Subject, shared_map};
use crate::{EndpointPort, Kind, ServiceImport, Warning};

/// The facts of a ServiceImport.
///
/// # Errors
/// The warning for one that the API server would refuse: it is left out.
pub fn service_import(
    object: &api::ServiceImport,
    notes: &mut Vec<Warning>,
) -> Result<ServiceImport, Warning> {
    let (subject, name) = Subject::namespaced(Kind::ServiceImport, &object.metadata)?;
    let default_spec = api::ServiceImportSpec::default();
    let spec = object.spec.as_ref().unwrap_or(&default_spec);
    let headless = match spec.type_.as_deref().unwrap_or_default() {
        "ClusterSetIP" => false,
        "Headless" => true,
        other => {
            let problem = format!("{other:?} is neither ClusterSetIP nor Headless");
            return Err(subject.warning("spec.type", problem));
        }
    };
    let texts = spec.ips.as_deref().unwrap_or_default().iter().enumerate();
    let texts = texts.map(|(index, text)| (format!("spec.ips[{index}]"), text.as_str()));
    let addresses = subject.addresses(texts, notes);
    let mut ports = Vec::new();
    for (index, port) in spec.ports.as_deref().unwrap_or_default().iter().enumerate() {
        let field = format!("spec.ports[{index}]");
        ports.push(EndpointPort {
            name: port.name.as_deref().unwrap_or_default().into(),
            protocol: subject.protocol(&format!("{field}.protocol"), port.protocol.as_deref())?,
            port: subject.port(&format!("{field}.port"), port.port)?,
        });
    }
    Ok(ServiceImport {
        name,
        headless,
        addresses: if headless { Vec::new() } else { addresses },
        ports,
        labels: shared_map(object.metadata.labels.as_ref()),
    })
}

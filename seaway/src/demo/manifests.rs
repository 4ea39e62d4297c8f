//! The example manifests, as the demo's input and with an endpoint taken away.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
};

use anyhow::Context as _;
use serde_json::Value;

/// The Service's cluster IP and port.
pub(super) const VIP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 96, 0, 80)), 8080);
/// The port of the endpoints.
pub(super) const ENDPOINT_PORT: u16 = 80;
/// The endpoints of the Service.
pub(super) const ENDPOINTS: [IpAddr; 3] = [endpoint(111), endpoint(112), endpoint(114)];
/// The one that is taken away.
pub(super) const REMOVED: IpAddr = ENDPOINTS[1];
/// The file with the Service and its endpoints.
pub(super) const SERVICE_FILE: &str = "nginx-svc.yaml";

const SERVICE: &str = include_str!("../../../examples/manifests/nginx-svc.yaml");
const NODES: &str = include_str!("../../../examples/manifests/nodes.yaml");

/// Writes the examples into `folder`.
pub(super) fn write(folder: &Path) -> anyhow::Result<()> {
    for (name, text) in [(SERVICE_FILE, SERVICE), ("nodes.yaml", NODES)] {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The text of [`SERVICE_FILE`] without one endpoint.
pub(super) fn service_without(endpoint: IpAddr) -> anyhow::Result<String> {
    let mut objects = service_objects()?;
    for object in &mut objects {
        if let Some(endpoints) = object.get_mut("endpoints").and_then(Value::as_array_mut) {
            endpoints.retain(|entry| !addresses(entry).any(|address| address == endpoint));
        }
    }
    // JSON is YAML.
    let documents: Vec<_> = objects.iter().map(Value::to_string).collect();
    Ok(documents.join("\n---\n") + "\n")
}

const fn endpoint(host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 1, 1, host))
}

fn service_objects() -> anyhow::Result<Vec<Value>> {
    serde_saphyr::from_multiple(SERVICE).with_context(|| format!("cannot read {SERVICE_FILE}"))
}

fn addresses(endpoint: &Value) -> impl Iterator<Item = IpAddr> {
    let addresses = endpoint["addresses"].as_array().into_iter().flatten();
    addresses.filter_map(|address| address.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(objects: &[Value]) -> Vec<IpAddr> {
        let entries = objects.iter().filter_map(|object| object["endpoints"].as_array()).flatten();
        entries.flat_map(addresses).collect()
    }

    #[test]
    fn demo_and_examples_have_the_same_addresses() {
        let objects = service_objects().unwrap();
        let service = &objects.iter().find(|object| object["kind"] == "Service").unwrap()["spec"];
        assert_eq!(service["clusterIP"], VIP.ip().to_string());
        assert_eq!(service["ports"][0]["port"], VIP.port());
        assert_eq!(service["ports"][0]["targetPort"], ENDPOINT_PORT);
        assert_eq!(endpoints(&objects), ENDPOINTS);
    }

    #[test]
    fn only_the_removed_endpoint_is_missing() {
        let objects: Vec<Value> = serde_saphyr::from_multiple(&service_without(REMOVED).unwrap()).unwrap();
        assert_eq!(objects.len(), service_objects().unwrap().len());
        assert_eq!(endpoints(&objects), [ENDPOINTS[0], ENDPOINTS[2]]);
    }
}

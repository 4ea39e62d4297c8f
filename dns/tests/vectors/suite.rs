//! Suites as the files spell them.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

/// One file.
pub(crate) struct Suite {
    pub(crate) name: String,
    pub(crate) config: Config,
    /// The objects, as manifests.
    pub(crate) fixture: String,
    pub(crate) cases: Vec<Case>,
}

#[derive(Deserialize)]
struct File {
    fixture: Option<String>,
    #[serde(default)]
    config: Config,
    cases: Vec<Case>,
}

/// How the server is set up.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) zones: Vec<String>,
    pub(crate) zones_as_names: Vec<String>,
    pub(crate) namespaces: Vec<String>,
    pub(crate) pods: Option<String>,
    pub(crate) ttl: Option<u32>,
    pub(crate) noendpoints: bool,
    pub(crate) ignore_empty_service: bool,
    pub(crate) endpoint_pod_names: bool,
    pub(crate) synced: Option<bool>,
    pub(crate) local_ips: Vec<std::net::IpAddr>,
    pub(crate) upstream: Option<Upstream>,
    pub(crate) fallthrough: Option<Vec<String>>,
    pub(crate) zonal: bool,
    pub(crate) next_static_zone: Option<StaticZone>,
    pub(crate) static_zone: Option<StaticZone>,
    pub(crate) autopath: Option<Value>,
    pub(crate) client_search: Vec<String>,
    pub(crate) external: Option<External>,
    pub(crate) multicluster_zones: Option<Vec<String>>,
    pub(crate) transfer_to: Option<Value>,
    pub(crate) create_before: Option<Value>,
    /// Answers are to be CoreDNS's own.
    #[serde(skip)]
    pub(crate) compat: bool,
}

/// A zone that is asked after the cluster's.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct StaticZone {
    pub(crate) origin: String,
    #[serde(default)]
    records: Vec<Value>,
    #[serde(default)]
    soa: Value,
}

/// Names for those outside of the cluster.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct External {
    zones: Vec<String>,
    apex: Option<String>,
    ttl: Option<u32>,
    headless: bool,
    pub(crate) ns_addresses: Vec<std::net::IpAddr>,
}

/// Who answers for everything else.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Upstream {
    /// Every lookup fails, for this reason.
    Failing(#[expect(dead_code, reason = "the reason is for readers of the suite")] String),
    /// These answers; everything else does not exist.
    Canned(Vec<Canned>),
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Canned {
    pub(crate) qname: String,
    pub(crate) qtype: String,
    pub(crate) rcode: String,
    #[serde(default)]
    pub(crate) answer: Vec<Expected>,
    #[serde(default)]
    pub(crate) authority: Vec<Expected>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Case {
    Names(NameCase),
    Wire(WireCase),
}

#[derive(Deserialize)]
pub(crate) struct NameCase {
    pub(crate) id: String,
    pub(crate) qname: String,
    pub(crate) qtype: String,
    pub(crate) rcode: String,
    #[serde(default)]
    pub(crate) answer: Vec<Expected>,
    #[serde(default)]
    pub(crate) authority: Vec<Expected>,
    #[serde(default)]
    pub(crate) additional: Vec<Expected>,
    pub(crate) aa: Option<bool>,
    pub(crate) tc: Option<bool>,
    /// Who asks.
    pub(crate) client_ip: Option<std::net::IpAddr>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Expected {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) ttl: Option<u32>,
    pub(crate) data: Value,
}

#[derive(Deserialize)]
pub(crate) struct WireCase {
    pub(crate) id: String,
    pub(crate) transport: String,
    pub(crate) request_hex: String,
    pub(crate) expect: Value,
}

impl Case {
    pub(crate) fn id(&self) -> &str {
        match self {
            Self::Names(case) => &case.id,
            Self::Wire(case) => &case.id,
        }
    }
}

impl Config {
    /// The zones, where they are given as ranges and as names: the names.
    pub(crate) fn zone_names(&self) -> &[String] {
        if self.zones_as_names.is_empty() { &self.zones } else { &self.zones_as_names }
    }

    /// Whether answers depend on an address that a client on this machine cannot have.
    pub(crate) fn needs_address(&self, cases: &[Case]) -> bool {
        let given = |case: &Case| matches!(case, Case::Names(NameCase { client_ip: Some(_), .. }));
        let everybody = self.transfer_to().is_none_or(|to| to.iter().any(|to| to == "*"));
        cases.iter().any(given) || !everybody
    }

    /// Who may have whole zones.
    pub(crate) fn transfer_to(&self) -> Option<Vec<String>> {
        match self.transfer_to.as_ref()? {
            Value::Null | Value::Bool(false) => None,
            Value::Bool(true) => Some(vec!["*".to_owned()]),
            Value::String(to) => Some(vec![to.clone()]),
            Value::Array(to) => Some(to.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
            other => panic!("transfer_to {other}"),
        }
    }

    /// The zones of `autopath`, where there is one.
    fn autopath(&self) -> Option<String> {
        let names = |value: &Value| match value {
            Value::String(name) if !name.starts_with('@') => name.clone(),
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
            _ => ".".to_owned(),
        };
        match self.autopath.as_ref()? {
            Value::Null | Value::Bool(false) => None,
            Value::Object(fields) => Some(fields.get("zones").map_or_else(|| ".".to_owned(), names)),
            other => Some(names(other)),
        }
    }

    /// The same as a Corefile that listens on `port`.
    /// Files that it names are written into `dir`.
    pub(crate) fn corefile(&self, port: u16, upstream: Option<std::net::SocketAddr>, dir: &Path) -> String {
        let shared = self.multicluster_zones.as_deref().unwrap_or_default();
        let missing = shared.iter().filter(|zone| !self.zone_names().contains(zone));
        let zones: Vec<&str> = self.zone_names().iter().chain(missing).map(String::as_str).collect();
        let mut lines = vec![format!("kubernetes {} {{", zones.join(" "))];
        lines.push(format!("pods {}", self.pods.as_deref().unwrap_or("disabled")));
        lines.extend(self.ttl.map(|ttl| format!("ttl {ttl}")));
        if !self.namespaces.is_empty() {
            lines.push(format!("namespaces {}", self.namespaces.join(" ")));
        }
        lines.extend(self.noendpoints.then(|| "noendpoints".to_owned()));
        lines.extend(self.ignore_empty_service.then(|| "ignore empty_service".to_owned()));
        lines.extend(self.zonal.then(|| "zonal".to_owned()));
        lines.extend(self.endpoint_pod_names.then(|| "endpoint_pod_names".to_owned()));
        lines.extend(self.fallthrough.as_ref().map(|zones| format!("fallthrough {}", zones.join(" "))));
        lines.extend(self.compat.then(|| "compat all".to_owned()));
        lines.extend((!shared.is_empty()).then(|| format!("multicluster {}", shared.join(" "))));
        lines.push("}".to_owned());
        lines.extend(self.compat.then(|| "compat all".to_owned()));
        if let Some(external) = &self.external {
            lines.push(format!("k8s_external {} {{", external.zones.join(" ")));
            lines.extend(external.apex.as_ref().map(|apex| format!("apex {}", apex.trim_end_matches('.'))));
            lines.extend(external.ttl.map(|ttl| format!("ttl {ttl}")));
            lines.extend(external.headless.then(|| "headless".to_owned()));
            lines.push("}".to_owned());
        }
        for (number, zone) in self.static_zone.iter().chain(&self.next_static_zone).enumerate() {
            let name = format!("zone-{number}");
            std::fs::write(dir.join(&name), zone.text()).unwrap();
            lines.push(format!("file {name} {}", zone.origin));
        }
        if let Some(zones) = self.autopath() {
            std::fs::write(dir.join("search"), format!("search {}\n", self.client_search.join(" "))).unwrap();
            let source = if self.pods.as_deref() == Some("verified") { "@kubernetes" } else { "search" };
            lines.push(format!("autopath {zones} {source}"));
        }
        if let Some(to) = self.transfer_to() {
            lines.push(format!("transfer {{\nto {}\n}}", to.join(" ")));
        }
        lines.extend(upstream.map(|upstream| format!("forward . {upstream}")));
        format!(".:{port} {{\nbind 127.0.0.1\n{}\n}}\n", lines.join("\n"))
    }
}

impl StaticZone {
    /// The zone as a file; records are lines of one already, or the fields of a record.
    fn text(&self) -> String {
        let line = |record: &Value| match record {
            Value::String(line) => line.clone(),
            record => {
                let field = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
                let ttl = record["ttl"].as_u64().map(|ttl| ttl.to_string()).unwrap_or_default();
                let kind = if field("type").is_empty() { "SOA".to_owned() } else { field("type") };
                let owner = if field("name").is_empty() { self.origin.clone() } else { field("name") };
                let data = if record["data"].is_null() { record } else { &record["data"] };
                format!("{owner} {ttl} IN {kind} {}", presented(&kind, data))
            }
        };
        let soa = match &self.soa {
            Value::Null => {
                format!("{} 3600 IN SOA ns.dns.{0} hostmaster.{0} 1 7200 1800 86400 5", self.origin)
            }
            soa => line(soa),
        };
        let others =
            self.records.iter().map(line).filter(|line| self.soa.is_null() || !line.contains(" SOA "));
        [soa].into_iter().chain(others).collect::<Vec<_>>().join("\n") + "\n"
    }
}

/// The data of a record as zone files spell it.
fn presented(kind: &str, data: &Value) -> String {
    let text = |name: &str| data[name].as_str().unwrap_or(".").to_owned();
    let number = |name: &str| data[name].as_u64().unwrap_or(1);
    match (kind, data) {
        ("SOA", Value::Object(_)) => format!(
            "{} {} {} {} {} {} {}",
            text("mname"),
            text("rname"),
            number("serial"),
            number("refresh"),
            number("retry"),
            number("expire"),
            number("minimum")
        ),
        ("SRV", Value::Object(_)) => {
            format!("{} {} {} {}", number("priority"), number("weight"), number("port"), text("target"))
        }
        ("TXT", Value::Array(parts)) => parts.iter().map(|part| format!("{part} ")).collect(),
        ("TXT", Value::String(text)) => format!("{text:?}"),
        (_, Value::String(text)) => text.clone(),
        (_, other) => panic!("data {other} of type {kind}"),
    }
}

impl Suite {
    /// What the cluster holds, state after state: objects may be added while the server runs.
    pub(crate) fn states(&self) -> Vec<String> {
        let mut fixture = self.fixture.clone();
        if self.config.multicluster_zones.as_ref().is_some_and(|zones| !zones.is_empty()) {
            let list = imports(&serde_json::from_str(&fixture).unwrap());
            fixture = format!("{fixture}\n---\n{list}\n");
        }
        let mut states = vec![fixture.clone()];
        if let Some(added) = &self.config.create_before {
            let items = if added.is_array() { added.clone() } else { serde_json::json!([added]) };
            let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": items});
            states.push(format!("{fixture}\n---\n{list}\n"));
        }
        states
    }
}

/// The Services and slices of a list as what a cluster of the name `cluster1` exports.
fn imports(list: &Value) -> Value {
    let items = list["items"].as_array().into_iter().flatten();
    let items = items.filter_map(|item| match item["kind"].as_str()? {
        "Service" if item["spec"]["type"] != "ExternalName" => {
            let spec = &item["spec"];
            let ips = spec["clusterIPs"].as_array().cloned().unwrap_or_else(|| vec![spec["clusterIP"].clone()]);
            let headless = ips.first().is_some_and(|ip| ip == "None");
            let ips: Vec<Value> = ips.into_iter().filter(|ip| ip.is_string() && ip != "None").collect();
            let kind = if headless { "Headless" } else { "ClusterSetIP" };
            Some(serde_json::json!({
                "apiVersion": "multicluster.x-k8s.io/v1alpha1", "kind": "ServiceImport",
                "metadata": item["metadata"], "spec": {"type": kind, "ips": ips, "ports": imported_ports(spec)},
            }))
        }
        "EndpointSlice" => {
            let mut slice = item.clone();
            let name = &item["metadata"]["name"];
            slice["metadata"]["name"] = format!("{}-imported", name.as_str()?).into();
            slice["metadata"]["labels"] = serde_json::json!({
                "multicluster.kubernetes.io/service-name": item["metadata"]["labels"]["kubernetes.io/service-name"],
                "multicluster.kubernetes.io/source-cluster": "cluster1",
            });
            Some(slice)
        }
        _ => None,
    });
    serde_json::json!({"apiVersion": "v1", "kind": "List", "items": items.collect::<Vec<_>>()})
}

fn imported_ports(spec: &Value) -> Value {
    let ports = spec["ports"].as_array().into_iter().flatten();
    let port = |port: &Value| {
        let mut port = port.clone();
        port.as_object_mut()?.retain(|key, _| ["name", "port", "protocol"].contains(&key.as_str()));
        Some(port)
    };
    ports.filter_map(port).collect()
}

/// All suites of a folder, in order of their files.
pub(crate) fn load(dir: &Path) -> Vec<Suite> {
    let entries = std::fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let read = |file: &Path| {
        std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    };
    let suite = |file: &std::path::PathBuf| {
        let raw: File =
            serde_json::from_str(&read(file)).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        Suite {
            name: file.file_stem().unwrap().to_string_lossy().into_owned(),
            config: raw.config,
            fixture: raw.fixture.map(|fixture| read(&dir.join(fixture))).unwrap_or_default(),
            cases: raw.cases,
        }
    };
    files.iter().map(suite).collect()
}

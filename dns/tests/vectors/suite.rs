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
    pub(crate) next_static_zone: Option<Value>,
    pub(crate) static_zone: Option<Value>,
    pub(crate) autopath: Option<Value>,
    pub(crate) client_search: Option<Value>,
    pub(crate) external: Option<Value>,
    pub(crate) multicluster_zones: Option<Value>,
    pub(crate) transfer_to: Option<Value>,
    pub(crate) create_before: Option<Value>,
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

    /// What it asks for that the server does not have.
    pub(crate) fn unserved(&self) -> Vec<&'static str> {
        let parts = [
            ("next_static_zone", &self.next_static_zone),
            ("static_zone", &self.static_zone),
            ("autopath", &self.autopath),
            ("client_search", &self.client_search),
            ("external", &self.external),
            ("multicluster_zones", &self.multicluster_zones),
            ("transfer_to", &self.transfer_to),
        ];
        let given = |value: &Value| !matches!(value, Value::Null | Value::Bool(false));
        parts
            .into_iter()
            .filter(|(_, value)| value.as_ref().is_some_and(given))
            .map(|(name, _)| name)
            .collect()
    }

    /// The same as a Corefile that listens on `port`.
    pub(crate) fn corefile(&self, port: u16, upstream: Option<std::net::SocketAddr>) -> String {
        let mut lines = vec![format!("kubernetes {} {{", self.zone_names().join(" "))];
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
        lines.push("}".to_owned());
        lines.extend(upstream.map(|upstream| format!("forward . {upstream}")));
        format!(".:{port} {{\nbind 127.0.0.1\n{}\n}}\n", lines.join("\n"))
    }
}

impl Suite {
    /// What the cluster holds, state after state: objects may be added while the server runs.
    pub(crate) fn states(&self) -> Vec<String> {
        let mut states = vec![self.fixture.clone()];
        if let Some(added) = &self.config.create_before {
            let items = if added.is_array() { added.clone() } else { serde_json::json!([added]) };
            let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": items});
            states.push(format!("{}\n---\n{list}\n", self.fixture));
        }
        states
    }
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

//! The object under conversion: its name, and the checks whose failure names it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::api::Metadata;

use crate::address::parse_ip;
use crate::{Kind, Labels, ObjectId, ObjectName, Protocol, Warning};

/// The object that warnings are about.
pub(super) struct Subject {
    id: ObjectId,
}

impl Subject {
    /// A namespaced object with its name.
    pub(super) fn namespaced(kind: Kind, metadata: &Metadata) -> Result<(Self, ObjectName), Warning> {
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let (subject, name) = Self::named(kind, metadata, format!("{namespace}/"))?;
        if namespace.is_empty() {
            return Err(subject.warning("metadata.namespace", "is missing"));
        }
        Ok((subject, ObjectName::new(namespace, name)))
    }

    /// An object of a kind that has no namespaces.
    pub(super) fn cluster_wide(kind: Kind, metadata: &Metadata) -> Result<(Self, Arc<str>), Warning> {
        Self::named(kind, metadata, String::new())
    }

    fn named(kind: Kind, metadata: &Metadata, prefix: String) -> Result<(Self, Arc<str>), Warning> {
        let name = metadata.name.as_deref().unwrap_or_default();
        let subject = Self { id: ObjectId { kind, name: prefix + name } };
        if name.is_empty() {
            return Err(subject.warning("metadata.name", "is missing"));
        }
        Ok((subject, Arc::from(name)))
    }

    /// A warning about the object.
    pub(super) fn warning(&self, field: impl Into<String>, problem: impl Into<String>) -> Warning {
        self.id.warning(field, problem)
    }

    /// A port that must be there.
    pub(super) fn port(&self, field: &str, value: i32) -> Result<u16, Warning> {
        match self.port_or_none(field, Some(value))? {
            0 => Err(self.warning(field, "0 is not a port (1 to 65535)")),
            port => Ok(port),
        }
    }

    /// A port that may be absent or 0, which both mean none.
    pub(super) fn port_or_none(&self, field: &str, value: Option<i32>) -> Result<u16, Warning> {
        let value = value.unwrap_or_default();
        u16::try_from(value).map_err(|_| self.warning(field, format!("{value} is not a port (1 to 65535)")))
    }

    /// A transport protocol; absent means TCP.
    pub(super) fn protocol(&self, field: &str, value: Option<&str>) -> Result<Protocol, Warning> {
        match value.unwrap_or_default() {
            "" | "TCP" => Ok(Protocol::Tcp),
            "UDP" => Ok(Protocol::Udp),
            "SCTP" => Ok(Protocol::Sctp),
            other => Err(self.warning(field, format!("{other:?} is not a protocol (TCP, UDP or SCTP)"))),
        }
    }

    /// The addresses that parse; a note is left for each of the others.
    pub(super) fn addresses<'a>(
        &self,
        texts: impl IntoIterator<Item = (String, &'a str)>,
        notes: &mut Vec<Warning>,
    ) -> Vec<IpAddr> {
        let mut addresses = Vec::new();
        for (field, text) in texts {
            match parse_ip(text) {
                Some(address) => addresses.push(address),
                None => notes.push(self.warning(field, format!("{text:?} is not an IP address; left out"))),
            }
        }
        addresses
    }
}

/// A map of labels or annotations with shared strings.
pub(super) fn shared_map(map: Option<&BTreeMap<String, String>>) -> Labels {
    map.into_iter().flatten().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect()
}

/// Whether a label is there; its value has no meaning.
pub(super) fn has_label(metadata: &Metadata, label: &str) -> bool {
    metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(label))
}

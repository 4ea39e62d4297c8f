//! What an object is, before it is read.

use serde::Deserialize;
use serde_json::Value;

use crate::{Kind, ObjectId};

/// What every object says of itself.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Header {
    /// `apiVersion`.
    pub(super) api_version: Option<String>,
    /// `kind`.
    pub(super) kind: Option<String>,
    /// `metadata`, for the name.
    pub(super) metadata: Option<Value>,
}

/// What a header announces.
pub(super) enum Announced {
    /// An object of a kind that is read.
    Object(Kind),
    /// A list, of one kind or of any.
    List(Option<Kind>),
    /// A kind that is not read.
    Unread,
    /// A kind that is read, in a version that is not.
    UnknownVersion(Kind, String),
    /// This field is missing.
    Nothing(&'static str),
}

impl Header {
    /// What the object is.
    pub(super) fn announced(&self) -> Announced {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let Some(kind) = given(&self.kind) else { return Announced::Nothing("kind") };
        let Some(version) = given(&self.api_version) else { return Announced::Nothing("apiVersion") };
        let element = kind.strip_suffix("List");
        match (known(&kind), element.and_then(known)) {
            (Some(kind), _) if version == version_of(kind) => Announced::Object(kind),
            (_, Some(kind)) if version == version_of(kind) => Announced::List(Some(kind)),
            (Some(kind), _) | (_, Some(kind)) => Announced::UnknownVersion(kind, version),
            _ if kind == "List" && version == "v1" => Announced::List(None),
            _ => Announced::Unread,
        }
    }

    /// The object's name, as far as it can be made out.
    pub(super) fn id(&self, kind: Kind) -> Option<ObjectId> {
        let field = |key: &str| self.metadata.as_ref()?.get(key)?.as_str();
        let name = field("name")?;
        let namespace = field("namespace").unwrap_or("default");
        let name = match kind {
            Kind::Namespace | Kind::Node | Kind::ServiceCidr => name.to_owned(),
            _ => format!("{namespace}/{name}"),
        };
        Some(ObjectId { kind, name })
    }
}

fn known(kind: &str) -> Option<Kind> {
    const KINDS: [Kind; 8] = [
        Kind::Namespace,
        Kind::Node,
        Kind::Pod,
        Kind::Service,
        Kind::EndpointSlice,
        Kind::Endpoints,
        Kind::ServiceCidr,
        Kind::ServiceImport,
    ];
    KINDS.into_iter().find(|known| known.as_str() == kind)
}

/// The one version of the kind that is read.
pub(super) fn version_of(kind: Kind) -> &'static str {
    match kind {
        Kind::EndpointSlice => "discovery.k8s.io/v1",
        Kind::ServiceCidr => "networking.k8s.io/v1",
        Kind::ServiceImport => "multicluster.x-k8s.io/v1alpha1",
        Kind::Namespace | Kind::Node | Kind::Pod | Kind::Service | Kind::Endpoints => "v1",
    }
}

//! FlowSchema and PriorityLevelConfiguration as plain types that read and write the API's form.
//!
//! Fields and names follow `flowcontrol.apiserver.k8s.io/v1`. Kinds and types stay strings so that
//! [`crate::validate`] can name a wrong one at its field path.

use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// The API group of both kinds.
pub const GROUP: &str = "flowcontrol.apiserver.k8s.io";
/// The version written, and the one all others are converted to on input.
pub const VERSION: &str = "flowcontrol.apiserver.k8s.io/v1";

/// An ordered classification rule: which requests, which level, how to name the flow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FlowSchema {
    /// Name, generation, annotations.
    #[serde(default)]
    pub metadata: Metadata,
    /// What the schema asks for.
    pub spec: FlowSchemaSpec,
    /// What the controller says about it.
    #[serde(default, deserialize_with = "null_default")]
    pub status: Status,
}

/// A pool of seats with its own queues.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PriorityLevel {
    /// Name, generation, annotations.
    #[serde(default)]
    pub metadata: Metadata,
    /// What the level asks for.
    pub spec: PriorityLevelSpec,
    /// What the controller says about it.
    #[serde(default, deserialize_with = "null_default")]
    pub status: Status,
}

/// The part of an object's metadata that flow control reads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// A DNS subdomain, unique per kind.
    #[serde(default)]
    pub name: String,
    /// Identity shown to clients in response headers; empty for a built-in without an API object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Bumped by the API server on each change of the spec; 1 after creation.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub generation: i64,
    /// Free-form annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_default")]
    pub annotations: BTreeMap<String, String>,
}

/// What a FlowSchema asks for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FlowSchemaSpec {
    /// The level that matching requests go to.
    pub priority_level_configuration: LevelReference,
    /// 1 to 10,000, lowest first; 0 means 1000.
    #[serde(default)]
    pub matching_precedence: i32,
    /// How requests are split into flows; absent means one flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distinguisher_method: Option<DistinguisherMethod>,
    /// A request matches the schema when it matches one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_default")]
    pub rules: Vec<PolicyRule>,
}

/// A reference to a level by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelReference {
    /// The level's name.
    pub name: String,
}

/// How requests are split into flows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistinguisherMethod {
    /// `ByUser` or `ByNamespace`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// Some subjects doing some things.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyRule {
    /// Who; at least one.
    #[serde(default, deserialize_with = "null_default")]
    pub subjects: Vec<Subject>,
    /// What, for requests on resources.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_default")]
    pub resource_rules: Vec<ResourceRule>,
    /// What, for all other requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_default")]
    pub non_resource_rules: Vec<NonResourceRule>,
}

/// A user, a group or a service account: `kind` names the one member that must be present.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subject {
    /// `User`, `Group` or `ServiceAccount`.
    #[serde(default)]
    pub kind: String,
    /// A user by name, or `*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<NamedSubject>,
    /// A group by name, or `*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<NamedSubject>,
    /// A service account, or all of a namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<ServiceAccountSubject>,
}

/// A user or group by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedSubject {
    /// The name, or `*` for all.
    #[serde(default)]
    pub name: String,
}

/// A service account by namespace and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceAccountSubject {
    /// The namespace; no wildcard.
    #[serde(default)]
    pub namespace: String,
    /// The name, or `*` for all of the namespace.
    #[serde(default)]
    pub name: String,
}

/// Verbs on resources. A list that is exactly `*` matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourceRule {
    /// API verbs such as `list`.
    #[serde(default, deserialize_with = "null_default")]
    pub verbs: Vec<String>,
    /// API groups; the core group is the empty string.
    #[serde(default, deserialize_with = "null_default")]
    pub api_groups: Vec<String>,
    /// `resource` or `resource/subresource`.
    #[serde(default, deserialize_with = "null_default")]
    pub resources: Vec<String>,
    /// Whether requests without a namespace match.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cluster_scope: bool,
    /// The namespaces whose requests match.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_default")]
    pub namespaces: Vec<String>,
}

/// Verbs on paths. A list that is exactly `*` matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NonResourceRule {
    /// Lower-case HTTP methods.
    #[serde(default, deserialize_with = "null_default")]
    pub verbs: Vec<String>,
    /// Paths; one also matches everything below it.
    #[serde(default, rename = "nonResourceURLs", deserialize_with = "null_default")]
    pub non_resource_urls: Vec<String>,
}

/// What a PriorityLevelConfiguration asks for: `type` names the one member that must be present.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriorityLevelSpec {
    /// `Exempt` or `Limited`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// Present exactly for `Limited`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited: Option<LimitedLevel>,
    /// Optional, and only for `Exempt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exempt: Option<ExemptLevel>,
}

/// A level whose concurrency is limited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitedLevel {
    /// Share of the server's seats; absent means 30, 0 makes a jail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nominal_concurrency_shares: Option<i32>,
    /// What happens to a request that cannot execute at once.
    #[serde(default)]
    pub limit_response: LimitResponse,
    /// Percent of the nominal seats that others may borrow; absent means 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lendable_percent: Option<i32>,
    /// Most seats to borrow, as percent of the nominal ones; absent means no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub borrowing_limit_percent: Option<i32>,
}

/// A level whose requests always execute at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExemptLevel {
    /// Share of the server's seats set aside; absent means 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nominal_concurrency_shares: Option<i32>,
    /// Percent of those that others may borrow; absent means 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lendable_percent: Option<i32>,
}

/// What happens to a request that cannot execute at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitResponse {
    /// `Queue` or `Reject`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// Present exactly for `Queue`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queuing: Option<Queuing>,
}

/// The queues of a level.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Queuing {
    /// Number of queues; 0 means 64.
    #[serde(default)]
    pub queues: i32,
    /// Queues dealt to each flow; 0 means 8.
    #[serde(default)]
    pub hand_size: i32,
    /// Most requests waiting in one queue; 0 means 50.
    #[serde(default)]
    pub queue_length_limit: i32,
}

/// Conditions of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// At most one per type.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_default")]
    pub conditions: Vec<Condition>,
}

/// One condition of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// For a FlowSchema: `Dangling`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    #[serde(default)]
    pub status: String,
    /// A word for machines.
    #[serde(default)]
    pub reason: String,
    /// A sentence for people.
    #[serde(default)]
    pub message: String,
}

impl FlowSchema {
    /// The API form with `apiVersion` and `kind`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        typed("FlowSchema", self)
    }
}

impl PriorityLevel {
    /// The API form with `apiVersion` and `kind`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        typed("PriorityLevelConfiguration", self)
    }
}

fn typed(kind: &str, object: &impl Serialize) -> serde_json::Value {
    let mut value = serde_json::json!({ "apiVersion": VERSION, "kind": kind });
    if let (Some(into), Ok(serde_json::Value::Object(fields))) =
        (value.as_object_mut(), serde_json::to_value(object))
    {
        into.extend(fields);
    }
    value
}

fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
const fn is_zero(value: &i64) -> bool {
    *value == 0
}

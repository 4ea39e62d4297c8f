//! Vectors about objects: built-ins, validation, upkeep.

use super::Tally;
use seaway_apf::metrics::{FAMILIES, Kind, NAMESPACE};
use seaway_apf::object::{FlowSchema, FlowSchemaSpec, Metadata, PriorityLevel, PriorityLevelSpec};
use seaway_apf::upkeep::{self, Duty};
use seaway_apf::validate::{self, FieldError, Options};
use seaway_apf::{builtin::BUILTIN, read::Configuration};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Autoupdate {
    #[serde(rename = "format")]
    _format: String,
    #[serde(rename = "note")]
    _note: Option<String>,
    cases: Vec<AutoupdateCase>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct AutoupdateCase {
    kind: String,
    annotation: Option<String>,
    generation: i64,
    spec_equals_bootstrap: bool,
    auto_update: bool,
    rewrite_spec: bool,
    rewrite_annotation: bool,
    annotation_after: String,
    writes: bool,
}

pub(super) fn autoupdate(file: Autoupdate, tally: &mut Tally) {
    for case in file.cases {
        let duty = match case.kind.as_str() {
            "mandatory" => Duty::Mandatory,
            "suggested" => Duty::Suggested,
            other => panic!("kind {other:?} is not known"),
        };
        let update =
            upkeep::update(duty, case.annotation.as_deref(), case.generation, case.spec_equals_bootstrap);
        let after = if update.annotation {
            update.follows.to_string()
        } else {
            case.annotation.clone().unwrap_or_default()
        };
        let got = (update.follows, update.spec, update.annotation, after, update.spec || update.annotation);
        let expected = (
            case.auto_update,
            case.rewrite_spec,
            case.rewrite_annotation,
            case.annotation_after.clone(),
            case.writes,
        );
        tally.equal(case, got, expected);
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DefaultObjects {
    #[serde(rename = "format")]
    _format: String,
    #[serde(rename = "note")]
    _note: Option<String>,
    #[serde(default)]
    mandatory_flow_schemas: Vec<Value>,
    #[serde(default)]
    mandatory_priority_levels: Vec<Value>,
    #[serde(default)]
    suggested_flow_schemas: Vec<Value>,
    #[serde(default)]
    suggested_priority_levels: Vec<Value>,
}

pub(super) fn default_objects(file: DefaultObjects, tally: &mut Tally) {
    let written = |all: &Configuration, schemas: bool| -> Vec<Value> {
        if schemas {
            all.flow_schemas.iter().map(FlowSchema::to_json).collect()
        } else {
            all.priority_levels.iter().map(PriorityLevel::to_json).collect()
        }
    };
    for (objects, own) in [
        (file.mandatory_flow_schemas, written(&BUILTIN.mandatory, true)),
        (file.mandatory_priority_levels, written(&BUILTIN.mandatory, false)),
        (file.suggested_flow_schemas, written(&BUILTIN.suggested, true)),
        (file.suggested_priority_levels, written(&BUILTIN.suggested, false)),
    ] {
        for expected in objects {
            let name = expected.pointer("/metadata/name").cloned().unwrap_or_default();
            let got = own.iter().find(|object| object.pointer("/metadata/name") == Some(&name));
            let got = got.cloned().unwrap_or_default();
            let (meta, spec) = (&expected["metadata"], &expected["spec"]);
            tally.equal(&name, (&got["metadata"], &got["spec"]), (meta, spec));
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Validation {
    #[serde(rename = "format")]
    _format: String,
    #[serde(rename = "note")]
    _note: Option<String>,
    #[serde(default)]
    flow_schemas: Vec<ValidationCase<FlowSchemaSpec>>,
    #[serde(default)]
    priority_levels: Vec<ValidationCase<PriorityLevelSpec>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ValidationCase<S> {
    name: String,
    object_name: String,
    spec: S,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    status: seaway_apf::object::Status,
    errors: Vec<Expected>,
    errors_when_zero_disallowed: Option<Vec<Expected>>,
    #[serde(rename = "note")]
    _note: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    field: String,
    #[serde(rename = "type")]
    class: String,
    #[serde(rename = "gist", default)]
    _gist: String,
}

pub(super) fn validation(file: Validation, tally: &mut Tally) {
    for case in file.flow_schemas {
        let metadata =
            Metadata { name: case.object_name, annotations: case.annotations, ..Metadata::default() };
        let errors = validate::flow_schema(&FlowSchema { metadata, spec: case.spec, status: case.status });
        tally.equal(case.name, found(&errors), wanted(&case.errors));
    }
    for case in file.priority_levels {
        let metadata =
            Metadata { name: case.object_name, annotations: case.annotations, ..Metadata::default() };
        let level = PriorityLevel { metadata, spec: case.spec, status: case.status };
        let errors = validate::priority_level(&level, Options { zero_shares: true });
        tally.equal(&case.name, found(&errors), wanted(&case.errors));
        let strict = case.errors_when_zero_disallowed.unwrap_or(case.errors);
        let errors = validate::priority_level(&level, Options { zero_shares: false });
        tally.equal((case.name, "zero disallowed"), found(&errors), wanted(&strict));
    }
}

fn found(errors: &[FieldError]) -> Vec<Value> {
    sorted(errors.iter().map(|e| json!([e.field, format!("{:?}", e.class)])).collect())
}

fn wanted(errors: &[Expected]) -> Vec<Value> {
    sorted(errors.iter().map(|e| json!([e.field, e.class])).collect())
}

fn sorted(mut rows: Vec<Value>) -> Vec<Value> {
    rows.sort_by_key(ToString::to_string);
    rows
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metrics {
    #[serde(rename = "format")]
    _format: String,
    #[serde(rename = "note")]
    _note: Option<String>,
    metrics: Vec<MetricCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MetricCase {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    labels: Option<Vec<String>>,
    buckets: Option<Vec<f64>>,
    #[serde(rename = "stability")]
    _stability: Option<String>,
    #[serde(rename = "help")]
    _help: Option<String>,
}

pub(super) fn metrics(file: Metrics, tally: &mut Tally) {
    tally.equal("number of families", FAMILIES.len(), file.metrics.len());
    for case in file.metrics {
        let family = FAMILIES.iter().find(|family| format!("{NAMESPACE}_{}", family.name) == case.name);
        let got = family.map(|family| {
            let (kind, buckets) = match family.kind {
                Kind::Counter => ("counter", None),
                Kind::Gauge => ("gauge", None),
                Kind::Histogram(bounds) => ("histogram", Some(bounds.to_vec())),
            };
            (kind.to_owned(), buckets, family.labels.iter().map(|&label| label.to_owned()).collect())
        });
        let expected = (case.kind, case.buckets, case.labels.unwrap_or_default());
        tally.equal(case.name, got, Some(expected));
    }
}

//! One object's text, read into a fact.

use std::sync::Arc;
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::api::{self, Metadata, Object};
use crate::{
    EndpointSlice, Kind, Namespace, Node, ObjectId, Pod, Service, ServiceCidr, ServiceImport, Warning,
    convert,
};

/// When the cluster noticed what led to the slice (kube-proxy's and the slice controller's).
const TRIGGER_ANNOTATION: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// The fact that an object states.
#[derive(Clone, Debug)]
pub(super) enum Fact {
    /// A Service.
    Service(Box<Service>),
    /// A slice.
    Slice(Slice),
    /// A Pod.
    Pod(Arc<Pod>),
    /// A Node.
    Node(Arc<Node>),
    /// A Namespace.
    Namespace(Arc<Namespace>),
    /// A ServiceCIDR.
    ServiceCidr(Arc<ServiceCidr>),
    /// A ServiceImport.
    ServiceImport(Arc<ServiceImport>),
    /// The object says nothing to Seaway.
    Nothing,
}

/// A slice, as part of what it belongs to: that may be both.
#[derive(Clone, Debug)]
pub(super) struct Slice {
    /// As part of a Service.
    pub(super) own: Option<Box<EndpointSlice>>,
    /// As part of a ServiceImport.
    pub(super) imported: Option<Box<EndpointSlice>>,
    /// When the change behind it was noticed.
    pub(super) triggered: Option<SystemTime>,
}

/// An object as it was read.
#[derive(Debug)]
pub(super) struct Reading {
    /// Its name, with its namespace if it has one.
    pub(super) name: String,
    /// The position of a watch that has seen it.
    pub(super) position: Option<String>,
    /// What it states, or why that is not known.
    pub(super) fact: Result<Fact, Warning>,
    /// What is doubtful about it.
    pub(super) notes: Vec<Warning>,
}

/// Reads an object of a kind.
///
/// # Errors
/// When not even its name can be made out.
pub(super) fn read(kind: Kind, text: &RawValue) -> serde_json::Result<Reading> {
    let mut notes = Vec::new();
    let text = text.get();
    let read = match kind {
        Kind::Service => typed::<api::Service>(text, |object| {
            Ok(Fact::Service(Box::new(convert::service(object, &mut notes)?)))
        }),
        Kind::EndpointSlice => typed::<api::EndpointSlice>(text, |object| {
            let own = convert::endpoint_slice(object, &mut notes)?.map(Box::new);
            let imported = convert::imported_slice(object, &mut notes)?.map(Box::new);
            let triggered = triggered(&object.metadata);
            Ok(Fact::Slice(Slice { own, imported, triggered }))
        }),
        Kind::Pod => {
            typed::<api::Pod>(text, |object| Ok(Fact::Pod(Arc::new(convert::pod(object, &mut notes)?))))
        }
        Kind::Node => {
            typed::<api::Node>(text, |object| Ok(Fact::Node(Arc::new(convert::node(object, &mut notes)?))))
        }
        Kind::Namespace => {
            typed::<api::Namespace>(text, |object| Ok(Fact::Namespace(Arc::new(convert::namespace(object)?))))
        }
        Kind::ServiceCidr => typed::<api::ServiceCidr>(text, |object| {
            Ok(Fact::ServiceCidr(Arc::new(convert::service_cidr(object, &mut notes)?)))
        }),
        Kind::ServiceImport => typed::<api::ServiceImport>(text, |object| {
            Ok(Fact::ServiceImport(Arc::new(convert::service_import(object, &mut notes)?)))
        }),
        Kind::Endpoints => typed::<api::Endpoints>(text, |_| Ok(Fact::Nothing)),
    };
    let (metadata, fact) = match read {
        Ok((metadata, fact)) => (metadata, fact),
        Err(misfit) => {
            let Head { metadata } = serde_json::from_str(text)?;
            let id = ObjectId { kind, name: name_of(&metadata) };
            let problem = format!("cannot be read: {}", misfit.message);
            (metadata, Err(id.warning(misfit.field, problem)))
        }
    };
    Ok(Reading { name: name_of(&metadata), position: metadata.resource_version, fact, notes })
}

/// `namespace/name`, or `name`.
pub(super) fn name_of(metadata: &Metadata) -> String {
    let name = metadata.name.as_deref().unwrap_or_default();
    match metadata.namespace.as_deref() {
        Some(namespace) if !namespace.is_empty() => format!("{namespace}/{name}"),
        _ => name.to_owned(),
    }
}

#[derive(serde::Deserialize)]
struct Head {
    metadata: Metadata,
}

struct Misfit {
    field: String,
    message: String,
}

fn typed<T: DeserializeOwned + Object>(
    text: &str,
    convert: impl FnOnce(&T) -> Result<Fact, Warning>,
) -> Result<(Metadata, Result<Fact, Warning>), Misfit> {
    match serde_json::from_str::<T>(text) {
        Ok(object) => {
            let fact = convert(&object);
            Ok((object.into_metadata(), fact))
        }
        // Rare enough to be parsed again for the field's name.
        Err(error) => {
            let parser = &mut serde_json::Deserializer::from_str(text);
            let field = serde_path_to_error::deserialize::<_, T>(parser).err();
            let field = field.map(|error| error.path().to_string()).filter(|path| path != ".");
            Err(Misfit { field: field.unwrap_or_default(), message: error.to_string() })
        }
    }
}

fn triggered(metadata: &Metadata) -> Option<SystemTime> {
    let text = metadata.annotations.as_ref()?.get(TRIGGER_ANNOTATION)?;
    Some(text.parse::<jiff::Timestamp>().ok()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Kind, text: &str, expected: &str) {
        let reading = read(kind, serde_json::from_str(text).unwrap()).unwrap();
        let found = match reading.fact {
            Ok(fact) => format!("{}: {fact:?}", reading.name),
            Err(warning) => warning.to_string(),
        };
        assert!(found.contains(expected), "{found}");
    }

    #[test]
    fn an_object_of_a_wrong_shape_is_named_with_its_field() {
        let meta = r#""metadata":{"namespace":"n","name":"a","resourceVersion":"7"}"#;
        check(
            Kind::Service,
            &format!(r#"{{{meta},"spec":{{"ports":[{{"port":"http"}}]}}}}"#),
            "Service n/a: spec.ports[0].port: cannot be read: invalid type: string \"http\"",
        );
        check(
            Kind::Service,
            &format!(r#"{{{meta},"spec":{{"ports":[{{"port":0}}]}}}}"#),
            "Service n/a: spec.ports[0].port: 0 is not a port",
        );
        check(Kind::Namespace, r#"{"metadata":{"name":"n"},"spec":{"finalizers":3}}"#, "n: Namespace(");
    }

    #[test]
    fn an_object_without_a_name_is_no_object() {
        assert!(read(Kind::Service, serde_json::from_str(r#"{"spec":{"ports":3}}"#).unwrap()).is_err());
    }

    #[test]
    fn slices_tell_when_their_change_was_noticed() {
        let text = r#"{"metadata":{"namespace":"n","name":"s","labels":{"kubernetes.io/service-name":"a"},
            "annotations":{"endpoints.kubernetes.io/last-change-trigger-time":"1970-01-01T00:00:02.5Z"}},
            "addressType":"IPv4","endpoints":null}"#;
        let Fact::Slice(slice) =
            read(Kind::EndpointSlice, serde_json::from_str(text).unwrap()).unwrap().fact.unwrap()
        else {
            panic!("not a slice");
        };
        assert_eq!(slice.own.unwrap().service.to_string(), "n/a");
        assert!(slice.imported.is_none());
        assert_eq!(slice.triggered, Some(SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(2500)));
    }
}

//! One object of a manifest, read into facts.

use std::fmt;
use std::sync::Arc;

use crate::api;
use crate::pool::Pool;

use super::shape::{Misfit, Source};
use crate::{
    AddressFamily, EndpointSlice, Kind, Namespace, Node, ObjectName, Pod, Service, ServiceCidr,
    ServiceImport, Warning, convert, defaults,
};

/// The facts of one object.
#[derive(Clone, Debug)]
pub(super) enum Object {
    /// A Service, and the families it declares.
    Service(Arc<Service>, Arc<[AddressFamily]>),
    /// A slice: as part of a Service, and as part of a ServiceImport. It is at least one of them.
    EndpointSlice([Option<Arc<EndpointSlice>>; 2]),
    /// An Endpoints object.
    Endpoints(Arc<Mirror>),
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
}

const _: () = assert!(size_of::<Object>() <= 32, "there is one for each object of the folder");

/// An Endpoints object, and the slices that mirror it.
#[derive(Debug)]
pub(super) struct Mirror {
    pub(super) name: ObjectName,
    pub(super) slices: Arc<[Arc<EndpointSlice>]>,
}

/// Why there is no object.
pub(super) enum Refusal {
    /// It does not have the shape of its kind.
    Shape(Misfit),
    /// It says something that the API server would refuse.
    Content(Warning),
}

/// Reads an object of a known kind; `None` for one that says nothing to Seaway. Paths of fields that
/// the kind does not have are added to `unknown`.
pub(super) fn read(
    kind: Kind,
    source: impl Source,
    unknown: &mut Vec<String>,
    notes: &mut Vec<Warning>,
) -> Result<Option<Object>, Refusal> {
    Ok(Some(match kind {
        Kind::Service => {
            let mut object: api::Service = source.decode(unknown)?;
            defaults::service(&mut object, notes);
            let families = families(&object);
            Object::Service(Arc::new(convert::service(&object, notes)?), families)
        }
        Kind::EndpointSlice => {
            let mut object: api::EndpointSlice = source.decode(unknown)?;
            defaults::endpoint_slice(&mut object);
            let own = convert::endpoint_slice(&object, notes)?.map(Arc::new);
            let imported = convert::imported_slice(&object, notes)?.map(Arc::new);
            if own.is_none() && imported.is_none() {
                return Ok(None);
            }
            Object::EndpointSlice([own, imported])
        }
        Kind::Endpoints => {
            let mut object: api::Endpoints = source.decode(unknown)?;
            defaults::namespace_of(&mut object.metadata);
            let (name, slices) = convert::endpoints(&object, notes)?;
            Object::Endpoints(Arc::new(Mirror { name, slices: slices.into_iter().map(Arc::new).collect() }))
        }
        Kind::Pod => {
            let mut object: api::Pod = source.decode(unknown)?;
            defaults::namespace_of(&mut object.metadata);
            Object::Pod(Arc::new(convert::pod(&object, notes)?))
        }
        Kind::Node => Object::Node(Arc::new(convert::node(&source.decode(unknown)?, notes)?)),
        Kind::Namespace => {
            let mut object: api::Namespace = source.decode(unknown)?;
            defaults::namespace(&mut object);
            Object::Namespace(Arc::new(convert::namespace(&object)?))
        }
        Kind::ServiceCidr => {
            Object::ServiceCidr(Arc::new(convert::service_cidr(&source.decode(unknown)?, notes)?))
        }
        Kind::ServiceImport => {
            let mut object: api::ServiceImport = source.decode(unknown)?;
            defaults::namespace_of(&mut object.metadata);
            Object::ServiceImport(Arc::new(convert::service_import(&object, notes)?))
        }
    }))
}

impl Object {
    /// Takes the texts that other objects have too from a pool, while nobody else has the object.
    pub(super) fn share(&mut self, pool: &mut Pool) {
        match self {
            Self::Service(service, families) => {
                pool.families(families);
                _ = Arc::get_mut(service).map(|service| pool.service(service));
            }
            Self::EndpointSlice(slices) => {
                slices.iter_mut().flatten().filter_map(Arc::get_mut).for_each(|slice| pool.slice(slice));
            }
            Self::Endpoints(..)
            | Self::Pod(_)
            | Self::Node(_)
            | Self::Namespace(_)
            | Self::ServiceCidr(_)
            | Self::ServiceImport(_) => {}
        }
    }

    /// Its kind.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Service(..) => Kind::Service,
            Self::EndpointSlice(..) => Kind::EndpointSlice,
            Self::Endpoints(..) => Kind::Endpoints,
            Self::Pod(_) => Kind::Pod,
            Self::Node(_) => Kind::Node,
            Self::Namespace(_) => Kind::Namespace,
            Self::ServiceCidr(_) => Kind::ServiceCidr,
            Self::ServiceImport(_) => Kind::ServiceImport,
        }
    }

    /// Its name; objects of one kind and name are one object.
    pub(super) fn name(&self) -> &dyn fmt::Display {
        match self {
            Self::Service(service, _) => &service.name,
            Self::EndpointSlice(slices) => match slices.iter().flatten().next() {
                Some(slice) => &slice.name,
                None => &"",
            },
            Self::Endpoints(mirror) => &mirror.name,
            Self::Pod(pod) => &pod.name,
            Self::Node(node) => &node.name,
            Self::Namespace(namespace) => &namespace.name,
            Self::ServiceCidr(range) => &range.name,
            Self::ServiceImport(import) => &import.name,
        }
    }
}

impl From<Misfit> for Refusal {
    fn from(misfit: Misfit) -> Self {
        Self::Shape(misfit)
    }
}

impl From<Warning> for Refusal {
    fn from(warning: Warning) -> Self {
        Self::Content(warning)
    }
}

fn families(object: &api::Service) -> Arc<[AddressFamily]> {
    let names = object.spec.as_ref().and_then(|spec| spec.ip_families.as_deref()).unwrap_or_default();
    let known = names.iter().filter_map(|name| match name.as_str() {
        "IPv4" => Some(AddressFamily::Ipv4),
        "IPv6" => Some(AddressFamily::Ipv6),
        _ => None,
    });
    known.collect()
}

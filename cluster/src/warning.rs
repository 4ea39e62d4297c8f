//! Warnings: what was wrong with an input, and where.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Something wrong with one object, document or file. It never stops the others.
///
/// Warnings compare and order by value, so that a reader can tell the new ones from those it has
/// already reported.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// Where in which file; `None` for objects that came from the API server.
    pub place: Option<Place>,
    /// The object it is about; `None` where none could be made out.
    pub object: Option<ObjectId>,
    /// The field as a path such as `spec.ports[0].port`; empty for the object as a whole.
    pub field: String,
    /// What is wrong, and what follows from it.
    pub problem: String,
}

/// A place in a manifest file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, as the folder was named plus the file's name.
    pub file: Arc<Path>,
    /// The YAML document, counted from 1; 0 is the file as a whole.
    pub document: usize,
    /// The line of the file, counted from 1; 0 where there is none.
    pub line: u64,
}

/// Kind and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectId {
    /// Its kind.
    pub kind: Kind,
    /// `namespace/name`, or `name` for kinds without a namespace.
    pub name: String,
}

/// The kinds that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `v1` Namespace.
    Namespace,
    /// `v1` Node.
    Node,
    /// `v1` Pod.
    Pod,
    /// `v1` Service.
    Service,
    /// `discovery.k8s.io/v1` EndpointSlice.
    EndpointSlice,
    /// `v1` Endpoints, the predecessor of EndpointSlice.
    Endpoints,
    /// `networking.k8s.io/v1` ServiceCIDR.
    ServiceCidr,
    /// `multicluster.x-k8s.io/v1alpha1` ServiceImport.
    ServiceImport,
}

impl Warning {
    /// A warning about a file or document, where it is not about one object.
    pub(crate) fn of_place(place: Place, problem: impl Into<String>) -> Self {
        Self { place: Some(place), object: None, field: String::new(), problem: problem.into() }
    }

    /// The same warning, found at `place`.
    #[must_use]
    pub fn at(self, place: Place) -> Self {
        Self { place: Some(place), ..self }
    }
}

impl Place {
    /// A file or folder as a whole.
    pub(crate) fn whole(file: &Path) -> Self {
        Self { file: file.into(), document: 0, line: 0 }
    }
}

impl Kind {
    /// The kind as manifests spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::Node => "Node",
            Self::Pod => "Pod",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Endpoints => "Endpoints",
            Self::ServiceCidr => "ServiceCIDR",
            Self::ServiceImport => "ServiceImport",
        }
    }
}

impl ObjectId {
    /// A warning about this object.
    pub fn warning(&self, field: impl Into<String>, problem: impl Into<String>) -> Warning {
        Warning { place: None, object: Some(self.clone()), field: field.into(), problem: problem.into() }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.problem)
    }
}

impl std::error::Error for Warning {}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.document > 0 {
            write!(f, ", document {}", self.document)?;
        }
        if self.line > 0 {
            write!(f, ", line {}", self.line)?;
        }
        Ok(())
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

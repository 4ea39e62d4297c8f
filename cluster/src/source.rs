//! One way to follow facts, wherever they come from.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use crate::manifests::{self, FollowOptions};
use crate::{Update, api_server};

/// Where facts come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A folder of manifests.
    Manifests(PathBuf),
    /// A cluster's API server.
    ApiServer {
        /// How to reach it; `None` means as a pod of the cluster does.
        kubeconfig: Option<PathBuf>,
    },
}

/// Which facts are wanted. A folder gives all it has; from an API server only these are fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wants {
    /// Services without a virtual address, those of other proxies, and the slices of both.
    pub headless: bool,
    /// Nodes.
    pub nodes: Scope,
    /// Pods.
    pub pods: Scope,
    /// Namespaces.
    pub namespaces: bool,
    /// ServiceCIDRs, where the cluster has them (Kubernetes 1.33).
    pub service_cidrs: bool,
    /// ServiceImports and their slices, where the cluster has them.
    pub imports: bool,
}

/// How many objects of a kind are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// None.
    None,
    /// Those of one node: itself, or the Pods that run on it.
    Node(Arc<str>),
    /// All.
    All,
}

/// Why a source cannot be followed at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder cannot serve as one.
    #[error(transparent)]
    Manifests(#[from] manifests::Error),
    /// Nothing tells how to reach the API server.
    #[error(transparent)]
    ApiServer(#[from] api_server::Error),
}

impl Wants {
    /// What a proxy on a node reads.
    pub fn proxy(node: impl Into<Arc<str>>) -> Self {
        let node = node.into();
        Self {
            headless: false,
            nodes: Scope::Node(Arc::clone(&node)),
            pods: Scope::Node(node),
            namespaces: false,
            service_cidrs: true,
            imports: false,
        }
    }

    /// What both read.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            headless: self.headless || other.headless,
            nodes: self.nodes.with(other.nodes),
            pods: self.pods.with(other.pods),
            namespaces: self.namespaces || other.namespaces,
            service_cidrs: self.service_cidrs || other.service_cidrs,
            imports: self.imports || other.imports,
        }
    }

    /// What a DNS server reads; it needs Pods, Nodes and ServiceImports for some of its options only.
    pub fn names(pods: bool, nodes: bool) -> Self {
        let all = |wanted: bool| if wanted { Scope::All } else { Scope::None };
        Self {
            headless: true,
            nodes: all(nodes),
            pods: all(pods),
            namespaces: true,
            service_cidrs: false,
            imports: false,
        }
    }
}

impl Scope {
    fn with(self, other: Self) -> Self {
        match (self, other) {
            (one, Self::None) | (Self::None, one) => one,
            (one, other) if one == other => one,
            _ => Self::All,
        }
    }
}

/// Follows a source in tasks of the current tokio runtime, until the last receiver is gone. Returns
/// once there are facts of every kind that is wanted; for an API server that is not there, this
/// waits, says so in the log, and goes on trying. The receiver is marked changed when the snapshot
/// or the warnings change.
///
/// # Errors
/// [`Error`] for what waiting would not mend. Later troubles are warnings of the update.
pub async fn follow(source: &Source, wants: &Wants) -> Result<watch::Receiver<Update>, Error> {
    match source {
        Source::Manifests(folder) => Ok(manifests::follow(folder, FollowOptions::default())?),
        Source::ApiServer { kubeconfig } => {
            let options = api_server::Options::default();
            Ok(api_server::follow(kubeconfig.as_deref(), wants, options).await?)
        }
    }
}

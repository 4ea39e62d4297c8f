//! Where the facts come from: flags shared by every command that follows a cluster.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args as ClapArgs;
use seaway_cluster::Update;
use seaway_cluster::source::{self, Source, Wants};
use tokio::sync::watch;

/// The source of facts: a folder, or a cluster's API server.
#[derive(Clone, Debug, ClapArgs)]
#[group(skip)]
pub(crate) struct Args {
    /// Follow the Kubernetes manifests in this folder instead of a cluster: Services, EndpointSlices,
    /// Endpoints, Pods, Nodes and Namespaces.
    #[arg(long, value_name = "DIR", env = "SEAWAY_MANIFESTS", conflicts_with = "kubeconfig")]
    pub(crate) manifests: Option<PathBuf>,
    /// Reach the API server as this file says (default: as a pod of the cluster does).
    #[arg(long, value_name = "FILE", env = "SEAWAY_KUBECONFIG")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

impl Args {
    /// Whether a source was named, rather than left to be the cluster that this runs in.
    pub(crate) fn named(&self) -> bool {
        self.manifests.is_some() || self.kubeconfig.is_some()
    }

    /// The source that the flags name.
    pub(crate) fn source(&self) -> Source {
        match &self.manifests {
            Some(folder) => Source::Manifests(folder.clone()),
            None => Source::ApiServer { kubeconfig: self.kubeconfig.clone() },
        }
    }

    /// Follows the source within the current runtime. Returns once there are facts.
    pub(crate) async fn follow(&self, wants: &Wants) -> Result<watch::Receiver<Update>> {
        Ok(source::follow(&self.source(), wants).await?)
    }
}

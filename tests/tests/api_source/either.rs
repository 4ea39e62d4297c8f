//! The stub of an API server, or a real one, with a kubeconfig that leads to it.

use std::path::PathBuf;

use seaway_cluster::api_server::Options;
use seaway_cluster::source::Wants;
use seaway_harness::{ApiBehaviour, RealServer};
use serde_json::Value;
use tempfile::TempDir;

use crate::api_source::setting::{Facts, Setting};

pub(crate) enum Either {
    Stub(Setting),
    Real { server: Box<RealServer>, kubeconfig: PathBuf, _folder: TempDir },
}

impl Either {
    pub(crate) fn stub(behaviour: ApiBehaviour) -> Self {
        Self::Stub(Setting::new(behaviour))
    }

    /// A real one, where its programs are.
    pub(crate) fn real() -> Option<Self> {
        let server = Box::new(RealServer::start()?);
        let folder = TempDir::with_prefix("seaway-api-").unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        server.write_kubeconfig(&kubeconfig);
        Some(Self::Real { server, kubeconfig, _folder: folder })
    }

    pub(crate) fn put_all(&self, objects: impl IntoIterator<Item = Value>) {
        match self {
            Self::Stub(setting) => setting.server.put_all(objects),
            Self::Real { server, .. } => objects.into_iter().for_each(|object| server.put(object)),
        }
    }

    pub(crate) fn delete(&self, kind: &str, name: &str) {
        match self {
            Self::Stub(setting) => setting.server.delete(kind, name),
            Self::Real { server, .. } => server.delete(kind, name),
        }
    }

    pub(crate) fn set_down(&mut self, down: bool) {
        match self {
            Self::Stub(setting) => setting.server.set_down(down),
            Self::Real { server, .. } => server.set_down(down),
        }
    }

    pub(crate) async fn follow(&self, options: Options) -> Facts {
        match self {
            Self::Stub(setting) => setting.follow(options).await,
            Self::Real { kubeconfig, .. } => {
                Facts::follow(kubeconfig, &Wants::proxy("node-1"), options).await
            }
        }
    }
}

//! The way to the API server: as a kubeconfig says, or as a pod of the cluster.

use std::path::{Path, PathBuf};

use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use super::Options;

/// Why it is not known how to reach the API server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a pod of a cluster, or one without a service account.
    #[error(
        "this is no pod of a cluster with a service account; give --kubeconfig FILE, or --manifests DIR to \
         work without a cluster"
    )]
    NotInCluster(#[source] InClusterError),
    /// The kubeconfig cannot be used.
    #[error("kubeconfig {}", .file.display())]
    Kubeconfig {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: KubeconfigError,
    },
    /// Certificates or keys cannot be used.
    #[error("cannot set up the connection to the API server")]
    Client(#[source] Box<kube::Error>),
}

/// A client. Credentials are read anew with each.
///
/// # Errors
/// [`Error`]
pub(super) async fn connect(kubeconfig: Option<&Path>, options: &Options) -> Result<Client, Error> {
    let mut config = match kubeconfig {
        None => Config::incluster().map_err(Error::NotInCluster)?,
        Some(file) => {
            let wrong = |source| Error::Kubeconfig { file: file.to_owned(), source };
            let read = Kubeconfig::read_from(file).map_err(wrong)?;
            let chosen = KubeConfigOptions::default();
            Config::from_custom_kubeconfig(read, &chosen).await.map_err(wrong)?
        }
    };
    config.connect_timeout = Some(options.silence.min(std::time::Duration::from_secs(10)));
    config.read_timeout = Some(options.silence);
    // The watchers wait and try again themselves, and have to know of every failure to do so.
    config.default_retry = false;
    Client::try_from(config).map_err(|source| Error::Client(Box::new(source)))
}

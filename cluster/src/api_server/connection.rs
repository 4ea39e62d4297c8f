//! The way to the API server: as a kubeconfig says, or as a pod of the cluster.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::AsyncBufRead;
use http::Request;
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use super::Options;
use crate::requests::Requests;

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

/// A client that counts what it asks.
#[derive(Clone)]
pub(super) struct Connection {
    kubeconfig: Option<PathBuf>,
    options: Options,
    client: Client,
    host: Arc<str>,
    requests: Requests,
}

impl Connection {
    /// A connection to the server that the kubeconfig names, or to the one of the pod's cluster.
    ///
    /// # Errors
    /// [`Error`]
    pub(super) async fn new(
        kubeconfig: Option<PathBuf>,
        options: Options,
        requests: Requests,
    ) -> Result<Self, Error> {
        let (client, host) = client(kubeconfig.as_deref(), &options).await?;
        Ok(Self { kubeconfig, options, client, host, requests })
    }

    /// Reads the credentials anew.
    ///
    /// # Errors
    /// [`Error`]; it stays as it was.
    pub(super) async fn renew(&mut self) -> Result<(), Error> {
        (self.client, self.host) = client(self.kubeconfig.as_deref(), &self.options).await?;
        Ok(())
    }

    /// The whole answer to a request.
    pub(super) async fn text(&self, request: Request<Vec<u8>>) -> kube::Result<String> {
        self.counted(self.client.request_text(request)).await
    }

    /// The answer to a request, as it comes.
    pub(super) async fn stream(&self, request: Request<Vec<u8>>) -> kube::Result<impl AsyncBufRead + use<>> {
        self.counted(self.client.request_stream(request)).await
    }

    async fn counted<T>(&self, answer: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
        let begun = Instant::now();
        let answer = answer.await;
        let code = match &answer {
            Ok(_) => Some(200),
            Err(kube::Error::Api(status)) => Some(status.code),
            Err(_) => None,
        };
        self.requests.note(&self.host, code, begun.elapsed());
        answer
    }
}

/// A client, and the host that it asks.
async fn client(kubeconfig: Option<&Path>, options: &Options) -> Result<(Client, Arc<str>), Error> {
    let mut config = match kubeconfig {
        None => Config::incluster().map_err(Error::NotInCluster)?,
        Some(file) => {
            let wrong = |source| Error::Kubeconfig { file: file.to_owned(), source };
            let read = Kubeconfig::read_from(file).map_err(wrong)?;
            let chosen = KubeConfigOptions::default();
            Config::from_custom_kubeconfig(read, &chosen).await.map_err(wrong)?
        }
    };
    config.connect_timeout = Some(options.silence.min(Duration::from_secs(10)));
    config.read_timeout = Some(options.silence);
    // The watchers wait and try again themselves, and have to know of every failure to do so.
    config.default_retry = false;
    let host = config.cluster_url.authority().map_or_else(String::new, ToString::to_string);
    let client = Client::try_from(config).map_err(|source| Error::Client(Box::new(source)))?;
    Ok((client, host.into()))
}

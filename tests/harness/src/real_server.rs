//! A real API server and its etcd, where their programs are there: what the stub of an API server is
//! held against.
//!
//! The programs are those in the folder `KUBEBUILDER_ASSETS`, else those on `PATH`. Both listen on the
//! loopback interface, on ports that were free. The agent has the rights that `deploy/` gives it.

mod client;
mod credentials;
mod programs;

use std::fs;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::wait_for;
use client::Client;
use credentials::Credentials;
use programs::{Program, Running};

/// A server looks up much before it is ready, and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);
/// Of the cluster's Services; those of the tests are in it.
const SERVICE_RANGE: &str = "10.96.0.0/12";
/// Fields of an object that are the server's to set.
const OWN_FIELDS: [&str; 5] = ["uid", "generation", "resourceVersion", "managedFields", "ownerReferences"];

/// A running server; it ends on drop, and etcd with it.
#[derive(Debug)]
pub struct RealServer {
    server: Option<Running>,
    program: Program,
    client: Client,
    credentials: Credentials,
    _etcd: Running,
    _folder: TempDir,
}

impl RealServer {
    /// Starts one, where there are programs of it. Where there are none, that is said on standard error:
    /// it is no skipped test, since the stub is followed all the same.
    ///
    /// # Panics
    /// When it does not become ready; the message has the end of its log.
    #[must_use]
    pub fn start() -> Option<Self> {
        let Some([etcd, server]) = programs::find(["etcd", "kube-apiserver"]) else {
            writeln!(io::stderr(), "note: no etcd and kube-apiserver here: the stub alone is followed").ok();
            return None;
        };
        let folder = TempDir::with_prefix("seaway-server-").expect("a temporary folder");
        let [client_port, peer_port, port] = free_ports();
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let etcd = Program::new(etcd, folder.path(), "etcd").arguments([
            format!("--data-dir={}", folder.path().join("data").display()),
            format!("--listen-client-urls={}", url(client_port)),
            format!("--advertise-client-urls={}", url(client_port)),
            format!("--listen-peer-urls={}", url(peer_port)),
            format!("--initial-advertise-peer-urls={}", url(peer_port)),
            format!("--initial-cluster=default={}", url(peer_port)),
        ]);
        let credentials = Credentials::write(folder.path());
        let program = Program::new(server, folder.path(), "kube-apiserver").arguments([
            format!("--etcd-servers={}", url(client_port)),
            format!("--secure-port={port}"),
            "--bind-address=127.0.0.1".into(),
            "--advertise-address=127.0.0.1".into(),
            "--endpoint-reconciler-type=none".into(),
            format!("--service-cluster-ip-range={SERVICE_RANGE}"),
            "--service-account-issuer=https://localhost".into(),
            format!("--service-account-key-file={}", credentials.key.display()),
            format!("--service-account-signing-key-file={}", credentials.key.display()),
            format!("--tls-cert-file={}", credentials.certificate.display()),
            format!("--tls-private-key-file={}", credentials.key.display()),
            format!("--token-auth-file={}", credentials.tokens.display()),
            "--authorization-mode=RBAC".into(),
            "--disable-admission-plugins=ServiceAccount".into(),
        ]);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let client = Client::new(address, credentials.trusted(), credentials::ADMIN);
        let etcd = etcd.start();
        let mut real = Self { server: None, program, client, credentials, _etcd: etcd, _folder: folder };
        real.set_down(false);
        real.put(json!({"kind": "Namespace", "metadata": {"name": "n"}}));
        real.grant();
        Some(real)
    }

    /// Gives the agent the rights that are deployed.
    fn grant(&self) {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/kustomize/rbac.yaml");
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
        let role = text.split("\n---\n").find(|text| text.contains("kind: ClusterRole\n"));
        self.client.apply("ClusterRole", None, "seaway", role.expect("a role"));
        let subject =
            json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": credentials::USER});
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "seaway"});
        let metadata = json!({"name": "seaway"});
        self.put(json!({"kind": "ClusterRoleBinding", "metadata": metadata, "roleRef": role, "subjects": [subject]}));
    }

    /// Creates or replaces an object, given with its `kind` and `metadata`.
    ///
    /// # Panics
    /// When the server does not take it.
    pub fn put(&self, mut object: Value) {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let kind = text(&object["kind"]).unwrap_or_default();
        let (namespace, name) = (text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]));
        object["apiVersion"] = client::api_version(&kind).into();
        if let Some(metadata) = object["metadata"].as_object_mut() {
            OWN_FIELDS.iter().for_each(|field| _ = metadata.remove(*field));
        }
        self.client.apply(&kind, namespace.as_deref(), &name.unwrap_or_default(), &object.to_string());
    }

    /// Removes an object by its kind and `namespace/name` or `name`.
    ///
    /// # Panics
    /// When it is not there.
    pub fn delete(&self, kind: &str, name: &str) {
        let (namespace, name) =
            name.split_once('/').map_or((None, name), |(space, name)| (Some(space), name));
        self.client.delete(kind, namespace, name);
    }

    /// Ends the server, or starts it again on what etcd has, and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready; the message has the end of its log.
    pub fn set_down(&mut self, down: bool) {
        self.server = None;
        if !down {
            let mut server = self.program.start();
            wait_for("the API server to be ready", PATIENCE, || {
                server.check();
                self.client.is_ready()
            });
            self.server = Some(server);
        }
    }

    /// Writes a kubeconfig that leads here, for the agent.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_kubeconfig(&self, file: &Path) {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters: [{{name: test, cluster: {{server: 'https://{}', certificate-authority: {}}}}}]\n\
             users: [{{name: test, user: {{token: {}}}}}]\n\
             contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n",
            self.client.address(),
            self.credentials.certificate.display(),
            credentials::AGENT,
        );
        fs::write(file, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", file.display()));
    }
}

/// Ports that were free a moment ago, each another one.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners =
        [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port of the loopback interface"));
    listeners.map(|listener| listener.local_addr().expect("a listener has an address").port())
}

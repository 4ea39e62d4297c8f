//! A folder of manifests: what counts, what stays when something breaks, and how edits arrive.

#[path = "manifest_dir/follow.rs"]
mod follow;
#[path = "manifest_dir/order.rs"]
mod order;
#[path = "manifest_dir/reload.rs"]
mod reload;

use std::fs;
use std::path::Path;

use seaway_cluster::manifests::Update;
use seaway_cluster::{Service, Snapshot};
use tempfile::TempDir;

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

/// A Service of `default` with one port.
fn service(name: &str, port: u16) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  clusterIP: 10.96.0.1\n  ports:\n  \
         - port: {port}\n"
    )
}

/// The Services as `name:port`, in order; 0 is no port.
fn services(snapshot: &Snapshot) -> String {
    let port = |service: &Service| service.ports.first().map_or(0, |port| port.port);
    let services = snapshot.services.values();
    let names: Vec<_> = services.map(|service| format!("{}:{}", service.name.name, port(service))).collect();
    names.join(" ")
}

/// The warnings as texts, with the folder's path taken off.
fn warnings(update: &Update, dir: &Path) -> Vec<String> {
    let prefix = format!("{}/", dir.display());
    let whole = dir.display().to_string();
    let texts = update.warnings.iter().map(ToString::to_string);
    texts.map(|text| text.replace(&prefix, "").replace(&whole, "FOLDER")).collect()
}

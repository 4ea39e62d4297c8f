//! A folder of manifests as a source of facts: ordinary Kubernetes YAML or JSON, without a cluster.
//!
//! Read are the files directly in the folder whose names end in `.yaml`, `.yml` or `.json`, as
//! `kubectl apply -f FOLDER` does without `--recursive`; names that begin with a dot are editors'
//! and mounts' business and are passed over. Each file holds any number of documents, each
//! document an object or a list of objects. Kinds that Seaway does not read are passed over.
//! `status` is read too, since no controller fills it in.
//!
//! What goes wrong stays where it is:
//!
//! | what | follows |
//! |---|---|
//! | a file, document or object that cannot be read | warning; what the file said before stays in force, all of it; a new file counts as far as it is sound |
//! | a file that has become blank | the same: delete the file to remove its objects |
//! | one object in two places | warning; the first place counts, files in order of their names |
//! | the folder cannot be listed, or holds no manifest, or no object | warning; the last snapshot stays in force; at the start an [`Error`] |
//! | a file is gone while others remain | its objects are gone |

mod decode;
mod dir;
mod document;
mod files;
mod follow;
mod header;
mod object;
mod reading;
mod settle;
mod shape;
mod unread;
mod watcher;

pub use crate::Update;
pub use dir::ManifestDir;
pub use follow::{FollowOptions, follow};

use std::io;
use std::path::{Path, PathBuf};

use crate::{Snapshot, Warning};

/// Why a folder cannot serve as a source, at the start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there, is no folder, or may not be read.
    #[error("cannot list the manifest folder {}", dir.display())]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No file in it has a manifest's name.
    #[error("the manifest folder {} holds no file named *.yaml, *.yml or *.json", dir.display())]
    NoManifests {
        /// The folder.
        dir: PathBuf,
    },
    /// Its files hold no object that Seaway reads. Nothing tells this from a folder that is not
    /// ready yet, and acting on it would remove every Service.
    #[error(
        "the manifest folder {} holds no Service, EndpointSlice, Endpoints, Pod, Node, Namespace or ServiceImport{}",
        dir.display(),
        first(warnings)
    )]
    NoObjects {
        /// The folder.
        dir: PathBuf,
        /// What is wrong with the files.
        warnings: Vec<Warning>,
    },
}

impl Snapshot {
    /// The facts of manifests in a text, and what is wrong with them. Nothing is added to what the
    /// text says but the slices that a cluster's controllers would make.
    pub fn from_manifests(text: &str) -> (Self, Vec<Warning>) {
        let mut files = files::Files::default();
        files.put(Path::new("text"), decode::contents(Path::new("text"), text));
        files.merge()
    }
}

fn first(warnings: &[Warning]) -> String {
    warnings.first().map(|warning| format!(" that can be read: {warning}")).unwrap_or_default()
}

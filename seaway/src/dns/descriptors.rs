//! As many open files as the system lets a process have: each query that waits for an upstream has a socket.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one, and warns where `needed` descriptors do not fit.
pub(crate) fn raise(needed: usize) {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "the soft limit of open files stays");
    }
    let most = getrlimit(Resource::Nofile).current;
    if let Some(most) = most.filter(|most| *most < needed as u64) {
        tracing::warn!(
            "this process may open {most} files, and while upstreams are silent it can need {needed}: queries \
             fail then; raise its hard limit (ulimit -Hn, LimitNOFILE=, or the container runtime's)"
        );
    }
}

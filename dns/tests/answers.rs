//! What one server block answers, without sockets.

mod answers {
    pub(crate) mod asked;
    mod compat;
    mod endpoints;
    mod multicluster;
    mod plugins;
    mod serial;
    mod zonal;
}

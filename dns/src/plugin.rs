//! Plugins beside the cluster's names: each looks at a query and answers it, changes it or lets it
//! pass. Most blocks have none of them, and then none is looked at.

pub mod acl;
pub mod autopath;
pub mod errors;
pub mod external;
pub mod hosts;
pub mod log;
pub mod rewrite;
pub mod template;
pub mod transfer;

//! What clients of a server with flow control see.

/// Response header with the identity of the level's object.
pub const PRIORITY_LEVEL_UID: &str = "X-Kubernetes-PF-PriorityLevel-UID";
/// Response header with the identity of the schema's object.
pub const FLOW_SCHEMA_UID: &str = "X-Kubernetes-PF-FlowSchema-UID";
/// Status of a refused request.
pub const REFUSED_STATUS: u16 = 429;
/// Body of a refused request.
pub const REFUSED_BODY: &str = "Too many requests, please try again later.\n";

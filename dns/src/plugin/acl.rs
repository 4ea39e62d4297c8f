//! Who may ask for what: the `acl` plugin.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::name::{Name, Zone};

/// One `acl` line with its policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    /// The zones that it is about.
    pub zones: Vec<Zone>,
    /// Looked at in order; the first that fits decides.
    pub policies: Vec<Policy>,
}

/// What becomes of some queries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What becomes of them.
    pub verdict: Verdict,
    /// The types asked for; empty means all.
    pub kinds: Vec<u16>,
    /// Where they come from; empty means from everywhere.
    pub sources: Vec<IpNet>,
}

/// What becomes of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is looked up.
    Allow,
    /// It is refused.
    Block,
    /// It gets an answer without records.
    Filter,
    /// It gets no answer.
    Drop,
}

impl Acl {
    /// What becomes of a query for a name and type from an address.
    pub fn verdict(&self, name: &Name<'_>, kind: u16, from: Option<IpAddr>) -> Verdict {
        if !self.zones.iter().any(|zone| name.is_within(zone)) {
            return Verdict::Allow;
        }
        let from = from.map(|from| from.to_canonical());
        let fits = |policy: &&Policy| {
            let kinds = policy.kinds.is_empty() || policy.kinds.contains(&kind);
            let source = from.is_some_and(|from| policy.sources.iter().any(|range| range.contains(&from)));
            kinds && (policy.sources.is_empty() || source)
        };
        self.policies.iter().find(fits).map_or(Verdict::Allow, |policy| policy.verdict)
    }
}

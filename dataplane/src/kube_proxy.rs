//! What a kube-proxy left behind on this node: its rules go on translating what Seaway passes on.
//!
//! Looked for are the tables of its nftables mode ([`nftables`]), its chains in iptables, whether that is
//! a front of nftables or the legacy one ([`legacy`]), and the interface of its IPVS mode.

mod legacy;
mod nftables;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// The chain that every rule of the iptables mode is reached by.
const OWN_CHAIN: &str = "KUBE-SERVICES";
/// The interface of the IPVS mode.
const OWN_INTERFACE: &str = "kube-ipvs0";

/// What there is of it in the calling thread's network namespace, in words.
///
/// # Errors
/// The kernel's, where it does not list its rules: without the right, say.
pub fn leftovers() -> io::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    if Path::new("/sys/class/net").join(OWN_INTERFACE).exists() {
        found.insert(format!("interface {OWN_INTERFACE} (IPVS)"));
    }
    found.extend(nftables::leftovers()?);
    found.extend(legacy::leftovers()?);
    Ok(found)
}

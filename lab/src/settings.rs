//! What a node does with packets beside routing them: firewall, kernel settings, offloads.

use crate::Offload;

/// A node's firewall, kernel settings and offloads.
///
/// The default is the node as people run it: [`hostile`](Self::hostile). A gentler one starts from
/// [`gentle`](Self::gentle), which takes the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSettings {
    /// What its filter chains do.
    pub firewall: Firewall,
    /// Drops packets whose source is not reached by the link they came in by (RFC 3704 strict mode):
    /// `rp_filter=1`, and for IPv6 a rule as firewalld has it.
    pub reverse_path_filter: bool,
    /// Masquerades what leaves the pods' networks, fully random, as CNI plugins do.
    pub masquerade: bool,
    /// What the node's links do with checksums and segmentation.
    pub offload: Offload,
    /// Hands bridged packets to the firewall (`bridge-nf-call-iptables=1`).
    pub bridge_netfilter: bool,
    /// Gives it a second uplink, to a network where nobody asks for Services.
    pub second_uplink: bool,
    /// Why it is gentler than [`hostile`](Self::hostile), if it is.
    pub reason: Option<&'static str>,
}

/// What a node's filter chains do with packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firewall {
    /// There is none, and no connection tracking.
    Off,
    /// Accepts everything but what connection tracking calls invalid, in input, forward and output:
    /// kube-proxy's own rule in iptables mode, Calico, firewalld.
    DropInvalid,
    /// Accepts replies, and as new only what a node has to accept: to and from pods, the ports of
    /// Kubernetes, ICMP. Everything else is dropped, what is invalid first.
    DropByDefault,
}

impl NodeSettings {
    /// A node as people run it: nothing is accepted that a firewall, the kernel or a CNI plugin would
    /// not accept somewhere.
    #[must_use]
    pub const fn hostile() -> Self {
        Self {
            firewall: Firewall::DropByDefault,
            reverse_path_filter: true,
            masquerade: true,
            offload: Offload::Full,
            bridge_netfilter: true,
            second_uplink: true,
            reason: None,
        }
    }

    /// A node that lets everything through. `why` says what the test would not show on a hostile one.
    #[must_use]
    pub const fn gentle(why: &'static str) -> Self {
        Self {
            firewall: Firewall::Off,
            reverse_path_filter: false,
            masquerade: false,
            offload: Offload::Wire,
            bridge_netfilter: false,
            second_uplink: false,
            reason: Some(why),
        }
    }
}

impl Default for NodeSettings {
    fn default() -> Self {
        Self::hostile()
    }
}

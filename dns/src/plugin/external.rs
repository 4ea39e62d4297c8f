//! A zone for those outside of the cluster: the `k8s_external` plugin's options.

use std::net::IpAddr;

use crate::name::Zone;

/// What answers live where the plugin does not say, in seconds.
pub const TTL_DEFAULT_S: u32 = 5;
/// The name of the zone's own part.
pub const APEX_DEFAULT: &[u8] = b"\x03dns";

/// A `k8s_external` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    /// The zones; the first forward one is where addresses lead back to.
    pub zones: Vec<Zone>,
    /// The label, with its length, below which the zone's name server is.
    pub apex: Box<[u8]>,
    /// How long answers live, in seconds.
    pub ttl_s: u32,
    /// Headless Services without external addresses answer with their endpoints.
    pub headless: bool,
    /// The names that are looked for elsewhere if they are not in it; `None` is nowhere.
    pub fallthrough: Option<Vec<Zone>>,
    /// Where the zone's name server is reached, where no Service tells.
    pub addresses: Vec<IpAddr>,
}

impl External {
    /// Defaults for zones.
    pub fn new(zones: Vec<Zone>) -> Self {
        Self {
            zones,
            apex: APEX_DEFAULT.into(),
            ttl_s: TTL_DEFAULT_S,
            headless: false,
            fallthrough: None,
            addresses: Vec::new(),
        }
    }

    /// The zone that addresses lead back to.
    pub fn primary(&self) -> Option<&Zone> {
        self.zones.iter().find(|zone| !zone.is_reverse())
    }
}

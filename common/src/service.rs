//! Services: a virtual address, and what it leads to.

use bytemuck::{Pod, Zeroable};

use crate::{Addr, Be16, Slice};

/// One frontend. 24 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct ServiceKey {
    /// Virtual address.
    pub addr: Addr,
    /// Port.
    pub port: Be16,
    /// Transport protocol number, see [`crate::proto`].
    pub proto: u8,
    /// Who may use the entry; 0 is everyone.
    pub scope: u8,
    /// Explicit padding, zero.
    pub _pad: u32,
}

const _: () = assert!(size_of::<ServiceKey>() == 24);

/// Traffic from inside the cluster uses the local slice only (`internalTrafficPolicy: Local`).
pub const SERVICE_INTERNAL_LOCAL: u32 = 1 << 0;
/// Traffic from outside the cluster uses the local slice only (`externalTrafficPolicy: Local`).
pub const SERVICE_EXTERNAL_LOCAL: u32 = 1 << 1;

/// What a frontend leads to. Replaced as a whole, so one map update switches a frontend. 40 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct ServiceValue {
    /// Id of the service port; all frontends of one service port share it.
    pub service: u32,
    /// `SERVICE_*` bits.
    pub flags: u32,
    /// Candidates for traffic under policy `Cluster`.
    pub cluster: Slice,
    /// Candidates for traffic under policy `Local`.
    pub local: Slice,
    /// Lookup table of the consistent hash; empty where none is used.
    pub maglev: Slice,
    /// `sessionAffinity: ClientIP` timeout in seconds; 0 is no affinity.
    pub affinity_s: u32,
    /// Changes with every write of the entry: a choice made under the same generation still holds.
    pub generation: u32,
}

const _: () = assert!(size_of::<ServiceValue>() == 40);

impl ServiceValue {
    /// The slice that traffic from inside the cluster chooses from.
    #[inline(always)]
    pub const fn candidates(&self) -> &Slice {
        if self.flags & SERVICE_INTERNAL_LOCAL != 0 { &self.local } else { &self.cluster }
    }
}

/// Longest text of [`NameValue`]: namespace (63), name (63), port name (15), and separators.
pub const NAME_LEN: usize = 156;

/// The name of a service port, `namespace/name:port`, kept beside the maps for people.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct NameValue {
    /// Bytes of `text` in use.
    pub len: u16,
    /// Transport protocol number of the service port.
    pub proto: u8,
    /// 4 or 6.
    pub family: u8,
    /// UTF-8, cut at [`NAME_LEN`] bytes.
    pub text: [u8; NAME_LEN],
}

const _: () = assert!(size_of::<NameValue>() == 160);

impl NameValue {
    /// Keeps `name`, cut at a character boundary if it is too long; `family` is 4 or 6.
    pub fn new(name: &str, proto: u8, family: u8) -> Self {
        let cut = name.floor_char_boundary(NAME_LEN);
        let mut text = [0; NAME_LEN];
        text[..cut].copy_from_slice(&name.as_bytes()[..cut]);
        Self { len: cut as u16, proto, family, text }
    }

    /// The name; empty if the bytes are not text.
    pub fn as_str(&self) -> &str {
        let len = usize::from(self.len).min(NAME_LEN);
        core::str::from_utf8(&self.text[..len]).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    #[test]
    fn names_round_trip_and_long_ones_are_cut() {
        assert_eq!(NameValue::new("default/nginx-svc:http", 6, 4).as_str(), "default/nginx-svc:http");
        let long: std::string::String = core::iter::repeat_n('é', 100).collect();
        assert_eq!(NameValue::new(&long, 6, 4).as_str().len(), NAME_LEN);
    }
}

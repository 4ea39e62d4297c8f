//! Backends: where packets of a service end up.

use bytemuck::{Pod, Zeroable};

use crate::{Addr, Be16};

/// The backend takes traffic. An entry without it was retired: no slice points to it any more, and
/// its address stays for programs that read a slice just before.
pub const BACKEND_SERVING: u8 = 1 << 0;
/// The backend runs on this node.
pub const BACKEND_LOCAL: u8 = 1 << 1;
/// The backend's address is one of this node's own: its packets are for the node's stack and its
/// replies come out of it.
pub const BACKEND_HOST: u8 = 1 << 2;
/// The backend is a candidate under policy `Cluster` now. One that serves without being in any
/// list is draining: its flows run on, new ones go elsewhere.
pub const BACKEND_IN_CLUSTER: u8 = 1 << 3;
/// The backend is a candidate under policy `Local` now.
pub const BACKEND_IN_LOCAL: u8 = 1 << 4;

/// One endpoint of one service port. An address that two service ports list has two ids, so that
/// leaving one of them ends its flows and sockets there and not with the other. 24 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct BackendValue {
    /// Address.
    pub addr: Addr,
    /// Port.
    pub port: Be16,
    /// Transport protocol number.
    pub proto: u8,
    /// `BACKEND_*` bits.
    pub flags: u8,
    /// Id of the service port.
    pub service: u32,
}

const _: () = assert!(size_of::<BackendValue>() == 24);

//! Network devices that packets leave by.

use bytemuck::{Pod, Zeroable};

use crate::{Addr, Be16};

/// The driver transmits what an XDP program of another device redirects to it (`ndo_xdp_xmit`).
pub const DEVICE_XDP_TRANSMIT: u32 = 1 << 0;
/// The device is a bridge port; [`DeviceValue::bridge`] is the bridge's own address.
pub const DEVICE_BRIDGE_PORT: u32 = 1 << 1;
/// Strict reverse path filtering applies: the larger of `conf/all/rp_filter` and the device's own is 1.
pub const DEVICE_STRICT_RP_FILTER: u32 = 1 << 2;
/// Packets of the device start with the network header (tun, WireGuard, IPIP).
pub const DEVICE_L3: u32 = 1 << 3;

/// Value of `DEVICES`, by interface index. 48 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct DeviceValue {
    /// `DEVICE_*` bits.
    pub flags: u32,
    /// Link address of the bridge that the device is a port of.
    pub bridge: [Be16; 3],
    /// Explicit padding, zero.
    pub _pad: [u8; 6],
    /// Source address of packets over IPv4 that leave by the device; zero if it has none.
    pub source_v4: Addr,
    /// The same over IPv6.
    pub source_v6: Addr,
}

const _: () = assert!(size_of::<DeviceValue>() == 48);

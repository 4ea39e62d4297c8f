//! Network devices that packets leave by.

use bytemuck::{Pod, Zeroable};

/// The driver transmits what an XDP program of another device redirects to it (`ndo_xdp_xmit`).
pub const DEVICE_XDP_TRANSMIT: u32 = 1 << 0;

/// Value of `DEVICES`, by interface index. 8 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct DeviceValue {
    /// `DEVICE_*` bits.
    pub flags: u32,
    /// Explicit padding, zero.
    pub _pad: u32,
}

const _: () = assert!(size_of::<DeviceValue>() == 8);

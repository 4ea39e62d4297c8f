//! What this kernel offers, asked before anything is loaded.

use std::fmt;
use std::path::Path;

use aya::programs::ProgramType;
use aya::sys::{BpfHelper, is_helper_supported, is_program_supported};
use aya::util::KernelVersion;
use serde::{Deserialize, Serialize};

/// Oldest kernel that the programs are made for.
pub const OLDEST: (u8, u8) = (5, 15);

/// The kernel's type information (`CONFIG_DEBUG_INFO_BTF`).
const TYPES: &str = "/sys/kernel/btf/vmlinux";

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Kernel release, `major.minor.patch`.
    pub kernel: String,
    /// Ticks of the kernel's clock a second (`CONFIG_HZ`).
    pub ticks_per_s: u32,
    /// `bpf_set_retval` (5.18): refused connects fail with `ECONNREFUSED`, else with `EPERM`.
    pub set_retval: bool,
    /// `bpf_skc_to_mptcp_sock` (5.19), which needs the kernel's type information: getpeername of MPTCP
    /// sockets names the Service.
    #[serde(default)]
    pub mptcp: bool,
    /// XDP programs get packets in several buffers (5.18), so that they run on devices whose packets are
    /// larger than a page.
    #[serde(default)]
    pub xdp_frags: bool,
    /// The checksum helper tells IPv6 apart (6.16); before, the stack sums such packets anew.
    #[serde(default)]
    pub checksum_v6: bool,
    /// A route's source address is said with the next hop (6.7); before, it is the device's own.
    #[serde(default)]
    pub fib_source: bool,
}

/// Why the dataplane cannot run here at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Capabilities are missing.
    #[error("loading BPF programs needs root, or the capabilities CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON")]
    NotPermitted,
    /// The kernel is too old.
    #[error("kernel {found} is too old: {}.{} or newer is needed", OLDEST.0, OLDEST.1)]
    TooOld {
        /// What runs here.
        found: String,
    },
    /// The kernel was built without something.
    #[error(
        "this kernel does not support {0}; it needs CONFIG_BPF_SYSCALL, CONFIG_CGROUP_BPF and CONFIG_XDP_SOCKETS"
    )]
    Missing(&'static str),
}

impl Probe {
    /// Asks the kernel.
    ///
    /// # Errors
    /// [`Error`]
    pub fn run() -> Result<Self, Error> {
        let version = KernelVersion::current().map_err(|_| Error::Missing("reading its own version"))?;
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        if version < KernelVersion::new(OLDEST.0, OLDEST.1, 0) {
            return Err(Error::TooOld { found: release });
        }
        let supported = |program, name| match is_program_supported(program) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::Missing(name)),
            Err(_) => Err(Error::NotPermitted),
        };
        supported(ProgramType::Xdp, "XDP programs")?;
        supported(ProgramType::CgroupSockAddr, "cgroup socket address programs")?;
        let has = |helper| is_helper_supported(ProgramType::CgroupSockAddr, helper).unwrap_or(false);
        let set_retval = has(BpfHelper::BPF_FUNC_set_retval);
        let mptcp = has(BpfHelper::BPF_FUNC_skc_to_mptcp_sock) && Path::new(TYPES).exists();
        let xdp_frags =
            is_helper_supported(ProgramType::Xdp, BpfHelper::BPF_FUNC_xdp_get_buff_len).unwrap_or(false);
        let checksum_v6 = version >= KernelVersion::new(6, 16, 0);
        let fib_source = version >= KernelVersion::new(6, 7, 0);
        let ticks_per_s = ticks_per_s();
        Ok(Self { kernel: release, ticks_per_s, set_retval, mptcp, xdp_frags, checksum_v6, fib_source })
    }
}

/// The coarse clock advances by one tick at a time, so its resolution is the tick's length.
fn ticks_per_s() -> u32 {
    let tick = rustix::time::clock_getres(rustix::time::ClockId::MonotonicCoarse);
    let tick_ns = u32::try_from(tick.tv_nsec).unwrap_or(0).max(1);
    (1_000_000_000 + tick_ns / 2) / tick_ns
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refusal = if self.set_retval { "ECONNREFUSED" } else { "EPERM" };
        write!(f, "kernel {}, refused connects fail with {refusal}", self.kernel)
    }
}

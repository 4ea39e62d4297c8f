//! What a pinned link is, and what it is attached to.
//!
//! `struct bpf_link_info` has a union for each type of link. A tcx link's interface is followed by its attach
//! type, which must not be read as a part of the interface's index.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use crate::attachments::Target;
use crate::bpf::{LinkInfo, link_info, object_get};
use crate::programs::{SOCKET_HOOKS, TC, XDP_LB};

/// Members of `enum bpf_link_type`.
const CGROUP: u32 = 3;
const XDP: u32 = 6;
const TCX: u32 = 11;

/// `BPF_TCX_INGRESS` and `BPF_TCX_EGRESS`, in the order of [`TC`].
const TCX_WAYS: [u32; 2] = [46, 47];
/// `BPF_CGROUP_*`, in the order of [`SOCKET_HOOKS`].
const CGROUP_HOOKS: [u32; 9] = [10, 11, 14, 15, 19, 20, 29, 30, 34];

/// A link behind a pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PinnedLink {
    /// The link's id.
    pub(crate) id: u32,
    /// The program's id.
    pub(crate) program: u32,
    /// What it is attached to; `None` if it is detached, since its interface or cgroup is gone or
    /// somebody detached it, or is attached to something else than `program` belongs to.
    pub(crate) target: Option<Target>,
}

/// `enum bpf_attach_type` of a program of the cgroup.
pub(crate) fn cgroup_attach_type(program: &str) -> Option<u32> {
    SOCKET_HOOKS.iter().zip(CGROUP_HOOKS).find(|(name, _)| **name == program).map(|(_, kind)| kind)
}

/// Reads the pin of a link that `program` is attached by. `None` if what is pinned is no link.
pub(crate) fn read(pin: &Path, program: &str) -> io::Result<Option<PinnedLink>> {
    let object = object_get(pin)?;
    if !is_link(&object)? {
        return Ok(None);
    }
    let info = link_info(&object)?;
    Ok(Some(PinnedLink { id: info.id, program: info.program, target: target(&info, program) }))
}

/// The kernel names such a file `bpf-link` or `bpf_link`.
fn is_link(object: impl AsFd) -> io::Result<bool> {
    let name = fs::read_link(format!("/proc/self/fd/{}", object.as_fd().as_raw_fd()))?;
    Ok(name.to_string_lossy().contains("link"))
}

fn target(info: &LinkInfo, program: &str) -> Option<Target> {
    let [first, second, third, ..] = info.target;
    let tcx_way = TC.iter().zip(TCX_WAYS).find(|(name, _)| **name == program).map(|(_, way)| way);
    match info.kind {
        XDP if program == XDP_LB && first != 0 => Some(Target::Interface(first)),
        TCX if tcx_way == Some(second) && first != 0 => Some(Target::Interface(first)),
        CGROUP if cgroup_attach_type(program) == Some(third) => {
            let id: u64 = bytemuck::must_cast([first, second]);
            (id != 0).then_some(Target::Cgroup(id))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;

    use super::*;

    fn check(program: &str, kind: u32, words: [u32; 3], expected: Option<Target>) {
        let mut info = LinkInfo::zeroed();
        info.kind = kind;
        info.target[..3].copy_from_slice(&words);
        assert_eq!(target(&info, program), expected, "{program}: {words:?}");
    }

    #[test]
    fn each_type_of_link_says_its_target_in_its_own_way() {
        check("xdp_lb", XDP, [7, 0, 0], Some(Target::Interface(7)));
        check("tc_ingress", TCX, [7, 46, 0], Some(Target::Interface(7)));
        check("tc_egress", TCX, [7, 47, 0], Some(Target::Interface(7)));
        check("sock_release", CGROUP, bytemuck::must_cast([9u32, 0, 34]), Some(Target::Cgroup(9)));
        let large: [u32; 2] = bytemuck::must_cast(0x5_0000_0009u64);
        check("sock_connect4", CGROUP, [large[0], large[1], 10], Some(Target::Cgroup(0x5_0000_0009)));
    }

    #[test]
    fn link_whose_target_is_gone_or_not_the_programs_has_none() {
        check("xdp_lb", XDP, [0, 0, 0], None);
        check("tc_ingress", TCX, [0, 46, 0], None);
        check("tc_ingress", TCX, [7, 47, 0], None);
        check("tc_ingress", XDP, [7, 0, 0], None);
        check("sock_connect4", CGROUP, [0, 0, 10], None);
        check("sock_connect4", CGROUP, [9, 0, 11], None);
        check("sock_connect4", XDP, [9, 0, 10], None);
    }
}

//! Programs of somebody else that keep ours from being attached, by name.

use std::fs::File;
use std::path::Path;

use aya::programs::loaded_programs;
use bytemuck::{Pod, Zeroable};
use netlink_sys::protocols::NETLINK_ROUTE;

use crate::attach::open_cgroup;
use crate::bpf::cgroup_programs;
use crate::link_target::cgroup_attach_type;
use crate::netlink::{self, Header, NLM_F_ACK};

/// Several programs may be attached with it (linux/bpf.h).
const BPF_F_ALLOW_MULTI: u32 = 2;

const RTM_GETLINK: u16 = 18;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_PROG_ID: u16 = 4;
/// Length of `struct ifinfomsg`.
const IFINFOMSG: usize = 16;

/// The program that is attached to a cgroup, or to the nearest one above it that has any, alone: as
/// `bpftool cgroup attach` does without `multi`. The kernel lets no link join such a program.
pub(crate) fn on_cgroup(cgroup: &Path, program: &str) -> Option<String> {
    let attach_type = cgroup_attach_type(program)?;
    for folder in cgroup.ancestors() {
        let (open, _): (File, u64) = open_cgroup(folder).ok()?;
        let attached = cgroup_programs(&open, attach_type).ok()?;
        let Some(id) = attached.programs.first() else { continue };
        if attached.flags & BPF_F_ALLOW_MULTI != 0 {
            return None;
        }
        let (hook, folder) = (program.trim_start_matches("sock_"), folder.display());
        return Some(format!(
            "the program {} is attached to {folder} ({hook}) without BPF_F_ALLOW_MULTI and admits no other; attach \
             it with `multi`, or detach it: bpftool cgroup detach {folder} {hook} id {id}",
            named(*id)
        ));
    }
    None
}

/// The XDP program that an interface has.
pub(crate) fn on_interface(name: &str, index: u32) -> Option<String> {
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    struct Get {
        header: Header,
        family: u32,
        index: u32,
        flags: u32,
        change: u32,
    }
    let request = Get { header: Header::of::<Get>(RTM_GETLINK, NLM_F_ACK), index, ..Get::zeroed() };
    let mut id = None;
    netlink::ask(NETLINK_ROUTE, &request, |answer| {
        let all = netlink::attributes(answer.get(IFINFOMSG..).unwrap_or_default());
        let xdp = all.filter(|(kind, _)| *kind == IFLA_XDP).flat_map(|(_, value)| netlink::attributes(value));
        let ids = xdp.filter(|(kind, _)| *kind == IFLA_XDP_PROG_ID);
        id = ids.filter_map(|(_, value)| value.try_into().ok().map(u32::from_ne_bytes)).next();
    })
    .ok()?;
    let program = named(id.filter(|id| *id != 0)?);
    Some(format!("the XDP program {program} is there; detach it: ip link set dev {name} xdp off"))
}

/// `NAME (id N)`, as far as the kernel knows.
fn named(id: u32) -> String {
    // One that goes while they are listed is an error of the list.
    let mut all = loaded_programs().filter_map(Result::ok);
    let name = all.find(|info| info.id() == id).and_then(|info| info.name_as_str().map(str::to_owned));
    name.filter(|name| !name.is_empty())
        .map_or_else(|| format!("id {id}"), |name| format!("{name} (id {id})"))
}

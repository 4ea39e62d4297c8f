//! What happens in the guest: a first process that runs one program after the other.
//!
//! It says on the serial console when each begins and how it ends; between the two is what the
//! program printed.

use std::fmt::Write;
use std::time::Duration;

use super::kernel::Series;

/// Before and after the name of what begins, and before what ended, its exit code and its seconds.
pub(super) const BEGIN: &str = "@vm begin ";
pub(super) const END: &str = "@vm end ";

/// Modules that the tests need where they are not built in. What they need themselves is added.
pub(super) const MODULES: [&str; 13] = [
    "veth",
    "dummy",
    "bridge",
    "cls_bpf",
    "sch_ingress",
    "inet_diag",
    "tcp_diag",
    "udp_diag",
    "ipip",
    "ip6_tunnel",
    "sit",
    "geneve",
    "vxlan",
];

/// The oldest kernel that Seaway is made for; on an older one it has to say so.
const OLDEST: Series = Series(5, 15);

/// Tests of the package `seaway-tests` that run in the guest.
pub(super) const TESTS: [&str; 6] =
    ["instruction_budget", "attach", "packets", "row_packets", "socket", "socket_release"];

/// One program in the guest.
pub(super) struct Cell {
    /// In the table.
    pub(super) name: &'static str,
    /// The command line.
    command: &'static str,
    /// How it has to end.
    pub(super) exit_code: i32,
    /// How long it may take, in seconds of the host.
    pub(super) limit_s: u64,
}

const fn cell(name: &'static str, command: &'static str, limit_s: u64) -> Cell {
    Cell { name, command, exit_code: 0, limit_s }
}

/// What runs on a kernel of this series.
pub(super) fn cells(series: Series) -> Vec<Cell> {
    if series < OLDEST {
        let refusal = "seaway demo --json --requests 1";
        return vec![Cell { exit_code: 3, ..cell("refusal", refusal, 60) }];
    }
    vec![
        cell("load", "instruction_budget --nocapture", 300),
        cell("attach", "attach", 300),
        cell("packets", "packets", 1200),
        cell("row packets", "row_packets", 1800),
        cell("socket maps", "socket", 300),
        cell("socket release", "socket_release", 300),
        cell("demo", "seaway demo --json --requests 50", 400),
    ]
}

/// The longest that a guest with these cells can take, its boot included.
pub(super) fn limit(cells: &[Cell]) -> Duration {
    Duration::from_secs(120 + cells.iter().map(|cell| cell.limit_s).sum::<u64>())
}

/// The text of `/init`.
pub(super) fn init(cells: &[Cell]) -> String {
    let mut text = String::from(
        "#!/bin/busybox sh\n\
         /bin/busybox --install -s /bin\n\
         mount -t proc proc /proc\n\
         mount -t sysfs sysfs /sys\n\
         mount -t devtmpfs devtmpfs /dev\n\
         mount -t tmpfs tmpfs /tmp\n\
         mount -t cgroup2 cgroup2 /sys/fs/cgroup\n\
         mount -t bpf bpf /sys/fs/bpf\n\
         ip link set lo up\n\
         echo\n\
         for module in $(cat /modules/order); do insmod $module; done\n\
         export PATH=/bin HOME=/tmp RUST_BACKTRACE=0 RUST_TEST_THREADS=1 SEAWAY_ANY_KERNEL=1 SEAWAY_TEST_DATA=/data\n\
         cell() {\n\
           name=$1 limit=$2; shift 2\n\
           echo \"@vm begin $name\"\n\
           begun=$(date +%s)\n\
           timeout -s KILL $limit \"$@\" < /dev/null 2>&1\n\
           code=$?\n\
           echo\n\
           echo \"@vm end $name: $code $(($(date +%s) - begun))\"\n\
         }\n",
    );
    for Cell { name, command, limit_s, .. } in cells {
        writeln!(text, "cell '{name}' {limit_s} {command}").expect("memory takes every write");
    }
    text + "poweroff -f\n"
}

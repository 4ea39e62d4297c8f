//! What the demo needs from the machine.

use std::fs;

const KERNEL_MIN: (u32, u32) = (5, 15);

/// The machine lacks something; the message says what, and what to do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Missing {
    #[error(
        "the demo makes network namespaces and loads eBPF programs: run it as root, for instance with sudo"
    )]
    Root,
    #[error("the demo needs Linux {}.{} or later, this is {release}", KERNEL_MIN.0, KERNEL_MIN.1)]
    Kernel { release: String },
}

/// Checks what is known before anything is built.
pub(super) fn check() -> Result<(), Missing> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    judge(nix::unistd::geteuid().is_root(), release.trim())
}

fn judge(is_root: bool, release: &str) -> Result<(), Missing> {
    if version(release).is_none_or(|version| version < KERNEL_MIN) {
        return Err(Missing::Kernel { release: release.to_owned() });
    }
    if is_root { Ok(()) } else { Err(Missing::Root) }
}

/// Major and minor number of a release like `6.1.0-18-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_on_a_recent_kernel_is_enough() {
        let old = |release: &str| Err(Missing::Kernel { release: release.into() });
        let check = |is_root, release, expected| assert_eq!(judge(is_root, release), expected, "{release}");
        check(true, "5.15.0-100-generic", Ok(()));
        check(true, "6.1.0-18-amd64", Ok(()));
        check(true, "6.18.44", Ok(()));
        check(true, "10.0-rc1", Ok(()));
        check(false, "6.18.44", Err(Missing::Root));
        check(true, "5.14.21", old("5.14.21"));
        check(false, "4.19.0", old("4.19.0"));
        check(true, "", old(""));
    }
}

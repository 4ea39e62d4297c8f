//! Attaching the programs: to interfaces and to a cgroup, by links that outlive the agent.
//!
//! Every link is pinned. An agent that finds a pin replaces the program behind it, which the
//! kernel does atomically: no packet and no connect goes untranslated in between.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use aya::programs::links::{FdLink, LinkError};
use aya::programs::tc::TcAttachOptions;
use aya::programs::{CgroupAttachMode, LinkOrder, ProgramError, ProgramFd, TcAttachType, XdpMode};
use rustix::fs::statfs;
use rustix::net::{AddressFamily, SocketType, netdevice, socket};

use crate::bpf::{link_info, link_update, object_get};
use crate::filters;
use crate::programs::{self, Programs, SOCKET_HOOKS, SocketHook, TC};

/// `CGROUP2_SUPER_MAGIC` (linux/magic.h).
const CGROUP2_MAGIC: u64 = 0x6367_7270;

/// Why a program could not be attached.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such interface.
    #[error("there is no network interface {0}")]
    NoInterface(String),
    /// Not a cgroup of version 2.
    #[error("{} is not a cgroup of version 2; see the mounts of type cgroup2 in /proc/self/mountinfo", .0.display())]
    NotCgroup(PathBuf),
    /// The cgroup cannot be opened.
    #[error("cannot open the cgroup {}", .cgroup.display())]
    Cgroup {
        /// The cgroup's folder.
        cgroup: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The kernel refused.
    #[error("cannot attach {program} to {target}")]
    Refused {
        /// Program name.
        program: &'static str,
        /// Interface or cgroup.
        target: String,
        /// The kernel's answer.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The link cannot be pinned or its pin not be read.
    #[error("pin {}", .pin.display())]
    Pin {
        /// The pin.
        pin: PathBuf,
        /// The reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The embedded object lacks a program.
    #[error(transparent)]
    Program(#[from] programs::Error),
}

/// How a program came to be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attached {
    /// By a new link.
    New,
    /// An earlier agent's link now runs this program.
    Replaced,
}

/// How packets of an interface reach the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By XDP and in the network stack.
    Xdp(Attached),
    /// In the network stack only: there is no XDP on this interface.
    Tc(Attached),
}

/// Whether the targets are there, before anything is loaded for them.
///
/// # Errors
/// [`Error::NoInterface`], [`Error::NotCgroup`] and [`Error::Cgroup`]
pub fn check(interfaces: &[String], cgroup: Option<&Path>) -> Result<(), Error> {
    for name in interfaces {
        interface_index(name)?;
    }
    cgroup.map_or(Ok(()), |cgroup| open_cgroup(cgroup).map(drop))
}

/// Attaches the programs to an interface that packets from outside arrive on: XDP, in the driver if
/// it can, else in the network stack, and the classifiers. Where there is no XDP at all, those do
/// its work.
///
/// # Errors
/// [`Error`]
pub fn interface(programs: &mut Programs, links: &Path, name: &str) -> Result<Mode, Error> {
    let how = classifiers(programs, links, name)?;
    match xdp(programs, links, name) {
        Ok(how) => Ok(Mode::Xdp(how)),
        Err(error @ Error::Refused { .. }) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(interface = name, error, "no XDP on this interface: packets take the longer way");
            Ok(Mode::Tc(how))
        }
        Err(error) => Err(error),
    }
}

/// Attaches the classifiers to both ways of an interface: by tcx links on kernels from 6.6 on, as
/// the first ones, else as filters of a clsact qdisc.
///
/// # Errors
/// [`Error`]
pub fn classifiers(programs: &mut Programs, links: &Path, name: &str) -> Result<Attached, Error> {
    let index = interface_index(name)?;
    let ways = [TcAttachType::Ingress, TcAttachType::Egress];
    let mut outcome = Attached::Replaced;
    for (program, way) in TC.into_iter().zip(ways) {
        let refused = |source: ProgramError| Error::Refused {
            program,
            target: format!("interface {name}"),
            source: Box::new(source),
        };
        let classifier = programs.classifier(program)?;
        let pin = links.join(format!("{program}-{name}"));
        if filters::needed() {
            let replaced = filters::attach(classifier, &pin, name, way).map_err(refused)?;
            outcome = if replaced { outcome } else { Attached::New };
            continue;
        }
        if replace(&pin, u64::from(index), classifier.fd().map_err(refused)?)? {
            continue;
        }
        let options = TcAttachOptions::TcxOrder(LinkOrder::first());
        let id = classifier.attach_with_options(name, way, options).map_err(refused)?;
        let link = classifier.take_link(id).map_err(refused)?;
        outcome = keep(FdLink::try_from(link), &pin)?;
    }
    Ok(outcome)
}

fn xdp(programs: &mut Programs, links: &Path, name: &str) -> Result<Attached, Error> {
    let index = interface_index(name)?;
    let pin = links.join(format!("{}-{name}", programs::XDP_LB));
    let refused = |source: ProgramError| Error::Refused {
        program: programs::XDP_LB,
        target: format!("interface {name}"),
        source: Box::new(source),
    };
    let xdp = programs.xdp()?;
    if replace(&pin, u64::from(index), xdp.fd().map_err(refused)?)? {
        return Ok(Attached::Replaced);
    }
    let id = xdp
        .attach_to_if_index(index, XdpMode::Driver)
        .or_else(|error| {
            tracing::debug!(interface = name, %error, "no XDP in the driver, falling back to the generic mode");
            xdp.attach_to_if_index(index, XdpMode::Skb)
        })
        .map_err(refused)?;
    let link = xdp.take_link(id).map_err(refused)?;
    keep(FdLink::try_from(link), &pin)
}

/// Attaches the socket hooks to a cgroup: they apply to its processes and those of cgroups below.
///
/// # Errors
/// [`Error`]
pub fn cgroup(programs: &mut Programs, links: &Path, cgroup: &Path) -> Result<Attached, Error> {
    let (folder, id_of_cgroup) = open_cgroup(cgroup)?;
    let mut outcome = Attached::Replaced;
    for name in SOCKET_HOOKS {
        let refused = |source: ProgramError| Error::Refused {
            program: name,
            target: format!("cgroup {}", cgroup.display()),
            source: Box::new(source),
        };
        let pin = links.join(name);
        // The kernel accepts no other mode for links; several links on one cgroup all run.
        let mode = CgroupAttachMode::Single;
        let link = match programs.socket_hook(name)? {
            SocketHook::Address(program) => {
                if replace(&pin, id_of_cgroup, program.fd().map_err(refused)?)? {
                    continue;
                }
                let id = program.attach(&folder, mode).map_err(refused)?;
                FdLink::try_from(program.take_link(id).map_err(refused)?)
            }
            SocketHook::Release(program) => {
                if replace(&pin, id_of_cgroup, program.fd().map_err(refused)?)? {
                    continue;
                }
                let id = program.attach(&folder, mode).map_err(refused)?;
                FdLink::try_from(program.take_link(id).map_err(refused)?)
            }
        };
        outcome = keep(link, &pin)?;
    }
    Ok(outcome)
}

/// Removes the links (and filters) that are not asked for: those of interfaces that are in neither list, XDP on
/// those that only pods use, and the socket hooks without a `cgroup`. Returns the names of their pins.
///
/// # Errors
/// [`Error::Pin`]
pub fn retain(
    links: &Path,
    interfaces: &BTreeSet<String>,
    pods: &BTreeSet<String>,
    cgroup: Option<&Path>,
) -> Result<Vec<String>, Error> {
    let wanted = |name: &str| match name.split_once('-') {
        Some((programs::XDP_LB, interface)) => interfaces.contains(interface),
        Some((_, interface)) => interfaces.contains(interface) || pods.contains(interface),
        None => cgroup.is_some() && SOCKET_HOOKS.contains(&name),
    };
    let mut gone = Vec::new();
    for entry in fs::read_dir(links).map_err(|e| pin_error(links, e))? {
        let path = entry.map_err(|e| pin_error(links, e))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !wanted(&name) {
            filters::detach(&path).map_err(|e| pin_error(&path, e))?;
            gone.push(name);
        }
    }
    Ok(gone)
}

/// Puts the program behind the pinned link to `target`. False if there is no such link; a pin of
/// one whose interface or cgroup is gone or another one is removed.
fn replace(pin: &Path, target: u64, program: &ProgramFd) -> Result<bool, Error> {
    if !pin.exists() {
        return Ok(false);
    }
    let link = object_get(pin).map_err(|e| pin_error(pin, e))?;
    let info = link_info(&link).map_err(|e| pin_error(pin, e))?;
    if info.target != target {
        fs::remove_file(pin).map_err(|e| pin_error(pin, e))?;
        return Ok(false);
    }
    link_update(&link, program.as_fd()).map_err(|e| pin_error(pin, e))?;
    Ok(true)
}

fn keep(link: Result<FdLink, LinkError>, pin: &Path) -> Result<Attached, Error> {
    let link = link.map_err(|e| pin_error(pin, e))?;
    link.pin(pin).map_err(|e| pin_error(pin, e))?;
    Ok(Attached::New)
}

/// The cgroup's folder and its id, which is the folder's inode number.
fn open_cgroup(cgroup: &Path) -> Result<(File, u64), Error> {
    let wrong = |source: io::Error| Error::Cgroup { cgroup: cgroup.to_owned(), source };
    let found = statfs(cgroup).map_err(|e| wrong(e.into()))?;
    if !u64::try_from(found.f_type).is_ok_and(|magic| magic == CGROUP2_MAGIC) {
        return Err(Error::NotCgroup(cgroup.to_owned()));
    }
    let folder = File::open(cgroup).map_err(wrong)?;
    let id = folder.metadata().map_err(wrong)?.ino();
    Ok((folder, id))
}

fn interface_index(name: &str) -> Result<u32, Error> {
    let absent = |_| Error::NoInterface(name.to_owned());
    let any = socket(AddressFamily::UNIX, SocketType::DGRAM, None).map_err(absent)?;
    netdevice::name_to_index(&any, name).map_err(absent)
}

fn pin_error(pin: &Path, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Pin { pin: pin.to_owned(), source: Box::new(source) }
}

//! Attaching one program: to an interface or to a cgroup, by a link that outlives the agent.
//!
//! Every link is pinned. The program behind a pinned link is replaced by the kernel atomically: no packet
//! and no connect goes untranslated in between.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use aya::programs::links::{FdLink, LinkError};
use aya::programs::tc::TcAttachOptions;
use aya::programs::{CgroupAttachMode, LinkOrder, ProgramError, TcAttachType, XdpMode};
use rustix::fs::statfs;
use rustix::net::{AddressFamily, SocketType, netdevice, socket};

use crate::attachments::{Attachment, Place, Target};
use crate::bpf::{link_update, object_get};
use crate::programs::{self, Programs, SocketHook, TC};
use crate::{filters, obstacle};

/// `CGROUP2_SUPER_MAGIC` (linux/magic.h).
const CGROUP2_MAGIC: u64 = 0x6367_7270;

/// Why a program is not attached.
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
    /// Another program is in the way.
    #[error("cannot attach {program} to {target}: {obstacle}")]
    Obstructed {
        /// Program name.
        program: &'static str,
        /// Interface or cgroup.
        target: String,
        /// The other program, and what to do about it.
        obstacle: String,
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
    /// The driver has no XDP. Its packets are served by the classifiers: the kernel's generic mode would be slower,
    /// and takes packets that stand for several in one piece.
    #[error("the driver of interface {0} has no XDP")]
    NoNativeXdp(String),
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

/// Whether the targets are there, before anything is loaded for them.
///
/// # Errors
/// [`Error::NoInterface`], [`Error::NotCgroup`] and [`Error::Cgroup`]
pub fn check(interfaces: &[String], cgroup: Option<&Path>) -> Result<(), Error> {
    for name in interfaces {
        interface_target(name)?;
    }
    cgroup.map_or(Ok(()), |cgroup| open_cgroup(cgroup).map(drop))
}

/// Attaches a program by a new link, pinned as `pin`, to the interface that its attachment names or to the
/// cgroup.
pub(crate) fn attach(
    programs: &mut Programs,
    attachment: &Attachment,
    cgroup: Option<&Path>,
    target: Target,
    pin: &Path,
) -> Result<(), Error> {
    match (&attachment.place, target, cgroup) {
        (Place::Interface(name), Target::Interface(index), _) if attachment.program == programs::XDP_LB => {
            xdp(programs, name, index, pin)
        }
        (Place::Interface(name), ..) => classifier(programs, attachment.program, name, pin),
        (Place::Cgroup, _, Some(cgroup)) => socket_hook(programs, attachment.program, cgroup, pin),
        (Place::Cgroup, _, None) => Ok(()),
    }
}

/// Puts our program behind the pinned link of an attachment.
pub(crate) fn update(programs: &mut Programs, attachment: &Attachment, pin: &Path) -> Result<(), Error> {
    let name = attachment.program;
    let refused = |source| refused(name, attachment.to_string(), source);
    if let Place::Interface(interface) = &attachment.place
        && name != programs::XDP_LB
        && filters::needed()
    {
        return classifier(programs, name, interface, pin);
    }
    let program = if name == programs::XDP_LB {
        programs.xdp()?.fd().map_err(refused)?
    } else if TC.contains(&name) {
        programs.classifier(name)?.fd().map_err(refused)?
    } else {
        match programs.socket_hook(name)? {
            SocketHook::Address(program) => program.fd().map_err(refused)?,
            SocketHook::Release(program) => program.fd().map_err(refused)?,
        }
    };
    let link = object_get(pin).map_err(|e| pin_error(pin, e))?;
    link_update(&link, program.as_fd()).map_err(|e| pin_error(pin, e))
}

/// By a tcx link on kernels from 6.6 on, as the first one, else as a filter of a clsact qdisc.
fn classifier(programs: &mut Programs, program: &'static str, name: &str, pin: &Path) -> Result<(), Error> {
    let way = if program == TC[0] { TcAttachType::Ingress } else { TcAttachType::Egress };
    let refused = |source| refused(program, format!("interface {name}"), source);
    let classifier = programs.classifier(program)?;
    if filters::needed() {
        return filters::attach(classifier, pin, name, way).map_err(refused);
    }
    let options = TcAttachOptions::TcxOrder(LinkOrder::first());
    let id = classifier.attach_with_options(name, way, options).map_err(refused)?;
    let link = classifier.take_link(id).map_err(refused)?;
    keep(FdLink::try_from(link), pin)
}

/// In the driver.
fn xdp(programs: &mut Programs, name: &str, index: u32, pin: &Path) -> Result<(), Error> {
    let program = programs::XDP_LB;
    let target = || format!("interface {name}");
    let refused = |source: ProgramError| match obstacle::on_interface(name, index) {
        Some(obstacle) => Error::Obstructed { program, target: target(), obstacle },
        None if is_unsupported(&source) => Error::NoNativeXdp(name.to_owned()),
        None => refused(program, target(), source),
    };
    let xdp = programs.xdp()?;
    let id = xdp.attach_to_if_index(index, XdpMode::Driver).map_err(refused)?;
    let link = xdp.take_link(id).map_err(refused)?;
    keep(FdLink::try_from(link), pin)
}

/// Whether the kernel says that a driver cannot do it.
fn is_unsupported(error: &ProgramError) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if error.downcast_ref::<io::Error>().is_some_and(|it| it.raw_os_error() == Some(libc::EOPNOTSUPP)) {
            return true;
        }
        source = error.source();
    }
    false
}

/// To a cgroup: it applies to its processes and those of cgroups below.
fn socket_hook(
    programs: &mut Programs,
    program: &'static str,
    cgroup: &Path,
    pin: &Path,
) -> Result<(), Error> {
    let (folder, _) = open_cgroup(cgroup)?;
    let target = || format!("cgroup {}", cgroup.display());
    let refused = |source| match obstacle::on_cgroup(cgroup, program) {
        Some(obstacle) => Error::Obstructed { program, target: target(), obstacle },
        None => refused(program, target(), source),
    };
    // The kernel accepts no other mode for links; several links on one cgroup all run.
    let mode = CgroupAttachMode::Single;
    let link = match programs.socket_hook(program)? {
        SocketHook::Address(program) => {
            let id = program.attach(&folder, mode).map_err(refused)?;
            FdLink::try_from(program.take_link(id).map_err(refused)?)
        }
        SocketHook::Release(program) => {
            let id = program.attach(&folder, mode).map_err(refused)?;
            FdLink::try_from(program.take_link(id).map_err(refused)?)
        }
    };
    keep(link, pin)
}

fn keep(link: Result<FdLink, LinkError>, pin: &Path) -> Result<(), Error> {
    let link = link.map_err(|e| pin_error(pin, e))?;
    link.pin(pin).map_err(|e| pin_error(pin, e)).map(drop)
}

/// The cgroup as a target.
pub(crate) fn cgroup_target(cgroup: &Path) -> Result<Target, Error> {
    open_cgroup(cgroup).map(|(_, id)| Target::Cgroup(id))
}

/// An interface as a target.
pub(crate) fn interface_target(name: &str) -> Result<Target, Error> {
    names().map_err(|_| Error::NoInterface(name.to_owned()))?.target(name)
}

/// What tells the interfaces of the calling thread's network namespace apart: any socket does.
pub(crate) fn names() -> io::Result<Names> {
    Ok(Names(socket(AddressFamily::UNIX, SocketType::DGRAM, None)?))
}

/// See [`names`].
pub(crate) struct Names(OwnedFd);

impl Names {
    /// An interface as a target.
    pub(crate) fn target(&self, name: &str) -> Result<Target, Error> {
        let index = netdevice::name_to_index(&self.0, name);
        index.map(Target::Interface).map_err(|_| Error::NoInterface(name.to_owned()))
    }
}

/// The cgroup's folder and its id, which is the folder's inode number.
pub(crate) fn open_cgroup(cgroup: &Path) -> Result<(File, u64), Error> {
    let wrong = |source: io::Error| Error::Cgroup { cgroup: cgroup.to_owned(), source };
    let found = statfs(cgroup).map_err(|e| wrong(e.into()))?;
    if !u64::try_from(found.f_type).is_ok_and(|magic| magic == CGROUP2_MAGIC) {
        return Err(Error::NotCgroup(cgroup.to_owned()));
    }
    let folder = File::open(cgroup).map_err(wrong)?;
    let id = folder.metadata().map_err(wrong)?.ino();
    Ok((folder, id))
}

fn refused(program: &'static str, target: String, source: ProgramError) -> Error {
    Error::Refused { program, target, source: Box::new(source) }
}

pub(crate) fn pin_error(pin: &Path, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Pin { pin: pin.to_owned(), source: Box::new(source) }
}

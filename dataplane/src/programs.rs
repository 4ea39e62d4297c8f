//! Loading the kernel programs with their maps.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::path::Path;
use std::thread::{self, ScopedJoinHandle};
use std::time::Instant;

use aya::maps::{Map, MapData};
use aya::programs::{CgroupSock, CgroupSockAddr, Program, ProgramError, SchedClassifier, Xdp};
use aya::{Ebpf, EbpfError, EbpfLoader};
use seaway_common::{ABI_VERSION, Capacities, MapName};

use crate::devices::Devices;
use crate::kernel_maps::KernelMaps;
use crate::probe::Probe;
use crate::{maps, object};

/// Name of the XDP program.
pub const XDP_LB: &str = "xdp_lb";

/// Names of the programs on both ways of an interface, in the network stack.
pub const TC: [&str; 2] = ["tc_ingress", "tc_egress"];

/// Names of the programs on the cgroup's socket hooks.
pub const SOCKET_HOOKS: [&str; 9] = [
    "sock_connect4",
    "sock_connect6",
    "sock_sendmsg4",
    "sock_sendmsg6",
    "sock_recvmsg4",
    "sock_recvmsg6",
    "sock_getpeername4",
    "sock_getpeername6",
    "sock_release",
];

/// Lines kept of a verifier's log.
const LOG_LINES: usize = 12;

/// The programs, loaded into the kernel and attached nowhere.
pub struct Programs {
    ebpf: Ebpf,
}

/// Why the programs could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object as a whole was refused: a map could not be made, for example.
    #[error("cannot load the eBPF object")]
    Object(#[source] Box<EbpfError>),
    /// The verifier refused a program.
    #[error("the kernel refused the program {program}: {log}")]
    Program {
        /// Its name.
        program: &'static str,
        /// The last lines of the verifier's log, or the kernel's answer.
        log: String,
    },
    /// The embedded object lacks a program.
    #[error("the embedded object has no program {0}")]
    Absent(&'static str),
    /// The pinned maps are of another layout.
    #[error(
        "the pinned maps have layout version {found}, this build needs {ABI_VERSION}; run `seaway agent --cleanup` \
         with the build that made them, or with this one to start afresh (open connections through XDP will end)"
    )]
    Layout {
        /// Version in the map `META`.
        found: u32,
    },
    /// A map could not be read or written.
    #[error(transparent)]
    Map(#[from] maps::Error),
}

/// The object for kernels that know nothing of packets in several buffers. Whether a program takes them
/// is said by the name of its section alone, which stands in the ELF's and the BTF's strings, so the name is
/// cut short.
fn without_frags(object: &[u8]) -> Vec<u8> {
    const NAME: &[u8] = b"xdp.frags\0";
    let mut object = object.to_vec();
    for at in 0..object.len().saturating_sub(NAME.len()) {
        if object[at..].starts_with(NAME) {
            object[at + b"xdp".len()] = 0;
        }
    }
    object
}

impl Programs {
    /// Loads all programs. Maps come from `pins` if they are there, and are made and pinned there
    /// otherwise; without `pins` they live as long as the programs.
    ///
    /// # Errors
    /// [`Error`]
    pub fn load(probe: &Probe, capacities: &Capacities, pins: Option<&Path>) -> Result<Self, Error> {
        let mut loader = EbpfLoader::new();
        let set_retval = u32::from(probe.set_retval);
        loader.override_global("HAVE_SET_RETVAL", &set_retval, true);
        let mptcp = u32::from(probe.mptcp);
        loader.override_global("HAVE_MPTCP", &mptcp, true);
        let xdp_frags = u32::from(probe.xdp_frags);
        loader.override_global("HAVE_XDP_FRAGS", &xdp_frags, true);
        let checksum_v6 = u32::from(probe.checksum_v6);
        loader.override_global("HAVE_CHECKSUM_V6", &checksum_v6, true);
        let fib_source = u32::from(probe.fib_source);
        loader.override_global("HAVE_FIB_SOURCE", &fib_source, true);
        loader.override_global("TICKS_PER_S", &probe.ticks_per_s, true);
        for name in MapName::ALL {
            loader.map_max_entries(name.as_str(), capacities.of(*name));
            if let Some(folder) = pins {
                loader.map_pin_path(name.as_str(), folder.join(name.as_str()));
            }
        }
        let object = if probe.xdp_frags {
            Cow::Borrowed(object::SEAWAY)
        } else {
            Cow::Owned(without_frags(object::SEAWAY))
        };
        let begun = Instant::now();
        let mut ebpf = loader.load(&object).map_err(|e| Error::Object(Box::new(e)))?;
        let (maps, begun) = (begun.elapsed(), Instant::now());
        verify(&mut ebpf)?;
        tracing::debug!(?maps, verifier = ?begun.elapsed(), "loaded");
        Ok(Self { ebpf })
    }

    /// User space's side of the maps, checked for their layout version and marked with it.
    ///
    /// # Errors
    /// [`Error::Layout`] and [`Error::Map`]
    pub fn maps(&self) -> Result<KernelMaps, Error> {
        let mut maps = KernelMaps::new(|name| self.map(name))?;
        match maps.abi_version()? {
            0 => maps.set_abi_version()?,
            ABI_VERSION => {}
            found => return Err(Error::Layout { found }),
        }
        Ok(maps)
    }

    /// The map of interfaces.
    ///
    /// # Errors
    /// [`Error::Map`]
    pub fn devices(&self) -> Result<Devices, Error> {
        Ok(Devices::new(self.map(MapName::Devices)?)?)
    }

    /// The XDP program.
    ///
    /// # Errors
    /// [`Error::Absent`]
    pub fn xdp(&mut self) -> Result<&mut Xdp, Error> {
        match self.program(XDP_LB)? {
            Program::Xdp(program) => Ok(program),
            _ => Err(Error::Absent(XDP_LB)),
        }
    }

    /// A program of [`TC`] by name.
    ///
    /// # Errors
    /// [`Error::Absent`]
    pub fn classifier(&mut self, name: &'static str) -> Result<&mut SchedClassifier, Error> {
        match self.program(name)? {
            Program::SchedClassifier(program) => Ok(program),
            _ => Err(Error::Absent(name)),
        }
    }

    /// A program of [`SOCKET_HOOKS`] by name.
    ///
    /// # Errors
    /// [`Error::Absent`]
    pub fn socket_hook(&mut self, name: &'static str) -> Result<SocketHook<'_>, Error> {
        match self.program(name)? {
            Program::CgroupSockAddr(program) => Ok(SocketHook::Address(program)),
            Program::CgroupSock(program) => Ok(SocketHook::Release(program)),
            _ => Err(Error::Absent(name)),
        }
    }

    fn program(&mut self, name: &'static str) -> Result<&mut Program, Error> {
        self.ebpf.program_mut(name).ok_or(Error::Absent(name))
    }

    /// A second handle to a map: the first belongs to the loaded object.
    fn map(&self, name: MapName) -> Result<MapData, maps::Error> {
        let unusable = || maps::Error {
            map: name.as_str(),
            operation: "open",
            source: std::io::ErrorKind::NotFound.into(),
        };
        let loaded = match self.ebpf.map(name.as_str()).ok_or_else(unusable)? {
            Map::Array(data)
            | Map::HashMap(data)
            | Map::LruHashMap(data)
            | Map::LpmTrie(data)
            | Map::PerCpuArray(data) => data,
            _ => return Err(unusable()),
        };
        let clone = loaded.fd().as_fd().try_clone_to_owned();
        let clone = clone.map_err(|source| maps::Error { source, ..unusable() })?;
        MapData::from_fd(clone).map_err(|e| crate::kernel_maps::error(name, "open", e))
    }
}

/// A program on one of the cgroup's socket hooks.
pub enum SocketHook<'a> {
    /// `connect`, `sendmsg`, `recvmsg` or `getpeername`.
    Address(&'a mut CgroupSockAddr),
    /// `sock_release`.
    Release(&'a mut CgroupSock),
}

/// Loads every program, side by side: the verifier takes most of a start, and works on one program at
/// a time for each thread that asks it to.
fn verify(ebpf: &mut Ebpf) -> Result<(), Error> {
    let expected = [XDP_LB].into_iter().chain(TC).chain(SOCKET_HOOKS);
    let mut found: BTreeMap<String, &mut Program> =
        ebpf.programs_mut().map(|(name, program)| (name.to_owned(), program)).collect();
    let programs = expected.map(|name| Ok((name, found.remove(name).ok_or(Error::Absent(name))?)));
    let programs = programs.collect::<Result<Vec<_>, Error>>()?;
    thread::scope(|scope| {
        let start = |(name, program)| scope.spawn(move || load(name, program));
        let threads: Vec<_> = programs.into_iter().map(start).collect();
        // All of them are waited for: what the first one says is no reason to leave others running.
        let results: Vec<_> = threads.into_iter().map(ScopedJoinHandle::join).collect();
        results.into_iter().try_for_each(|result| result.unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

fn load(name: &'static str, program: &mut Program) -> Result<(), Error> {
    let begun = Instant::now();
    let loaded = match program {
        Program::Xdp(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        Program::CgroupSockAddr(program) => program.load(),
        Program::CgroupSock(program) => program.load(),
        _ => return Err(Error::Absent(name)),
    };
    tracing::debug!(program = name, took = ?begun.elapsed(), "verified");
    loaded.map_err(|e| refused(name, &e))
}

fn refused(program: &'static str, error: &ProgramError) -> Error {
    let log = match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let text = verifier_log.to_string();
            let lines: Vec<&str> = text.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
            format!("{io_error}\n{}", tail.join("\n"))
        }
        other => other.to_string(),
    };
    Error::Program { program, log }
}

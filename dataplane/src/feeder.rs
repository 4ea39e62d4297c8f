//! Running the XDP program on made-up packets, through `BPF_PROG_TEST_RUN`.

use std::time::Duration;

use aya::maps::{Array, MapError, ProgramArray};
use aya::programs::{ProgramError, TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfError};
use seaway_common::{FEED_BYTES, FeedConfig};

use crate::object;
use crate::programs::{self, Programs};
use crate::raw::Raw;

/// Room for what a program may add in front of a packet.
const HEADROOM: usize = 256;

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// `enum xdp_action`: 1 is drop, 2 is pass.
    pub action: u32,
    /// The packet afterwards.
    pub packet: Vec<u8>,
}

/// Why a test run failed.
#[derive(Debug, thiserror::Error)]
#[error("test run")]
pub struct Error(#[source] Box<dyn std::error::Error + Send + Sync>);

/// Runs the load balancer once on `packet`.
///
/// # Errors
/// [`Error`] with the kernel's answer: it refuses packets shorter than an Ethernet header.
pub fn run_once(programs: &mut Programs, packet: &[u8]) -> Result<Outcome, Error> {
    let mut out = vec![0; packet.len() + HEADROOM];
    let mut options = TestRunOptions::new();
    options.data_in = Some(packet);
    options.data_out = Some(&mut out);
    let result = programs.xdp().map_err(wrap)?.test_run(options).map_err(wrap)?;
    out.truncate(result.data_size_out as usize);
    Ok(Outcome { action: result.return_value, packet: out })
}

/// The packet feeder, in front of the program under test.
pub struct Feeder {
    ebpf: Ebpf,
}

/// How packets follow each other.
#[derive(Clone, Debug)]
pub struct Feed<'a> {
    /// The first packet, at least as long as what the feeder restores.
    pub packet: &'a [u8],
    /// Number of flows to go through, in order, again and again.
    pub flows: u32,
    /// Offset of the source port.
    pub port_offset: u32,
    /// Offset of the last two bytes of the source address.
    pub addr_offset: u32,
}

impl Feeder {
    /// Loads the feeder's programs.
    ///
    /// # Errors
    /// [`Error`]
    pub fn load() -> Result<Self, Error> {
        let mut ebpf = Ebpf::load(object::FEED).map_err(wrap::<EbpfError>)?;
        for name in ["feed", "feed_null"] {
            program(&mut ebpf, name)?.load().map_err(wrap)?;
        }
        Ok(Self { ebpf })
    }

    /// Puts nothing behind the feeder: what is measured then is the harness.
    ///
    /// # Errors
    /// [`Error`]
    pub fn target_nothing(&mut self) -> Result<(), Error> {
        let null = program(&mut self.ebpf, "feed_null")?;
        let fd = null.fd().and_then(|fd| fd.try_clone().map_err(ProgramError::IOError)).map_err(wrap)?;
        self.targets()?.set(0, &fd, 0).map_err(wrap)
    }

    /// Puts the load balancer behind the feeder.
    ///
    /// # Errors
    /// [`Error`]
    pub fn target(&mut self, programs: &mut Programs) -> Result<(), Error> {
        let fd = programs.xdp().map_err(wrap::<programs::Error>)?.fd().map_err(wrap)?;
        self.targets()?.set(0, fd, 0).map_err(wrap)
    }

    /// Runs `repeat` packets and returns the mean time of one.
    ///
    /// # Errors
    /// [`Error`], also for a packet that is too short.
    pub fn run(&mut self, feed: &Feed<'_>, repeat: u32) -> Result<Duration, Error> {
        let template: [u8; FEED_BYTES] = feed
            .packet
            .get(..FEED_BYTES)
            .and_then(|head| head.try_into().ok())
            .ok_or_else(|| Error(format!("the packet has fewer than {FEED_BYTES} bytes").into()))?;
        let config = FeedConfig {
            template: bytemuck::cast(template),
            flows: feed.flows,
            port_offset: feed.port_offset,
            addr_offset: feed.addr_offset,
            _pad: 0,
        };
        let map = self.ebpf.map_mut("FEED").ok_or_else(|| absent("FEED"))?;
        Array::try_from(map).and_then(|mut map| map.set(0, Raw(config), 0)).map_err(wrap::<MapError>)?;
        let mut options = TestRunOptions::new();
        options.data_in = Some(feed.packet);
        options.repeat = repeat;
        let result = program(&mut self.ebpf, "feed")?.test_run(options).map_err(wrap)?;
        if result.return_value == 0 {
            return Err(Error("the feeder aborted: no program behind it".into()));
        }
        Ok(result.duration)
    }

    fn targets(&mut self) -> Result<ProgramArray<&mut aya::maps::MapData>, Error> {
        let map = self.ebpf.map_mut("TARGET").ok_or_else(|| absent("TARGET"))?;
        ProgramArray::try_from(map).map_err(wrap)
    }
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp, Error> {
    ebpf.program_mut(name).ok_or_else(|| absent(name))?.try_into().map_err(wrap::<ProgramError>)
}

fn absent(name: &str) -> Error {
    Error(format!("the embedded object has no {name}").into())
}

fn wrap<E: std::error::Error + Send + Sync + 'static>(error: E) -> Error {
    Error(Box::new(error))
}

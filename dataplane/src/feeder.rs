//! Running the packet programs on made-up packets, through `BPF_PROG_TEST_RUN`.

use std::time::Duration;

use aya::maps::{Array, MapError, PerCpuArray, PerCpuValues, ProgramArray};
use aya::programs::{
    ProgramError, SchedClassifier, TcAttachType, TestRun, TestRunAttrs, TestRunOptions, TestRunResult, Xdp,
    XdpMode,
};
use aya::util::nr_cpus;
use aya::{Ebpf, EbpfError};
use seaway_common::{FEED_BYTES, FeedConfig};

use crate::filters;
use crate::object;
use crate::programs::{self, Programs, TC};
use crate::raw::Raw;

/// Room for what a program may add in front of a packet.
const HEADROOM: usize = 256;
const ETHERNET_LEN: usize = 14;

/// Live frames that are sent at once: as many as a device takes from the ring in one go.
const BATCH: u32 = 64;

/// `enum xdp_action`.
const XDP_ABORTED: u32 = 0;
const XDP_DROP: u32 = 1;
const XDP_TX: u32 = 3;
const XDP_REDIRECT: u32 = 4;

/// What programs in the network stack return.
const TC_ACT_SHOT: u32 = 2;
const TC_ACT_REDIRECT: u32 = 7;

/// What becomes of a packet at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The node's stack gets it.
    Passed,
    /// It ends.
    Dropped,
    /// A program sends it out by an interface: on its way, or back as an answer.
    Sent,
}

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Where it went.
    pub fate: Fate,
    /// Whether XDP settled it, or left it to the program after it.
    pub early: bool,
    /// The packet afterwards.
    pub packet: Vec<u8>,
}

/// Why a test run failed.
#[derive(Debug, thiserror::Error)]
#[error("test run")]
pub struct Error(#[source] Box<dyn std::error::Error + Send + Sync>);

/// Runs a packet through the programs of a node, as the kernel does: XDP, the one at the ingress if that lets
/// it pass, and the one at the egress if the stack gets the packet as it came and routes it. What was translated
/// is not run there: the stack's note of that, which would keep the program from it, does not outlast a test
/// run. Routes are those of the caller's network namespace.
///
/// # Errors
/// [`Error`] with the kernel's answer: it refuses packets shorter than an Ethernet header.
pub fn run_once(programs: &mut Programs, packet: &[u8]) -> Result<Outcome, Error> {
    let (action, packet) = test(programs.xdp().map_err(wrap)?, packet)?;
    let early = |fate, packet| Ok(Outcome { fate, early: true, packet });
    match action {
        XDP_DROP | XDP_ABORTED => return early(Fate::Dropped, packet),
        XDP_TX | XDP_REDIRECT => return early(Fate::Sent, packet),
        _ if !has_network_header(&packet) => return early(Fate::Passed, packet),
        _ => {}
    }
    let (fate, after) = test_classifier(programs, TC[0], &packet)?;
    if fate != Fate::Passed || after != packet {
        return Ok(Outcome { fate, early: false, packet: after });
    }
    let (fate, packet) = test_classifier(programs, TC[1], &after)?;
    Ok(Outcome { fate, early: false, packet })
}

/// One run of a program in the network stack.
fn test_classifier(
    programs: &mut Programs,
    name: &'static str,
    packet: &[u8],
) -> Result<(Fate, Vec<u8>), Error> {
    let (action, packet) = test(programs.classifier(name).map_err(wrap)?, packet)?;
    let fate = match action {
        TC_ACT_SHOT => Fate::Dropped,
        TC_ACT_REDIRECT => Fate::Sent,
        _ => Fate::Passed,
    };
    Ok((fate, packet))
}

/// Whether a test run in the network stack takes the packet: the whole header has to be there.
fn has_network_header(packet: &[u8]) -> bool {
    let least = match packet.get(12..ETHERNET_LEN) {
        Some([0x08, 0x00]) => ETHERNET_LEN + 20,
        Some([0x86, 0xdd]) => ETHERNET_LEN + 40,
        _ => ETHERNET_LEN + 1,
    };
    packet.len() >= least
}

/// One run of one program: what it returns, and the packet afterwards.
fn test<P>(program: &P, packet: &[u8]) -> Result<(u32, Vec<u8>), Error>
where
    P: for<'a> TestRun<Opts<'a> = TestRunOptions<'a>, Result = TestRunResult>,
{
    let mut out = vec![0; packet.len() + HEADROOM];
    let mut options = TestRunOptions::new();
    options.data_in = Some(packet);
    options.data_out = Some(&mut out);
    let result = program.test_run(options).map_err(wrap)?;
    out.truncate(result.data_size_out as usize);
    Ok((result.return_value, out))
}

/// Attaches the programs of an interface's ingress to one of the caller's network namespace, for as long
/// as the programs live; `early` says whether XDP is among them. They have to be dropped in that namespace:
/// filters of a clsact qdisc stay otherwise.
///
/// # Errors
/// [`Error`] when the kernel refuses.
pub fn attach(programs: &mut Programs, interface: &str, early: bool) -> Result<(), Error> {
    if early {
        let xdp = programs.xdp().map_err(wrap::<programs::Error>)?;
        xdp.attach(interface, XdpMode::Driver).map_err(wrap)?;
    }
    let classifier: &mut SchedClassifier = programs.classifier(TC[0]).map_err(wrap::<programs::Error>)?;
    if filters::needed() {
        filters::prepare(interface);
    }
    classifier.attach(interface, TcAttachType::Ingress).map_err(wrap)?;
    Ok(())
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
    /// Number of flows to go through, in order, again and again; a run begins with the first one.
    pub flows: u32,
    /// What to add to the packet's client for the first flow.
    pub first: u32,
    /// Whether the program puts a header in front of packets (kernel 5.18).
    pub wrapped: bool,
    /// Offset of the client's port.
    pub port_offset: u32,
    /// Offset of the last two bytes of the client's address.
    pub addr_offset: u32,
}

impl Feeder {
    /// Loads the feeder's programs.
    ///
    /// # Errors
    /// [`Error`]
    pub fn load() -> Result<Self, Error> {
        let mut ebpf = Ebpf::load(object::FEED).map_err(wrap::<EbpfError>)?;
        for name in ["feed", "feed_null", "feed_out", "sink"] {
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
        self.configure(feed, 0)?;
        let mut options = TestRunOptions::new();
        options.data_in = Some(feed.packet);
        options.repeat = repeat;
        let result = program(&mut self.ebpf, "feed")?.test_run(options).map_err(wrap)?;
        if result.return_value == 0 {
            return Err(Error("the feeder aborted: no program behind it".into()));
        }
        Ok(result.duration)
    }

    /// Sends `count` live frames out by the interface of this index in the caller's network namespace
    /// (kernel 5.18), and waits until they are sent.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn send(&mut self, feed: &Feed<'_>, ifindex: u32, count: u32) -> Result<(), Error> {
        self.configure(feed, ifindex)?;
        let mut options = TestRunOptions::new();
        options.data_in = Some(feed.packet);
        options.repeat = count;
        options.attrs = TestRunAttrs::new().xdp_live_frames(BATCH);
        program(&mut self.ebpf, "feed_out")?.test_run(options).map_err(wrap)?;
        Ok(())
    }

    /// Lets packets that arrive at an interface of the caller's network namespace end there, counted.
    ///
    /// # Errors
    /// [`Error`] when the driver takes no program.
    pub fn sink(&mut self, interface: &str) -> Result<(), Error> {
        program(&mut self.ebpf, "sink")?.attach(interface, XdpMode::Driver).map_err(wrap)?;
        Ok(())
    }

    /// How many packets ended at the [`sink`](Self::sink)s so far.
    ///
    /// # Errors
    /// [`Error`] of the map.
    pub fn arrived(&self) -> Result<u64, Error> {
        let map = self.ebpf.map("ARRIVED").ok_or_else(|| absent("ARRIVED"))?;
        let map: PerCpuArray<_, u64> = PerCpuArray::try_from(map).map_err(wrap::<MapError>)?;
        Ok(map.get(&0, 0).map_err(wrap::<MapError>)?.iter().sum())
    }

    fn configure(&mut self, feed: &Feed<'_>, ifindex: u32) -> Result<(), Error> {
        let template: [u8; FEED_BYTES] = feed
            .packet
            .get(..FEED_BYTES)
            .and_then(|head| head.try_into().ok())
            .ok_or_else(|| Error(format!("the packet has fewer than {FEED_BYTES} bytes").into()))?;
        let config = FeedConfig {
            template: bytemuck::cast(template),
            flows: feed.flows,
            first: feed.first,
            port_offset: feed.port_offset,
            addr_offset: feed.addr_offset,
            length: if feed.wrapped { u32::try_from(feed.packet.len()).map_err(wrap)? } else { 0 },
            ifindex,
        };
        let map = self.ebpf.map_mut("FEED").ok_or_else(|| absent("FEED"))?;
        Array::try_from(map).and_then(|mut map| map.set(0, Raw(config), 0)).map_err(wrap::<MapError>)?;
        let map = self.ebpf.map_mut("NEXT").ok_or_else(|| absent("NEXT"))?;
        let mut next = PerCpuArray::<_, u32>::try_from(map).map_err(wrap::<MapError>)?;
        let zeros = vec![0; nr_cpus().map_err(|(_, error)| wrap(error))?];
        PerCpuValues::try_from(zeros).map_err(wrap).and_then(|zeros| next.set(0, zeros, 0).map_err(wrap))
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

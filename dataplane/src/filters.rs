//! Classifiers on kernels without tcx: filters of a clsact qdisc, which have no link.
//!
//! A filter stays until somebody removes it. So that the next agent knows where there is one, its
//! program is pinned under the name that a link would have; [`detach`] removes both.

use std::fs;
use std::io;
use std::path::Path;

use aya::programs::links::Link;
use aya::programs::tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle};
use aya::programs::{ProgramError, SchedClassifier, TcAttachType};
use aya::util::KernelVersion;
use bytemuck::{Pod, Zeroable};
use netlink_sys::protocols::NETLINK_ROUTE;

use crate::attachments::Attachment;
use crate::netlink::{self, Header, NLM_F_ACK, NLM_F_DUMP};
use crate::programs::TC;

/// Priority and handle of our filters: first, and found again by the next agent.
const FILTER: (u16, TcHandle) = (1, TcHandle::new(0, 0x5ea));
const HANDLE: u32 = 0x5ea;

const RTM_DELQDISC: u16 = 37;
const RTM_GETTFILTER: u16 = 46;
/// `TC_H_CLSACT`, and its classes for the ways in and out.
const CLSACT: u32 = 0xffff_fff1;
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;
/// The clsact qdisc itself.
const CLSACT_HANDLE: u32 = 0xffff_0000;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_ID: u16 = 11;

/// `struct tcmsg` behind its header.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Request {
    header: Header,
    family: u32,
    index: u32,
    handle: u32,
    parent: u32,
    info: u32,
}

/// Length of `struct tcmsg`, and where its handle and its priority are.
const TCMSG: usize = 20;

/// Whether this kernel needs them: tcx came with 6.6.
pub(crate) fn needed() -> bool {
    !KernelVersion::current().is_ok_and(|version| version >= KernelVersion::new(6, 6, 0))
}

/// Gives an interface the clsact qdisc that filters belong to; true if it had none.
pub(crate) fn prepare(interface: &str) -> bool {
    // It is there already after the first time, and says so.
    tc::qdisc_add_clsact(interface)
        .inspect_err(|error| tracing::trace!(interface, %error, "no new clsact qdisc"))
        .is_ok()
}

/// Attaches a classifier to one way of an interface that is [prepared](prepare), in the place of an earlier one
/// if there is one, which the kernel replaces atomically.
pub(crate) fn attach(
    classifier: &mut SchedClassifier,
    pin: &Path,
    interface: &str,
    way: TcAttachType,
) -> Result<(), ProgramError> {
    // Pinned first: a pin without a filter does no harm, a filter without a pin would stay for ever.
    absent_is_fine(fs::remove_file(pin))?;
    classifier.pin(pin).map_err(|error| ProgramError::IOError(io::Error::other(error)))?;
    let (priority, handle) = FILTER;
    let earlier = SchedClassifierLink::attached(interface, way, priority, handle, None)?;
    let id = classifier.attach_to_link(earlier).or_else(|_| {
        let options = NlOptions { priority, handle, ..NlOptions::default() };
        classifier.attach_with_options(interface, way, TcAttachOptions::Netlink(options))
    })?;
    // The filter stays when the handle is forgotten; with the link it would go.
    std::mem::forget(classifier.take_link(id)?);
    Ok(())
}

/// Id of the program behind our filter on one way of an interface; `None` if there is no such filter.
pub(crate) fn program(index: u32, program: &str) -> Option<u32> {
    let parent = if program == TC[0] { INGRESS } else { EGRESS };
    let header = Header::of::<Request>(RTM_GETTFILTER, NLM_F_DUMP);
    let request = Request { header, index, parent, ..Request::zeroed() };
    let mut id = None;
    let word = |bytes: &[u8], at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    // An interface without the qdisc has no filters to list.
    netlink::ask(NETLINK_ROUTE, &request, |answer| {
        let priority = word(answer, 16).map(|info| info >> 16);
        if word(answer, 8) == Some(HANDLE) && priority == Some(u32::from(FILTER.0)) {
            let all = netlink::attributes(answer.get(TCMSG..).unwrap_or_default());
            let options = all.filter(|(kind, _)| *kind & !0x8000 == TCA_OPTIONS);
            let mut found = options.flat_map(|(_, value)| netlink::attributes(value));
            id = found.find(|(kind, _)| *kind == TCA_BPF_ID).and_then(|(_, value)| word(value, 0));
        }
    })
    .inspect_err(|error| tracing::trace!(index, %error, "no filters"))
    .ok()?;
    id
}

/// Removes the filter that a pin in a folder of links stands for, and the pin. Pins of links are
/// removed too: the kernel detaches what they hold.
pub(crate) fn detach(pin: &Path) -> io::Result<()> {
    let name = pin.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if needed()
        && let Some(attachment) = Attachment::of_pin(name)
        && let Some(interface) = attachment.on()
    {
        detach_filter(attachment.program, interface);
    }
    fs::remove_file(pin)
}

fn detach_filter(program: &str, interface: &str) {
    let ways = TC.into_iter().zip([TcAttachType::Ingress, TcAttachType::Egress]);
    for (_, way) in ways.filter(|(name, _)| *name == program) {
        let (priority, handle) = FILTER;
        // An interface that is gone took its filters with it.
        if let Ok(link) = SchedClassifierLink::attached(interface, way, priority, handle, None)
            && let Err(error) = link.detach()
        {
            tracing::debug!(interface, error = &error as &dyn std::error::Error, "no filter to remove");
        }
    }
}

/// Removes the clsact qdisc of an interface, and all filters on it.
pub(crate) fn remove_qdisc(index: u32) {
    let header = Header::of::<Request>(RTM_DELQDISC, NLM_F_ACK);
    let request = Request { header, index, handle: CLSACT_HANDLE, parent: CLSACT, ..Request::zeroed() };
    if let Err(error) = netlink::ask(NETLINK_ROUTE, &request, |_| ()) {
        tracing::debug!(index, %error, "the clsact qdisc stays");
    }
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

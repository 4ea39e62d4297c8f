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

use crate::programs::TC;

/// Priority and handle of our filters: first, and found again by the next agent.
const FILTER: (u16, TcHandle) = (1, TcHandle::new(0, 0x5ea));

/// Whether this kernel needs them: tcx came with 6.6.
pub(crate) fn needed() -> bool {
    !KernelVersion::current().is_ok_and(|version| version >= KernelVersion::new(6, 6, 0))
}

/// Gives an interface the clsact qdisc that filters belong to.
pub(crate) fn prepare(interface: &str) {
    // It is there already after the first time, and says so.
    if let Err(error) = tc::qdisc_add_clsact(interface) {
        tracing::trace!(interface, %error, "no new clsact qdisc");
    }
}

/// Attaches a classifier to one way of an interface; true if it took the place of an earlier one,
/// which the kernel does atomically.
pub(crate) fn attach(
    classifier: &mut SchedClassifier,
    pin: &Path,
    interface: &str,
    way: TcAttachType,
) -> Result<bool, ProgramError> {
    prepare(interface);
    // Pinned first: a pin without a filter does no harm, a filter without a pin would stay for ever.
    absent_is_fine(fs::remove_file(pin))?;
    classifier.pin(pin).map_err(|error| ProgramError::IOError(io::Error::other(error)))?;
    let (priority, handle) = FILTER;
    let earlier = SchedClassifierLink::attached(interface, way, priority, handle, None)?;
    let replaced = classifier.attach_to_link(earlier);
    let there = replaced.is_ok();
    let id = replaced.or_else(|_| {
        let options = NlOptions { priority, handle, ..NlOptions::default() };
        classifier.attach_with_options(interface, way, TcAttachOptions::Netlink(options))
    })?;
    // The filter stays when the handle is forgotten; with the link it would go.
    std::mem::forget(classifier.take_link(id)?);
    Ok(there)
}

/// Removes the filter that a pin in a folder of links stands for, and the pin. Pins of links are
/// removed too: the kernel detaches what they hold.
pub(crate) fn detach(pin: &Path) -> io::Result<()> {
    let name = pin.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let ways = TC.into_iter().zip([TcAttachType::Ingress, TcAttachType::Egress]);
    for (program, way) in ways.filter(|_| needed()) {
        let interface = name.strip_prefix(program).and_then(|rest| rest.strip_prefix('-'));
        let (priority, handle) = FILTER;
        // An interface that is gone took its filters with it.
        let link = interface.map(|name| SchedClassifierLink::attached(name, way, priority, handle, None));
        if let Some(Ok(link)) = link
            && let Err(error) = link.detach()
        {
            tracing::debug!(pin = name, error = &error as &dyn std::error::Error, "no filter to remove");
        }
    }
    fs::remove_file(pin)
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

//! What the pins in a folder of links hold.

use std::fs;
use std::io;
use std::path::Path;

use super::{Attachment, Found, Installed, Target};
use crate::attach::{self, Error};
use crate::programs::TC;
use crate::{filters, link_target};

/// Reads a folder of links, which somebody may have removed. What is none of ours, by its name, is left out.
///
/// # Errors
/// [`Error::Pin`]
pub fn read(folder: &Path) -> Result<Installed, Error> {
    let mut installed = Installed::new();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(installed),
        entries => entries.map_err(|e| attach::pin_error(folder, e))?,
    };
    for entry in entries {
        let path = entry.map_err(|e| attach::pin_error(folder, e))?.path();
        let pin = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(attachment) = Attachment::of_pin(&pin).filter(|_| !path.is_dir()) else { continue };
        if let Some(found) = found(&path, &attachment)? {
            installed.insert(pin, found);
        }
    }
    Ok(installed)
}

/// What a pin holds; `None` if it is not there.
pub(super) fn found(path: &Path, attachment: &Attachment) -> Result<Option<Found>, Error> {
    let found = |link, program, target| Found { attachment: attachment.clone(), link, program, target };
    if filters::needed() && TC.contains(&attachment.program) {
        // The program is pinned; the filter says whether it runs.
        let interface = attachment.on().and_then(|name| attach::interface_target(name).ok());
        let filter = interface.and_then(|target| match target {
            Target::Interface(index) => Some((target, filters::program(index, attachment.program)?)),
            Target::Cgroup(_) => None,
        });
        let (target, program) = filter.map_or((None, 0), |(target, program)| (Some(target), program));
        return Ok(path.exists().then(|| found(0, program, target)));
    }
    match link_target::read(path, attachment.program) {
        Ok(Some(link)) => Ok(Some(found(link.id, link.program, link.target))),
        Ok(None) => Ok(Some(found(0, 0, None))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(attach::pin_error(path, error)),
    }
}

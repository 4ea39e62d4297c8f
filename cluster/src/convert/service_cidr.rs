//! ServiceCIDRs.

use crate::api;

use super::subject::Subject;
use crate::address::parse_range;
use crate::{Kind, ServiceCidr, Warning};

/// The facts of a ServiceCIDR. One that is about to go counts until it is gone: Services may still
/// have addresses in it.
///
/// # Errors
/// The warning for a ServiceCIDR without a name: it is left out.
pub fn service_cidr(object: &api::ServiceCidr, notes: &mut Vec<Warning>) -> Result<ServiceCidr, Warning> {
    let (subject, name) = Subject::cluster_wide(Kind::ServiceCidr, &object.metadata)?;
    let texts = object.spec.as_ref().and_then(|spec| spec.cidrs.as_deref()).unwrap_or_default();
    let mut ranges = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        match parse_range(text) {
            Some(range) => ranges.push(range),
            None => notes.push(subject.warning(
                format!("spec.cidrs[{index}]"),
                format!("{text:?} is not an address range; left out"),
            )),
        }
    }
    Ok(ServiceCidr { name, ranges })
}

//! The name of an endpoint, made when it is needed.

use std::fmt::Write;
use std::net::IpAddr;

use crate::name::LABEL_MAX;

/// The name of an endpoint: a hostname, or an address.
#[derive(Debug)]
pub struct Label {
    octets: [u8; LABEL_MAX],
    length: usize,
}

impl Label {
    /// A hostname, which the builder of members has found to fit a label.
    pub(super) fn of_host(host: &str) -> Self {
        let mut label = Self { octets: [0; LABEL_MAX], length: 0 };
        let written = label.write_str(host);
        debug_assert!(written.is_ok(), "{host} fits a label");
        label
    }

    /// An address with dashes; one that would end in a dash ends in `0`.
    pub(super) fn of_address(address: IpAddr) -> Self {
        let mut label = Self { octets: [0; LABEL_MAX], length: 0 };
        let written = write!(label, "{address}");
        debug_assert!(written.is_ok(), "{address} fits a label");
        let text = &mut label.octets[..label.length];
        text.iter_mut().filter(|octet| matches!(octet, b'.' | b':')).for_each(|octet| *octet = b'-');
        if text.last() == Some(&b'-') {
            label.octets[label.length] = b'0';
            label.length += 1;
        }
        label
    }

    /// The name in the object's case.
    pub fn octets(&self) -> &[u8] {
        &self.octets[..self.length]
    }

    /// The name with its length octet, appended.
    pub fn push_to(&self, out: &mut Vec<u8>) {
        out.push(u8::try_from(self.length).unwrap_or_default());
        out.extend_from_slice(self.octets());
    }

    /// The name in lower case.
    pub(super) fn folded(&self) -> FoldedLabel {
        let mut octets = self.octets;
        octets.make_ascii_lowercase();
        FoldedLabel { octets, length: self.length }
    }
}

/// A label in lower case.
pub(super) struct FoldedLabel {
    octets: [u8; LABEL_MAX],
    length: usize,
}

impl std::ops::Deref for FoldedLabel {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.octets[..self.length]
    }
}

impl Write for Label {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        let place = self.octets.get_mut(self.length..end).ok_or(std::fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

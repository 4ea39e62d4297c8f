//! The search that clients would do, done for them: the `autopath` plugin.
//!
//! A client with `ndots:5` asks for `example.org.default.svc.cluster.local` before it asks for
//! `example.org`. Whoever asks for such a name gets what the whole search leads to. The path depends
//! on the client and the name alone, never on the type, so all types of a name take the same one.

use std::net::IpAddr;

use crate::index::Index;
use crate::name::{NAME_MAX, Name, Zone};

/// An `autopath` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Autopath {
    /// The zones that it is about.
    pub zones: Vec<Zone>,
    /// Where paths come from.
    pub source: Source,
}

/// Where the paths of clients come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// From the pod that has the client's address, followed by these suffixes of the server's own.
    Pods(Vec<Box<[u8]>>),
    /// The same for every client, whole suffixes.
    Fixed(Vec<Box<[u8]>>),
}

impl Autopath {
    /// The names that a client's search leads to, in order, if it begins with the one asked for.
    /// `zone` is the cluster's zone that the name is in.
    pub fn names(
        &self,
        name: &Name<'_>,
        client: IpAddr,
        index: Option<&Index>,
        zone: Option<&Zone>,
    ) -> Option<Vec<Box<[u8]>>> {
        if !self.zones.iter().any(|zone| name.is_within(zone)) {
            return None;
        }
        let path = match &self.source {
            Source::Fixed(path) => path.clone(),
            Source::Pods(own) => {
                let zone = zone?;
                let namespace = index?.sole_namespace(client.to_canonical())?;
                // The letters of the zone stay as the client wrote them.
                let zone = &name.wire()[name.start(name.labels() - zone.labels())..];
                let mut first = vec![u8::try_from(namespace.len()).ok()?];
                first.extend_from_slice(namespace.as_bytes());
                let services = [b"\x03svc".as_slice(), zone].concat();
                first.extend_from_slice(&services);
                let mut path: Vec<Box<[u8]>> = vec![first.into(), services.into(), zone.into()];
                path.extend(own.iter().cloned());
                path.push(Box::new([0]));
                path
            }
        };
        let first = path.first()?;
        let asked = name.wire();
        // Something must be left to search for.
        let base = asked.len().checked_sub(first.len()).filter(|base| *base > 0)?;
        let at_label = (0..=name.labels()).any(|label| name.start(label) == base);
        if !at_label || !asked[base..].eq_ignore_ascii_case(first) {
            return None;
        }
        let names = path.iter().enumerate().map(|(place, suffix)| match place {
            0 => Box::from(asked),
            _ => [&asked[..base], suffix].concat().into(),
        });
        let mut names: Vec<Box<[u8]>> = names.collect();
        names.retain(|name| name.len() <= NAME_MAX);
        Some(names)
    }
}

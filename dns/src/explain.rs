//! How an answer came about: which block, which plugin, which rule of the names, which objects.

use std::net::IpAddr;

use hickory_proto::op::Message;

use crate::engine::{Engine, Reply, Source};
use crate::index::{Entry, Index, Records};
use crate::name::Name;
use crate::options::Options;
use crate::wire::query::Query;
use crate::zone::{self, Found};

/// An answer in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The response code and the flags: `NOERROR, authoritative`.
    pub status: String,
    /// The records with the section that they are in.
    pub records: Vec<(&'static str, String)>,
}

/// Where an answer came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The server block: its zones and port.
    pub block: String,
    /// The plugin, and the zone where it has some.
    pub plugin: String,
    /// What the name means there.
    pub meaning: String,
    /// The objects that say so.
    pub objects: Vec<String>,
}

impl Answer {
    /// Reads an answer; `None` if it is none.
    pub fn read(message: &[u8]) -> Option<Self> {
        let message = Message::from_vec(message).ok()?;
        let metadata = &message.metadata;
        let flags = [
            ("authoritative", metadata.authoritative),
            ("truncated", metadata.truncation),
            ("recursion available", metadata.recursion_available),
        ];
        let code = rcode(u16::from(metadata.response_code));
        let flags = flags.into_iter().filter(|(_, set)| *set).map(|(flag, _)| format!(", {flag}"));
        let status = code + &flags.collect::<String>();
        let sections = [
            ("answer", &message.answers),
            ("authority", &message.authorities),
            ("additional", &message.additionals),
        ];
        let of_section = |(section, records): (&'static str, &Vec<hickory_proto::rr::Record>)| {
            records.iter().map(|record| (section, record.to_string())).collect::<Vec<_>>()
        };
        Some(Self { status, records: sections.into_iter().flat_map(of_section).collect() })
    }
}

fn rcode(code: u16) -> String {
    let known = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"];
    known.get(usize::from(code)).map_or_else(|| format!("code {code}"), |name| (*name).to_owned())
}

impl Engine {
    /// Where the answer to a query came from; `None` if the message is no query.
    pub fn origin(&self, message: &[u8], reply: &Reply) -> Option<Origin> {
        let query = Query::read(message).ok()?;
        let Some(chain) = reply.chain.and_then(|number| self.chains().get(number)) else {
            return Some(Origin {
                meaning: "no server block is for this name".to_owned(),
                ..Origin::default()
            });
        };
        let zones: Vec<String> = chain.block.zones.iter().map(ToString::to_string).collect();
        let mut origin = Origin {
            block: format!("{} (port {})", zones.join(" "), chain.block.port),
            plugin: plugin(reply.source).to_owned(),
            ..Origin::default()
        };
        let kubernetes = chain.kubernetes.as_ref();
        if let Some(kubernetes) = kubernetes.filter(|_| reply.source == Source::Kubernetes)
            && let Some(zone) = zone::zone_of(&kubernetes.options, &query.name)
        {
            let index = kubernetes.index();
            origin.plugin = format!("kubernetes, zone {zone}");
            let found = zone::find(&index, &kubernetes.options, zone, &query.name);
            (origin.meaning, origin.objects) = describe(&index, &kubernetes.options, found, &query.name);
            if kubernetes.options.is_shared(zone) && matches!(found, Found::Missing) && index.synced {
                origin.objects = vec!["names of this zone come from ServiceImports".to_owned()];
            }
        }
        if let Some(forward) = chain.forward.iter().find(|forward| forward.takes(&query.name))
            && reply.source == Source::Forward
        {
            let upstreams: Vec<String> =
                forward.upstreams().iter().map(|upstream| upstream.target.to_string()).collect();
            origin.meaning = format!("asked for at {}", upstreams.join(", "));
        }
        if reply.source == Source::Server {
            let missing = if chain.forward.is_empty() { "; `forward` would ask others" } else { "" };
            origin.meaning = format!("no plugin of this block answers for the name{missing}");
        }
        Some(origin)
    }
}

fn plugin(source: Source) -> &'static str {
    match source {
        Source::Server => "none",
        Source::Kubernetes => "kubernetes",
        Source::External => "k8s_external",
        Source::Template => "template",
        Source::Hosts => "hosts",
        Source::File => "file",
        Source::Whoami => "whoami",
        Source::Cache => "cache",
        Source::Forward => "forward",
    }
}

fn describe(
    index: &Index,
    options: &Options,
    found: Found<'_, '_>,
    name: &Name<'_>,
) -> (String, Vec<String>) {
    let words = |text: &str| text.to_owned();
    match found {
        Found::Missing if !index.synced => (words("nothing yet: the first facts have not come"), Vec::new()),
        Found::Missing => {
            (words("nothing: no object implies this name, or a name below it"), near(index, name))
        }
        Found::Empty => (words("only a name above others: no type has data"), Vec::new()),
        Found::Apex => (words("the zone itself"), Vec::new()),
        Found::NameServer => (words("the zone's name server"), Vec::new()),
        Found::Version => (words("the version of the names' schema"), Vec::new()),
        Found::Service(entry, None) => (words("a Service"), vec![service(entry)]),
        Found::Service(entry, Some(_)) => (words("a port of a Service"), vec![service(entry)]),
        Found::Alias(entry) => (words("a Service that is another name"), vec![service(entry)]),
        Found::Endpoint(entry, host) => {
            let members = entry.members.named(host).map(|member| format!("endpoint {}", member.address));
            (words("endpoints of a Service by name"), [service(entry)].into_iter().chain(members).collect())
        }
        Found::Zonal(entry, _) => (words("endpoints of a Service by zone"), vec![service(entry)]),
        Found::Pod(address) => (
            format!("a pod's address, pods {:?}", options.pods).to_lowercase(),
            vec![format!("address {address}")],
        ),
        Found::Address(address) => (format!("who has {address}"), owners(index, address)),
    }
}

/// Why a Service's name may be missing.
fn near(index: &Index, name: &Name<'_>) -> Vec<String> {
    let labels = name.labels();
    let svc = (0..labels).rev().find(|label| name.label(*label) == b"svc");
    let Some(svc) = svc.filter(|svc| *svc >= 2) else { return Vec::new() };
    let text = |label: usize| String::from_utf8_lossy(name.label(label)).into_owned();
    let (service, namespace) = (text(svc - 2), text(svc - 1));
    if !index.has_namespace(name.label(svc - 1)) {
        return vec![format!("there is no Namespace {namespace} here, or it is not served")];
    }
    match index.service(name.folded(svc - 2, svc)) {
        None => vec![format!("there is no Service {namespace}/{service}")],
        Some(entry) if entry.headless && entry.members.is_empty() => {
            vec![format!("Service {} is headless and has no ready endpoint", entry.name)]
        }
        Some(entry) => vec![format!("Service {} has no such port or endpoint", entry.name)],
    }
}

fn owners(index: &Index, address: IpAddr) -> Vec<String> {
    let owners = index.owners(address).filter(|(entry, _)| entry.visible);
    owners
        .map(|(entry, place)| match place {
            Some(_) => format!("an endpoint of Service {}", entry.name),
            None => service(entry),
        })
        .collect()
}

fn service(entry: &Entry) -> String {
    let name = &entry.name;
    if let Some(target) = &entry.alias {
        return format!("Service {name} (ExternalName {})", crate::name::text(target));
    }
    let ready = entry.members.iter().filter(|member| !member.repeated).count();
    if entry.headless {
        return format!("Service {name} (headless, {ready} ready endpoints)");
    }
    let records = entry.addresses.v4.from(0).chain(entry.addresses.v6.from(0));
    let addresses: Vec<String> =
        records.filter_map(Records::address).map(|address| address.to_string()).collect();
    format!("Service {name} ({}, {ready} ready endpoints)", addresses.join(", "))
}

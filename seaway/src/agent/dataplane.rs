//! The dataplane in the agent's hands: loaded first, attached once the first facts are in the maps.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use seaway_cluster::{AddressFamily, Node, Snapshot, Update, Waiting};
use seaway_common::{CONFIG_KERNEL_FLOWS, CONFIG_POD_PATH};
use seaway_dataplane::attachments::{Asked, Attachment, Attachments, Look, Place, State};
use seaway_dataplane::devices::Devices;
use seaway_dataplane::kernel_maps::KernelMaps;
use seaway_dataplane::links::Links;
use seaway_dataplane::next_hops::NextHops;
use seaway_dataplane::pins::Pins;
use seaway_dataplane::probe::Probe;
use seaway_dataplane::programs::{self, Programs};
use seaway_dataplane::site::NodeDns;
use seaway_dataplane::sync::{Event, Outcome, Sync};
use seaway_dataplane::{Maps, Site, collector, dead_sockets};
use tokio::task::{JoinHandle, spawn_blocking};

use super::health_checks::HealthChecks;
use super::interfaces::Selection;
use super::report::Report;
use super::told::Told;
use super::{Args, attachments};

/// Programs, maps, and what is told about them.
pub(super) struct Agent {
    sync: Sync<KernelMaps>,
    attachments: Attachments,
    /// What became of the attachments, as it was told last.
    states: Vec<State>,
    /// No program of an earlier agent is at work.
    fresh: bool,
    /// The first facts are in the maps, and the programs were attached.
    ready: bool,
    /// This node, without its addresses.
    site: Site,
    devices: Devices,
    next_hops: NextHops,
    selection: Selection,
    /// `auto` found an interface for every pod.
    pods_found: bool,
    cgroup: Option<PathBuf>,
    report: Report,
    told: Told,
    health_checks: HealthChecks,
    /// The facts that were handed to the loop last.
    facts: Arc<Snapshot>,
    /// What [`note_source`](Self::note_source) was told last, until it is in force.
    waiting: Waiting,
    node: String,
    /// Without a cluster there may be no Node object, and the node is fit all the same.
    stand_in: Option<Arc<Node>>,
    here: Option<Arc<Node>>,
}

/// Programs that are being loaded, with the pinned maps or with new ones that it pins.
pub(super) struct Loading(JoinHandle<Result<Programs, programs::Error>>);

impl Loading {
    /// Starts on a thread of its own.
    pub(super) fn start(args: &Args, probe: Probe, pins: &Pins) -> Self {
        tracing::info!(%probe, "loading");
        let (wanted, maps) = (args.capacity.capacities(), pins.maps());
        Self(spawn_blocking(move || Programs::load(&probe, &wanted, Some(&maps))))
    }

    /// Waits for them.
    pub(super) async fn programs(self) -> Result<Programs> {
        Ok(self.0.await??)
    }
}

impl Agent {
    /// With programs that are loaded.
    pub(super) fn new(
        args: &Args,
        probe: Probe,
        pins: &Pins,
        site: Site,
        selection: Selection,
        told: Told,
        programs: Programs,
    ) -> Result<Self> {
        let node = Arc::clone(&site.node);
        let node = &*node;
        let wanted = args.capacity.capacities();
        let maps = programs.maps()?;
        if maps.capacities() != wanted {
            let found = maps.capacities();
            tracing::warn!(
                ?found,
                ?wanted,
                "the pinned maps keep their size; run `seaway agent --cleanup` to make them anew"
            );
        }
        let metrics = Arc::clone(told.metrics());
        let looked = move |took, forgotten| metrics.reconciled(took, forgotten);
        collector::start(&pins.maps(), probe.ticks_per_s, looked)?;
        let mut report = Report::new(args, probe, node.to_owned(), Arc::clone(told.metrics()));
        report.note_site(&site);
        report.look_for_leftovers();
        let mut site = site;
        note_kernel_flows(&mut site, &report);
        // An agent that waits for its first facts is one that `seaway status` tells of.
        report.tell();
        Ok(Self {
            sync: Sync::new(maps, site.clone())?,
            attachments: Attachments::open(programs, &pins.links())?,
            states: Vec::new(),
            fresh: !pins.are_at_work(),
            ready: false,
            site,
            devices: Devices::open(&pins.maps())?,
            next_hops: NextHops::follow(&pins.maps())?,
            selection,
            pods_found: false,
            cgroup: args.cgroup.clone(),
            report,
            health_checks: HealthChecks::new(told.clone()),
            facts: Arc::default(),
            told,
            waiting: Waiting::default(),
            node: node.to_owned(),
            stand_in: args.facts.manifests.as_ref().map(|_| Arc::default()),
            here: None,
        })
    }

    /// Takes note of what is wrong with the source.
    pub(super) fn note_source(&mut self, update: &Update) {
        self.report.note_source(&update.warnings);
        self.told.metrics().follow(update.freshness.clone());
        self.waiting.add(update.arrivals.take());
        self.told.metrics().pending(&self.waiting);
        self.told.queued();
        self.here = update.snapshot.nodes.get(self.node.as_str()).or(self.stand_in.as_ref()).cloned();
    }

    /// Takes note of the node's interfaces before there are any facts.
    pub(super) fn start_on(&mut self, links: &Arc<Links>) {
        if let Some(event) = self.note_links(links) {
            self.sync.handle(event, 0);
        }
    }

    /// Takes note of the node's interfaces. Returns what follows for the Services.
    pub(super) fn note_links(&mut self, links: &Arc<Links>) -> Option<Event> {
        self.selection.note_links(links);
        match self.devices.follow(links) {
            Ok(0) => {}
            Ok(left_out) => tracing::warn!(
                left_out,
                "interfaces do not fit into the map; packets take the longer way there; raise --devices-max"
            ),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "interfaces"),
        }
        self.look_at_attachments();
        self.note_site()
    }

    /// Takes note of the node as its interfaces make it. Returns what follows for the Services.
    pub(super) fn note_site(&mut self) -> Option<Event> {
        let links = self.selection.links();
        let mut site = Site {
            addresses: links.addresses.clone(),
            routed: links.routed.clone(),
            routes: links.wide_routes(),
            ..self.site.clone()
        };
        if self.selection.pods.is_auto() {
            site.config.flags &= !CONFIG_POD_PATH;
            site.config.flags |= if self.pods_found { CONFIG_POD_PATH } else { 0 };
        }
        note_kernel_flows(&mut site, &self.report);
        if site == self.site {
            return None;
        }
        self.site = site;
        self.report.note_site(&self.site);
        Some(Event::Site(Arc::new(self.site.clone())))
    }

    /// Takes note of the node's own DNS server. Returns what follows for the Services.
    pub(super) fn note_dns(&mut self, dns: NodeDns) -> Option<Event> {
        if dns == self.site.node_dns {
            return None;
        }
        self.site.node_dns = dns;
        self.report.note_site(&self.site);
        Some(Event::Site(Arc::new(self.site.clone())))
    }

    /// The node's own addresses, one of each family, where an interface has them.
    pub(super) fn primary_addresses(&self) -> BTreeSet<IpAddr> {
        let families = [AddressFamily::Ipv4, AddressFamily::Ipv6];
        let primary = families.iter().filter_map(|family| self.site.primary(&self.facts, *family));
        primary.filter(|address| self.site.addresses.contains(address)).collect()
    }

    /// Deals with an event. Returns when to send a retry.
    pub(super) fn handle(&mut self, event: Event, now_ms: u64) -> Result<Option<Duration>> {
        let audit = matches!(event, Event::Audit);
        let full = !matches!(event, Event::Facts(_));
        let begun = Instant::now();
        if let Event::Facts(facts) = &event {
            self.facts = Arc::clone(facts);
            let changed = self.selection.note_facts(facts, &self.node);
            if changed && self.ready {
                self.settle(Look::Names);
            } else if changed {
                // Sockets are translated as the interfaces allow from the first one on.
                self.pods_found = self.selection.select().pods_found;
                if let Some(event) = self.note_site() {
                    self.sync.handle(event, now_ms);
                }
            }
        }
        let outcome = self.sync.handle(event, now_ms);
        if outcome.error.is_none() {
            self.note_synced(full, begun.elapsed());
        }
        if outcome.error.is_none() && !outcome.ignored_empty {
            self.health_checks.follow(&self.facts, &self.site);
            self.report.note_health_checks(self.health_checks.warnings());
        }
        self.told.metrics().tables(&outcome.tables);
        self.told.metrics().purged(outcome.purged);
        if full {
            // It may be started beside the agent, as well as cleaned up after.
            self.report.look_for_leftovers();
        }
        self.tell(audit, &outcome);
        end_sockets(&outcome);
        if !self.ready && outcome.error.is_none() {
            self.start()?;
        } else if audit {
            self.settle(Look::Links);
        }
        if audit || self.report.is_new() {
            self.told.count_without_local(self.sync.desired());
        }
        self.report.publish(&self.sync, &outcome, self.ready);
        Ok(outcome.retry_in)
    }

    /// What waited is in force.
    fn note_synced(&mut self, full: bool, took: Duration) {
        let waited = std::mem::take(&mut self.waiting);
        let first = !self.ready;
        self.told.synced(full || first, took, &waited, first, self.here.as_deref());
        self.told.metrics().pending(&self.waiting);
    }

    /// Compares the names of interfaces and pins with what is attached, and tries again what failed and is due.
    pub(super) fn look_at_attachments(&mut self) {
        if self.ready {
            self.settle(Look::Names);
        }
    }

    /// When an attachment that failed is tried again, if there is one.
    pub(super) fn attachments_due(&self) -> Option<Instant> {
        self.attachments.due().filter(|_| self.ready)
    }

    /// When the status file has to be written; never, if it says everything.
    pub(super) fn status_due(&self) -> impl Future<Output = ()> + use<> {
        self.report.due()
    }

    /// Writes the status file.
    pub(super) fn write_status(&mut self) {
        self.report.write();
    }

    /// When [`retry_health_checks`](Self::retry_health_checks) is due, if ever.
    pub(super) fn health_checks_due(&self) -> impl Future<Output = ()> + use<> {
        self.health_checks.due()
    }

    /// Tries to open health check ports that another program had.
    pub(super) fn retry_health_checks(&mut self) {
        self.health_checks.retry(&self.site);
        self.report.note_health_checks(self.health_checks.warnings());
        self.report.tell();
    }

    /// Traffic is taken over when the maps say where it goes, not before.
    fn start(&mut self) -> Result<()> {
        if self.fresh {
            // Where another owner has the cgroup, no interface is touched.
            let cgroup = Asked { cgroup: self.cgroup.clone(), ..Asked::default() };
            let changes = self.attachments.settle(&cgroup, Look::Links, Instant::now());
            self.refuse()?;
            attachments::tell(&changes, self.ready);
        }
        self.settle(Look::Links);
        if self.fresh {
            self.refuse()?;
        }
        // What an earlier agent attached is at work: what lacks beside it is told, and tried again.
        self.ready = true;
        Ok(())
    }

    /// A start without one of the places that flags name is none.
    fn refuse(&mut self) -> Result<()> {
        let mut named: BTreeSet<&String> = self.selection.node.named().iter().collect();
        named.extend(self.selection.pods.named());
        let is_named = |attachment: &Attachment| match &attachment.place {
            Place::Cgroup => true,
            Place::Interface(name) => named.contains(name),
        };
        match self.attachments.refusal(is_named) {
            None => Ok(()),
            Some(error) => {
                self.attachments.undo();
                Err(error.into())
            }
        }
    }

    fn settle(&mut self, look: Look) {
        let selected = self.selection.select();
        let (interfaces, pods) = (selected.node, selected.pods);
        self.next_hops.note_interfaces(interfaces.iter().chain(&pods), self.selection.links());
        self.report.note_choices(selected.choices);
        self.pods_found = selected.pods_found;
        let asked = Asked { interfaces, pods, cgroup: self.cgroup.clone() };
        let changes = self.attachments.settle(&asked, look, Instant::now());
        attachments::tell(&changes, self.ready);
        let states = self.attachments.states();
        if states != self.states {
            self.told.health(|health| health.note_attached(attachments::all_served(&states)));
            self.report.note_attachments(&states);
            self.states = states;
        }
    }

    fn tell(&self, audit: bool, outcome: &Outcome) {
        if let Some(error) = &outcome.error {
            let error = error as &dyn std::error::Error;
            tracing::error!(error, retry_in = ?outcome.retry_in, "a change is not in force yet");
        } else if audit && outcome.applied != 0 {
            tracing::warn!(
                operations = outcome.applied,
                "the maps had been changed by something else; they are right again"
            );
        } else if !self.ready {
            let services = self.sync.installed().len();
            tracing::info!(operations = outcome.applied, services, "in force");
        } else if !audit {
            tracing::debug!(operations = outcome.applied, "in force");
        }
    }
}

/// A connected UDP socket of the node would go on sending to an endpoint that is gone.
fn end_sockets(outcome: &Outcome) {
    if outcome.gone_udp.is_empty() {
        return;
    }
    match dead_sockets::end(&outcome.gone_udp) {
        Ok(0) => {}
        Ok(sockets) => {
            tracing::info!(sockets, "ended sockets that were connected to endpoints which are gone");
        }
        Err(error) => tracing::warn!(%error, "sockets stay connected to endpoints which are gone"),
    }
}

/// The status file goes with the agent: nobody speaks for the maps any more.
impl Drop for Agent {
    fn drop(&mut self) {
        self.report.withdraw();
    }
}

/// While kube-proxy's rules are here, TCP that starts nothing may belong to a connection that they translated.
fn note_kernel_flows(site: &mut Site, report: &Report) {
    site.config.flags &= !CONFIG_KERNEL_FLOWS;
    site.config.flags |= if report.finds_kube_proxy() { CONFIG_KERNEL_FLOWS } else { 0 };
}

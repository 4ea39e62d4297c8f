//! The dataplane in the agent's hands: loaded first, attached once the first facts are in the maps.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use seaway_cluster::{AddressFamily, Node, Snapshot, Update, Waiting};
use seaway_common::CONFIG_POD_PATH;
use seaway_dataplane::devices::Devices;
use seaway_dataplane::kernel_maps::KernelMaps;
use seaway_dataplane::links::Links;
use seaway_dataplane::next_hops::NextHops;
use seaway_dataplane::pins::Pins;
use seaway_dataplane::probe::Probe;
use seaway_dataplane::programs::{self, Programs};
use seaway_dataplane::site::NodeDns;
use seaway_dataplane::sync::{Event, Outcome, Sync};
use seaway_dataplane::{Maps, Site, attach, collector, dead_sockets};
use tokio::task::{JoinHandle, spawn_blocking};

use super::Args;
use super::health_checks::HealthChecks;
use super::interfaces::{Interfaces, Selected, Selection};
use super::report::Report;
use super::told::Told;

/// Programs, maps, and what is told about them.
pub(super) struct Agent {
    programs: Programs,
    sync: Sync<KernelMaps>,
    links: PathBuf,
    /// This node, without its addresses.
    site: Site,
    devices: Devices,
    next_hops: NextHops,
    selection: Selection,
    /// `auto` found an interface for every pod.
    pods_found: bool,
    /// Interfaces that the programs are attached to.
    on: BTreeSet<String>,
    pods_on: BTreeSet<String>,
    cgroup: Option<PathBuf>,
    attached: bool,
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
        // An agent that waits for its first facts is one that `seaway status` tells of.
        report.tell();
        Ok(Self {
            programs,
            sync: Sync::new(maps, site.clone())?,
            site,
            devices: Devices::open(&pins.maps())?,
            links: pins.links(),
            next_hops: NextHops::follow(&pins.maps())?,
            selection,
            pods_found: false,
            on: BTreeSet::new(),
            pods_on: BTreeSet::new(),
            cgroup: args.cgroup.clone(),
            attached: false,
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
    pub(super) fn start_on(&mut self, links: &Arc<Links>) -> Result<()> {
        if let Some(event) = self.note_links(links)? {
            self.sync.handle(event, 0);
        }
        Ok(())
    }

    /// Takes note of the node's interfaces. Returns what follows for the Services.
    pub(super) fn note_links(&mut self, links: &Arc<Links>) -> Result<Option<Event>> {
        self.selection.note_links(links);
        match self.devices.follow(links) {
            Ok(0) => {}
            Ok(left_out) => tracing::warn!(
                left_out,
                "interfaces do not fit into the map; packets take the longer way there; raise --devices-max"
            ),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "interfaces"),
        }
        if self.interfaces_may_grow() {
            self.look_for_interfaces()?;
        }
        Ok(self.note_site())
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
            if changed && self.attached {
                self.look_for_interfaces()?;
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
        if !self.attached && outcome.error.is_none() {
            self.attach()?;
        }
        if audit || self.report.is_new() {
            self.told.count_without_local(self.sync.desired());
        }
        self.report.publish(&self.sync, &outcome, self.attached);
        Ok(outcome.retry_in)
    }

    /// What waited is in force.
    fn note_synced(&mut self, full: bool, took: Duration) {
        let waited = std::mem::take(&mut self.waiting);
        let first = !self.attached;
        self.told.synced(full || first, took, &waited, first, self.here.as_deref());
        self.told.metrics().pending(&self.waiting);
    }

    /// The agent ends: nobody speaks for the maps any more.
    pub(super) fn stop(&self) {
        self.report.withdraw();
    }

    /// Whether [`look_for_interfaces`](Self::look_for_interfaces) may find something.
    pub(super) fn interfaces_may_grow(&self) -> bool {
        self.attached && self.selection.may_change()
    }

    /// Attaches to interfaces of a pattern that came, and forgets those that went.
    pub(super) fn look_for_interfaces(&mut self) -> Result<()> {
        let selected = self.selection.select();
        if selected.node != self.on || selected.pods != self.pods_on {
            self.attach_interfaces(&selected.node, &selected.pods)?;
        }
        self.note_selected(selected);
        Ok(())
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
    fn attach(&mut self) -> Result<()> {
        let begun = Instant::now();
        let selected = self.selection.select();
        self.attach_interfaces(&selected.node, &selected.pods)?;
        if let Some(cgroup) = &self.cgroup {
            let how = attach::cgroup(&mut self.programs, &self.links, cgroup)?;
            tracing::info!(cgroup = %cgroup.display(), ?how, "attached");
        }
        tracing::debug!(attach = ?begun.elapsed(), "attached to all");
        self.attached = true;
        self.note_selected(selected);
        Ok(())
    }

    /// Takes note of the interfaces that programs are attached to now.
    fn note_selected(&mut self, selected: Selected) {
        self.next_hops.note_interfaces(self.on.iter().chain(&self.pods_on), self.selection.links());
        self.report.note_interfaces(&self.on, selected.choices);
        self.pods_found = selected.pods_found;
    }

    fn attach_interfaces(&mut self, present: &BTreeSet<String>, pods: &BTreeSet<String>) -> Result<()> {
        for gone in attach::retain(&self.links, present, pods, self.cgroup.as_deref())? {
            tracing::info!(link = gone, "detached: it is no longer asked for");
        }
        self.on.retain(|interface| present.contains(interface));
        self.pods_on.retain(|interface| pods.contains(interface));
        for interface in present.difference(&self.on.clone()) {
            let how = attach::interface(&mut self.programs, &self.links, interface);
            if attached(interface, &self.selection.node, how)? {
                self.on.insert(interface.clone());
            }
        }
        for interface in pods.difference(&self.pods_on.clone()) {
            let how = attach::classifiers(&mut self.programs, &self.links, interface);
            if attached(interface, &self.selection.pods, how)? {
                self.pods_on.insert(interface.clone());
            }
        }
        Ok(())
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
        } else if !self.attached {
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

/// One of a pattern may be gone again already, and then is not there the next time.
fn attached<T: std::fmt::Debug>(
    interface: &str,
    asked: &Interfaces,
    how: Result<T, attach::Error>,
) -> Result<bool> {
    match how {
        Ok(how) => tracing::info!(interface, ?how, "attached"),
        Err(error) if !asked.named().iter().any(|name| name == interface) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(interface, error, "cannot attach; it will be tried again");
            return Ok(false);
        }
        Err(error) => return Err(error.into()),
    }
    Ok(true)
}

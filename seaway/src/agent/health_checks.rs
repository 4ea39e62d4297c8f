//! The health check ports of Services (`healthCheckNodePort`), opened and given up as Services change.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use seaway_cluster::{AddressFamily, ServiceName, Snapshot};
use seaway_dataplane::health::service::{ServiceHealth, port};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::servers;
use super::told::Told;

const FAMILIES: [AddressFamily; 2] = [AddressFamily::Ipv4, AddressFamily::Ipv6];
/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// The servers of both families.
pub(super) struct HealthChecks {
    told: Told,
    families: [Family; 2],
    /// Where they listen; everywhere if it is empty.
    addresses: Vec<IpAddr>,
    /// What was followed last.
    before: Arc<Snapshot>,
}

struct Family {
    family: AddressFamily,
    health: Arc<Mutex<ServiceHealth>>,
    wanted: BTreeMap<ServiceName, u16>,
    listeners: BTreeMap<ServiceName, Vec<Listener>>,
    /// Ports that could not be opened.
    refused: BTreeMap<ServiceName, u16>,
}

/// One that accepts until it is dropped.
struct Listener(JoinHandle<()>);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl HealthChecks {
    /// Nothing listens yet.
    pub(super) fn new(told: Told) -> Self {
        let of = |family| Family {
            family,
            health: Arc::default(),
            wanted: BTreeMap::new(),
            listeners: BTreeMap::new(),
            refused: BTreeMap::new(),
        };
        Self { told, families: FAMILIES.map(of), addresses: Vec::new(), before: Arc::default() }
    }

    /// Listens on these addresses of the node alone, as `--nodeport-addresses` says; none given is
    /// everywhere.
    pub(super) fn listen_on(&mut self, addresses: Vec<IpAddr>) {
        if addresses != self.addresses {
            self.addresses = addresses;
            let gone = |family: &mut Family| {
                family.listeners.clear();
                family.wanted.clear();
                family.health = Arc::default();
            };
            self.families.iter_mut().for_each(gone);
            self.before = Arc::default();
        }
    }

    /// What the Services say now is in force. `node` is this node's name.
    pub(super) fn follow(&mut self, snapshot: &Arc<Snapshot>, node: &str) {
        let before = std::mem::replace(&mut self.before, Arc::clone(snapshot));
        let changed = snapshot.changed_services(&before);
        for family in &mut self.families {
            family.follow((snapshot, node), &changed, &self.addresses, &self.told);
            let counts = changed.iter().filter(|service| family.wanted.contains_key(**service));
            for service in counts {
                lock(&family.health).count(service, snapshot.local_ready(service, family.family, node));
            }
        }
    }
}

impl Family {
    fn follow(
        &mut self,
        (snapshot, node): (&Snapshot, &str),
        changed: &BTreeSet<&ServiceName>,
        addresses: &[IpAddr],
        told: &Told,
    ) {
        for service in changed {
            match port(snapshot, service, self.family) {
                Some(port) => _ = self.wanted.insert((*service).clone(), port),
                None => _ = self.wanted.remove(*service),
            }
        }
        let change = lock(&self.health).change_to(&self.wanted);
        for service in &change.close {
            self.listeners.remove(service);
        }
        for (service, port) in change.open {
            match self.open(&service, port, addresses, told) {
                Ok(listeners) => {
                    let ready = snapshot.local_ready(&service, self.family, node);
                    let mut health = lock(&self.health);
                    health.opened(service.clone(), port);
                    health.count(&service, ready);
                    drop(health);
                    self.refused.remove(&service);
                    self.listeners.insert(service, listeners);
                }
                // Said once for a port, not once for each attempt.
                Err(error) if self.refused.insert(service.clone(), port) != Some(port) => tracing::warn!(
                    %service, port, family = self.family.as_str(), %error,
                    "the health check port cannot be opened; every change tries again"
                ),
                Err(_) => {}
            }
        }
    }

    fn open(
        &self,
        service: &ServiceName,
        port: u16,
        addresses: &[IpAddr],
        told: &Told,
    ) -> io::Result<Vec<Listener>> {
        let own: Vec<IpAddr> = if addresses.is_empty() {
            vec![everywhere(self.family)]
        } else {
            addresses.iter().copied().filter(|address| AddressFamily::of(*address) == self.family).collect()
        };
        let listen = |address: IpAddr| {
            let listener = bind(SocketAddr::new(address, port))?;
            let (health, service, told) = (Arc::clone(&self.health), service.clone(), told.clone());
            let answer = move |_: &http::Uri| {
                let healthy = told.health(|proxy| proxy.healthy(SystemTime::now()));
                let mut health = lock(&health);
                health.note_proxy(healthy);
                std::future::ready(servers::response(health.answer(&service)))
            };
            Ok(Listener(tokio::spawn(servers::accept(listener, answer))))
        };
        own.into_iter().map(listen).collect()
    }
}

/// A listener of one family only: the other one has its own on the same port.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn everywhere(family: AddressFamily) -> IpAddr {
    match family {
        AddressFamily::Ipv4 => Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Ipv6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn lock(health: &Mutex<ServiceHealth>) -> std::sync::MutexGuard<'_, ServiceHealth> {
    health.lock().unwrap_or_else(PoisonError::into_inner)
}

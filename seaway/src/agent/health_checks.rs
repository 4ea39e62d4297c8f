//! The health check ports of Services, opened and given up as Services change.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use seaway_cluster::{AddressFamily, ServiceName, Snapshot};
use seaway_dataplane::Site;
use seaway_dataplane::health::service::{Closed, ServiceHealth, Wanted, addresses};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::http_server::{self, response};
use super::told::Told;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;
/// A port that another program has is tried again after this long.
const RETRY: Duration = Duration::from_secs(5);

/// The servers of both families.
pub(super) struct HealthChecks {
    told: Told,
    families: [Family; 2],
    /// What the counts were taken from.
    facts: Arc<Snapshot>,
    retry_at: Option<Instant>,
}

struct Family {
    wanted: Wanted,
    servers: Arc<Mutex<ServiceHealth<Listener>>>,
    closed: Vec<Closed>,
}

/// Accepts until it is dropped.
struct Listener {
    socket: Arc<TcpListener>,
    task: AbortHandle,
}

impl Drop for Listener {
    /// The port is free at once, although the task that accepts ends a moment later.
    fn drop(&mut self) {
        if let Err(error) = SockRef::from(&*self.socket).shutdown(std::net::Shutdown::Both) {
            tracing::debug!(%error, "a listener goes without a word");
        }
        self.task.abort();
    }
}

impl HealthChecks {
    /// Nothing listens yet.
    pub(super) fn new(told: Told) -> Self {
        let families = [AddressFamily::Ipv4, AddressFamily::Ipv6].map(|family| Family {
            wanted: Wanted::new(family),
            servers: Arc::default(),
            closed: Vec::new(),
        });
        Self { told, families, facts: Arc::default(), retry_at: None }
    }

    /// What these facts say is in force.
    pub(super) fn follow(&mut self, facts: &Arc<Snapshot>, site: &Site) {
        let before = std::mem::replace(&mut self.facts, Arc::clone(facts));
        let changed = facts.changed_services(&before);
        for family in &mut self.families {
            family.wanted.update(facts, &site.node, changed.iter().copied());
        }
        self.open(site);
    }

    /// When [`retry`](Self::retry) is due; never, if every port is open.
    pub(super) fn due(&self) -> impl Future<Output = ()> + use<> {
        let at = self.retry_at;
        async move {
            match at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Tries the ports again that another program had.
    pub(super) fn retry(&mut self, site: &Site) {
        self.open(site);
    }

    /// Ports that nobody is answered on, a line each.
    pub(super) fn warnings(&self) -> BTreeSet<String> {
        let closed = self.families.iter().flat_map(|family| &family.closed);
        closed.map(|closed| format!("{closed}: {}", closed.source)).collect()
    }

    fn open(&mut self, site: &Site) {
        for family in &mut self.families {
            let addresses = addresses(site, &self.facts, family.wanted.family);
            let (told, servers) = (&self.told, &family.servers);
            let listen = |service: &ServiceName, address| listen(service, address, servers, told);
            let closed = lock(servers).serve(&family.wanted.ports, &addresses, listen);
            lock(servers).count(&family.wanted.ready);
            family.closed = closed;
        }
        let all_open = self.families.iter().all(|family| family.closed.is_empty());
        self.retry_at = (!all_open).then(|| Instant::now() + RETRY);
    }
}

fn listen(
    service: &ServiceName,
    address: SocketAddr,
    servers: &Arc<Mutex<ServiceHealth<Listener>>>,
    told: &Told,
) -> io::Result<Listener> {
    let socket = Arc::new(bind(address)?);
    // Not the servers themselves: they own this task.
    let (servers, service, told) = (Arc::downgrade(servers), service.clone(), told.clone());
    let respond = move |request: http::Request<hyper::body::Incoming>| {
        let healthy = told.health(|proxy| proxy.healthy(SystemTime::now()));
        let answer = servers.upgrade().map(|servers| lock(&servers).answer(&service, healthy));
        let answer = answer.unwrap_or_else(|| ServiceHealth::<Listener>::default().answer(&service, healthy));
        std::future::ready(Ok::<_, Infallible>(response(answer.sent(request.method().as_str()))))
    };
    let task = tokio::spawn(http_server::accept(Arc::clone(&socket), respond)).abort_handle();
    Ok(Listener { socket, task })
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

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

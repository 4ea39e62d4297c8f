//! The server: sockets in front of an engine.
//!
//! ```text
//! UDP  thread per core ─ recvmmsg ─ Engine::step ─ sendmmsg        never waits
//!                                       │ Ask
//!                                       ▼
//! TCP, TLS, HTTPS, QUIC ──────▶ Service::resolve ── upstreams      waits, bounded
//! ```
//!
//! A server begins with the listeners of its configuration and keeps them until it ends; a new
//! configuration is swapped in behind them, in one step.

mod asking;
mod descriptors;
mod http;
mod https;
mod listen;
mod outbox;
mod quic;
mod report;
mod selfcheck;
mod service;
mod stream;
mod tcp;
mod udp;

pub use descriptors::descriptors_max;
pub use listen::{Error, Listener, addresses_of, local_addresses};
pub use service::Service;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use tokio::sync::watch;

use crate::block::Scheme;

/// How a server is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerOptions {
    /// Threads that answer over UDP, for each listener.
    pub threads: usize,
}

/// A running server. Dropping it ends it at once.
#[derive(Debug)]
pub struct Server {
    threads: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    /// Told to the tasks.
    ending: watch::Sender<bool>,
    addresses: Vec<SocketAddr>,
}

impl Server {
    /// Starts answering on the listeners, in threads of its own and in tasks of the current tokio
    /// runtime.
    ///
    /// # Errors
    /// If a socket cannot be opened: then none is.
    pub fn start(
        service: &Arc<Service>,
        listeners: &[Listener],
        options: ServerOptions,
    ) -> Result<Self, Error> {
        let (ending, ended) = watch::channel(false);
        let mut server = Self { threads: Vec::new(), stop: Arc::default(), ending, addresses: Vec::new() };
        let mut sockets = Vec::new();
        for listener in listeners {
            sockets.push(listener.open(options.threads.max(1))?);
        }
        let mut number = 0;
        for (listener, opened) in listeners.iter().zip(sockets) {
            server.addresses.push(opened.address);
            let place = listener.place;
            for socket in opened.udp {
                if place.scheme == Scheme::Quic {
                    tokio::spawn(quic::serve(socket, Arc::clone(service), place, ended.clone()));
                    continue;
                }
                let worker = udp::Worker::new(socket, Arc::clone(service), place, number);
                server.threads.push(worker.spawn(Arc::clone(&server.stop)));
                number += 1;
            }
            if let Some(tcp) = opened.tcp {
                tokio::spawn(tcp::serve(tcp, Arc::clone(service), place, ended.clone()));
            }
        }
        for (address, page) in service.pages() {
            let listener = listen::tcp(address)?;
            if let (http::Page::Health, Ok(address)) = (page, listener.local_addr()) {
                tokio::spawn(selfcheck::run(address, Arc::clone(service), ended.clone()));
            }
            tokio::spawn(http::serve(listener, page, Arc::clone(service), ended.clone()));
        }
        Ok(server)
    }

    /// Where it listens, in the order of the listeners.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Ends it: what has been received is answered, and nothing more is received.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.ending.send_replace(true);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that answered queries had panicked");
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

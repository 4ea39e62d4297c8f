//! A TCP server whose connections follow a script: for what an echo server does not do.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use seaway_lab::Namespace;

const POLL_EVERY: Duration = Duration::from_millis(2);

/// A running server. It stops to accept on drop; connections that are open end by themselves.
#[derive(Debug)]
pub struct ScriptServer {
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ScriptServer {
    /// Serves `address` in a namespace, each connection by a thread of its own.
    ///
    /// # Panics
    /// When the address cannot be bound.
    pub fn start(
        namespace: &Namespace,
        address: SocketAddr,
        script: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let bind = || {
            TcpListener::bind(address).and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        };
        let listener = namespace.run(bind).expect("the namespace");
        let listener = listener.unwrap_or_else(|error| panic!("cannot serve {address}: {error}"));
        let stopped = Arc::new(AtomicBool::new(false));
        let is_stopped = Arc::clone(&stopped);
        let script = Arc::new(script);
        let thread = thread::spawn(move || {
            while !is_stopped.load(Ordering::Acquire) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        let script = Arc::clone(&script);
                        // What breaks a connection is for its client to see.
                        thread::spawn(move || {
                            stream.set_nonblocking(false).and_then(|()| script(stream)).ok()
                        });
                    }
                    Err(_) => thread::sleep(POLL_EVERY),
                }
            }
        });
        Self { stopped, thread: Some(thread) }
    }
}

impl Drop for ScriptServer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        self.thread.take().map(JoinHandle::join);
    }
}

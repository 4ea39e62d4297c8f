//! A server on a thread of its own, with the sockets of a namespace.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    thread::{self, JoinHandle},
};

use tokio::sync::oneshot;

use crate::{Error, Namespace};

/// A running server. It stops, closing every connection, on drop.
#[derive(Debug)]
pub struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Runs `work` on a runtime of its own until the handle is dropped.
    pub(crate) fn start(name: &str, work: impl AsyncFnOnce() + Send + 'static) -> Result<Self, Error> {
        let action = format!("start the server {name}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Error::system(action.clone()))?;
        let (stop, stopped) = oneshot::channel();
        let serve = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = work() => {}
                    _ = stopped => {}
                }
            });
        };
        let thread =
            thread::Builder::new().name(name.to_owned()).spawn(serve).map_err(Error::system(action))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take();
        // A server that panicked has printed why.
        self.thread.take().map(JoinHandle::join);
    }
}

/// A TCP socket of `namespace` that listens on `address`; port 0 takes any.
pub(crate) fn listen(namespace: &Namespace, address: SocketAddr) -> Result<TcpListener, Error> {
    let listener = namespace.run(|| listen_here(address))?;
    listener.map_err(Error::system::<io::Error>(format!("listen on {address} in {}", namespace.name())))
}

/// A TCP socket of the thread's namespace that listens on `address`.
pub(crate) fn listen_here(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A UDP socket of the thread's namespace bound to `address`.
pub(crate) fn bind_udp_here(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

//! A server on a thread of its own, with the sockets of a namespace.

use std::{
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
    let listener = namespace.run(|| {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    })?;
    listener.map_err(Error::system::<std::io::Error>(format!("listen on {address} in {}", namespace.name())))
}

/// A UDP socket of `namespace` bound to `address`.
pub(crate) fn bind_udp(namespace: &Namespace, address: SocketAddr) -> Result<UdpSocket, Error> {
    let socket = namespace.run(|| {
        let socket = UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    })?;
    socket.map_err(Error::system::<std::io::Error>(format!("bind UDP {address} in {}", namespace.name())))
}

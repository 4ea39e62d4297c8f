//! The server asks itself for `/health`, once a second: what takes long here takes long for others.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{interval, timeout};

use super::service::Service;

const EVERY: Duration = Duration::from_secs(1);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const REQUEST: &[u8] = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Asks until the server ends.
pub(super) async fn run(listening: SocketAddr, service: Arc<Service>, mut ended: watch::Receiver<bool>) {
    let address = SocketAddr::new(reached_at(listening.ip()), listening.port());
    let mut ticks = interval(EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = ended.changed() => return,
        }
        let begun = Instant::now();
        let sound = matches!(timeout(ANSWER_WITHIN, ask(address)).await, Ok(Ok(true)));
        service.metrics().upkeep.asked_itself(sound.then(|| begun.elapsed()));
    }
}

/// Nobody can connect to the address that stands for all.
fn reached_at(listening: IpAddr) -> IpAddr {
    match listening {
        address if !address.is_unspecified() => address,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

async fn ask(address: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(REQUEST).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 200 "))
}

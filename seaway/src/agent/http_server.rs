//! Accepting connections and answering their requests; what with is the caller's.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use seaway_dataplane::health::Answer;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// Connections that are served at once. When another one comes, an older one ends: see [`Connections`].
const CONNECTIONS_MAX: usize = 128;
/// A client has this long to send its request's head, also the next one of a connection that is kept.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// No connection lasts longer, whatever it does.
const LIFE_MAX: Duration = Duration::from_secs(300);

/// Serves a listener until the task ends; connections end with it.
pub(super) async fn accept<R, F>(listener: Arc<TcpListener>, respond: R)
where
    R: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send + 'static,
{
    let mut connections = Connections::default();
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, for instance: a moment later there may be one.
                tracing::debug!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        connections.serve(peer.ip(), serve(stream, respond.clone()));
    }
}

/// Answers the requests of one connection.
async fn serve<R, F>(stream: TcpStream, respond: R)
where
    R: Fn(Request<Incoming>) -> F,
    F: Future<Output = Result<Response<Full<Bytes>>, Infallible>>,
{
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
    let served = server.serve_connection(TokioIo::new(stream), service_fn(respond));
    match tokio::time::timeout(LIFE_MAX, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::trace!(%error, "a connection ended early"),
        Err(_) => tracing::trace!("a connection lasted too long"),
    }
}

/// The connections of a listener, the oldest first. Where there are too many, the client with the most loses
/// its oldest one: clients that are slow on purpose displace themselves, and a probe is answered at once.
#[derive(Default)]
struct Connections {
    open: Vec<(IpAddr, AbortHandle)>,
    tasks: JoinSet<()>,
}

impl Connections {
    fn serve(&mut self, client: IpAddr, connection: impl Future<Output = ()> + Send + 'static) {
        while self.tasks.try_join_next().is_some() {}
        if self.open.len() >= CONNECTIONS_MAX {
            self.open.retain(|(_, task)| !task.is_finished());
        }
        if self.open.len() >= CONNECTIONS_MAX {
            let (_, oldest) = self.open.remove(victim(self.open.iter().map(|(client, _)| *client)));
            oldest.abort();
        }
        self.open.push((client, self.tasks.spawn(connection)));
    }
}

/// The index of the first connection of the client that has the most.
fn victim(clients: impl Iterator<Item = IpAddr>) -> usize {
    let mut counts = BTreeMap::<IpAddr, (usize, usize)>::new();
    for (index, client) in clients.enumerate() {
        counts.entry(client).or_insert((0, index)).0 += 1;
    }
    // Of several, the one that came first.
    let most = counts.into_values().max_by_key(|(count, first)| (*count, std::cmp::Reverse(*first)));
    most.map_or(0, |(_, first)| first)
}

/// The answer as it is sent.
pub(super) fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    let body = Full::new(Bytes::from(answer.body));
    response.body(body).expect("the status and headers of an answer are valid")
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A probe gives up after this long, like a kubelet's.
    const PROBE: Duration = Duration::from_secs(1);

    /// Serves "fine" at any path.
    async fn start() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fine = || Answer { status: 200, headers: vec![], body: "fine".to_owned() };
        let respond = move |_| std::future::ready(Ok::<_, Infallible>(response(fine())));
        tokio::spawn(accept(listener.into(), respond));
        address
    }

    async fn probe(address: SocketAddr) -> bool {
        let exchange = async {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(b"GET /livez HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n").await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = tokio::time::timeout(PROBE, exchange).await;
        answer.is_ok_and(|answer| answer.is_ok_and(|text| text.starts_with("HTTP/1.1 200")))
    }

    /// A connection that sends half of a head, and no more.
    async fn slow(address: SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: n\r\n").await.unwrap();
        stream
    }

    #[tokio::test]
    async fn a_probe_is_answered_beside_any_number_of_slow_connections() {
        let address = start().await;
        let mut open = Vec::new();
        for _ in 0..4 * CONNECTIONS_MAX {
            open.push(slow(address).await);
            if open.len().is_multiple_of(32) {
                assert!(probe(address).await, "beside {} slow connections", open.len());
            }
        }
        // The first ones were ended.
        let mut rest = [0; 1];
        let ended = tokio::time::timeout(PROBE, open[0].read(&mut rest)).await;
        assert!(matches!(ended, Ok(Ok(0) | Err(_))), "{ended:?}");
    }

    #[tokio::test]
    async fn a_connection_that_says_nothing_ends_by_itself() {
        let address = start().await;
        // Before the first request, in the middle of its head, and after an answer.
        let silent = TcpStream::connect(address).await.unwrap();
        let half = slow(address).await;
        let mut kept = TcpStream::connect(address).await.unwrap();
        kept.write_all(b"GET / HTTP/1.1\r\nHost: n\r\n\r\n").await.unwrap();
        for mut stream in [silent, half, kept] {
            let mut rest = Vec::new();
            let ended = tokio::time::timeout(HEAD_WITHIN + PROBE * 5, stream.read_to_end(&mut rest)).await;
            assert!(ended.is_ok(), "still open");
        }
    }

    #[test]
    fn the_client_with_the_most_connections_loses_its_oldest_one() {
        let check = |clients: &[u8], expected| {
            let clients = clients.iter().map(|last| IpAddr::from([10, 0, 0, *last]));
            assert_eq!(victim(clients), expected);
        };
        check(&[1, 2, 2, 3], 1);
        check(&[3, 1, 2], 0);
        check(&[1, 2, 2, 1, 1], 0);
    }
}

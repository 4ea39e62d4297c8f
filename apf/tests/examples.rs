//! The examples under load: one flood and nine mice over real sockets, and a pool of workers.

#[path = "../../examples/apf/axum.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "the example is a program of its own; its main is not run here"
)]
mod axum_example;
#[path = "../../examples/apf/tcp.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "the example is a program of its own; its main is not run here"
)]
mod tcp_example;
#[path = "../../examples/apf/worker_pool.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "the example is a program of its own; its main is not run here"
)]
mod worker_pool_example;

use axum::Router;
use seaway_apf::layer::FlowControlLayer;
use seaway_apf::{Attributes, Configuration, FlowControl, Settings};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tower::limit::GlobalConcurrencyLimitLayer;
use worker_pool_example::Job;

const SEATS: u32 = 4;
const WORK: Duration = Duration::from_millis(20);
/// What a mouse may wait at most, by the median: some turns of the work. In a queue of all it would wait for
/// all 60 of the flood, 15 turns.
const MOUSE: Duration = Duration::from_millis(20 * 6);
const FLOOD: usize = 60;

fn control() -> FlowControl {
    let control = FlowControl::new(Settings::default().seats(SEATS));
    control.configure(&Configuration::by_user());
    control
}

/// Keeps a flood going until the handle is aborted.
fn flood<F>(call: impl Fn() -> F + Clone + Send + 'static) -> JoinHandle<()>
where
    F: Future<Output = bool> + Send + 'static,
{
    tokio::spawn(async move {
        let mut all = JoinSet::new();
        for _ in 0..FLOOD {
            let call = call.clone();
            all.spawn(async move {
                loop {
                    if !call().await {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            });
        }
        all.join_all().await;
    })
}

/// The median of what nine mice wait, which all must be served.
async fn mice<F>(call: impl Fn(String) -> F) -> Duration
where
    F: Future<Output = bool> + Send + 'static,
{
    let mut waits = Vec::new();
    for _ in 0..3 {
        let mut all = JoinSet::new();
        for mouse in 0..9 {
            let reply = call(format!("mouse-{mouse}"));
            let start = Instant::now();
            all.spawn(async move { (reply.await, start.elapsed()) });
            tokio::time::sleep(WORK).await;
        }
        for (served, wait) in all.join_all().await {
            assert!(served, "a mouse is refused");
            waits.push(wait);
        }
    }
    waits.sort();
    waits[waits.len() / 2]
}

async fn http(address: std::net::SocketAddr, user: String) -> bool {
    let Ok(mut stream) = TcpStream::connect(address).await else { return false };
    let request =
        format!("GET /work HTTP/1.1\r\nHost: x\r\nX-Remote-User: {user}\r\nConnection: close\r\n\r\n");
    let mut reply = String::new();
    stream.write_all(request.as_bytes()).await.is_ok()
        && stream.read_to_string(&mut reply).await.is_ok()
        && reply.starts_with("HTTP/1.1 200")
}

async fn line(address: std::net::SocketAddr, user: String) -> bool {
    let Ok(mut stream) = TcpStream::connect(address).await else { return false };
    let request = format!("{user} {}\n", WORK.as_millis());
    let mut reply = String::new();
    stream.write_all(request.as_bytes()).await.is_ok()
        && BufReader::new(stream).read_line(&mut reply).await.is_ok()
        && reply == "done\n"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mice_pass_a_flood_in_front_of_axum_with_and_without_an_inner_limit() {
    for inner_limit in [None, Some(SEATS as usize)] {
        let who = |request: &http::Request<_>| {
            let user = request.headers().get("x-remote-user").and_then(|user| user.to_str().ok());
            Attributes::user(user.unwrap_or_default()).asks(request.into())
        };
        let work = axum::routing::get(|| async {
            tokio::time::sleep(WORK).await;
            "done\n"
        });
        let mut app = Router::new().route("/work", work);
        if let Some(limit) = inner_limit {
            app = app.layer(GlobalConcurrencyLimitLayer::new(limit));
        }
        let app = app.layer(FlowControlLayer::new(control(), who));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, app).await });
        let flood = flood(move || http(address, "flood".to_owned()));
        tokio::time::sleep(10 * WORK).await;
        let wait = mice(|mouse| http(address, mouse)).await;
        println!("axum, inner limit {inner_limit:?}: mice wait {wait:?} by the median");
        assert!(wait < MOUSE, "mice wait {wait:?} with an inner limit of {inner_limit:?}");
        flood.abort();
        server.abort();
    }
}

#[tokio::test]
async fn the_axum_example_serves_its_metrics() {
    let control = axum_example::control(2).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, axum_example::app(control)).await });
    assert!(http(address, "ann".to_owned()).await);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    assert!(page.contains("dispatched_requests_total{flow_schema=\"everybody\""), "{page}");
    server.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mice_pass_a_flood_in_a_protocol_of_its_own() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(tcp_example::serve(listener, control()));
    let flood = flood(move || line(address, "flood".to_owned()));
    tokio::time::sleep(10 * WORK).await;
    let wait = mice(|mouse| line(address, mouse)).await;
    println!("tcp: mice wait {wait:?} by the median");
    assert!(wait < MOUSE, "mice wait {wait:?}");
    flood.abort();
    server.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_of_mice_pass_a_flood_in_a_pool_of_workers() {
    let control = Arc::new(control());
    let job = |tenant: String| Job { tenant, workers: 1, weight: 1, work: WORK };
    let run = move |control: Arc<FlowControl>, tenant: String| async move {
        match worker_pool_example::submit(&control, job(tenant)).await {
            Ok(running) => running.await.is_ok(),
            Err(_) => false,
        }
    };
    let flooding = Arc::clone(&control);
    let flood = flood(move || run(Arc::clone(&flooding), "flood".to_owned()));
    tokio::time::sleep(10 * WORK).await;
    let wait = mice(|mouse| run(Arc::clone(&control), mouse)).await;
    println!("worker pool: mice wait {wait:?} by the median");
    assert!(wait < MOUSE, "mice wait {wait:?}");
    flood.abort();
    control.shut_down();
    control.drained().await;
}

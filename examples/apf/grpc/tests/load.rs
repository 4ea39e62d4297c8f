//! The gRPC example under load: one flood and nine mice, over HTTP/2 on a real socket.

use seaway_apf::{Configuration, FlowControl, Settings};
use seaway_apf_grpc_example::{WORK, serve};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

const SEATS: u32 = 4;

async fn start() -> (FlowControl, Channel) {
    let control = FlowControl::new(Settings::default().seats(SEATS));
    control.configure(&Configuration::by_user());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, control.clone()));
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    (control, channel)
}

fn request(user: &str) -> Request<HealthCheckRequest> {
    let mut request = Request::new(HealthCheckRequest::default());
    request.metadata_mut().insert("x-remote-user", user.parse().unwrap());
    request
}

async fn check(channel: Channel, user: String) -> Result<Duration, Status> {
    let start = Instant::now();
    HealthClient::new(channel).check(request(&user)).await.map(|_| start.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mice_pass_a_flood_and_what_is_refused_is_said_in_grpc() {
    let (_control, channel) = start().await;
    let mut flood = JoinSet::new();
    for _ in 0..500 {
        flood.spawn(check(channel.clone(), "flood".to_owned()));
    }
    tokio::time::sleep(5 * WORK).await;
    let mut waits = Vec::new();
    for mouse in 0..9 {
        waits.push(check(channel.clone(), format!("mouse-{mouse}")).await.unwrap());
    }
    waits.sort();
    println!("grpc: mice wait {:?} by the median", waits[4]);
    assert!(waits[4] < 6 * WORK, "{waits:?}");
    let refused: Vec<Status> = flood.join_all().await.into_iter().filter_map(Result::err).collect();
    assert!(!refused.is_empty(), "500 calls fit nowhere");
    for status in refused {
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        assert!(status.message().contains("its queue is full"), "{status:?}");
        assert!(!status.details().is_empty(), "{status:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_hold_no_seats_here_and_a_deadline_bounds_the_wait() {
    let (control, channel) = start().await;
    let mut streams = Vec::new();
    for _ in 0..2 * SEATS {
        let mut stream =
            HealthClient::new(channel.clone()).watch(request("streamer")).await.unwrap().into_inner();
        stream.message().await.unwrap();
        streams.push(stream);
    }
    assert!(check(channel.clone(), "mouse".to_owned()).await.is_ok());
    let mut held = Vec::new();
    let seats = control.engine().levels().iter().map(|level| level.seats).max().unwrap();
    for _ in 0..seats {
        held.push(control.acquire(seaway_apf::Attributes::user("holder").does("hold", "/")).await.unwrap());
    }
    let mut call = request("mouse");
    call.set_timeout(Duration::from_millis(800));
    let start = Instant::now();
    let status = HealthClient::new(channel).check(call).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(
        start.elapsed() < Duration::from_millis(600),
        "a quarter of the deadline, not {:?}",
        start.elapsed()
    );
}

//! The tower layer, alone and in the axum example.

#[path = "../../examples/apf/axum.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "the example is a program of its own; its main is not run here"
)]
mod example;

use axum::body::Body;
use http::{Request, StatusCode};
use seaway_apf::control::FlowControl;
use seaway_apf::headers;
use seaway_apf::layer::{FlowControlLayer, WatchStarted};
use seaway_apf::request::{Attributes, RequestInfo};
use std::convert::Infallible;
use tower::{Layer, Service, ServiceExt};

fn request(url: &str, user: &str) -> Request<Body> {
    Request::builder().uri(url).header("x-remote-user", user).body(Body::empty()).unwrap()
}

fn executing(control: &FlowControl) -> (u32, u32) {
    let totals: Vec<_> = control.engine().levels().iter().map(|level| level.totals).collect();
    (totals.iter().map(|t| t.executing).sum(), totals.iter().map(|t| t.seats_in_use).sum())
}

fn who(request: &Request<Body>) -> Attributes {
    Attributes {
        user: "ann".into(),
        groups: vec!["system:authenticated".into()],
        request: RequestInfo::parse(request.method().as_str(), &request.uri().to_string()),
    }
}

#[tokio::test(start_paused = true)]
async fn example_refuses_what_does_not_fit_and_serves_the_rest() {
    let control = example::control(2).unwrap();
    let app = example::app(control.clone());
    let calls = (0..12).map(|_| {
        let app = app.clone();
        // The body is dropped here: as long as it is kept, so are the seats.
        tokio::spawn(async move { app.oneshot(request("/work", "ann")).await.map(|reply| reply.map(drop)) })
    });
    let mut replies = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        replies.push(call.await.unwrap().unwrap());
    }
    let with = |status| replies.iter().filter(|reply| reply.status() == status).collect::<Vec<_>>();
    let (served, refused) = (with(StatusCode::OK), with(StatusCode::TOO_MANY_REQUESTS));
    // Two seats, and two of the 16 queues with room for two requests each.
    assert_eq!((served.len(), refused.len()), (6, 6));
    for reply in served.iter().chain(&refused) {
        assert_eq!(reply.headers()[headers::PRIORITY_LEVEL_UID], "level-1");
        assert_eq!(reply.headers()[headers::FLOW_SCHEMA_UID], "schema-1");
    }
    for reply in refused {
        let seconds: u64 = reply.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=32).contains(&seconds));
        assert_eq!(reply.headers()["x-content-type-options"], "nosniff");
    }
    drop(replies);
    assert_eq!(executing(&control), (0, 0));
    let page = control.engine().metrics(control.now_ns());
    assert_eq!(page.value("rejected_requests_total", &["everybody", "everybody", "queue-full"]), Some(6.0));
}

#[tokio::test]
async fn seats_are_held_until_the_body_is_dropped() {
    let control = example::control(2).unwrap();
    let service = FlowControlLayer::new(control.clone(), who)
        .layer(tower::service_fn(|_| async { Ok::<_, Infallible>(http::Response::new(Body::from("x"))) }));
    let reply = service.oneshot(request("/x", "ann")).await.unwrap();
    assert_eq!(executing(&control), (1, 1));
    drop(reply);
    assert_eq!(executing(&control), (0, 0));
}

#[tokio::test]
async fn watch_gives_its_seats_back_once_it_has_started() {
    let control = example::control(2).unwrap();
    let service = FlowControlLayer::new(control.clone(), who).layer(tower::service_fn({
        let control = control.clone();
        move |request: Request<Body>| {
            let control = control.clone();
            async move {
                assert_eq!(executing(&control), (1, 1));
                request.extensions().get::<WatchStarted>().unwrap().signal();
                assert_eq!(executing(&control), (0, 0));
                Ok::<_, Infallible>(http::Response::new(Body::from("events")))
            }
        }
    }));
    let reply = service.oneshot(request("/api/v1/pods?watch=true", "ann")).await.unwrap();
    let change = RequestInfo::parse("POST", "/api/v1/namespaces/shop/pods");
    assert_eq!(control.engine().watches.interested(&change), 1);
    drop(reply);
    assert_eq!(control.engine().watches.interested(&change), 0);
}

#[tokio::test]
async fn long_running_requests_pass_by() {
    let control = example::control(2).unwrap();
    let service = FlowControlLayer::new(control.clone(), who).layer(tower::service_fn({
        let control = control.clone();
        move |_| {
            assert_eq!(executing(&control), (0, 0));
            async { Ok::<_, Infallible>(http::Response::new(Body::empty())) }
        }
    }));
    let reply = service.oneshot(request("/api/v1/namespaces/a/pods/p/exec", "ann")).await.unwrap();
    assert_eq!((reply.status(), executing(&control)), (StatusCode::OK, (0, 0)));
    assert!(reply.headers().get(headers::FLOW_SCHEMA_UID).is_none());
}

#[tokio::test]
async fn a_panic_releases_the_seats() {
    let control = example::control(2).unwrap();
    let mut service = FlowControlLayer::new(control.clone(), who).layer(tower::service_fn(|_| async {
        if executing_panics() {
            panic!("the handler panics");
        }
        Ok::<_, Infallible>(http::Response::new(Body::empty()))
    }));
    let call = service.ready().await.unwrap().call(request("/x", "ann"));
    assert!(tokio::spawn(call).await.unwrap_err().is_panic());
    assert_eq!(executing(&control), (0, 0));
}

/// Not a constant, so that the rest of the handler stays reachable for the compiler.
fn executing_panics() -> bool {
    std::env::args().count() > 0
}

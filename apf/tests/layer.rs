//! The tower layer, alone and in the axum example.

#[path = "../../examples/apf/axum.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "the example is a program of its own; its main is not run here"
)]
mod example;

use axum::body::Body;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use seaway_apf::control::Terms;
use seaway_apf::layer::{
    Classified, FlowControlLayer, Grpc, GrpcCode, Held, Hold, JsonStatus, ProblemJson, Refuse, ReplyBody,
    WatchStarted,
};
use seaway_apf::{Attributes, FlowControl, Permit, Refusal, RequestInfo, headers};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
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

/// A reply that is refused, because both seats are held.
async fn refused(
    refuse: impl Refuse + Clone + Send + 'static,
    request: Request<Body>,
) -> (Response<()>, String) {
    let control = example::control(2).unwrap();
    let none = Terms::default().max_wait(Duration::ZERO);
    let _held = hold_all(&control).await;
    let service = FlowControlLayer::new(control, move |r: &_| Classified::from(who(r)).terms(none))
        .refuse_with(refuse)
        .layer(tower::service_fn(|_| async { Ok::<_, Infallible>(Response::new(Body::empty())) }));
    let (head, body) = service.oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (Response::from_parts(head, ()), String::from_utf8(body.to_vec()).unwrap())
}

async fn hold_all(control: &FlowControl) -> Vec<Permit> {
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(control.acquire(Attributes::user("holder").does("hold", "/")).await.unwrap());
    }
    held
}

fn header<'a, B>(response: &'a Response<B>, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}

#[tokio::test(start_paused = true)]
async fn f5_refusals_have_the_form_that_the_author_chooses() {
    let (plain, text) = refused(seaway_apf::layer::PlainText::default(), request("/x", "ann")).await;
    assert_eq!((plain.status(), text.as_str()), (StatusCode::TOO_MANY_REQUESTS, headers::REFUSED_BODY));

    let (status, text) = refused(JsonStatus::default(), request("/x", "ann")).await;
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(header(&status, "content-type"), "application/json");
    assert_eq!((&json["kind"], &json["code"]), (&"Status".into(), &429.into()));
    assert_eq!(json["details"]["retryAfterSeconds"].to_string(), header(&status, "retry-after"));

    let (problem, text) = refused(ProblemJson::default(), request("/x", "ann")).await;
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(header(&problem, "content-type"), "application/problem+json");
    assert_eq!((&json["status"], &json["reason"]), (&429.into(), &"time-out".into()));

    let own = |refusal: &Refusal, request: &http::request::Parts| {
        let mut response = Response::new(format!("{} {}", request.uri, refusal.names.level));
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        response
    };
    let (own, text) = refused(own, request("/x", "ann")).await;
    assert_eq!((own.status(), text.as_str()), (StatusCode::IM_A_TEAPOT, "/x everybody"));
    assert_eq!(header(&own, headers::PRIORITY_LEVEL_UID), "level-1", "whatever the form");
}

#[tokio::test(start_paused = true)]
async fn f5_grpc_calls_are_refused_with_trailers_only() {
    let call = || {
        let mut call = request("http://h/grpc.health.v1.Health/Check", "ann");
        call.headers_mut().insert("content-type", "application/grpc+proto".parse().unwrap());
        call
    };
    // Without a word from the author, too.
    for (reply, code) in [
        (refused(seaway_apf::layer::PlainText::default(), call()).await, "8"),
        (refused(Grpc::default().code(GrpcCode::Unavailable), call()).await, "14"),
    ] {
        let (reply, text) = reply;
        assert_eq!((reply.status(), text.as_str()), (StatusCode::OK, ""));
        assert_eq!(header(&reply, "grpc-status"), code);
        assert_eq!(header(&reply, "content-type"), "application/grpc+proto");
        assert!(header(&reply, "grpc-message").contains("retry after"));
        assert!(header(&reply, "grpc-status-details-bin").starts_with("CA"));
    }
}

#[tokio::test]
async fn f20_layers_that_need_a_default_body_compose() {
    fn timeout<S, B: Default>(inner: S) -> S
    where
        S: Service<Request<Body>, Response = Response<B>>,
    {
        inner
    }
    let control = example::control(2).unwrap();
    let inner = tower::service_fn(|_| async { Ok::<_, Infallible>(Response::new(Body::from("x"))) });
    let reply = timeout(FlowControlLayer::new(control, who).layer(inner))
        .oneshot(request("/x", "ann"))
        .await
        .unwrap();
    assert_eq!(reply.into_body().collect().await.unwrap().to_bytes(), "x");
    let empty = ReplyBody::<Body>::default();
    assert!(http_body::Body::is_end_stream(&empty));
}

#[tokio::test]
async fn a_handler_keeps_its_permit_for_work_that_goes_on_after_the_reply() {
    let control = example::control(2).unwrap();
    let kept = Arc::new(Mutex::new(None));
    let service = FlowControlLayer::new(control.clone(), who).layer(tower::service_fn({
        let kept = Arc::clone(&kept);
        move |request: Request<Body>| {
            *kept.lock().unwrap() = request.extensions().get::<Held>().and_then(Held::keep);
            async { Ok::<_, Infallible>(Response::new(Body::from("x"))) }
        }
    }));
    drop(service.oneshot(request("/x", "ann")).await.unwrap());
    assert_eq!(executing(&control), (1, 1), "the work goes on");
    kept.lock().unwrap().take();
    assert_eq!(executing(&control), (0, 0));
}

#[tokio::test]
async fn streams_give_their_seats_back_when_the_author_says() {
    for (hold, seats) in [(Hold::UntilBodyEnds, 1), (Hold::UntilResponse, 0)] {
        let control = example::control(2).unwrap();
        let inner = tower::service_fn(|_| async { Ok::<_, Infallible>(Response::new(Body::from("x"))) });
        let service = FlowControlLayer::new(control.clone(), who).hold(hold).layer(inner);
        let reply = service.oneshot(request("/x", "ann")).await.unwrap();
        assert_eq!(executing(&control), (seats, seats));
        drop(reply);
    }
}

#[tokio::test]
async fn a_cost_of_the_authors_takes_that_many_seats() {
    let control = example::control(2).unwrap();
    let inner = tower::service_fn(|_| async { Ok::<_, Infallible>(Response::new(Body::from("x"))) });
    let service =
        FlowControlLayer::new(control.clone(), |r: &_| Classified::from(who(r)).cost(2)).layer(inner);
    let reply = service.oneshot(request("/x", "ann")).await.unwrap();
    assert_eq!(executing(&control), (1, 2));
    drop(reply);
}

#[tokio::test(start_paused = true)]
async fn a_grpc_timeout_bounds_the_wait_to_a_quarter_of_it() {
    let control = example::control(2).unwrap();
    let _held = hold_all(&control).await;
    let inner = tower::service_fn(|_| async { Ok::<_, Infallible>(Response::new(Body::from("x"))) });
    let mut call = request("/x", "ann");
    call.headers_mut().insert("grpc-timeout", "400m".parse().unwrap());
    let start = Instant::now();
    let reply = FlowControlLayer::new(control, who).layer(inner).oneshot(call).await.unwrap();
    assert_eq!(reply.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(start.elapsed().as_millis(), 100);
}

#[tokio::test(start_paused = true)]
async fn requests_are_refused_with_503_while_the_server_shuts_down() {
    let control = example::control(2).unwrap();
    let held = hold_all(&control).await;
    let inner = tower::service_fn(|_| async { Ok::<_, Infallible>(Response::new(Body::from("x"))) });
    let service = FlowControlLayer::new(control.clone(), who).layer(inner);
    let waits = tokio::spawn(service.clone().oneshot(request("/x", "ann")));
    tokio::time::sleep(Duration::from_secs(1)).await;
    control.shut_down();
    assert_eq!(waits.await.unwrap().unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    let late = service.oneshot(request("/x", "ann")).await.unwrap();
    assert_eq!(late.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(held);
    control.drained().await;
}

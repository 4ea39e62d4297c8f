//! One flood and nine mice in front of the layer, on a paused clock: what mice wait, with and without a
//! limit inside the layer.

use http::{Request, Response, StatusCode};
use seaway_apf::layer::FlowControlLayer;
use seaway_apf::{Attributes, Configuration, FlowControl, Settings};
use std::convert::Infallible;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::util::BoxCloneService;
use tower::{Layer, ServiceBuilder, ServiceExt};

const SEATS: u32 = 20;
const RUN: Duration = Duration::from_secs(10);
const WORK: Duration = Duration::from_millis(20);

type App = BoxCloneService<Request<String>, StatusCode, Infallible>;

fn app(inner_limit: Option<usize>) -> App {
    let control = FlowControl::new(Settings::default().seats(SEATS));
    control.configure(&Configuration::by_user());
    let layer = FlowControlLayer::new(control, |request: &Request<String>| {
        Attributes::user(request.body()).asks(request.into())
    });
    let work = tower::service_fn(|_: Request<String>| async {
        sleep(WORK).await;
        Ok::<_, Infallible>(Response::new(String::new()))
    });
    let status = |response: Response<_>| response.status();
    match inner_limit {
        Some(limit) => {
            let inner = ServiceBuilder::new().layer(GlobalConcurrencyLimitLayer::new(limit)).service(work);
            layer.layer(inner).map_response(status).boxed_clone()
        }
        None => layer.layer(work).map_response(status).boxed_clone(),
    }
}

async fn call(app: App, user: String) -> (StatusCode, Duration) {
    let start = Instant::now();
    let request = Request::builder().uri("/work").body(user).unwrap();
    let status = app.oneshot(request).await.unwrap();
    (status, start.elapsed())
}

/// The 99th percentile of what mice wait for their replies, and how many of them were refused.
async fn mice_beside_a_flood(app: App) -> (Duration, usize) {
    let end = Instant::now() + RUN;
    let mut flood = JoinSet::new();
    for _ in 0..200 {
        let app = app.clone();
        flood.spawn(async move {
            while Instant::now() < end {
                if call(app.clone(), "flood".to_owned()).await.0 != StatusCode::OK {
                    sleep(Duration::from_millis(50)).await;
                }
            }
        });
    }
    let mut mice = JoinSet::new();
    for mouse in 0..9 {
        for round in 0..50 {
            let app = app.clone();
            mice.spawn(async move {
                sleep(Duration::from_millis(200 + 37 * mouse + 190 * round)).await;
                call(app, format!("mouse-{mouse}")).await
            });
        }
    }
    let calls = mice.join_all().await;
    flood.abort_all();
    let refused = calls.iter().filter(|(status, _)| *status != StatusCode::OK).count();
    let mut waits: Vec<_> = calls.into_iter().map(|(_, wait)| wait).collect();
    waits.sort();
    (waits[waits.len() * 99 / 100], refused)
}

#[tokio::test(start_paused = true)]
async fn a_limit_inside_the_layer_costs_mice_nothing() {
    let (alone, refused) = mice_beside_a_flood(app(None)).await;
    assert_eq!(refused, 0);
    assert!(alone < 3 * WORK, "mice wait {alone:?} beside the flood");
    for limit in [SEATS as usize, 2 * SEATS as usize] {
        let (inside, refused) = mice_beside_a_flood(app(Some(limit))).await;
        println!("mice p99 {alone:?} without, {inside:?} with an inner limit of {limit}");
        assert_eq!(refused, 0);
        assert!(inside <= alone + WORK / 2, "{inside:?} with an inner limit of {limit}, {alone:?} without");
    }
}

//! Flow control in front of an axum server: one level of two seats for everybody, and its metrics.
//!
//! Run it with `cargo run -p seaway-apf --features tower --example axum`, then
//! `curl -i -H 'X-Remote-User: ann' http://127.0.0.1:8080/work` from several terminals.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::Request;
use seaway_apf::dump::Dump;
use seaway_apf::layer::FlowControlLayer;
use seaway_apf::{Attributes, Configuration, FlowControl, Settings};
use std::time::Duration;
use tokio::net::TcpListener;

const CONFIGURATION: &str = r#"
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: PriorityLevelConfiguration
metadata: {name: everybody, uid: level-1}
spec:
  type: Limited
  limited:
    nominalConcurrencyShares: 95
    limitResponse: {type: Queue, queuing: {queues: 16, handSize: 2, queueLengthLimit: 2}}
---
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: FlowSchema
metadata: {name: everybody, uid: schema-1}
spec:
  matchingPrecedence: 100
  priorityLevelConfiguration: {name: everybody}
  distinguisherMethod: {type: ByUser}
  rules:
  - subjects: [{kind: User, user: {name: "*"}}]
    nonResourceRules: [{verbs: ["*"], nonResourceURLs: ["*"]}]
"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    println!("listening on http://{}", listener.local_addr()?);
    let control = control(2)?;
    axum::serve(listener, app(control)).await?;
    Ok(())
}

/// Flow control with this many seats.
pub fn control(seats: u32) -> Result<FlowControl, seaway_apf::read::Error> {
    let control = FlowControl::new(Settings::default().seats(seats));
    control.configure(&Configuration::from_text("example", CONFIGURATION)?);
    Ok(control)
}

/// The server: work behind flow control, and what to look at beside it.
pub fn app(control: FlowControl) -> Router {
    let work = get(|| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        "done\n"
    });
    let metrics = get(|State(control): State<FlowControl>| async move { control.metrics() });
    let levels =
        get(|State(control): State<FlowControl>| async move { control.engine().dump(Dump::PriorityLevels) });
    Router::new()
        .route("/work", work)
        .layer(FlowControlLayer::new(control.clone(), who))
        .route("/metrics", metrics)
        .route("/debug/api_priority_and_fairness/dump_priority_levels", levels)
        .with_state(control)
}

/// A real server would look at what its authentication found out.
fn who<B>(request: &Request<B>) -> Attributes {
    let user = request.headers().get("x-remote-user").and_then(|user| user.to_str().ok());
    user.map_or_else(Attributes::anonymous, Attributes::user).asks(request.into())
}

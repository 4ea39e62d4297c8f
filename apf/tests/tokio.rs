//! The tokio face: cancellation at every await, time-outs, lingering seats, threads.

use seaway_apf::control::Terms;
use seaway_apf::engine::Reason;
use seaway_apf::level::LevelView;
use seaway_apf::queueset::Totals;
use seaway_apf::{Attributes, Configuration, FlowControl, Refusal, RequestInfo, Settings};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const CONFIGURATION: &str = r#"
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: PriorityLevelConfiguration
metadata: {name: shared}
spec:
  type: Limited
  limited:
    nominalConcurrencyShares: 10000
    limitResponse: {type: Queue, queuing: {queues: 8, handSize: 2, queueLengthLimit: 5000}}
---
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: FlowSchema
metadata: {name: everybody}
spec:
  matchingPrecedence: 2
  priorityLevelConfiguration: {name: shared}
  distinguisherMethod: {type: ByUser}
  rules:
  - subjects: [{kind: User, user: {name: "*"}}]
    resourceRules: [{verbs: ["*"], apiGroups: ["*"], resources: ["*"], clusterScope: true, namespaces: ["*"]}]
"#;

fn control(seats: u32) -> FlowControl {
    let control = FlowControl::new(Settings::default().seats(seats));
    control.configure(&Configuration::from_text("test", CONFIGURATION).unwrap());
    control
}

fn who(user: &str, method: &str) -> Attributes {
    Attributes {
        user: user.into(),
        groups: Vec::new(),
        request: RequestInfo::parse(method, "/api/v1/nodes/n"),
    }
}

fn level(control: &FlowControl) -> LevelView {
    control.engine().levels().into_iter().find(|level| &*level.name == "shared").unwrap()
}

fn totals(control: &FlowControl) -> Totals {
    level(control).totals
}

#[tokio::test(start_paused = true)]
async fn dropping_the_future_at_any_await_gives_everything_back() {
    // Polls before the drop: none, one (it waits), and one with the start in between.
    for (polls, start_first) in [(0, false), (1, false), (2, false), (1, true)] {
        let control = control(1);
        let held = control.acquire(who("a", "GET")).await.unwrap();
        let mut held = Some(held);
        {
            let mut waits = pin!(control.acquire(who("b", "GET")));
            let mut context = Context::from_waker(Waker::noop());
            for _ in 0..polls {
                assert!(matches!(waits.as_mut().poll(&mut context), Poll::Pending));
            }
            assert_eq!(totals(&control).waiting, u32::from(polls > 0));
            if start_first {
                held = None;
                assert_eq!(totals(&control).executing, 1);
            }
        }
        drop(held);
        let after = totals(&control);
        assert_eq!((after.waiting, after.executing, after.seats_in_use), (0, 0, 0), "{polls} {start_first}");
        drop(control.acquire(who("c", "GET")).await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_no_longer_than_its_limit() {
    let control = control(1);
    let _held = control.acquire(who("a", "GET")).await.unwrap();
    let start = tokio::time::Instant::now();
    let refusal = control.acquire(who("b", "GET")).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::TimeOut);
    assert_eq!(start.elapsed().as_secs(), 15);
    assert_eq!(totals(&control).waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn waiting_requests_start_when_seats_are_released() {
    let control = control(1);
    let held = control.acquire(who("a", "GET")).await.unwrap();
    let other = control.clone();
    let waits = tokio::spawn(async move { other.acquire(who("b", "GET")).await.map(drop) });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(totals(&control).waiting, 1);
    drop(held);
    assert!(waits.await.unwrap().is_ok());
    assert_eq!(totals(&control).dispatched, 2);
}

#[tokio::test(start_paused = true)]
async fn lingering_seats_are_released_in_the_background() {
    let control = control(100);
    let watch = RequestInfo::parse("GET", "/api/v1/nodes?watch=true");
    let _watches: Vec<_> = (0..100).map(|_| control.engine().watches.register(&watch)).collect();
    let permit = control.acquire(who("a", "PUT")).await.unwrap();
    let linger = Duration::from_nanos(permit.work().linger_ns);
    assert!(permit.work().final_seats > 1 && linger > Duration::ZERO, "{:?}", permit.work());
    drop(permit);
    let after = totals(&control);
    assert_eq!(after.executing, 0);
    assert!(after.seats_in_use > 1);
    tokio::time::sleep(linger + Duration::from_millis(2)).await;
    assert_eq!(totals(&control).seats_in_use, 0);
}

#[tokio::test(start_paused = true)]
async fn new_configuration_applies_with_requests_in_flight() {
    let control = control(1);
    let held = control.acquire(who("a", "GET")).await.unwrap();
    let other = control.clone();
    let waits = tokio::spawn(async move { other.acquire(who("b", "GET")).await.map(drop) });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let gone = control.configure(&Configuration::default());
    assert_eq!(gone.quiescing, ["shared"]);
    assert_eq!(&*control.acquire(who("c", "GET")).await.unwrap().names().level, "catch-all");
    drop(held);
    assert!(waits.await.unwrap().is_ok(), "what waits in a level without an object still executes");
    control.engine().tick(control.now_ns());
    assert!(!control.engine().levels().iter().any(|level| &*level.name == "shared"));
}

#[test]
fn threads_never_hold_more_seats_than_there_are() {
    const SEATS: u32 = 7;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    let control = control(SEATS);
    let limit = control.engine().levels().iter().find(|level| &*level.name == "shared").unwrap().seats;
    let (inside, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let ends = Arc::new(Mutex::new(0));
    runtime.block_on(async {
        let tasks = (0..200).map(|task: u32| {
            let (control, inside, most) = (control.clone(), Arc::clone(&inside), Arc::clone(&most));
            let ends = Arc::clone(&ends);
            tokio::spawn(async move {
                for round in 0..50 {
                    let acquire = control.acquire(who(&format!("user-{task}"), "GET"));
                    // Every seventh gives up after one poll.
                    if (task + round).is_multiple_of(7) {
                        drop(futures_once(acquire).await);
                        *ends.lock().unwrap() += 1;
                        continue;
                    }
                    let permit = acquire.await.unwrap();
                    let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(now, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(permit);
                    *ends.lock().unwrap() += 1;
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
    let after = totals(&control);
    assert_eq!((after.waiting, after.executing, after.seats_in_use), (0, 0, 0));
    assert_eq!(*ends.lock().unwrap(), 200 * 50);
    assert!(most.load(Ordering::SeqCst) <= limit, "{most:?} inside with {limit} seats");
    assert_eq!(after.dispatched + after.cancelled, 200 * 50);
}

/// Polls once and gives up.
async fn futures_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn f21_a_refusal_is_an_error() {
    async fn fails(control: &FlowControl) -> Result<(), Box<dyn std::error::Error>> {
        let _permit = control.acquire(who("b", "GET")).await?;
        Ok(())
    }
    let control = control(1);
    let _held = control.acquire(who("a", "GET")).await.unwrap();
    let error = fails(&control).await.unwrap_err();
    assert_eq!(error.downcast_ref::<Refusal>().unwrap().reason, Reason::TimeOut);
    let message = error.to_string();
    assert!(message.starts_with("request refused in priority level \"shared\""), "{message}");
}

#[tokio::test(start_paused = true)]
async fn the_background_work_starts_by_itself_and_ends_with_the_last_handle() {
    // Made outside the task that uses it, and used in two runtimes one after the other.
    let control = control(100);
    let watch = RequestInfo::parse("GET", "/api/v1/nodes?watch=true");
    let _watches: Vec<_> = (0..100).map(|_| control.engine().watches.register(&watch)).collect();
    let other = control.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { drop(other.acquire(who("a", "GET")).await.unwrap()) });
    })
    .join()
    .unwrap();
    drop(control.acquire(who("a", "PUT")).await.unwrap());
    assert!(totals(&control).seats_in_use > 0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(totals(&control).seats_in_use, 0, "what lingers is released in the second runtime, too");
    let metrics = tokio::runtime::Handle::current().metrics();
    assert_eq!(metrics.num_alive_tasks(), 1);
    drop(control);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(metrics.num_alive_tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_shut_down_refuses_waiters_and_drains() {
    let control = control(1);
    let held = control.acquire(who("a", "GET")).await.unwrap();
    let waits: Vec<_> = (0..5)
        .map(|user| {
            let control = control.clone();
            tokio::spawn(async move { control.acquire(who(&format!("b{user}"), "GET")).await.map(drop) })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(totals(&control).waiting, 5);
    control.shut_down();
    for wait in waits {
        assert_eq!(wait.await.unwrap().unwrap_err().reason, Reason::ShuttingDown);
    }
    assert_eq!(control.acquire(who("c", "GET")).await.unwrap_err().reason, Reason::ShuttingDown);
    let drained = tokio::spawn({
        let control = control.clone();
        async move { control.drained().await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!drained.is_finished(), "one request executes");
    drop(held);
    drained.await.unwrap();
    assert_eq!((totals(&control).waiting, totals(&control).seats_in_use), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn seats_follow_what_the_caller_sets() {
    let control = control(4);
    let before = level(&control).seats;
    let held: Vec<_> =
        futures_all((0..before).map(|user| control.acquire(who(&format!("{user}"), "GET")))).await;
    let waits = tokio::spawn({
        let control = control.clone();
        async move { control.acquire(who("late", "GET")).await.map(drop) }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!waits.is_finished());
    control.set_seats(before * 2);
    assert!(waits.await.unwrap().is_ok(), "new seats start who waits");
    control.set_seats(1);
    assert_eq!(totals(&control).executing, before, "who executes goes on");
    assert_eq!(level(&control).seats, 1);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn waits_are_those_of_the_caller_the_level_and_the_settings_in_this_order() {
    let text = CONFIGURATION.replace(
        "{name: shared}\nspec:\n  type",
        "{name: shared, annotations: {seaway.io/max-wait: 2s}}\nspec:\n  type",
    );
    for (configuration, terms, seconds) in [
        (CONFIGURATION, Terms::default(), 7),
        (&text, Terms::default(), 2),
        (&text, Terms::default().max_wait(Duration::from_secs(3)), 3),
    ] {
        let control = FlowControl::new(Settings::default().seats(1).max_wait(Duration::from_secs(7)));
        control.configure(&Configuration::from_text("test", configuration).unwrap());
        let _held = control.acquire(who("a", "GET")).await.unwrap();
        let start = tokio::time::Instant::now();
        assert_eq!(control.acquire_with(who("b", "GET"), terms).await.unwrap_err().reason, Reason::TimeOut);
        assert_eq!(start.elapsed().as_secs(), seconds);
        let start = tokio::time::Instant::now();
        let deadline = Terms::default().deadline(start.into_std() + Duration::from_secs(4));
        assert_eq!(
            control.acquire_with(who("b", "GET"), deadline).await.unwrap_err().reason,
            Reason::TimeOut
        );
        assert_eq!(start.elapsed().as_secs(), 1, "a quarter of the time until the deadline");
    }
    let broken = Configuration::from_text("test", &text.replace("2s", "2 hours")).unwrap_err().to_string();
    assert!(broken.contains("metadata.annotations[seaway.io/max-wait]: Invalid: \"2 hours\""), "{broken}");
}

#[tokio::test(start_paused = true)]
async fn a_cost_of_the_callers_takes_that_many_seats() {
    let control = control(10);
    let permit = control.acquire_with(who("a", "GET"), 3).await.unwrap();
    assert_eq!(totals(&control).seats_in_use, 3);
    drop(permit);
    assert_eq!(totals(&control).seats_in_use, 0);
}

#[tokio::test(start_paused = true)]
async fn a_level_in_shadow_mode_counts_who_would_wait_or_be_refused_and_refuses_nobody() {
    let text = CONFIGURATION
        .replace(
            "{name: shared}\nspec:\n  type",
            "{name: shared, annotations: {seaway.io/shadow: 'true'}}\nspec:\n  type",
        )
        .replace("queueLengthLimit: 5000", "queueLengthLimit: 2");
    let control = FlowControl::new(Settings::default().seats(1));
    control.configure(&Configuration::from_text("test", &text).unwrap());
    let mut permits = Vec::new();
    for _ in 0..10 {
        permits.push(control.acquire(who("a", "GET")).await.unwrap());
    }
    // One seat, two queues of two each: one executes, four would wait, five would be refused.
    let before = totals(&control);
    assert_eq!((before.executing, before.waiting, before.rejected), (1, 4, 5));
    assert!(permits.iter().all(|permit| &*permit.names().level == "shared"));
    drop(permits);
    let after = totals(&control);
    assert_eq!((after.executing, after.waiting, after.seats_in_use), (0, 0, 0));
}

async fn futures_all(
    all: impl Iterator<Item = impl Future<Output = Result<seaway_apf::Permit, Refusal>>>,
) -> Vec<seaway_apf::Permit> {
    let mut permits = Vec::new();
    for one in all {
        permits.push(one.await.unwrap());
    }
    permits
}

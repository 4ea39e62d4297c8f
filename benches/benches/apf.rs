//! What flow control costs per request, beside tower's `ConcurrencyLimit` and one plain queue.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use futures::future::join_all;
use seaway_apf::behaviour::Behaviour;
use seaway_apf::builtin;
use seaway_apf::classify::{self, Classifier};
use seaway_apf::control::FlowControl;
use seaway_apf::deal::Dealer;
use seaway_apf::engine::{Engine, Settings};
use seaway_apf::flow::{self, Distinguisher};
use seaway_apf::level::Waiter;
use seaway_apf::queueset::{Arrival, Config, QueueSet};
use seaway_apf::read::Configuration;
use seaway_apf::request::{Attributes, RequestInfo};
use seaway_apf::seats::Work;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tower::limit::ConcurrencyLimit;
use tower::{Service, ServiceExt};

const TASKS: u64 = 512;

/// One level of 16 seats and 128 queues for everybody.
const CONFIGURATION: &str = r#"
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: PriorityLevelConfiguration
metadata: {name: shared}
spec:
  type: Limited
  limited:
    nominalConcurrencyShares: 10000
    limitResponse: {type: Queue, queuing: {queues: 128, handSize: 6, queueLengthLimit: 1000}}
---
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: FlowSchema
metadata: {name: everybody}
spec:
  matchingPrecedence: 2
  priorityLevelConfiguration: {name: shared}
  distinguisherMethod: {type: ByUser}
  rules:
  - subjects: [{kind: Group, group: {name: "*"}}]
    resourceRules: [{verbs: ["*"], apiGroups: ["*"], resources: ["*"], clusterScope: true, namespaces: ["*"]}]
"#;

struct NoOne;

impl Waiter for NoOne {
    fn start(self) {}
}

fn parts(c: &mut Criterion) {
    let dealer = Dealer::new(128, 6).unwrap();
    let mut hash = 0u64;
    c.bench_function("deal/128x6", |b| {
        b.iter(|| {
            hash = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
            black_box(dealer.deal(black_box(hash)))
        });
    });
    let mut schemas = builtin::all().flow_schemas;
    classify::sort(&mut schemas);
    let classifier = Classifier::new(schemas.iter().map(|schema| &schema.spec));
    for (name, user, groups, url) in [
        ("node", "system:node:n1", ["system:nodes", "system:authenticated"], "/api/v1/nodes/n1"),
        (
            "account",
            "system:serviceaccount:shop:a",
            ["system:serviceaccounts", "system:authenticated"],
            "/api/v1/pods",
        ),
        ("user", "ann", ["devs", "system:authenticated"], "/api/v1/namespaces/shop/pods/p"),
    ] {
        let attributes = attributes(user, &groups, url);
        c.bench_function(&format!("classify/builtin/{name}"), |b| {
            b.iter(|| black_box(classifier.first(black_box(&attributes))));
        });
    }
    c.bench_function("flow-hash", |b| b.iter(|| flow::hash(black_box("service-accounts"), black_box("ann"))));
    let engine = Engine::<NoOne>::new(Settings::default(), 0);
    engine.digest(0, &Configuration::builtin());
    let mut now = 0;
    c.bench_function("borrowing-tick/builtin", |b| {
        b.iter(|| {
            now += 10_000_000_000;
            engine.tick(black_box(now));
        });
    });
}

/// One request arrives and one ends, with no lock and no clock around.
fn core(c: &mut Criterion) {
    for (name, behaviour) in [("parity", Behaviour::PARITY), ("improved", Behaviour::IMPROVED)] {
        for (waiting, queues) in [(0, 128), (5_000, 512)] {
            c.bench_function(&format!("core/{name}/{waiting}-waiting-in-{queues}"), |b| {
                let config = Config { queues, hand_size: 6, queue_length_limit: 10_000, seats: 16 };
                let mut set = QueueSet::new(config, behaviour, 0).unwrap();
                let schema = set.schema(&"s".into(), Distinguisher::ByUser, false);
                let (mut now, mut hash) = (0u64, 1u64);
                let mut executing = std::collections::VecDeque::new();
                let mut arrive = |set: &mut QueueSet<(), ()>, now| {
                    hash = hash.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                    let arrival = Arrival {
                        hash: hash ^ (hash >> 32),
                        work: Work::seats(1),
                        weight: 1,
                        schema,
                        detail: (),
                    };
                    match set.arrive(now, arrival, |_| ()) {
                        seaway_apf::queueset::Decision::Executing(id) => Some(id),
                        _ => None,
                    }
                };
                let before = if waiting == 0 { 0 } else { waiting + 16 };
                executing.extend((0..before).filter_map(|_| arrive(&mut set, 0)));
                b.iter(|| {
                    now += 1_000;
                    executing.extend(arrive(&mut set, now));
                    let ends = executing.pop_front().unwrap();
                    black_box(set.finish(now, ends));
                    executing.extend(set.take_ready().map(|(id, ())| id));
                });
            });
        }
    }
}

/// The whole way through the tokio face, with clock, locks, classification, hash and metrics.
fn uncontended(c: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let control = control(16);
    let who = Arc::new(attributes("ann", &["system:authenticated"], "/api/v1/namespaces/shop/pods/p"));
    c.bench_function("acquire-release/uncontended", |b| {
        b.iter_custom(|rounds| {
            runtime.block_on(async {
                let start = Instant::now();
                for _ in 0..rounds {
                    drop(black_box(control.acquire(Arc::clone(&who)).await.unwrap()));
                }
                start.elapsed()
            })
        });
    });
    let mut limited = ConcurrencyLimit::new(tower::service_fn(|()| async { Ok::<_, ()>(()) }), 16);
    c.bench_function("acquire-release/uncontended/tower-concurrency-limit", |b| {
        b.iter_custom(|rounds| {
            runtime.block_on(async {
                let start = Instant::now();
                for _ in 0..rounds {
                    limited.ready().await.unwrap().call(()).await.unwrap();
                }
                start.elapsed()
            })
        });
    });
    let queue = Arc::new(tokio::sync::Semaphore::new(16));
    c.bench_function("acquire-release/uncontended/single-fifo", |b| {
        b.iter_custom(|rounds| {
            runtime.block_on(async {
                let start = Instant::now();
                for _ in 0..rounds {
                    drop(black_box(queue.acquire().await.unwrap()));
                }
                start.elapsed()
            })
        });
    });
}

/// 512 tasks that take turns on 16 seats: time per request.
fn saturated(c: &mut Criterion) {
    for threads in [1, 2] {
        let runtime = Builder::new_multi_thread().worker_threads(threads).enable_time().build().unwrap();
        let control = control(16);
        c.bench_function(&format!("saturated/{threads}-threads/apf"), |b| {
            b.iter_custom(|rounds| {
                contend(&runtime, rounds, |task| {
                    let control = control.clone();
                    let who =
                        attributes(&format!("user-{task}"), &["system:authenticated"], "/api/v1/nodes/n");
                    let who = Arc::new(who);
                    move || {
                        let (control, who) = (control.clone(), Arc::clone(&who));
                        async move {
                            let permit = control.acquire(who).await.unwrap();
                            tokio::task::yield_now().await;
                            drop(permit);
                        }
                    }
                })
            });
        });
        let limited = ConcurrencyLimit::new(
            tower::service_fn(|()| async {
                tokio::task::yield_now().await;
                Ok::<_, ()>(())
            }),
            16,
        );
        c.bench_function(&format!("saturated/{threads}-threads/tower-concurrency-limit"), |b| {
            b.iter_custom(|rounds| {
                contend(&runtime, rounds, |_| {
                    let limited = limited.clone();
                    move || {
                        let mut limited = limited.clone();
                        async move { limited.ready().await.unwrap().call(()).await.unwrap() }
                    }
                })
            });
        });
        let queue = Arc::new(tokio::sync::Semaphore::new(16));
        c.bench_function(&format!("saturated/{threads}-threads/single-fifo"), |b| {
            b.iter_custom(|rounds| {
                contend(&runtime, rounds, |_| {
                    let queue = Arc::clone(&queue);
                    move || {
                        let queue = Arc::clone(&queue);
                        async move {
                            let permit = queue.acquire().await.unwrap();
                            tokio::task::yield_now().await;
                            drop(permit);
                        }
                    }
                })
            });
        });
    }
}

/// Runs `rounds` requests on all tasks together and returns the time taken.
fn contend<F, T, R>(runtime: &Runtime, rounds: u64, task: F) -> Duration
where
    F: Fn(u64) -> T,
    T: Fn() -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let each = rounds.div_ceil(TASKS);
    let tasks: Vec<T> = (0..TASKS).map(task).collect();
    let elapsed = runtime.block_on(async {
        let start = Instant::now();
        join_all(tasks.into_iter().map(|request| {
            tokio::spawn(async move {
                for _ in 0..each {
                    request().await;
                }
            })
        }))
        .await
        .into_iter()
        .for_each(|result| result.unwrap());
        start.elapsed()
    });
    elapsed.mul_f64(rounds as f64 / (each * TASKS) as f64)
}

/// Reading, checking and digesting the built-in configuration with requests in flight.
fn configuration(c: &mut Criterion) {
    let builtin = Configuration::builtin();
    c.bench_function("digest/builtin", |b| {
        b.iter_batched(
            || Engine::<NoOne>::new(Settings::default(), 0),
            |engine| engine.digest(1, &builtin),
            BatchSize::SmallInput,
        );
    });
}

fn control(seats: u32) -> FlowControl {
    let control = FlowControl::new(Settings::default().seats(seats));
    control.configure(&Configuration::from_text("bench", CONFIGURATION).unwrap());
    control
}

fn attributes(user: &str, groups: &[&str], url: &str) -> Attributes {
    Attributes {
        user: user.into(),
        groups: groups.iter().map(|&group| group.into()).collect(),
        request: RequestInfo::parse("GET", url),
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(2)).sample_size(30);
    targets = parts, core, uncontended, saturated, configuration
}
criterion_main!(benches);

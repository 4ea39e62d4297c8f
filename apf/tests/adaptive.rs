//! A total that follows the server, on a paused clock: its capacity halves and comes back.

use seaway_apf::adaptive::Adaptive;
use seaway_apf::{Attributes, Configuration, FlowControl, Settings};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

const WORKERS: u32 = 20;
const WORK_MS: u64 = 20;
const PHASE: Duration = Duration::from_secs(30);
/// How long a transition may take: latencies of mice count from then on.
const SETTLE: Duration = Duration::from_secs(3);

/// A server with workers and a first-in first-out queue of its own.
#[derive(Clone)]
struct Server {
    workers: Arc<Semaphore>,
    work_ms: Arc<AtomicU64>,
    random: Arc<AtomicU64>,
}

/// How the server loses half of its capacity.
#[derive(Clone, Copy, Debug)]
enum Loss {
    HalfTheWorkers,
    TwiceTheTime,
}

/// What happened in a phase.
#[derive(Debug)]
struct Seen {
    /// Requests of the flood per second.
    flood: f64,
    /// 99th percentile of the mice's latency.
    mice: Duration,
    seats: u32,
}

impl Server {
    fn new() -> Self {
        Self {
            workers: Arc::new(Semaphore::new(WORKERS as usize)),
            work_ms: Arc::new(AtomicU64::new(WORK_MS)),
            random: Arc::default(),
        }
    }

    async fn work(&self) {
        let _worker = self.workers.acquire().await.unwrap();
        // Half to one and a half times the mean, so that requests do not march in step (splitmix64).
        let mut z = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let micros = self.work_ms.load(Ordering::Relaxed) * 1000;
        sleep(Duration::from_micros(micros / 2 + (z ^ (z >> 31)) % micros)).await;
    }

    fn lose(&self, loss: Loss) {
        match loss {
            Loss::HalfTheWorkers => {
                let (workers, half) = (Arc::clone(&self.workers), WORKERS / 2);
                tokio::spawn(async move { workers.acquire_many(half).await.unwrap().forget() });
            }
            Loss::TwiceTheTime => self.work_ms.store(2 * WORK_MS, Ordering::Relaxed),
        }
    }

    fn recover(&self, loss: Loss) {
        match loss {
            Loss::HalfTheWorkers => self.workers.add_permits(WORKERS as usize / 2),
            Loss::TwiceTheTime => self.work_ms.store(WORK_MS, Ordering::Relaxed),
        }
    }
}

/// Three phases: full capacity, half of it, full again.
async fn run(settings: Settings, loss: Loss, flood: usize) -> Vec<Seen> {
    let control = FlowControl::new(settings);
    control.configure(&Configuration::by_user());
    let (server, start) = (Server::new(), Instant::now());
    let (served, mice) = (Arc::new(Mutex::new([0u64; 3])), Arc::new(Mutex::new(vec![Vec::new(); 3])));
    let phase = move || (start.elapsed().as_secs() / PHASE.as_secs()).min(2) as usize;
    let mut tasks = JoinSet::new();
    for _ in 0..flood {
        let (control, server, served) = (control.clone(), server.clone(), Arc::clone(&served));
        tasks.spawn(async move {
            loop {
                match control.acquire(Attributes::user("flood").does("work", "/")).await {
                    Ok(permit) => {
                        server.work().await;
                        drop(permit);
                        served.lock().unwrap()[phase()] += 1;
                    }
                    Err(_) => sleep(Duration::from_millis(50)).await,
                }
            }
        });
    }
    for mouse in 0..9u64 {
        let (control, server, mice) = (control.clone(), server.clone(), Arc::clone(&mice));
        tasks.spawn(async move {
            let mut at = start + Duration::from_millis(200 + 37 * mouse);
            loop {
                sleep_until(at).await;
                at += Duration::from_millis(197);
                let arrived = Instant::now();
                let user = Attributes::user(format!("mouse-{mouse}")).does("work", "/");
                let permit = control.acquire(user).await.unwrap();
                server.work().await;
                drop(permit);
                let settled = (arrived - start).as_secs_f64() % PHASE.as_secs_f64() > SETTLE.as_secs_f64();
                if settled {
                    mice.lock().unwrap()[phase()].push(arrived.elapsed());
                }
            }
        });
    }
    let mut seats = Vec::new();
    for step in 1..=3u32 {
        sleep_until(start + PHASE * step - Duration::from_millis(1)).await;
        seats.push(control.engine().server_seats());
        match step {
            1 => server.lose(loss),
            2 => server.recover(loss),
            _ => {}
        }
    }
    tasks.abort_all();
    while tasks.join_next().await.is_some() {}
    let served = *served.lock().unwrap();
    let mut mice = std::mem::take(&mut *mice.lock().unwrap());
    (0..3)
        .map(|phase| {
            mice[phase].sort();
            Seen {
                flood: served[phase] as f64 / PHASE.as_secs_f64(),
                mice: mice[phase][mice[phase].len() * 99 / 100],
                seats: seats[phase],
            }
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_total_that_follows_the_server_serves_as_much_as_the_best_fixed_one() {
    for loss in [Loss::HalfTheWorkers, Loss::TwiceTheTime] {
        let quiet = run(Settings::default().seats(2 * WORKERS), loss, 0).await;
        let mut best = [0.0f64; 3];
        for seats in [WORKERS / 2, WORKERS, WORKERS + 5, 2 * WORKERS] {
            let fixed = run(Settings::default().seats(seats), loss, 200).await;
            for phase in 0..3 {
                best[phase] = best[phase].max(fixed[phase].flood);
            }
        }
        let adaptive = Settings::default().seats(2 * WORKERS).adaptive(Adaptive::vegas());
        let seen = run(adaptive, loss, 200).await;
        for (phase, seen) in seen.iter().enumerate() {
            println!(
                "{loss:?} phase {phase}: {:.0}/s with {} seats, mice {:?}; best fixed {:.0}/s, quiet {:?}",
                seen.flood, seen.seats, seen.mice, best[phase], quiet[phase].mice
            );
            assert!(
                seen.flood > 0.95 * best[phase],
                "{loss:?} phase {phase}: {seen:?}, best fixed {:.0}/s",
                best[phase]
            );
            assert!(
                seen.mice <= 2 * quiet[phase].mice,
                "{loss:?} phase {phase}: {seen:?}, quiet {:?}",
                quiet[phase].mice
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_algorithm_finds_the_capacity_from_above_and_below() {
    let aimd = Adaptive::aimd(Duration::from_millis(WORK_MS * 3 / 2));
    // Gradient2 drifts under a flood that never ends: it is looked at early, and from below.
    for (adaptive, starts, seconds) in [
        (Adaptive::vegas(), &[4, 10 * WORKERS][..], 60),
        (aimd, &[4, 10 * WORKERS], 60),
        (Adaptive::gradient2(), &[4], 15),
    ] {
        for start in starts.iter().copied() {
            let control = FlowControl::new(Settings::default().seats(start).adaptive(adaptive));
            control.configure(&Configuration::by_user());
            let server = Server::new();
            let mut tasks = JoinSet::new();
            for _ in 0..300 {
                let (control, server) = (control.clone(), server.clone());
                tasks.spawn(async move {
                    loop {
                        match control.acquire(Attributes::user("flood").does("work", "/")).await {
                            Ok(_permit) => server.work().await,
                            Err(_) => sleep(Duration::from_millis(50)).await,
                        }
                    }
                });
            }
            sleep(Duration::from_secs(seconds)).await;
            let seats = control.engine().server_seats();
            assert!(
                (WORKERS - 1..=2 * WORKERS + 10).contains(&seats),
                "{adaptive:?} is at {seats} seats from {start}"
            );
        }
    }
}

#[test]
fn bounds_hold() {
    use seaway_apf::adaptive::{Sample, Total};
    let mut total = Total::new(Adaptive::aimd(Duration::from_millis(10)).between(5, 8), 100);
    assert_eq!(total.seats(), 8);
    let mut now_ns = 0;
    for latency_ms in [100, 1, 100] {
        for _ in 0..1000 {
            now_ns += 20_000_000;
            total.sample(Sample { now_ns, latency_ns: latency_ms * 1_000_000, seats_in_use: 8 });
        }
        assert_eq!(total.seats(), if latency_ms == 1 { 8 } else { 5 });
    }
}

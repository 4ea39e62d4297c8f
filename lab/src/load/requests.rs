//! The worker's side: sends the requests, reports every 100 ms, listens for marks.

use std::{
    io::{self, Write},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, StatusCode,
    client::conn::http1::{self, SendRequest},
    header,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, interval, sleep_until, timeout},
};

use super::{MARK, Plan, Progress, meter::Meter};
use crate::{Error, http::Answer};

const REPORT_EVERY: Duration = Duration::from_millis(100);

type Connection = SendRequest<Empty<Bytes>>;

/// Runs a plan to its end.
pub(crate) fn run(plan: Plan) -> Result<(), Error> {
    let book = Book::new(plan);
    let marks = book.clone();
    let listen = move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if line == MARK {
                marks.open().mark();
            }
        }
        // The parent let go of the run.
        marks.open().stop();
    };
    thread::Builder::new().name("marks".into()).spawn(listen).map_err(Error::system("listen for marks"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::system("start a runtime for the load"))?.block_on(send_all(&book))
}

async fn send_all(book: &Book) -> Result<(), Error> {
    let concurrency = book.open().plan.concurrency;
    let mut slots: JoinSet<()> = (0..concurrency).map(|_| run_slot(book.clone())).collect();
    let mut reports = interval(REPORT_EVERY);
    loop {
        tokio::select! {
            ended = slots.join_next() => if ended.is_none() {
                return report(&book.open().progress(true));
            },
            _ = reports.tick() => report(&book.open().progress(false))?,
        }
    }
}

/// Sends one request after the other until there are no more tickets.
async fn run_slot(book: Book) {
    let plan = book.open().plan.clone();
    let mut kept = None;
    loop {
        let Some(Ticket { phase, start }) = book.open().ticket() else { return };
        if let Some(start) = start {
            sleep_until(start).await;
        }
        let started = Instant::now();
        let limit = Duration::from_millis(plan.timeout_ms);
        let result =
            timeout(limit, request(&plan, &mut kept)).await.unwrap_or_else(|_| Err("timeout".into()));
        if result.is_err() {
            kept = None;
        }
        let meter = &mut book.open().meters[phase];
        match result {
            Ok(endpoint) => meter.answered(endpoint, started.elapsed()),
            Err(reason) => meter.failed(reason),
        }
    }
}

/// Sends one request and returns who answered, or the reason of the failure.
async fn request(plan: &Plan, kept: &mut Option<Connection>) -> Result<SocketAddr, String> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => connect(plan.target).await?,
    };
    let request = Request::get("/").header(header::HOST, plan.target.to_string());
    let request = if plan.keep_alive { request } else { request.header(header::CONNECTION, "close") };
    let request = request.body(Empty::new()).map_err(|error| format!("request: {error}"))?;
    let response = connection.send_request(request).await.map_err(|error| format!("request: {error}"))?;
    if response.status() != StatusCode::OK {
        return Err(format!("status {}", response.status()));
    }
    let body = response.into_body().collect().await.map_err(|error| format!("answer: {error}"))?;
    let answer: Answer =
        serde_json::from_slice(&body.to_bytes()).map_err(|error| format!("answer: {error}"))?;
    *kept = plan.keep_alive.then_some(connection);
    Ok(answer.address)
}

async fn connect(target: SocketAddr) -> Result<Connection, String> {
    let stream = TcpStream::connect(target).await.map_err(|error| format!("connect: {error}"))?;
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|error| format!("handshake: {error}"))?;
    // What goes wrong there is told to the request under way.
    tokio::spawn(async { connection.await.ok() });
    Ok(sender)
}

fn report(progress: &Progress) -> Result<(), Error> {
    let line = serde_json::to_string(progress)
        .map_err(|source| Error::Format { what: "the load's progress".into(), source })?;
    writeln!(io::stdout().lock(), "{line}").map_err(Error::system("report the load's progress"))
}

/// Who may send what, and what became of it; shared by the slots and the listener for marks.
#[derive(Clone)]
struct Book(Arc<Mutex<Pages>>);

struct Pages {
    plan: Plan,
    started: u64,
    stopped: bool,
    next_start: Instant,
    meters: Vec<Meter>,
}

/// The permission to send one request.
struct Ticket {
    phase: usize,
    start: Option<Instant>,
}

impl Book {
    fn new(plan: Plan) -> Self {
        let (started, stopped, next_start) = (0, false, Instant::now());
        Self(Arc::new(Mutex::new(Pages { plan, started, stopped, next_start, meters: vec![Meter::new()] })))
    }

    fn open(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    fn ticket(&mut self) -> Option<Ticket> {
        let phase = self.meters.len() - 1;
        let is_last = phase == self.plan.marks;
        if self.stopped || (is_last && self.started == self.plan.requests) {
            return None;
        }
        self.started += 1;
        let start = self.plan.rate_per_s.map(|rate_per_s| {
            let start = self.next_start.max(Instant::now());
            self.next_start =
                start + Duration::from_secs(1) / u32::try_from(rate_per_s.max(1)).unwrap_or(u32::MAX);
            start
        });
        Some(Ticket { phase, start })
    }

    /// Marks beyond the planned ones change nothing.
    fn mark(&mut self) {
        if self.meters.len() <= self.plan.marks {
            self.meters.push(Meter::new());
            self.started = 0;
        }
    }

    fn stop(&mut self) {
        self.stopped = true;
    }

    fn progress(&self, finished: bool) -> Progress {
        Progress { phases: self.meters.iter().map(Meter::tally).collect(), finished }
    }
}

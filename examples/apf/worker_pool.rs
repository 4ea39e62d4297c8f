//! Flow control in front of a pool of workers: jobs of tenants, some of which cost more or weigh more.
//!
//! The permit goes with the job: whoever submits it may go away, the seats stay taken until the work is
//! done. Run it with `cargo run -p seaway-apf --example worker_pool`.

use seaway_apf::control::Terms;
use seaway_apf::{Attributes, Configuration, FlowControl, Refusal, Settings};
use std::time::{Duration, Instant};
use tokio::task::{JoinHandle, JoinSet};

/// A job of a tenant.
#[derive(Clone, Debug)]
pub struct Job {
    /// Whose it is.
    pub tenant: String,
    /// Workers that it keeps busy.
    pub workers: u32,
    /// 3 for tenants that pay for three times the share.
    pub weight: u32,
    /// What it does.
    pub work: Duration,
}

/// Starts a job when it has its turn. The handle is that of the running job.
pub async fn submit(control: &FlowControl, job: Job) -> Result<JoinHandle<()>, Refusal> {
    let who = Attributes::user(&job.tenant).does("run", "/jobs");
    let terms = Terms::default().cost(job.workers).weight(job.weight).max_wait(Duration::from_secs(60));
    let permit = control.acquire_with(who, terms).await?;
    Ok(tokio::task::spawn_blocking(move || {
        std::thread::sleep(job.work);
        drop(permit);
    }))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let control = FlowControl::new(Settings::default().seats(8));
    control.configure(&Configuration::by_user());
    let start = Instant::now();
    let mut jobs = JoinSet::new();
    for (tenant, weight, count) in [("bulk", 1, 40), ("paying", 3, 40), ("single", 1, 1)] {
        for _ in 0..count {
            let control = control.clone();
            let work = Duration::from_millis(50);
            let job = Job { tenant: tenant.to_owned(), workers: 1, weight, work };
            jobs.spawn(async move {
                let started = submit(&control, job).await.is_ok();
                (tenant, started, start.elapsed())
            });
        }
    }
    while let Some(job) = jobs.join_next().await {
        let (tenant, started, after) = job?;
        println!("{:>5} ms  {tenant}  {}", after.as_millis(), if started { "started" } else { "refused" });
    }
    control.shut_down();
    control.drained().await;
    Ok(())
}

//! Runs one job of the lab: `seaway-lab-worker JOB`. Tests of the lab use it as their launcher.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(job) = std::env::args().nth(1) else {
        eprintln!("error: a job is missing");
        return ExitCode::from(2);
    };
    match seaway_lab::run_worker(&job) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            eprintln!("error: {error}{cause}");
            ExitCode::FAILURE
        }
    }
}

//! Development tasks. `cargo xtask help` lists them.

#![forbid(unsafe_code)]

mod bench;
mod ebpf;
mod features;
mod image;
mod lint;
mod musl;
mod test;
#[cfg(test)]
mod tidy;
mod vm;
mod workspace;

use clap::Parser;

/// Development tasks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Benchmarks beside other programs.
    Bench(bench::Args),
    /// Rebuild the eBPF objects from their sources (needs nightly and bpf-linker).
    Ebpf(ebpf::Args),
    /// The feature table, with the tests that prove each row and how they last ended.
    Features(features::Args),
    /// Build the container image and print its size (needs podman, docker or buildah).
    Image(image::Args),
    /// Formatting and clippy, as CI runs them.
    Lint,
    /// All tests; says how many were skipped for want of root or a kernel feature.
    Test(test::Args),
    /// The programs on other kernels, in virtual machines (needs qemu and musl-tools).
    Vm(vm::Args),
}

fn main() -> anyhow::Result<()> {
    match Task::parse() {
        Task::Bench(args) => bench::run(&args),
        Task::Ebpf(args) => ebpf::run(&args),
        Task::Features(args) => features::run(&args),
        Task::Image(args) => image::run(&args),
        Task::Lint => lint::run(),
        Task::Test(args) => test::run(&args),
        Task::Vm(args) => vm::run(&args),
    }
}

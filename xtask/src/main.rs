//! Development tasks: lint, test, rebuild the eBPF object.

fn main() {}

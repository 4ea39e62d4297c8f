//! How many instructions the verifier walks through for each program: the price of every branch.

#![forbid(unsafe_code)]

use std::{collections::BTreeMap, env, fs};

use aya::programs::ProgramInfo;
use seaway_dataplane::{
    probe::Probe,
    programs::{Programs, SOCKET_HOOKS, SocketHook, TC, XDP_LB},
};
use seaway_harness::{MemoryMaps, privileged, skip, test_name};
use seaway_tests::data;

const FILE: &str = "instruction_budget.txt";
/// Growth that needs no new budget, in percent. Kernels differ by less.
const SLACK_PERCENT: u32 = 10;

fn count(info: &ProgramInfo) -> Option<u32> {
    info.verified_instruction_count()
}

fn counts() -> BTreeMap<String, Option<u32>> {
    let mut programs = Programs::load(&Probe::run().unwrap(), &MemoryMaps::CAPACITIES, None).unwrap();
    let mut counts = BTreeMap::from([(XDP_LB.to_owned(), count(&programs.xdp().unwrap().info().unwrap()))]);
    for name in TC {
        counts.insert(name.to_owned(), count(&programs.classifier(name).unwrap().info().unwrap()));
    }
    for name in SOCKET_HOOKS {
        let info = match programs.socket_hook(name).unwrap() {
            SocketHook::Address(program) => program.info(),
            SocketHook::Release(program) => program.info(),
        };
        counts.insert(name.to_owned(), count(&info.unwrap()));
    }
    counts
}

/// Set where the kernel is not the one that budgets are made on, as in `cargo xtask vm`: verifiers differ.
const ANY_KERNEL: &str = "SEAWAY_ANY_KERNEL";
/// What is left there of the million instructions that the verifier looks at.
const ANY_KERNEL_MOST: u32 = 750_000;

/// Programs load, and none grew by more than a tenth since its budget was set. With
/// `SEAWAY_BLESS=1`, budgets become what they are now.
#[test]
fn programs_stay_within_their_instruction_budget() {
    privileged!();
    let counts = counts();
    if counts.values().any(Option::is_none) {
        return skip(&test_name(module_path!()), "kernels before 5.16 do not tell verified instructions");
    }
    let counts: BTreeMap<_, _> = counts.into_iter().map(|(name, count)| (name, count.unwrap())).collect();
    // `cargo xtask vm` makes a table of them.
    counts.iter().for_each(|(name, count)| println!("verified {name} {count}"));
    if env::var_os(ANY_KERNEL).is_some() {
        for (name, count) in counts {
            assert!(count <= ANY_KERNEL_MOST, "{name}: {count} of {ANY_KERNEL_MOST} instructions");
        }
        return;
    }
    if env::var_os("SEAWAY_BLESS").is_some_and(|bless| bless == "1") {
        let lines: Vec<_> = counts.iter().map(|(name, count)| format!("{name} {count}\n")).collect();
        fs::write(data::path(FILE), lines.concat()).unwrap();
    }
    let budget = fs::read_to_string(data::path(FILE)).unwrap();
    let budget: BTreeMap<_, u32> = budget
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, n)| (name, n.parse().unwrap()))
        .collect();
    assert!(budget.keys().eq(counts.keys().map(String::as_str).collect::<Vec<_>>().iter()));
    for (name, count) in &counts {
        let most = budget[name.as_str()] * (100 + SLACK_PERCENT) / 100;
        assert!(
            *count <= most,
            "{name}: {count} instructions, {most} are allowed; SEAWAY_BLESS=1 sets a new budget"
        );
    }
}

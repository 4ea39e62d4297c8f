//! Scratch.
use seaway_dataplane::{probe::Probe, programs::Programs};
use seaway_common::Capacities;
fn main() {
    let probe = Probe::run().unwrap();
    println!("{probe:?}");
    match Programs::load(&probe, &Capacities::DEFAULT, None) { Ok(mut p) => { let m = p.maps(); println!("{:?}", m.is_ok()); println!("{:?}", p.xdp().unwrap().info().unwrap().verified_instruction_count());
        std::process::Command::new("bpftool").args(["prog","show"]).status().unwrap();
        if let Some(id) = std::env::args().nth(1) { let i = p.xdp().unwrap().info().unwrap().id(); std::process::Command::new("bpftool").args(["prog","dump","xlated","id",&i.to_string(), "file", &id]).status().unwrap();} }, Err(e) => println!("{e} {:?}", e) }
}

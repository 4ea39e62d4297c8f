//! Any octets, as packets and events of the packet programs.

#![no_main]
#![forbid(unsafe_code)]

#[path = "../properties/datapath.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| property::check(octets));

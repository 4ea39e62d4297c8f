//! Any octets, as a query.

#![no_main]
#![forbid(unsafe_code)]

#[path = "../properties/packet.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| property::check(octets));

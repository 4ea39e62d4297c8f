//! Any text, as a Corefile.

#![no_main]
#![forbid(unsafe_code)]

#[path = "../properties/corefile.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| property::check(octets));

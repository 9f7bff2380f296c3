//! `proxy::fuzz::answer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| proxy::fuzz::answer(octets));

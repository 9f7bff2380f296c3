//! `proxy::fuzz::trunk`; the first octet says in which parts the others arrive.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    if let [part, octets @ ..] = octets {
        proxy::fuzz::trunk(octets, usize::from(*part));
    }
});

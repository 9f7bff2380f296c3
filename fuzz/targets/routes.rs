//! What an edge reads from its disk and from control: refused, or a table that is written and read again as it was.
#![no_main]

use std::str::from_utf8;

use model::Generation;
use routes::{Change, Delta, HostPattern, Refusal, Table, TenantHeader, disk};

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    let mut table = disk::load(octets).unwrap_or_default();
    disk::replay(&mut table, octets);
    if let Ok(text) = from_utf8(octets) {
        let host = HostPattern::new(text);
        assert!(host.is_err() || host == HostPattern::new(&host.clone().expect("just looked").to_string()), "{text:?}");
        let _ = Refusal::parse(text);
        // Without a key nothing is believed.
        assert!(TenantHeader::verify(text, |_| None).is_err(), "{text:?}");
    }
    // Checksums and hashes keep the above from coming far: here they are right.
    let Ok(changes) = serde_json::from_slice::<Vec<Change>>(octets) else { return };
    let mut table = Table::default();
    let hash = table.hash_after(&changes);
    let (from, to) = (table.generation(), Generation(table.generation().0 + 1));
    table.apply(Delta { incarnation: table.incarnation().to_owned(), from, to, changes, hash }).expect("a delta that fits");
    let file: Vec<u8> = disk::base(&table).expect("a table becomes a file").flatten().collect();
    let again = disk::load(&file).expect("a file just written is read");
    assert_eq!((again.hash(), again.rehash(|| {})), (table.hash(), table.hash()));
});

#![expect(clippy::unwrap_used, reason = "tests")]

mod model_based;

use model::v1alpha1::{EdgeCache, EdgeCompress, EdgeSpec};
use model::{CellName, DomainName, Epoch, Generation, TenantName};
use proptest::prelude::*;

use crate::*;

fn key(n: u8) -> CellKey {
    CellKey::new([n; 32])
}

fn cell(name: &str, n: u8) -> CellEndpoint {
    let gate = GateEndpoint {
        name: model::GateName::new("gate-1").unwrap(),
        address: "10.91.1.2:8080".parse().unwrap(),
        weight: 100,
        draining: false,
        region: None,
    };
    CellEndpoint { cell: CellName::new(name).unwrap(), gates: vec![gate], key_id: KeyId::new(format!("k{n}")).unwrap(), key: key(n) }
}

fn record(host: &str, tenant: &str, cell: &str, epoch: u64) -> Record {
    Record {
        host: HostPattern::new(host).unwrap(),
        tenant: TenantName::new(tenant).unwrap(),
        cell: CellName::new(cell).unwrap(),
        epoch: Epoch(epoch),
        state: RouteState::Open,
        redirect: None,
        class: None,
        edge: EdgeSpec::default(),
    }
}

fn table(records: Vec<Record>) -> Table {
    let (table, refused) = Table::compile("i", Generation(5), [cell("a", 1), cell("b", 2)], records);
    assert!(refused.is_empty(), "{refused:?}");
    table
}

fn header(table: &Table, host: &str) -> String {
    table.lookup(host).unwrap().route.header().to_owned()
}

#[test]
fn edges_of_an_earlier_release_compute_the_same_hash() {
    // As the first release computed it; a change of the form needs another first word and a migration.
    let sum = |fields: &[&[u8]]| {
        let mut hasher = blake3::Hasher::new();
        for field in fields {
            hasher.update(&(field.len() as u64).to_be_bytes());
            hasher.update(field);
        }
        u128::from_be_bytes(hasher.finalize().as_bytes()[..16].try_into().unwrap())
    };
    let number = u64::to_be_bytes;
    let of_record = sum(&[b"record-1", b"*.shop.example", b"acme", b"a", &number(7), &number(0), &number(2), b""]);
    let gate: [&[u8]; 5] = [b"gate-1", b"10.91.1.2:8080", &number(100), &number(0), b""];
    let mut fields: Vec<&[u8]> = vec![b"cell-1", b"a", b"k1", &[1; 32]];
    fields.extend(gate);
    let of_cell = sum(&fields);
    let (table, _) = Table::compile("i", Generation(1), [cell("a", 1)], [record("*.shop.example", "acme", "a", 7)]);
    assert_eq!(table.hash().to_string(), format!("{:032x}", of_record.wrapping_add(of_cell)));
}

/// Every way to say what edges do.
fn edge_specs() -> impl Iterator<Item = EdgeSpec> {
    let caches = [EdgeCache::Off, EdgeCache::Static, EdgeCache::On];
    [EdgeCompress::On, EdgeCompress::Off].into_iter().flat_map(move |compress| caches.map(|cache| EdgeSpec { compress, cache }))
}

#[test]
fn what_edges_do_goes_with_the_route_and_is_part_of_the_hash() {
    let plain = record("shop.example", "acme", "a", 1);
    let mut hashes = std::collections::BTreeSet::new();
    for edge in edge_specs() {
        let wanted = Record { edge, ..plain.clone() };
        let line = serde_json::to_string(&wanted).unwrap();
        assert_eq!(line.contains("edge"), !edge.is_default(), "{line}");
        assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), wanted);
        let table = table(vec![wanted.clone()]);
        let route = table.lookup("shop.example").unwrap().route.clone();
        assert_eq!((route.compress(), route.cache(), route.state()), (edge.compress, edge.cache, RouteState::Open));
        let file: Vec<u8> = disk::base(&table).unwrap().flatten().collect();
        assert_eq!(disk::load(&file).unwrap().record(&wanted.host).unwrap().to_record(), Some(wanted));
        hashes.insert(table.hash().to_string());
    }
    assert_eq!(hashes.len(), 6, "each is another table");
}

#[test]
fn a_change_of_what_edges_do_changes_the_routes() {
    let plain = record("shop.example", "acme", "a", 1);
    let mut table = table(vec![plain.clone()]);
    for edge in edge_specs().chain([EdgeSpec::default()]) {
        let (changes, _) = table.diff([cell("a", 1), cell("b", 2)], [Record { edge, ..plain.clone() }]);
        let hash = table.hash_after(&changes);
        let (incarnation, from) = (table.incarnation().to_owned(), table.generation());
        table.apply(Delta { incarnation, from, to: Generation(from.0 + 1), hash, changes }).unwrap();
        let route = &table.lookup("shop.example").unwrap().route;
        assert_eq!((route.compress(), route.cache()), (edge.compress, edge.cache));
    }
}

#[test]
fn exact_wins_over_wildcard_and_a_wildcard_is_one_label_deep() {
    let table = table(vec![record("*.shop.example", "wild", "a", 1), record("www.shop.example", "one", "b", 2)]);
    let tenant = |host: &str| table.lookup(host).map(|found| found.route.tenant().to_owned());
    assert_eq!(tenant("www.shop.example").as_deref(), Some("one"));
    assert_eq!(tenant("x.shop.example").as_deref(), Some("wild"));
    assert_eq!(tenant("x.y.shop.example"), None);
    assert_eq!(tenant("shop.example"), None);
    assert_eq!(tenant("example"), None);
    assert_eq!(tenant(""), None);
}

#[test]
fn a_bad_record_is_refused_alone_and_served_once_its_cell_is_known() {
    let mut looped = record("loop.example", "l", "a", 1);
    looped.redirect = Some(Redirect { to: DomainName::new("loop.example").unwrap(), status: RedirectStatus::Permanent });
    let records = vec![record("a.example", "a", "a", 1), record("c.example", "c", "c", 1), record("a.example", "z", "a", 1), looped];
    let (mut table, refused) = Table::compile("i", Generation(1), [cell("a", 1)], records);
    assert_eq!(refused.len(), 3, "{refused:?}");
    assert!(table.lookup("a.example").is_some());
    assert!(table.lookup("c.example").is_none());
    let changes = vec![Change::SetCell(cell("c", 3))];
    let hash = table.hash_after(&changes);
    table.apply(Delta { incarnation: "i".into(), from: Generation(1), to: Generation(2), changes, hash }).unwrap();
    assert!(table.lookup("c.example").unwrap().route.header().contains(";k=k3;m="));
    assert_eq!(table.refused().len(), 1, "the loop stays");
}

#[test]
fn a_new_key_signs_the_cells_routes_anew() {
    let mut table = table(vec![record("a.example", "a", "a", 1), record("b.example", "b", "b", 1)]);
    let (before_a, before_b) = (header(&table, "a.example"), header(&table, "b.example"));
    let changes = vec![Change::SetCell(cell("a", 9))];
    let hash = table.hash_after(&changes);
    table.apply(Delta { incarnation: "i".into(), from: Generation(5), to: Generation(6), changes, hash }).unwrap();
    assert_ne!(before_a, header(&table, "a.example"));
    assert_eq!(before_b, header(&table, "b.example"));
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let mut table = table(vec![record("a.example", "a", "a", 1)]);
    let before = table.snapshot();
    let changes = vec![Change::SetRecord(record("b.example", "b", "b", 1))];
    let good = Delta { incarnation: "i".into(), from: Generation(5), to: Generation(6), hash: table.hash_after(&changes), changes };
    let older = Delta { from: Generation(3), to: Generation(4), ..good.clone() };
    let gap = Delta { from: Generation(6), to: Generation(7), ..good.clone() };
    let wrong = Delta { hash: TableHash::default(), ..good.clone() };
    let other = Delta { incarnation: "j".into(), ..good.clone() };
    assert!(matches!(table.apply(older), Err(ApplyError::Older { .. })));
    assert!(matches!(table.apply(gap), Err(ApplyError::Gap { .. })));
    assert!(matches!(table.apply(wrong), Err(ApplyError::Hash { .. })));
    assert!(matches!(table.apply(other), Err(ApplyError::Incarnation { .. })));
    assert_eq!(table.snapshot(), before);
    table.apply(good.clone()).unwrap();
    assert!(matches!(table.apply(good), Err(ApplyError::Older { .. })));
}

#[test]
fn a_restored_store_may_not_take_a_tenant_back() {
    let now = table(vec![record("a.example", "a", "a", 3)]);
    let build = |incarnation: &str, generation: u64, epoch| {
        Table::compile(incarnation, Generation(generation), [cell("a", 1)], [record("a.example", "a", "a", epoch)]).0
    };
    assert!(matches!(now.may_become(&build("j", 99, 2)), Err(ApplyError::Backwards { .. })));
    assert!(now.may_become(&build("j", 1, 3)).is_ok());
    assert!(matches!(now.may_become(&build("i", 4, 3)), Err(ApplyError::Older { .. })));
    assert!(now.may_become(&build("i", 5, 3)).is_ok());
}

#[test]
fn the_disk_form_refuses_what_was_not_written() {
    let snapshot = table(vec![record("a.example", "a", "a", 1)]).snapshot();
    let file = snapshot.to_disk().unwrap();
    assert_eq!(Snapshot::from_disk(&file).unwrap(), snapshot);
    assert!(matches!(Snapshot::from_disk(&file[..file.len() - 1]), Err(DiskError::Length { .. })));
    assert!(matches!(Snapshot::from_disk(b""), Err(DiskError::Head)));
    assert!(matches!(Snapshot::from_disk(b"{\"format\":2,\"bytes\":0,\"checksum\":\"\"}\n"), Err(DiskError::Newer(2))));
    let at = file.len() - 10;
    let mut flipped = file;
    flipped[at] ^= 1;
    assert!(matches!(Snapshot::from_disk(&flipped), Err(DiskError::Checksum)));
}

#[test]
fn a_feed_brings_readers_to_where_it_stands() {
    let (mut feed, _) = Feed::new("i", Generation(10), [cell("a", 1)], [record("a.example", "a", "a", 1)], 2);
    let Catchup::Whole(mut reader) = feed.catch_up(None, "") else { panic!("a new reader gets everything") };
    assert!(matches!(feed.catch_up(Some(Generation(10)), "i"), Catchup::Current));
    let same = feed.publish([cell("a", 1)], [record("a.example", "a", "a", 1)]).unwrap();
    assert!(same.delta.is_none(), "nothing changed, nothing published");
    for n in 0..2 {
        let host = format!("b{n}.example");
        feed.publish([cell("a", 1)], [record("a.example", "a", "a", 1), record(&host, "b", "a", 1)]).unwrap().delta.unwrap();
    }
    let Catchup::Deltas(deltas) = feed.catch_up(Some(Generation(10)), "i") else { panic!("two deltas are kept") };
    assert_eq!(reader.snapshot().records.len(), 1, "what was handed out does not change");
    for sent in deltas {
        reader.apply(sent.delta.clone()).unwrap();
    }
    assert_eq!(reader.snapshot(), feed.table().snapshot());
    feed.publish([cell("a", 1)], []).unwrap().delta.unwrap();
    assert!(matches!(feed.catch_up(Some(Generation(10)), "i"), Catchup::Whole(_)), "too far behind");
    assert!(matches!(feed.catch_up(Some(Generation(13)), "j"), Catchup::Whole(_)), "another incarnation");
}

#[test]
fn a_feed_that_lost_its_number_goes_above_its_readers() {
    let (mut feed, _) = Feed::new("i", Generation(1), [cell("a", 1)], [record("a.example", "a", "a", 1)], 9);
    let Catchup::Whole(table) = feed.catch_up(Some(Generation(700)), "i") else { panic!() };
    assert_eq!(table.generation(), Generation(701));
    assert!(matches!(feed.catch_up(Some(Generation(701)), "i"), Catchup::Current));
}

#[test]
fn a_bad_record_is_never_published_and_the_last_good_one_stays() {
    let (mut feed, refused) =
        Feed::new("i", Generation(1), [cell("a", 1)], [record("a.example", "a", "a", 1), record("x.example", "x", "nowhere", 1)], 9);
    assert!(refused.len() == 1 && feed.table().len() == 1, "{refused:?}");
    let mut bad = record("a.example", "a", "a", 2);
    bad.redirect = Some(Redirect { to: DomainName::new("a.example").unwrap(), status: RedirectStatus::Moved });
    let published = feed.publish([cell("a", 1)], [bad.clone(), record("b.example", "b", "a", 1)]).unwrap();
    assert_eq!(published.refused, [Refused { host: bad.host.clone(), tenant: bad.tenant.clone(), reason: Reason::RedirectToSelf }]);
    assert_eq!(feed.table().lookup("a.example").unwrap().route.epoch(), Epoch(1));
    assert!(feed.table().lookup("b.example").is_some());
    let published = feed.publish_changes(vec![Change::SetRecord(bad), Change::RemoveRecord(HostPattern::new("b.example").unwrap())]).unwrap();
    assert_eq!((published.refused.len(), published.delta.unwrap().delta.changes.len()), (1, 1));
    assert!(feed.table().refused().is_empty());
}

#[test]
fn aliases_lead_elsewhere_and_share_the_route() {
    let mut alias = record("www.a.example", "a", "a", 1);
    alias.redirect = Some(Redirect { to: DomainName::new("a.example").unwrap(), status: RedirectStatus::Moved });
    let table = table(vec![record("a.example", "a", "a", 1), alias.clone()]);
    assert_eq!(table.lookup("a.example").unwrap().redirect, None);
    let found = table.lookup("www.a.example").unwrap();
    assert_eq!(found.redirect.map(|redirect| (redirect.to, redirect.status.code())), Some(("a.example", 301)));
    assert_eq!(found.route.place(), table.lookup("a.example").unwrap().route.place(), "one text for both");
    assert_eq!(table.record(&alias.host).unwrap().to_record(), Some(alias));
    let text = serde_json::to_string(&Redirect { to: DomainName::new("a.example").unwrap(), status: RedirectStatus::Permanent }).unwrap();
    assert_eq!(text, "{\"to\":\"a.example\",\"status\":308}");
    assert!(serde_json::from_str::<Redirect>("{\"to\":\"a.example\",\"status\":200}").is_err());
}

#[test]
fn lines_survive_the_wire() {
    let mut special = record("*.a.example", "a", "a", 1);
    special.class = Some("gold".to_owned());
    let (feed, _) = Feed::new("i", Generation(1), [cell("a", 1)], [special, record("bücher.example", "b", "a", 7)], 9);
    for line in [feed.alive(), Line::Snapshot(Box::new(feed.table().snapshot()))] {
        let text = line.encode().unwrap();
        assert!(text.ends_with('\n') && text.matches('\n').count() == 1);
        assert_eq!(Line::decode(text.as_bytes()).unwrap(), line);
    }
    let mut assembly = None;
    for text in feed.table().parts() {
        match Line::decode(text.unwrap().as_bytes()).unwrap() {
            Line::Begin(begin) => assembly = Some(Assembly::new(begin.incarnation, begin.generation, begin.cells, begin.records)),
            Line::Part(records) => records.iter().for_each(|record| assembly.as_mut().unwrap().add(record)),
            Line::End => {
                let (table, _) = assembly.take().unwrap().finish();
                assert_eq!((table.snapshot(), table.len()), (feed.table().snapshot(), 2));
                return;
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("no end");
}

#[test]
fn the_tenant_header_is_believed_only_as_signed() {
    let header = TenantHeader {
        tenant: TenantName::new("acme").unwrap(),
        cell: CellName::new("a").unwrap(),
        epoch: Epoch(7),
        key_id: KeyId::new("k1").unwrap(),
    };
    let key1 = key(1);
    let value = header.sign(&key1);
    assert!(value.starts_with("v1;t=acme;c=a;e=7;k=k1;m="), "{value}");
    assert_eq!(TenantHeader::verify(&value, |_| Some(&key1)), Ok(header));
    assert_eq!(TenantHeader::verify(&value, |_| None), Err(HeaderError::UnknownKey));
    assert_eq!(TenantHeader::verify(&value.replace("e=7", "e=8"), |_| Some(&key1)), Err(HeaderError::Mac));
    assert_eq!(TenantHeader::verify(&value.replace("t=acme", "t=acmf"), |_| Some(&key1)), Err(HeaderError::Mac));
    for bad in
        ["", "v1", "v2;t=a;c=a;e=1;k=k;m=", "v1;t=a;c=a;e=1;k=k", "v1;t=a;c=a;e=1;k=k;x=1;m=AAAA", "v1;t=A;c=a;e=1;k=k;m=AAAA", &"v".repeat(300)]
    {
        assert_eq!(TenantHeader::verify(bad, |_| Some(&key1)), Err(HeaderError::Form), "{bad}");
    }
}

#[test]
fn refusals_read_back() {
    for refusal in [Refusal::Moved(Epoch(9)), Refusal::NotYet, Refusal::UnknownTenant, Refusal::BadMac, Refusal::Suspended] {
        assert_eq!(Refusal::parse(&refusal.to_string()), Some(refusal));
    }
    assert_eq!(Refusal::parse("moved"), None);
}

#[test]
fn keys_never_show_themselves() {
    let text = format!("{:?}", cell("a", 1));
    assert!(text.contains("***") && !text.contains(&key(1).reveal_text()), "{text}");
}

fn any_record() -> impl Strategy<Value = Record> {
    (0..12u8, 0..4u8, 0..3u8, 1..4u64, any::<bool>()).prop_map(|(host, tenant, at, epoch, wild)| {
        let star = if wild { "*." } else { "" };
        record(&format!("{star}h{host}.example"), &format!("t{tenant}"), ["a", "b", "c"][at as usize], epoch)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn order_does_not_matter(records in prop::collection::vec(any_record(), 0..30), turn in 0..30usize) {
        let (one, _) = Table::compile("i", Generation(1), [cell("a", 1), cell("b", 2)], records.clone());
        let mut turned = records;
        if !turned.is_empty() {
            let by = turn % turned.len();
            turned.rotate_left(by);
        }
        let (two, _) = Table::compile("i", Generation(1), [cell("b", 2), cell("a", 1)], turned);
        prop_assert_eq!(one.snapshot(), two.snapshot());
    }

    #[test]
    fn a_diff_leads_to_what_is_wanted(before in prop::collection::vec(any_record(), 0..30), after in prop::collection::vec(any_record(), 0..30), n in 1..4u8) {
        let (mut feed, _) = Feed::new("i", Generation(1), [cell("a", 1), cell("b", 2)], before, 9);
        let served: Vec<_> = after.iter().filter(|record| record.cell.as_str() != "b").cloned().collect();
        let bad: std::collections::BTreeSet<_> = after.iter().filter(|record| record.cell.as_str() == "b").map(|record| record.host.clone()).collect();
        feed.publish([cell("a", n), cell("c", 3)], after).unwrap();
        let (fresh, _) = Table::compile("i", feed.table().generation(), [cell("a", n), cell("c", 3)], served);
        for (star, host) in [("", 0..12u8), ("*.", 0..12u8)].into_iter().flat_map(|(star, hosts)| hosts.map(move |host| (star, host))) {
            let host = HostPattern::new(&format!("{star}h{host}.example")).unwrap();
            // A host of which only bad is wanted keeps what it had.
            if fresh.record(&host).is_some() || !bad.contains(&host) {
                prop_assert_eq!(feed.table().record(&host), fresh.record(&host));
            }
        }
        prop_assert_eq!(feed.table().rehash(|| ()), feed.table().hash());
    }

    #[test]
    fn no_header_text_panics(text in "\\PC{0,300}", tail in "v1;[tcekm=;a-z0-9]{0,60}") {
        let key1 = key(1);
        let _ = TenantHeader::verify(&text, |_| Some(&key1));
        let _ = TenantHeader::verify(&tail, |_| Some(&key1));
        let _ = Refusal::parse(&text);
    }
}

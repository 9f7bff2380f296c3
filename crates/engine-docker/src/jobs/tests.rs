use super::{TAIL, last_lines};

#[test]
fn the_tail_begins_with_a_whole_line_and_stays_small() {
    assert_eq!(last_lines(b"one\ntwo\n"), "one\ntwo\n");
    let long: Vec<u8> = (0..10_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
    let tail = last_lines(&long);
    assert!(tail.len() <= TAIL && tail.starts_with("line ") && tail.ends_with("line 9999\n"));
    assert!(last_lines(&[0xff; 3 * TAIL]).len() <= TAIL);
}

#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::Write;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, UNIX_EPOCH};

use super::{AccessLog, Clock, Line};

fn line(path: &str) -> Line<'_> {
    Line {
        log: "edge",
        id: "1-2",
        trace: "0af7651916cd43dd8448eb211c80319c",
        span: "b7ad6b7169203331",
        client: [192, 0, 2, 10].into(),
        method: "GET",
        host: "a.example",
        path,
        status: 200,
        reason: None,
        request_bytes: 0,
        response_bytes: 1024,
        squeezed: Some(("br", 4096)),
        took: Duration::from_micros(1_002_003),
        answered: Some(Duration::from_micros(7)),
        upstream: Some(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 80))),
        tries: 2,
        tenant: Some("acme"),
        cell: None,
        epoch: Some(7),
        cache: None,
        cut: true,
        one_in: NonZeroU32::new(10).unwrap(),
    }
}

#[test]
fn a_line_is_json_whatever_the_path() {
    let (mut out, mut clock) = (Vec::new(), Clock::default());
    let path = "/\"\\\u{1}é?";
    line(path).write(&mut out, &mut clock, UNIX_EPOCH + Duration::from_micros(1_800_000_000_000_042));
    let text = String::from_utf8(out).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let wanted = serde_json::json!({
        "time": "2027-01-15T08:00:00.000042Z", "log": "edge", "id": "1-2",
        "trace": "0af7651916cd43dd8448eb211c80319c", "span": "b7ad6b7169203331", "client": "192.0.2.10", "method": "GET", "host": "a.example", "path": path,
        "status": 200, "request_bytes": 0, "response_bytes": 1024, "encoding": "br", "plain_bytes": 4096, "ms": 1002.003, "upstream_ms": 0.007, "upstream": "[::1]:80", "tries": 2,
        "tenant": "acme", "epoch": 7, "cut": true, "one_in": 10
    });
    assert_eq!(value, wanted);
    assert!(text.ends_with("}\n"));
}

struct Told(Sender<Vec<u8>>);

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.send(bytes.to_vec()).map_err(std::io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn lines(told: &Receiver<Vec<u8>>) -> usize {
    told.try_iter().flatten().filter(|&octet| octet == b'\n').count()
}

#[test]
fn every_line_of_every_thread_is_written_also_the_last_ones() {
    let (sender, told) = channel();
    let log = AccessLog::to(Told(sender)).unwrap();
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let pen = log.pen().unwrap();
            std::thread::spawn(move || (0..5000).filter(|_| pen.write(&line("/"))).count())
        })
        .collect();
    let written: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(written, 15_000);
    drop(log);
    assert_eq!(lines(&told), written);
}

#[test]
fn a_log_that_slept_wakes_for_one_line() {
    let (sender, told) = channel();
    let log = AccessLog::to(Told(sender)).unwrap();
    let pen = log.pen().unwrap();
    for _ in 0..3 {
        assert!(pen.write(&line("/")));
        assert!(told.recv_timeout(Duration::from_secs(20)).unwrap().ends_with(b"\n"), "no line came");
    }
}

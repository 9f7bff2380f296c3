//! Answers that an edge compresses, as the route says.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_says_whether_answers_are_compressed() {
    let long = "x".repeat(2000);
    let (address, _gate) = gate(move |_, _| format!("200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2000\r\n\r\n{long}")).await;
    let world = World::new().await;
    let running = world.start("e1");
    world.ready("e1").await;
    let open = record("shop.example", "a", 1, RouteState::Open);
    world.control.publish(&[cell("a", 1, &[address])], vec![open.clone()]);
    world.get_until("shop.example", 200).await;
    let ask = async || {
        let mut stream = TcpStream::connect((world.at, 8080)).await.unwrap();
        let lines = "Host: shop.example\r\nAccept-Encoding: gzip, br, zstd\r\nConnection: close";
        stream.write_all(format!("GET / HTTP/1.1\r\n{lines}\r\n\r\n").as_bytes()).await.unwrap();
        let mut text = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut text)).await.unwrap().unwrap();
        String::from_utf8_lossy(&text).into_owned()
    };
    let answer = ask().await;
    assert!(answer.contains("Content-Encoding: zstd\r\n") && answer.contains("Vary: Accept-Encoding\r\n"), "{answer}");
    let edge = model::v1alpha1::EdgeSpec { compress: model::v1alpha1::EdgeCompress::Off, ..Default::default() };
    world.control.records(vec![Record { edge, ..open }]);
    let deadline = Instant::now() + PATIENCE;
    let answer = loop {
        let answer = ask().await;
        if !answer.contains("Content-Encoding") {
            break answer;
        }
        assert!(Instant::now() < deadline, "{answer}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(answer.contains("Content-Length: 2000\r\n") && !answer.contains("Vary"), "{answer}");
    end(running).await;
}

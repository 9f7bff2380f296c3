//! The door for operators elsewhere.

use std::path::Path;
use std::time::Duration;

use axum::http::Request;
use bytes::Bytes;
use identity::{Ca, HttpsClient, RequestError, Role};
use jiff::Timestamp;
use model::Sensitive;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::House;
use crate::tcp::{Operators, serve_on};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

async fn ask(client: &HttpsClient, addr: std::net::SocketAddr, token: Option<&str>) -> Result<(u16, String), RequestError> {
    let mut request = Request::get("/v1/about");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let answer = client.request(addr, &Role::Control, request.body(Bytes::new()).unwrap()).await?;
    Ok((answer.status().as_u16(), String::from_utf8_lossy(answer.body()).into_owned()))
}

#[tokio::test]
async fn only_an_operator_with_the_token_gets_in() {
    let house = House::open().await;
    let folder = tempfile::tempdir().unwrap();
    let platform = "atoll".parse().unwrap();
    let identity = |name: &str, role: &str| {
        let ca = Ca::create_or_open(&folder.path().join(name), &platform, Timestamp::now()).unwrap();
        let path = folder.path().join(format!("{name}-{}", role.replace('/', "-")));
        ca.ensure(&path, &role.parse().unwrap(), None, Timestamp::now()).unwrap();
        path
    };
    let client = |path: &Path| HttpsClient::new(path).unwrap().within(Duration::from_secs(10));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (addr, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let config = identity::tls::server_config(&identity("ca", "control")).unwrap();
    let serving = tokio::spawn(serve_on(listener, config, operators(), house.doors.clone(), stop.clone()));

    let operator = client(&identity("ca", "operator"));
    let (status, body) = ask(&operator, addr, Some(TOKEN)).await.unwrap();
    assert!(status == 200 && body.contains("\"platform\":\"atoll\""), "{status} {body}");
    for token in [None, Some(""), Some("x"), Some(&TOKEN[1..]), Some(&format!("{TOKEN}0")[..])] {
        let (status, body) = ask(&operator, addr, token).await.unwrap();
        assert!(status == 401 && body.contains("A0218"), "{token:?}: {status} {body}");
    }
    assert_eq!(ask(&client(&identity("ca", "edge/e1")), addr, Some(TOKEN)).await.unwrap().0, 403, "the token alone is not enough");
    assert!(ask(&client(&identity("other", "operator")), addr, Some(TOKEN)).await.is_err(), "nor a certificate of another authority");
    stop.cancel();
    serving.await.unwrap();
}

/// Two who may ask, and one whose token is too short to protect anything.
fn operators() -> Operators {
    let known = [("ann", TOKEN), ("bob", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"), ("short", "x")];
    Operators::new(move || known.map(|(name, token)| (name.to_owned(), Sensitive::new(token.to_owned()))).to_vec())
}

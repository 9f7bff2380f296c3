//! A tenant's WordPress, used as its people use it: log in, publish with a picture, read back.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::http_client::{Answer, Visitor};

/// A tenant's site as seen from outside.
#[derive(Debug, Clone)]
pub struct Site {
    /// Where the edge listens.
    pub address: SocketAddr,
    /// Host with port, as in the address bar.
    pub host: String,
    /// The tenant.
    pub tenant: String,
}

impl Site {
    /// A new visitor without cookies.
    pub fn visitor(&self) -> Visitor {
        Visitor::new(self.address, &self.host)
    }

    /// Logs in and returns an editor.
    pub async fn log_in(&self, user: &str, password: &str) -> Result<Editor> {
        let mut visitor = self.visitor();
        visitor.cookie("wordpress_test_cookie", "WP%20Cookie%20check");
        let fields = [("log", user), ("pwd", password), ("wp-submit", "Log In"), ("testcookie", "1")];
        let answer = visitor.post_form("/wp-login.php", &fields).await?;
        ensure!(answer.status == StatusCode::FOUND, "the log-in of {} was answered {}: {}", self.tenant, answer.status, head(&answer));
        let answer = visitor.get("/wp-admin/admin-ajax.php?action=rest-nonce").await?;
        ensure!(answer.status == StatusCode::OK, "the nonce of {} was answered {}", self.tenant, answer.status);
        Ok(Editor { visitor, nonce: answer.text().trim().to_owned() })
    }
}

/// Somebody logged in.
#[derive(Debug)]
pub struct Editor {
    /// The browser.
    pub visitor: Visitor,
    nonce: String,
}

impl Editor {
    /// Uploads a picture; returns its id and path on the site.
    pub async fn upload(&mut self, name: &str, png: Bytes) -> Result<(u64, String)> {
        let disposition = format!("attachment; filename=\"{name}\"");
        let headers = [("x-wp-nonce", self.nonce.as_str()), ("content-type", "image/png"), ("content-disposition", disposition.as_str())];
        let answer = self.visitor.send(Method::POST, "/index.php?rest_route=/wp/v2/media", &headers, png).await?;
        let media = created(&answer)?;
        let url = media["source_url"].as_str().context("the upload has no address")?;
        let path = url.splitn(4, '/').nth(3).map(|p| format!("/{p}")).context("the upload's address has no path")?;
        Ok((media["id"].as_u64().context("the upload has no id")?, path))
    }

    /// Publishes a post; returns its id. An error means that the outcome is not known, or that it was refused.
    pub async fn publish(&mut self, title: &str, content: &str) -> Result<u64> {
        let body = json!({ "title": title, "content": content, "status": "publish" }).to_string();
        let headers = [("x-wp-nonce", self.nonce.as_str()), ("content-type", "application/json")];
        let answer = self.visitor.send(Method::POST, "/index.php?rest_route=/wp/v2/posts", &headers, body.into()).await?;
        created(&answer)?["id"].as_u64().context("the post has no id")
    }
}

/// Titles of the published posts that match a search, newest first, at most 100.
pub async fn titles(visitor: &mut Visitor, search: &str) -> Result<Vec<String>> {
    let answer = visitor.get(&format!("/index.php?rest_route=/wp/v2/posts&per_page=100&search={search}")).await?;
    ensure!(answer.status == StatusCode::OK, "the search was answered {}: {}", answer.status, head(&answer));
    let posts: Value = serde_json::from_slice(&answer.body).context("the search's answer is not JSON")?;
    Ok(posts.as_array().into_iter().flatten().filter_map(|p| p["title"]["rendered"].as_str().map(str::to_owned)).collect())
}

fn created(answer: &Answer) -> Result<Value> {
    ensure!(answer.status == StatusCode::CREATED, "answered {}: {}", answer.status, head(answer));
    serde_json::from_slice(&answer.body).context("the answer is not JSON")
}

/// The first words of a body, for messages.
fn head(answer: &Answer) -> String {
    answer.text().chars().take(200).collect::<String>().replace('\n', " ")
}

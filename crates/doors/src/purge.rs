//! What edges keep of a tenant's answers is to be forgotten. Nothing is written: what edges keep lives in their memory alone.

use api::v1::{PurgeRequest, Purged};
use axum::extract::State;
use cache::Purge;
use model::v1alpha1::Tenant;
use model::{DocumentName, Kind, TenantName, Typed};

use crate::documents::get;
use crate::refusal::Refusal;
use crate::wire::{Json, Name, Wanted};
use crate::{Doors, codes};

/// Most places and tags of one request.
const MOST: usize = 1000;

/// `POST /v1/tenants/{name}/purge`
pub(crate) async fn purge(
    State(doors): State<Doors>,
    Name(name): Name<TenantName>,
    Wanted(request): Wanted<PurgeRequest>,
) -> Result<Json<Purged>, Refusal> {
    let tenant = Typed::<Tenant>::read(get(&doors, Kind::Tenant, &DocumentName::from(&name)).await?)
        .map_err(|error| codes::DEFECT.refuse(format!("tenant {name} cannot be read: {error}")))?;
    let domains: Vec<String> = tenant.spec.domains.iter().map(|domain| domain.as_str().to_owned()).collect();
    let purges = purges(&request, &domains)?;
    let mut number = 0;
    for purge in &purges {
        number = doors.0.orders.give(name.as_str(), purge.clone());
    }
    Ok(Json(Purged { orders: purges.len(), number }))
}

/// What a request asks for, one by one.
fn purges(request: &PurgeRequest, domains: &[String]) -> Result<Vec<Purge>, Refusal> {
    if request.urls.len() + request.tags.len() > MOST {
        return Err(codes::TOO_LARGE.refuse(format!("more than {MOST} places and tags at once")));
    }
    if request.urls.is_empty() && request.tags.is_empty() {
        return Ok(vec![Purge::All]);
    }
    let mut purges = Vec::new();
    for url in &request.urls {
        let places = places(url, domains).ok_or_else(|| {
            codes::NOT_UNDERSTOOD.refuse(format!("{url:?} is no place: write https://HOST/PATH, or /PATH for every domain of the tenant"))
        })?;
        purges.extend(places);
    }
    for tag in &request.tags {
        if tag.is_empty() || tag.contains([',', ' ']) {
            return Err(codes::NOT_UNDERSTOOD.refuse(format!("{tag:?} is no tag: one word without commas")));
        }
        purges.push(Purge::Tag(tag.clone()));
    }
    Ok(purges)
}

/// Where a URL leads, or a path on every domain.
fn places(url: &str, domains: &[String]) -> Option<Vec<Purge>> {
    let url = url.split_once('#').map_or(url, |(url, _)| url);
    if !url.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    if url.starts_with('/') {
        return Some(domains.iter().map(|host| Purge::At { host: host.clone(), target: url.to_owned() }).collect());
    }
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let (authority, target) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
    let host = authority.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(authority, |(host, _)| host);
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    (!host.is_empty() && !host.contains('@')).then(|| vec![Purge::At { host, target }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_browsers_do() {
        let domains = ["a.example".to_owned(), "b.example".to_owned()];
        let at = |host: &str, target: &str| Purge::At { host: host.to_owned(), target: target.to_owned() };
        for (url, places) in [
            ("https://A.example", vec![at("a.example", "/")]),
            ("http://a.example:8080/x?y=1#z", vec![at("a.example", "/x?y=1")]),
            ("https://a.example?y=1", vec![at("a.example", "/?y=1")]),
            ("/x", vec![at("a.example", "/x"), at("b.example", "/x")]),
        ] {
            assert_eq!(super::places(url, &domains), Some(places), "{url}");
        }
        for url in ["", "a.example/x", "ftp://a.example/", "https:///x", "https://user@a.example/", "/a b", "https://a.example/\u{e9}"] {
            assert_eq!(super::places(url, &domains), None, "{url}");
        }
    }
}

//! The API for operators elsewhere, opened and closed as the Platform document says.

use std::net::SocketAddr;
use std::time::Duration;

use doors::{Doors, Operators, TcpDoor};
use jiff::Timestamp;
use model::v1alpha1::Platform;
use model::{Kind, Revision, Typed};
use store::{Event, ListOptions, SharedStore, StoreError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::platform::{Layout, operators};

/// Pause before another try, when the address is taken or the store does not answer.
const BREATHER: Duration = Duration::from_secs(5);

/// A door that stands open.
struct Open {
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

/// Keeps the door as it is wanted until the stop.
pub async fn keep(store: SharedStore, layout: Layout, doors: Doors, stop: CancellationToken) {
    let mut open: Option<Open> = None;
    while !stop.is_cancelled() {
        match wanted(&store).await {
            Ok((address, revision)) => {
                if open.as_ref().map(|open| open.address) != address || open.as_ref().is_some_and(|open| open.serving.is_finished()) {
                    close(open.take()).await;
                    open = address.map(|address| serve(address, &layout, doors.clone(), &stop));
                }
                stop.run_until_cancelled(changed(&store, revision, open.as_mut())).await;
            }
            Err(error) => {
                tracing::warn!(%error, "whether the API is wanted over TCP cannot be read");
                stop.run_until_cancelled(tokio::time::sleep(BREATHER)).await;
            }
        }
    }
    close(open).await;
}

/// Where the API is wanted, and the revision at which that was read.
async fn wanted(store: &SharedStore) -> Result<(Option<SocketAddr>, Revision), StoreError> {
    let page = store.list(Kind::Platform, ListOptions::default()).await?;
    let platform = page.documents.into_iter().find_map(|document| Typed::<Platform>::read(document).ok());
    let address = platform.and_then(|platform| platform.spec.api).map(|api| SocketAddr::from((api.address, api.port)));
    Ok((address, page.revision))
}

/// Returns when the Platform may say something else, or the door fell shut.
async fn changed(store: &SharedStore, revision: Revision, open: Option<&mut Open>) {
    let told = async {
        let Ok(mut watch) = store.watch(Some(Kind::Platform), revision).await else { return };
        while let Ok(Event::Bookmark(_)) = watch.next().await {}
    };
    match open {
        None => told.await,
        Some(open) => tokio::select! {
            () = told => {}
            // It says why itself.
            _ = &mut open.serving => tokio::time::sleep(BREATHER).await,
        },
    }
}

fn serve(address: SocketAddr, layout: &Layout, doors: Doors, stop: &CancellationToken) -> Open {
    let stop = stop.child_token();
    let (layout, own) = (layout.clone(), stop.clone());
    let serving = tokio::spawn(async move {
        if let Err(error) = operators::create(&layout, Timestamp::now()) {
            tracing::error!(error = format!("{error:#}"), "operators cannot be given their folders");
            return;
        }
        let folder = layout.operators();
        let operators = Operators::new(move || operators::tokens(&folder));
        let door = TcpDoor { listen: address, identity: layout.identity("control"), operators };
        tracing::info!(%address, "the API is served to operators elsewhere");
        if let Err(error) = doors::serve_tcp(door, doors, own).await {
            tracing::error!(error = format!("{:#}", anyhow::Error::new(error)), "the API cannot be served to operators elsewhere; trying again");
        }
    });
    Open { address, stop, serving }
}

async fn close(open: Option<Open>) {
    let Some(open) = open else { return };
    open.stop.cancel();
    if !open.serving.is_finished() {
        // A task that ends by a panic is closed as well.
        let _ = open.serving.await;
    }
}

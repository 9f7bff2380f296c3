//! Secrets shown once: opened, destroyed in the store, and only then answered.

use std::collections::BTreeMap;

use api::v1::Revealed;
use axum::extract::State;
use model::v1alpha1::{Operation, Secret};
use model::{DocumentName, Kind, OperationName, Sensitive, Typed};
use store::{Compare, Key, StoreError, TypedStore as _, Write, key_of, status_write};

use crate::documents::get;
use crate::refusal::Refusal;
use crate::wire::{Json, Name};
use crate::{Doors, codes};

/// How often it is tried when the operation changes at the same time.
const TRIES: u32 = 8;

/// `POST /v1/operations/{name}/reveal`
pub(crate) async fn reveal(State(doors): State<Doors>, Name(name): Name<OperationName>) -> Result<Json<Revealed>, Refusal> {
    for _ in 0..TRIES {
        let mut operation = Typed::<Operation>::read(get(&doors, Kind::Operation, &DocumentName::from(&name)).await?)?;
        let Some(sealed) = operation.status.reveal.take() else { return Err(nothing(&name)) };
        let secret = doors.0.store.read::<Secret>(&sealed).await?.ok_or_else(|| nothing(&name))?;
        let values = open(&doors, &sealed, &secret)?;
        let compares =
            vec![Compare::Revision(key_of(&operation), operation.metadata.revision), Compare::Revision(key_of(&secret), secret.metadata.revision)];
        let writes = vec![status_write(&operation), Write::Delete(Key::new(Kind::Secret, sealed))];
        match doors.0.store.commit(compares, writes).await {
            Ok(_) => return Ok(Json(Revealed { values })),
            // Where the commit happened although its answer was lost, the secret is gone and was shown to nobody: whoever took it out may still show it.
            Err(StoreError::Unknown(why)) => match doors.0.store.get(&key_of(&secret)).await {
                Ok(None) => return Ok(Json(Revealed { values })),
                Ok(Some(_)) => {}
                Err(_) => return Err(codes::OUTCOME_UNKNOWN.refuse(format!("the outcome is not known: {why}"))),
            },
            Err(StoreError::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(codes::CHANGED_MEANWHILE.refuse(format!("operation {name} changes again and again")))
}

fn open(doors: &Doors, name: &DocumentName, secret: &Typed<Secret>) -> Result<BTreeMap<String, Sensitive<String>>, Refusal> {
    let plain = doors.0.reveal.open(name, &secret.spec).map_err(|why| codes::UNREADABLE.refuse(format!("secret {name} cannot be opened: {why}")))?;
    // The parser's words could quote the secret, so they are not passed on.
    serde_json::from_str(plain.reveal()).map_err(|_| codes::UNREADABLE.refuse(format!("secret {name} is not a JSON object of texts")))
}

fn nothing(name: &OperationName) -> Refusal {
    codes::NOTHING_TO_REVEAL
        .refuse(format!("operation {name} has nothing to show, or it was shown before"))
        .next(format!("atoll operation show {name}"))
}

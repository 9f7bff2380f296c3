//! Sealed secrets as documents: made once, read when needed, deleted with their owner.

use std::collections::BTreeMap;

use model::v1alpha1::Secret;
use model::{DocumentName, Kind, Sensitive, Typed};
use operation::StepError;
use store::{Compare, Key, StoreError, TypedStore, Write};

use crate::PortError;
use crate::world::World;

/// What a secret's document holds: names to values.
pub type Values = BTreeMap<String, Sensitive<String>>;

impl From<PortError> for StepError {
    fn from(error: PortError) -> Self {
        Self::retry(error.reason, error.message)
    }
}

/// The compare and the write that create a secret.
fn creation(world: &World, name: &DocumentName, values: &Values) -> (Compare, Write) {
    // A map of strings always becomes JSON.
    let plain = Sensitive::new(serde_json::to_string(values).unwrap_or_default());
    let document = Typed::<Secret>::new(name.clone(), world.ports.keys.seal(name, &plain));
    (Compare::Absent(store::key_of(&document)), store::spec_write(&document))
}

/// Makes secrets where none stand under these names, all of them in one commit; those that stand are kept as they are.
pub async fn ensure(world: &World, wanted: Vec<(DocumentName, Values)>) -> Result<(), StoreError> {
    let mut compares = Vec::new();
    let mut writes = Vec::new();
    for (name, values) in wanted {
        if world.store().get(&Key::new(Kind::Secret, name.clone())).await?.is_none() {
            let (compare, write) = creation(world, &name, &values);
            compares.push(compare);
            writes.push(write);
        }
    }
    if writes.is_empty() {
        return Ok(());
    }
    match world.commit(compares, writes).await {
        Err(StoreError::Conflict(Compare::Absent(_))) | Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Opens a secret.
pub async fn open(world: &World, name: &DocumentName) -> Result<Values, StepError> {
    let secret = world.store().read::<Secret>(name).await?;
    let secret = secret.ok_or_else(|| StepError::retry("SecretMissing", format!("the secret {name} does not stand")))?;
    let plain = world.ports.keys.open(name, &secret.spec)?;
    let values = serde_json::from_str(plain.reveal());
    // The parser's words may repeat what it read.
    values.map_err(|_| StepError::fatal("SecretUnreadable", format!("the secret {name} does not have the shape of this release")))
}

/// One value of a secret.
pub fn value(values: &Values, name: &DocumentName, key: &str) -> Result<Sensitive<String>, StepError> {
    let value = values.get(key).cloned();
    value.ok_or_else(|| StepError::fatal("SecretUnreadable", format!("the secret {name} holds no value {key}")))
}

/// The writes that delete secrets.
pub fn deletion(names: impl IntoIterator<Item = DocumentName>) -> Vec<Write> {
    names.into_iter().map(|name| Write::Delete(Key::new(Kind::Secret, name))).collect()
}

/// Deletes secrets that may or may not stand.
pub async fn delete(world: &World, names: impl IntoIterator<Item = DocumentName>) -> Result<(), StoreError> {
    world.commit(Vec::new(), deletion(names)).await.map(drop)
}

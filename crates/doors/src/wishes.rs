//! Single wishes: a tenant added, suspended, removed; a cell opened, drained, closed; an operation cancelled. Each writes one document, with compares.

use api::v1::{Accepted, CellOpen, TenantAdd};
use axum::extract::State;
use model::v1alpha1::{Cell, CellSpec, HostRules, Operation, Scheduling, Tenant, TenantSpec, TenantState};
use model::{BlueprintName, CellName, Document, DocumentName, Kind, OperationName, Resource, Revision, TenantName, Typed};
use plan::{Action, Snapshot, product_of};
use store::{Compare, Key, StoreError, Write, key_of};

use crate::asked::Asked;
use crate::documents::get;
use crate::plans::{decide, write};
use crate::refusal::Refusal;
use crate::wire::{Json, Name, Wanted};
use crate::{Doors, codes};

/// How often a wish is decided anew when others write at the same time.
const TRIES: u32 = 8;

type Answer = Result<Json<Accepted>, Refusal>;

/// `POST /v1/tenants`
pub(crate) async fn tenant_add(State(doors): State<Doors>, asked: Asked, Wanted(add): Wanted<TenantAdd>) -> Answer {
    doors.0.mirror.fresh(&doors.0.store).await?;
    let blueprint = match add.blueprint {
        Some(blueprint) => blueprint,
        None => only_product(&doors.0.mirror.read().snapshot)?,
    };
    let spec = TenantSpec {
        blueprint,
        domains: add.domains,
        hosts: HostRules::default(),
        title: add.title,
        contact: add.contact,
        language: add.language.unwrap_or_else(|| "en".to_owned()),
        plan: add.plan.unwrap_or_else(|| "standard".to_owned()),
        region: add.region,
        cell: add.cell,
        group: add.group,
        https: None,
        state: TenantState::Active,
    };
    create(&doors, &asked, Typed::<Tenant>::new(&add.name, spec).document()).await
}

/// `POST /v1/cells`
pub(crate) async fn cell_open(State(doors): State<Doors>, asked: Asked, Wanted(open): Wanted<CellOpen>) -> Answer {
    doors.0.mirror.fresh(&doors.0.store).await?;
    let blueprint = version(&doors.0.mirror.read().snapshot, open.blueprint)?;
    let spec = CellSpec { blueprint, region: open.region, machines: Vec::new(), scheduling: Scheduling::Open };
    create(&doors, &asked, Typed::<Cell>::new(&open.name, spec).document()).await
}

/// Creates a document, when the lint of plans lets it pass. Asked again with the same wish, it answers what stands.
async fn create(doors: &Doors, asked: &Asked, document: Document) -> Answer {
    for _ in 0..TRIES {
        let plan = decide(doors, vec![document.clone()]).await?;
        let Some(change) = plan.changes.first() else { break };
        let word = change.kind.as_str().to_lowercase();
        match change.action {
            Action::Refused => {
                let fault = change.fault.clone().or_else(|| plan.refusal());
                return Err(fault.map_or_else(|| codes::DEFECT.refuse("a refusal without its fault"), Refusal::from));
            }
            Action::None => {
                let document = get(doors, change.kind, &change.name).await?;
                return Ok(Json(Accepted { revision: document.metadata.revision, document, changed: false }));
            }
            Action::Update => {
                let fields = change.fields.iter().map(|field| field.path.as_str()).collect::<Vec<_>>().join(", ");
                let refusal = codes::STANDS_ALREADY.refuse(format!("{word} {} stands already and differs in {fields}", change.name));
                return Err(refusal.next(format!("atoll {word} show {}", change.name)));
            }
            Action::Create => match write(doors, asked, &[change]).await {
                Ok(committed) => {
                    let revision = committed.revision;
                    let document = committed.documents.into_iter().flatten().next();
                    let document = document.ok_or_else(|| codes::DEFECT.refuse("a document was written and does not stand"))?;
                    return Ok(Json(Accepted { document, changed: true, revision }));
                }
                Err(refusal) if *refusal.fault.code.0 == *plan::codes::PLAN_STALE.code => {}
                Err(refusal) => return Err(refusal),
            },
        }
    }
    Err(codes::CHANGED_MEANWHILE.refuse(format!("{} {} changes again and again", document.kind, document.metadata.name)))
}

/// `POST /v1/tenants/{name}/suspend`
pub(crate) async fn tenant_suspend(State(doors): State<Doors>, asked: Asked, Name(name): Name<TenantName>) -> Answer {
    tenant_state(&doors, &asked, &name, TenantState::Suspended).await
}

/// `POST /v1/tenants/{name}/resume`
pub(crate) async fn tenant_resume(State(doors): State<Doors>, asked: Asked, Name(name): Name<TenantName>) -> Answer {
    tenant_state(&doors, &asked, &name, TenantState::Active).await
}

/// `POST /v1/tenants/{name}/remove`
pub(crate) async fn tenant_remove(State(doors): State<Doors>, asked: Asked, Name(name): Name<TenantName>) -> Answer {
    tenant_state(&doors, &asked, &name, TenantState::Removed).await
}

async fn tenant_state(doors: &Doors, asked: &Asked, name: &TenantName, state: TenantState) -> Answer {
    change::<Tenant>(doors, asked, &name.into(), |tenant| {
        let from = tenant.spec.state;
        if from == TenantState::Removed && state == TenantState::Suspended {
            let refusal = codes::NOT_NOW.refuse(format!("tenant {name} was removed; it is not served any more"));
            return Err(refusal.next(format!("atoll tenant resume {name}")));
        }
        tenant.spec.state = state;
        Ok(from != state)
    })
    .await
}

/// `POST /v1/cells/{name}/drain`
pub(crate) async fn cell_drain(State(doors): State<Doors>, asked: Asked, Name(name): Name<CellName>) -> Answer {
    doors.0.mirror.fresh(&doors.0.store).await?;
    change::<Cell>(&doors, &asked, &DocumentName::from(&name), |cell| {
        if cell.spec.scheduling == Scheduling::Draining {
            return Ok(false);
        }
        may_empty(&doors.0.mirror.read().snapshot, &name, cell)?;
        cell.spec.scheduling = Scheduling::Draining;
        Ok(true)
    })
    .await
}

/// `POST /v1/cells/{name}/close`
pub(crate) async fn cell_close(State(doors): State<Doors>, asked: Asked, Name(name): Name<CellName>) -> Answer {
    let key = Key::new(Kind::Cell, &name);
    for _ in 0..TRIES {
        let document = get(&doors, Kind::Cell, &key.name).await?;
        if document.metadata.deletion_requested_at.is_some() {
            return Ok(Json(Accepted { revision: document.metadata.revision, document, changed: false }));
        }
        doors.0.mirror.fresh(&doors.0.store).await?;
        let cell = Typed::<Cell>::read(document.clone())?;
        may_empty(&doors.0.mirror.read().snapshot, &name, &cell)?;
        let compare = Compare::Revision(key.clone(), document.metadata.revision);
        match doors.0.store.commit(vec![compare], vec![asked.write(key.clone()), Write::Delete(key.clone())]).await {
            Ok(committed) => {
                let document = committed.documents.into_iter().flatten().next().unwrap_or(document);
                return Ok(Json(Accepted { document, changed: true, revision: committed.revision }));
            }
            // Decided anew by what stands then.
            Err(StoreError::Conflict(_) | StoreError::Unknown(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(codes::CHANGED_MEANWHILE.refuse(format!("cell {name} changes again and again")))
}

/// Refuses while tenants are in the cell that cannot leave, and says which.
fn may_empty(snapshot: &Snapshot, name: &CellName, cell: &Typed<Cell>) -> Result<(), Refusal> {
    const SHOWN: usize = 10;
    let stays = plan::cells::stays(snapshot, name);
    // A tenant is counted in the commit that places it, so the number is never behind.
    if stays.is_empty() && cell.status.tenants == 0 {
        return Ok(());
    }
    let count = stays.len().max(cell.status.tenants as usize);
    let each: Vec<_> = stays.iter().take(SHOWN).map(|(tenant, why)| format!("{tenant} ({why})")).collect();
    let more = if count > each.len() { format!(" and {} more", count - each.len()) } else { String::new() };
    let refusal = codes::TENANTS_STAY.refuse(format!("cell {name} has {count} tenants that cannot leave: {}{more}", each.join(", ")));
    Err(refusal.next(format!("atoll tenant list --cell {name}")))
}

/// `POST /v1/operations/{name}/cancel`
pub(crate) async fn operation_cancel(State(doors): State<Doors>, asked: Asked, Name(name): Name<OperationName>) -> Answer {
    change::<Operation>(&doors, &asked, &DocumentName::from(&name), |operation| {
        if operation.status.state.ended() {
            let refusal = codes::NOT_NOW.refuse(format!("operation {name} has ended: {:?}", operation.status.state));
            return Err(refusal.next(format!("atoll operation show {name}")));
        }
        Ok(!std::mem::replace(&mut operation.spec.cancel, true))
    })
    .await
}

/// Changes the spec of a document that stands; `wish` says whether it changed anything.
async fn change<R: Resource>(doors: &Doors, asked: &Asked, name: &DocumentName, wish: impl Fn(&mut Typed<R>) -> Result<bool, Refusal>) -> Answer {
    for _ in 0..TRIES {
        let document = get(doors, R::KIND, name).await?;
        if document.metadata.deletion_requested_at.is_some() {
            let word = R::KIND.as_str().to_lowercase();
            return Err(plan::codes::BEING_DELETED.fault(format!("{word} {name} is being removed")).into());
        }
        let mut typed = Typed::<R>::read(document.clone())?;
        if !wish(&mut typed)? {
            return Ok(Json(Accepted { revision: document.metadata.revision, document, changed: false }));
        }
        let compare = Compare::Revision(key_of(&typed), document.metadata.revision);
        match doors.0.store.commit(vec![compare], vec![store::spec_write(&typed), asked.write(key_of(&typed))]).await {
            Ok(committed) => {
                let revision: Revision = committed.revision;
                let document = committed.documents.into_iter().flatten().next().unwrap_or(document);
                return Ok(Json(Accepted { document, changed: true, revision }));
            }
            // Decided anew by what stands then: where the write happened after all, nothing is left to change.
            Err(StoreError::Conflict(_) | StoreError::Unknown(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(codes::CHANGED_MEANWHILE.refuse(format!("{} {name} changes again and again", R::KIND)))
}

/// The only product there is.
fn only_product(snapshot: &Snapshot) -> Result<BlueprintName, Refusal> {
    let mut products: Vec<&str> = snapshot.blueprints.keys().map(product_of).collect();
    products.dedup();
    match products[..] {
        [only] => BlueprintName::new(only).map_err(|error| codes::DEFECT.refuse(format!("blueprint {only}: {error}"))),
        [] => Err(codes::CHOICE_NEEDED.refuse("no blueprint was applied yet").next("atoll apply -f <folder of the blueprint>")),
        _ => Err(codes::CHOICE_NEEDED.refuse(format!("there is more than one product: {}", products.join(", ")))),
    }
}

/// The blueprint's document for a cell: as named, or the newest version of the product named, or of the only one.
fn version(snapshot: &Snapshot, named: Option<DocumentName>) -> Result<DocumentName, Refusal> {
    let product = match named {
        Some(named) if named.as_str().contains('.') => return Ok(named),
        Some(named) => named.to_string(),
        None => only_product(snapshot)?.to_string(),
    };
    match snapshot.newest(&product) {
        Some(newest) => Ok(newest.metadata.name.clone()),
        None => {
            let known: Vec<_> = snapshot.blueprints.keys().map(DocumentName::as_str).collect();
            let known = if known.is_empty() { "none was applied yet".to_owned() } else { format!("there are {}", known.join(", ")) };
            Err(plan::codes::BLUEPRINT_UNKNOWN.fault(format!("no version of blueprint {product} is known; {known}")).into())
        }
    }
}

//! The verbs: parameters, steps, conclusions.
//!
//! A step works over [`World`] and does itself what the reconcilers would do later (tells gates, publishes routes, looks at the cell), so that an
//! operation is as quick as its parts and needs nobody else.

mod cell_close;
mod cell_drain;
mod cell_open;
mod cell_roll;
mod hook;
mod settings;
mod tenant_create;
mod tenant_purge;
mod tenant_serve;
mod ways;

pub use cell_close::CellClose;
pub use cell_drain::CellDrain;
pub use cell_open::{CellOpen, ORDER_DATABASE, Open};
pub use cell_roll::{CellRoll, ROLL_SERVICES, Roll};
pub use settings::keep as keep_settings;
pub use tenant_create::{Create, TenantCreate};
pub use tenant_purge::{Purge, TenantPurge};
pub use tenant_serve::{Remove, Serve, TenantRemove, TenantResume, TenantSuspend};

/// Makes a step without output: its effect and the way back.
macro_rules! step {
    ($(#[$doc:meta])* $name:ident of $verb:ty, $text:expr, act($cx:ident) $act:block, undo($ux:ident) $undo:block) => {
        $(#[$doc])*
        pub struct $name;

        #[async_trait::async_trait]
        impl operation::Step<$verb> for $name {
            const NAME: &'static str = $text;
            type Out = ();
            async fn act(&self, $cx: &operation::Context<'_, $verb>) -> Result<(), operation::StepError> $act
            async fn undo(&self, $ux: &operation::Context<'_, $verb>) -> Result<(), operation::StepError> $undo
        }
    };
}
use step;

//! The API's own refusals, with the status each has on the wire. Their pages stand in `plan::codes`.

use plan::codes::FaultPage;

use crate::refusal::Refusal;

/// A refusal of the API.
#[derive(Debug)]
pub struct DoorCode {
    /// Its page.
    pub page: &'static FaultPage,
    /// HTTP status.
    pub status: u16,
}

impl DoorCode {
    pub(crate) fn refuse(&self, message: impl Into<String>) -> Refusal {
        Refusal::new(self.status, self.page.fault(message))
    }
}

macro_rules! codes {
    ($($name:ident $status:literal;)*) => {
        $(
            #[doc = concat!("HTTP ", $status, ".")]
            pub static $name: DoorCode = DoorCode { page: &plan::codes::$name, status: $status };
        )*

        /// Every code of the API, in order.
        pub static ALL: &[&DoorCode] = &[$(&$name,)*];
    };
}

codes! {
    NOT_UNDERSTOOD 400;
    NO_SUCH_PATH 404;
    NOT_FOUND 404;
    STANDS_ALREADY 409;
    CHOICE_NEEDED 422;
    NOT_NOW 409;
    TENANTS_STAY 409;
    STORE 503;
    ENGINE 503;
    NOTHING_TO_REVEAL 410;
    OUTCOME_UNKNOWN 503;
    CHANGED_MEANWHILE 409;
    SEALED 403;
    TOO_OLD 410;
    TOO_LARGE 413;
    DEFECT 500;
    UNREADABLE 500;
    NOT_ALLOWED 401;
}

//! The kinds of `atoll.dev/v1alpha1`: one file per kind. These are the persisted and the user-facing shapes; unknown fields are refused everywhere.

mod blueprint;
mod cell;
mod claim;
mod machine;
mod operation;
mod platform;
mod tenant;

pub use blueprint::{
    Blueprint, BlueprintSpec, BlueprintStatus, CacheEngine, CacheSpec, CapacitySpec, DatabaseEngine, DatabaseSpec, EdgeCache, EdgeCompress, EdgeSpec,
    FilesAccess, FilesEngine, FilesSpec, GatesSpec, Hook, Limits, Probe, ProbeKind, Replicas, Service, Setting, TenantHooks, WritablePath,
};
pub use cell::{Allocation, Cell, CellSpec, CellStatus, DatabaseSummary, GateSummary, NodeSummary, Scheduling, ServiceSummary};
pub use claim::{Domain, DomainClaim, SealedSecret, Secret};
pub use machine::{Machine, MachineSpec, MachineStatus};
pub use operation::{Operation, OperationSpec, OperationState, OperationStatus, Progress, StepRecord, StepState, Subject, Verb};
pub use platform::{
    ApiSpec, AuthoritySpec, BehindSpec, ClientLimits, DomainProof, EdgeCacheSpec, HttpsSpec, ImagesSpec, LimitsSpec, MailSpec, NetworkSpec, Platform,
    PlatformSpec, PlatformStatus, PublicSpec, TenantLimits, TlsSpec,
};
pub use tenant::{FailedCreation, HostRules, RedirectCode, Tenant, TenantSpec, TenantState, TenantStatus, WwwRule};

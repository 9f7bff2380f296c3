//! Reasons: the CamelCase codes of conditions, operations and reports.

use super::ReasonPage;

macro_rules! reasons {
    ($($reason:ident $meaning:literal, $next:literal;)*) => {
        /// Every reason.
        pub static REASONS: &[ReasonPage] = &[$(ReasonPage { reason: stringify!($reason), meaning: $meaning, next: $next },)*];
    };
}

reasons! {
    // All is well, or will be without anybody's help.
    AsWanted "It stands as wanted.", "";
    Ready "It serves.", "";
    Placed "The tenant has a cell.", "";
    Accepted "The blueprint passed its lint.", "";
    Created "The document was new.", "";
    Updated "Some fields changed.", "";
    NoChange "It stands as wanted already: nothing is written.", "";
    Starting "It is being made or started; nothing needs to be done.", "";
    Working "An operation is at work on it.", "atoll operation list";
    Opening "The cell is being made: networks, database, services, gates, in this order where one needs the other.", "atoll cell show {name}";
    Rolling "Instances are being replaced by a newer version, one at a time; the old ones leave when the new ones are ready.", "atoll cell show {name}";
    Draining "It leaves: it finishes what it has begun and takes nothing new.", "";
    WaitingForUses "It starts when the services that it uses are ready.", "atoll explain {kind} {name}";
    WaitingForNetwork "The database's endpoint joins the cell's network as soon as the engine has made it.", "";
    WaitingForGates "A cell's gates have not yet acknowledged what they were told; routes follow when they have.", "atoll explain {kind} {name}";
    WaitingForDatabase "The cell's database does not take writes yet.", "atoll explain {kind} {name}";
    Transferring "A database node is being filled from another one; it is never stopped while bytes move.", "atoll explain {kind} {name}";
    Joining "A database node is catching up with the cluster.", "";
    // What an operator asked for.
    Suspended "The tenant is suspended on request: visitors see that, its data is kept.", "atoll tenant resume {name}";
    Removed "The tenant was removed on request; its data is kept until the grace period ends, until then it can be resumed.", "atoll tenant resume {name}";
    Cancelled "The operation was cancelled on request and is back where it began.", "";
    StateKept "The files do not say whether it is served, so what a command set stays.", "";
    SchedulingKept "The files do not say whether it takes tenants, so what a command set stays.", "";
    Unused "No cell runs this blueprint.", "atoll cell list";
    Parts "The plan has more documents than one commit holds; each part is all or nothing.", "";
    // Placement.
    BlueprintUnknown "No version of this blueprint was applied.", "atoll apply <folder of the blueprint>";
    NoCell "No cell of this product stands, so its tenants wait.", "atoll cell open <name>";
    RegionMissing "Cells of this product stand, none in the region that the tenant names.", "atoll cell open <name> --region <region>";
    CellsClosed "Every cell that could take the tenant is closed to new ones or draining.", "atoll cell list";
    CellNotReady "The tenant's cell, or the one that could take it, is not ready or still being opened; the tenant follows as soon as it is.", "atoll cell list";
    CellsFull "Every cell that could take the tenant is full; it is placed as soon as there is room.", "atoll cell open <name>";
    PinnedCellUnknown "The tenant names a cell that does not stand.", "atoll cell list";
    PinnedCellUnfit "The tenant names a cell of another product or region.", "atoll tenant show {name}";
    PinnedCellClosed "The tenant names a cell that takes no new tenants.", "atoll tenant show {name}";
    PinnedCellFull "The tenant names a cell that is full.", "atoll tenant show {name}";
    DomainTaken "One of the tenant's domains belongs to another tenant; it waits until it is free.", "atoll explain tenant {name}";
    NotPlaced "The tenant has no cell yet.", "atoll explain tenant {name}";
    NextCellDue "The cells of a product are nearly full: open the next one before the last place is taken.", "atoll cell open <name>";
    // Cells.
    NoNetwork "The pool of private networks has no two free ones that clash with nothing on the host.", "atoll explain platform";
    NoMachine "No machine for the cell's data is known, or none of those it names.", "atoll status";
    MachineNotReady "The agent of a machine does not answer.", "atoll status";
    TenantsStay "The cell still has tenants, and this release cannot move them: remove them, or keep the cell.", "atoll tenant list --cell {name}";
    TooFull "The wanted blueprint has less room than the tenants of the cell take.", "atoll cell show {name}";
    NotReady "It runs, and its probe fails.", "atoll logs {name}";
    Unready "It was ready, and its probe fails now; it gets no requests until it succeeds again.", "atoll logs {name}";
    NeverReady "It did not become ready within its time.", "atoll logs {name}";
    CrashLoop "It ends again and again; it is started anew with growing pauses.", "atoll logs {name}";
    OutOfMemory "It ended because it took more memory than its limit.", "atoll explain {kind} {name}";
    ImageMissing "Its image is neither on the engine nor to be had.", "atoll explain {kind} {name}";
    BadCommand "Its command does not exist in the image, or may not be run.", "atoll explain {kind} {name}";
    PortTaken "A port of the host that it needs is taken by another program.", "atoll doctor";
    SubnetClash "Its private network clashes with another network of the host.", "atoll doctor";
    DiskFull "The host has no space left.", "atoll doctor";
    RolloutStopped "The newer version never became ready: it stopped after its first instance, the older one serves on.", "atoll logs {name}";
    NoSuchInstance "No such instance stands.", "atoll cell show {name}";
    TooOldEngine "The engine is older than Atoll needs.", "atoll doctor";
    EngineRefused "The engine refused for a cause of its own; the message has its words.", "atoll doctor";
    EngineUnreachable "The engine does not answer. What runs goes on; nothing new is made until it answers.", "atoll doctor";
    AgentUnreachable "The agent of the cell's machine does not answer. Databases go on; nothing new is made until it answers.", "atoll doctor";
    GateUnreachable "A gate does not answer. It serves on from what it was last told.", "atoll explain {kind} {name}";
    SettingsFailed "A settings file of the tenant could not be rendered or written.", "atoll explain tenant {name}";
    HookFailed "The blueprint's hook ended with an error; the message has its last words.", "atoll operation list";
    LintFailed "The blueprint breaks a rule; cells are not made from it.", "atoll explain blueprint {name}";
    ShapeUnknown "A stored document does not have the shape of this release.", "atoll doctor";
    // Databases.
    Synced "Every node is in step.", "";
    Degraded "The database takes writes, and a node of it is not in step.", "atoll explain {kind} {name}";
    NoWriter "No node takes writes now; the agent brings one back by the recorded positions.", "atoll explain {kind} {name}";
    Busy "The agent is at work on this cell; it is asked again.", "";
    NoFirst "No node is allowed to go first yet.", "atoll explain {kind} {name}";
    NoMembers "The cluster's last members are not recorded.", "atoll explain {kind} {name}";
    MemberMissing "The position of a member of the last cluster is not known; starting without it could lose acknowledged writes.", "atoll explain {kind} {name}";
    MemberRuns "A member still runs: others join it, none bootstraps.", "";
    LastWriterMissing "The position of the last writer is not known; starting without it could lose acknowledged writes.", "atoll explain {kind} {name}";
    BehindRecord "Every node stands behind what was recorded as acknowledged.", "atoll explain {kind} {name}";
    ForeignHistory "A node's data belongs to another cluster.", "atoll explain {kind} {name}";
    NoEvidence "A node has no usable data: it was wiped, or a transfer into it did not end.", "atoll explain {kind} {name}";
    AlreadyFormed "The cluster was formed before: its data is recovered, never made anew.", "";
    UnknownCell "The agent was never told of this cell, or has retired it.", "atoll explain {kind} {name}";
    BadOrder "The agent cannot follow the order; the message says which rule it breaks.", "atoll explain {kind} {name}";
    BadTenantOrder "The agent cannot follow the order about a tenant; the message says which rule it breaks.", "atoll explain {kind} {name}";
    OlderMembership "The agent knows a newer membership of the cluster; the older order was refused.", "";
    GenerationReused "Two different orders carry one number; the agent keeps the first.", "atoll explain {kind} {name}";
    // Operations and control itself.
    EngineHoldsNewer "The engine holds a newer wish about the cell than control has: the store was restored from an older copy.", "atoll status";
    AgentHoldsNewer "The agent holds a newer order about the cell than control has: the store was restored from an older copy.", "atoll status";
    HookTimedOut "The blueprint's hook did not end in its time; the message has its last words.", "atoll operation list";
    HookInvalid "The blueprint's hook names a service that the blueprint does not have.", "atoll explain blueprint {name}";
    SessionsLeft "Sessions of the tenant's locked account are being ended.", "";
    RoutesNotPublished "Routes cannot be published, because the key of a cell cannot be read; edges serve on from what they have.", "atoll status";
    SecretMissing "A sealed secret that is needed does not stand.", "atoll doctor";
    SecretUnreadable "A sealed secret cannot be opened: the master key is not the one that sealed it, or the document was damaged.", "atoll doctor";
    CellGone "The cell of the operation does not stand any more.", "atoll cell list";
    TenantGone "The tenant of the operation does not stand any more.", "atoll tenant list";
    StepMissing "A step of the operation is not known to this release.", "atoll operation show {name}";
    ParameterShape "The parameters of the operation do not have the shape of this release.", "atoll operation show {name}";
    OutputShape "A step's output does not have the shape of this release.", "atoll operation show {name}";
    NeedsHuman "Neither forward nor back is safe without a person; the message says what was found.", "atoll operation show {name}";
    StoreBusy "The store does not answer now; it is asked again.", "";
    StoreRefused "The store refused a write.", "atoll doctor";
}

//! The arguments. What stands here in `///` is what `--help` says.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use model::{BlueprintName, CellName, DocumentName, DomainName, Kind, OperationName, PlatformName, Span, TenantName};

use crate::roles::Role;

/// What stands under every `--help`.
const AFTER: &str =
    "Exit status: 0 done, 1 failed, 2 wrong usage, 3 refused, 4 control not reachable, 5 timed out or interrupted, 6 differences found by --check.";

/// Runs a SaaS as isolated cells.
#[derive(Debug, Parser)]
#[command(name = "atoll", version, about, max_term_width = 110, after_help = AFTER, disable_help_subcommand = true)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What holds for every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The state folder of the platform.
    #[arg(long, global = true, value_name = "FOLDER", env = "ATOLL_STATE", default_value = "/var/lib/atoll", hide_env_values = true)]
    pub state: PathBuf,
    /// Control on another machine, such as https://10.0.0.5:7443 [default: the socket in the state folder].
    #[arg(long, global = true, value_name = "URL", env = "ATOLL_CONTROL", hide_env_values = true)]
    pub control: Option<ControlUrl>,
    /// With --control: the folder of an operator, with certificate, key and token [default: operators/admin in the state folder].
    #[arg(long, global = true, value_name = "FOLDER", env = "ATOLL_CREDENTIALS", hide_env_values = true)]
    pub credentials: Option<PathBuf>,
    /// The platform's name: prefix of everything it makes on this machine's engine [default: the files', or atoll].
    #[arg(long, global = true, value_name = "NAME", env = "ATOLL_PLATFORM", hide_env_values = true)]
    pub platform: Option<PlatformName>,
    /// How results are printed: table, json or yaml.
    #[arg(short, long, global = true, value_name = "FORMAT", default_value = "table", hide_possible_values = true)]
    pub output: Format,
    /// No colours; NO_COLOR in the environment does the same.
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Only results and failures.
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// Where control listens for operators elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlUrl {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// The port of the API where none is named; the Platform's default is the same.
const API_PORT: u16 = 7443;

impl std::str::FromStr for ControlUrl {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not of the form https://HOST:PORT");
        let rest = text.strip_prefix("https://").ok_or_else(wrong)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        // An address of version 6 stands in brackets, and its colons are its own.
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(wrong)?) }),
            None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map_or(Ok(API_PORT), |port| port.parse().map_err(|_| wrong()))?;
        if host.is_empty() || host.contains(['/', '@', ' ']) || port == 0 {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl std::fmt::Display for ControlUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (left, right) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "https://{left}{}{right}:{}", self.host, self.port)
    }
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// As in files.
    Yaml,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the platform on this machine, apply files and wait until all is ready.
    Up(Up),
    /// Stop everything of the platform on this machine; data is kept.
    Down,
    /// Check this machine and the platform: each line is ok, warn or fail, with what to do.
    Doctor(Doctor),
    /// Show what applying files would change, and why the rest stays as it is.
    Plan(Plan),
    /// Apply files exactly as their plan shows, then wait until all is ready.
    Apply(Apply),
    /// How everything stands: what is not as wanted comes first.
    Status(Status),
    /// Why something is as it is, since when, and what to type next.
    Explain(Explain),
    /// Log lines of a cell's instances and of its database.
    Logs(Logs),
    /// What tenants took of the edges, as control's ledger has it.
    Usage(Usage),
    /// Copy control's store into a new file, while it works.
    Backup(Backup),
    /// Put a copy in the place of the store, while control is stopped; what stood there is kept.
    Restore(Restore),
    /// Customers.
    #[command(subcommand)]
    Tenant(Tenant),
    /// Isolated environments.
    #[command(subcommand)]
    Cell(Cell),
    /// What edges keep of answers.
    #[command(subcommand)]
    Cache(Cache),
    /// Pieces of work.
    #[command(subcommand)]
    Operation(Operation),
    /// One of the platform's own processes; `up` and control start them.
    #[command(flatten)]
    Role(Role),
    /// Print a script that completes commands in a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Files that state what is wanted.
#[derive(Debug, Clone, Args)]
pub struct Files {
    /// A file, or a folder with all its .yaml files; may be given more than once.
    #[arg(short = 'f', long = "file", value_name = "PATH", required = true)]
    pub files: Vec<PathBuf>,
}

/// How long to wait.
#[derive(Debug, Clone, Args)]
pub struct Waiting {
    /// Do not wait for what follows.
    #[arg(long)]
    pub no_wait: bool,
    /// Stop waiting after this time; the work goes on.
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = span)]
    pub timeout: Span,
}

/// `atoll up`.
#[derive(Debug, Args)]
pub struct Up {
    /// What to apply.
    #[command(flatten)]
    pub files: Files,
    /// How long to wait.
    #[command(flatten)]
    pub waiting: Waiting,
}

/// `atoll doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Also check what these files need; may be given more than once.
    #[arg(short = 'f', long = "file", value_name = "PATH")]
    pub files: Vec<PathBuf>,
}

/// `atoll plan`.
#[derive(Debug, Args)]
pub struct Plan {
    /// What is wanted.
    #[command(flatten)]
    pub files: Files,
    /// End with status 6 when something would change.
    #[arg(long)]
    pub check: bool,
}

/// `atoll apply`.
#[derive(Debug, Args)]
pub struct Apply {
    /// What is wanted.
    #[command(flatten)]
    pub files: Files,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
    /// How long to wait.
    #[command(flatten)]
    pub waiting: Waiting,
}

/// `atoll status`.
#[derive(Debug, Args)]
pub struct Status {
    /// End with status 6 when something is not as wanted.
    #[arg(long)]
    pub check: bool,
}

/// `atoll explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// A kind (platform, machine, blueprint, cell, tenant, domain, operation), an error code such as A0341, or a reason such as CrashLoop.
    pub what: What,
    /// Name of the document; with a kind only.
    pub name: Option<DocumentName>,
}

/// What is to be explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A document of this kind.
    Kind(Kind),
    /// An error code or a reason, whose page is in this program.
    Code(String),
}

impl std::str::FromStr for What {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(kind) = text.parse() {
            return Ok(Self::Kind(kind));
        }
        let file = manifest::codes::ALL.iter().any(|page| page.code.eq_ignore_ascii_case(text));
        let known = file || plan::codes::fault(text).is_some() || plan::codes::reason(text).is_some();
        if known { Ok(Self::Code(text.to_owned())) } else { Err(format!("{text:?} is neither a kind nor an error code nor a reason")) }
    }
}

/// `atoll logs`.
#[derive(Debug, Args)]
pub struct Logs {
    /// The cell.
    pub cell: CellName,
    /// Only this instance or database node, or all instances of this service; `database` is its nodes and endpoint.
    pub instance: Option<String>,
    /// Go on with new lines.
    #[arg(short, long)]
    pub follow: bool,
    /// Only lines since: a time ago such as 10m, or a moment such as 2026-11-25T10:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub since: Option<Since>,
    /// Only this many of the last lines of each instance.
    #[arg(long, value_name = "LINES")]
    pub tail: Option<u32>,
}

/// `atoll usage`.
#[derive(Debug, Args)]
pub struct Usage {
    /// Only this tenant.
    pub tenant: Option<TenantName>,
    /// From then on: a time ago such as 24h, or a moment such as 2026-11-25T10:00:00Z.
    #[arg(long, value_name = "TIME", default_value = "1h")]
    pub since: Since,
    /// Until then [default: now].
    #[arg(long, value_name = "TIME")]
    pub until: Option<Since>,
    /// What the rows are [default: tenant, or minute where one is named].
    #[arg(long, value_enum)]
    pub by: Option<UsageBy>,
}

/// What rows of `atoll usage` are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum UsageBy {
    /// A minute each.
    Minute,
    /// An hour each.
    Hour,
    /// A tenant each.
    Tenant,
}

/// `atoll backup`.
#[derive(Debug, Args)]
pub struct Backup {
    /// The file to be made; one that stands is never overwritten.
    pub file: PathBuf,
}

/// `atoll restore`.
#[derive(Debug, Args)]
pub struct Restore {
    /// What `backup` made.
    pub file: PathBuf,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
}

/// A time ago or a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// So long ago.
    Ago(Span),
    /// Since then.
    At(Timestamp),
}

impl Since {
    /// The moment that is meant.
    pub fn moment(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(span) => {
                let ago = SignedDuration::try_from(span.duration()).unwrap_or(SignedDuration::MAX);
                now.saturating_sub(ago).unwrap_or(Timestamp::MIN)
            }
        }
    }
}

impl std::str::FromStr for Since {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let ago = span(text).map(Self::Ago);
        ago.or_else(|_| {
            text.parse().map(Self::At).map_err(|_| format!("{text:?} is neither a time such as 10m nor a moment such as 2026-11-25T10:00:00Z"))
        })
    }
}

/// `atoll cache`.
#[derive(Debug, Subcommand)]
pub enum Cache {
    /// Make edges forget what they keep of a tenant's answers: all of it, or what is named.
    Purge(CachePurge),
}

/// `atoll cache purge`.
#[derive(Debug, Args)]
pub struct CachePurge {
    /// The tenant.
    pub tenant: TenantName,
    /// What stands there: https://HOST/PATH, or /PATH on every domain of the tenant. May be given more than once.
    #[arg(long = "url", value_name = "URL")]
    pub urls: Vec<String>,
    /// What carries this in Cache-Tag or Surrogate-Key. May be given more than once.
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
}

/// `atoll tenant`.
#[derive(Debug, Subcommand)]
pub enum Tenant {
    /// Add a tenant, wait until its site is up and show the administrator's password, once.
    Add(TenantAdd),
    /// Show a tenant.
    Show {
        /// The tenant.
        name: TenantName,
    },
    /// List tenants.
    List(List),
    /// Stop serving a tenant; its data is kept.
    Suspend(TenantChange),
    /// Serve a suspended tenant again, or one that was removed and not yet deleted.
    Resume(TenantChange),
    /// Stop serving a tenant and delete its data after the platform's grace period.
    Remove(TenantRemove),
}

/// `atoll tenant add`.
#[derive(Debug, Args)]
pub struct TenantAdd {
    /// Its name.
    pub name: TenantName,
    /// The product [default: the only blueprint there is].
    #[arg(long, value_name = "NAME")]
    pub blueprint: Option<BlueprintName>,
    /// A domain; the first is the primary one. May be given more than once.
    #[arg(long = "domain", value_name = "DOMAIN", required = true)]
    pub domains: Vec<DomainName>,
    /// Title of the site [default: the name].
    #[arg(long)]
    pub title: Option<String>,
    /// Mail address of the administrator.
    #[arg(long, value_name = "MAIL")]
    pub contact: String,
    /// Place it in this cell only.
    #[arg(long)]
    pub cell: Option<CellName>,
    /// Language of the site, such as en or cs-CZ.
    #[arg(long, value_name = "TAG")]
    pub language: Option<String>,
    /// Plan.
    #[arg(long)]
    pub plan: Option<String>,
    /// Region in which its data must stay.
    #[arg(long)]
    pub region: Option<String>,
    /// Tenants of one group are spread over cells.
    #[arg(long)]
    pub group: Option<String>,
    /// How long to wait.
    #[command(flatten)]
    pub waiting: Waiting,
}

/// `atoll tenant suspend` and `resume`.
#[derive(Debug, Args)]
pub struct TenantChange {
    /// The tenant.
    pub name: TenantName,
    /// How long to wait.
    #[command(flatten)]
    pub waiting: Waiting,
}

/// `atoll tenant remove`.
#[derive(Debug, Args)]
pub struct TenantRemove {
    /// The tenant.
    pub name: TenantName,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
    /// How long to wait.
    #[command(flatten)]
    pub waiting: Waiting,
}

/// Selection of a list.
#[derive(Debug, Args)]
pub struct List {
    /// Only what carries these labels: a=b,c=d.
    #[arg(short = 'l', long, value_name = "LABELS", default_value = "", hide_default_value = true)]
    pub labels: String,
}

/// `atoll cell`.
#[derive(Debug, Subcommand)]
pub enum Cell {
    /// Open a cell and wait until it can take tenants.
    Open(CellOpen),
    /// Show a cell.
    Show {
        /// The cell.
        name: CellName,
    },
    /// List cells.
    List(List),
    /// Take no new tenants, and ask those there to leave.
    Drain {
        /// The cell.
        name: CellName,
    },
    /// Remove an empty cell.
    Close(CellClose),
}

/// `atoll cell open`.
#[derive(Debug, Args)]
pub struct CellOpen {
    /// Its name.
    pub name: CellName,
    /// Blueprint and version [default: the newest of the only product there is].
    #[arg(long, value_name = "NAME.VERSION")]
    pub blueprint: Option<DocumentName>,
    /// Region [default: the platform's first].
    #[arg(long)]
    pub region: Option<String>,
    /// How long to wait.
    #[command(flatten)]
    pub waiting: Waiting,
}

/// `atoll cell close`.
#[derive(Debug, Args)]
pub struct CellClose {
    /// The cell.
    pub name: CellName,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
    /// How long to wait.
    #[command(flatten)]
    pub waiting: Waiting,
}

/// `atoll operation`.
#[derive(Debug, Subcommand)]
pub enum Operation {
    /// List operations, the newest first.
    List {
        /// Only those that have not ended.
        #[arg(long)]
        running: bool,
    },
    /// Show an operation with its steps.
    Show {
        /// The operation.
        name: OperationName,
    },
    /// Follow an operation to its end: status 0 when it is done, 1 when it failed.
    Follow {
        /// The operation.
        name: OperationName,
        /// Stop following after this time; the work goes on.
        #[arg(long, value_name = "TIME", default_value = "15m", value_parser = span)]
        timeout: Span,
    },
    /// Ask an operation to go back to where it began; refused past its point of no return.
    Cancel {
        /// The operation.
        name: OperationName,
    },
}

/// A length of time with its unit.
fn span(text: &str) -> Result<Span, String> {
    text.parse().map_err(|_| format!("{text:?} is not a time such as 30s, 10m or 2h"))
}

/// What an edge can be asked.
#[derive(Debug, Subcommand)]
pub enum EdgeCommand {
    /// What tenants take of this machine's edge, the heaviest first; on a terminal again every five seconds.
    Top(Top),
}

/// `atoll edge top`.
#[derive(Debug, Args)]
pub struct Top {
    /// What makes a tenant heavy.
    #[arg(long, value_enum, default_value_t = Order::Requests)]
    pub by: Order,
    /// So many tenants at most.
    #[arg(long, value_name = "TENANTS", default_value_t = 20)]
    pub most: usize,
    /// Print once and end, as it is where the output is no terminal.
    #[arg(long)]
    pub once: bool,
}

/// An order of tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// Answered requests.
    Requests,
    /// Time that its requests took.
    Time,
    /// Octets, both ways.
    Bytes,
    /// Answers of 500 and above.
    Errors,
    /// Requests that were not let in.
    Refused,
}

//! A whole platform of its own for one proof: own name, state folder, ports and address pool; removed at the end, also when the proof fails.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rand::Rng as _;
use serde_json::Value;
use tokio::process::Command;

use crate::fault::run;
use crate::outcome::say;
use crate::site::Site;

/// What a proof's platform consists of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Names of the cells.
    pub cells: Vec<&'static str>,
    /// Tenants with their cell.
    pub tenants: Vec<(&'static str, &'static str)>,
    /// Grace period of removed tenants.
    pub grace: &'static str,
    /// Where the platform's mail relay is; none: mail is off.
    pub mail: Option<SocketAddr>,
    /// Changes the blueprint's text before anything starts.
    pub blueprint: fn(String) -> String,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            cells: vec!["cell-a", "cell-b"],
            tenants: vec![("alpha", "cell-a"), ("beta", "cell-a"), ("gamma", "cell-b"), ("delta", "cell-b")],
            grace: "7d",
            mail: None,
            blueprint: |text| text,
        }
    }
}

/// A tenant that was added, with what was shown once.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// The site as seen from outside.
    pub site: Site,
    /// The administrator.
    pub user: String,
    /// The password shown once.
    pub password: String,
    /// From the command to its answer "ready", in seconds.
    pub add_s: f64,
}

/// A running platform.
#[derive(Debug)]
pub struct World {
    /// Name and prefix of everything on the engine.
    pub platform: String,
    /// Where the edge listens.
    pub edge: SocketAddr,
    /// State folder.
    pub state: PathBuf,
    /// Folder of the manifests.
    pub manifests: PathBuf,
    /// Private addresses of its own.
    pub pool: String,
    /// Seconds of each phase of the start.
    pub phases: Vec<(String, f64)>,
    atoll: PathBuf,
    keep: bool,
    _folder: tempfile::TempDir,
}

impl World {
    /// Starts a platform with its cells; tenants are added by [`World::add_tenants`].
    pub async fn start(plan: &Plan, keep: bool) -> Result<Self> {
        let edge = SocketAddr::from((Ipv4Addr::LOCALHOST, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port()));
        let mut world = Self::prepare(edge, keep)?;
        let (platform, pool, manifests) = (&world.platform, &world.pool, &world.manifests);
        copy_folder(&workspace()?.join("blueprints/wordpress"), &manifests.join("wordpress"))?;
        let file = manifests.join("wordpress/blueprint.yaml");
        fs_err::write(&file, (plan.blueprint)(fs_err::read_to_string(&file)?))?;
        let blueprint = blueprint_name(&file)?;
        let mut text = format!(
            "apiVersion: atoll.dev/v1alpha1\nkind: Platform\nmetadata: {{ name: {platform} }}\nspec:\n  grace: {}\n  network: {{ pool: {pool} }}\n  public: {{ scheme: http, address: 127.0.0.1, port: {} }}\n",
            plan.grace,
            edge.port()
        );
        if let Some(relay) = plan.mail {
            text += &format!("  mail: {{ host: {}, port: {}, from: sites@relay.example }}\n", relay.ip(), relay.port());
        }
        for cell in &plan.cells {
            text += &format!("---\napiVersion: atoll.dev/v1alpha1\nkind: Cell\nmetadata: {{ name: {cell} }}\nspec: {{ blueprint: {blueprint} }}\n");
        }
        fs_err::write(manifests.join("platform.yaml"), text)?;
        world.up().await?;
        Ok(world)
    }

    /// A platform of which nothing runs and no document is written yet, with its edge to be here.
    pub fn prepare(edge: SocketAddr, keep: bool) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("atoll-proof-").tempdir()?;
        let mut random = rand::rng();
        let platform = format!("atollproof-{:04x}", random.random::<u16>());
        // 64 pools of 4 cells each in 10.124.0.0/14, away from the default pool; a clash is refused by name and the proof ends.
        let pool = format!("10.{}.{}.0/21", 124 + random.random_range(0..4), 8 * random.random_range(0..32));
        let (state, manifests) = (folder.path().join("state"), folder.path().join("manifests"));
        fs_err::create_dir_all(&manifests)?;
        Ok(Self { platform, edge, state, manifests, pool, phases: Vec::new(), atoll: program()?, keep, _folder: folder })
    }

    /// `atoll up`, timed.
    pub async fn up(&mut self) -> Result<()> {
        let manifests = self.manifests.display().to_string();
        let wordpress = self.manifests.join("wordpress").display().to_string();
        self.timed("up", async |world: &Self| world.atoll(&["up", "-f", &wordpress, "-f", &manifests]).await.map(drop)).await
    }

    /// Runs a phase and keeps its seconds.
    pub async fn timed<T>(&mut self, phase: &str, work: impl AsyncFnOnce(&Self) -> Result<T>) -> Result<T> {
        let began = Instant::now();
        let result = work(self).await;
        let seconds = began.elapsed().as_secs_f64();
        say(&format!("  {phase}: {seconds:.1} s"));
        self.phases.push((phase.to_owned(), seconds));
        result
    }

    /// Adds the tenants of a plan, one after the other.
    pub async fn add_tenants(&mut self, plan: &Plan) -> Result<Vec<Tenant>> {
        let mut tenants = Vec::new();
        for (tenant, cell) in &plan.tenants {
            let added = self.timed(&format!("tenant add {tenant}"), async |world: &Self| world.add_tenant(tenant, cell).await).await?;
            tenants.push(added);
        }
        Ok(tenants)
    }

    /// `tenant add` to its answer, then the first 200 of its site.
    pub async fn add_tenant(&self, tenant: &str, cell: &str) -> Result<Tenant> {
        let began = Instant::now();
        let domain = format!("{tenant}.localhost");
        let alias = format!("www.{tenant}.localhost");
        let contact = format!("owner@{domain}");
        let title = format!("The shop of {tenant}");
        let shown = self
            .json(&[
                "tenant",
                "add",
                tenant,
                "--blueprint",
                "wordpress",
                "--domain",
                &domain,
                "--domain",
                &alias,
                "--title",
                &title,
                "--contact",
                &contact,
                "--cell",
                cell,
            ])
            .await?;
        let text = |field: &str| shown[field].as_str().map(str::to_owned).with_context(|| format!("tenant add did not show {field}: {shown}"));
        let site = Site { address: self.edge, host: format!("{domain}:{}", self.edge.port()), tenant: tenant.to_owned() };
        let answer = site.visitor().get("/").await?;
        ensure!(answer.status.is_success(), "the first visit of {tenant} was answered {}", answer.status);
        ensure!(answer.text().contains(&title), "the first page of {tenant} does not show its title");
        Ok(Tenant { site, user: text("adminUser")?, password: text("adminPassword")?, add_s: began.elapsed().as_secs_f64() })
    }

    /// Runs the program; its standard output. An exit status other than 0 is an error with its standard error.
    pub async fn atoll(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(&self.atoll)
            .args(["--state".as_ref(), self.state.as_os_str(), "--platform".as_ref(), self.platform.as_ref()])
            .args(arguments)
            .output()
            .await
            .with_context(|| format!("{} could not be started", self.atoll.display()))?;
        if !output.status.success() {
            bail!("atoll {} ended with {}: {}", arguments.join(" "), output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs the program with `-o json`.
    pub async fn json(&self, arguments: &[&str]) -> Result<Value> {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["-o", "json"]).collect();
        let text = self.atoll(&arguments).await?;
        serde_json::from_str(&text).with_context(|| format!("atoll {} did not print JSON: {text}", arguments.join(" ")))
    }

    /// Name of a container of this platform.
    pub fn container(&self, rest: &str) -> String {
        format!("{}-{rest}", self.platform)
    }

    /// Names of this platform's containers that match a filter of `docker ps`.
    pub async fn containers(&self, filters: &[&str]) -> Result<Vec<String>> {
        let label = format!("label=dev.atoll.platform={}", self.platform);
        let mut arguments = vec!["ps", "--format", "{{.Names}}", "--filter", label.as_str()];
        for filter in filters {
            arguments.extend(["--filter", filter]);
        }
        let mut names: Vec<String> = run("docker", &arguments).await?.lines().map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    /// Each running container with its start time and number of restarts: equal before and after means that nothing was restarted.
    pub async fn starts(&self, names: &[String]) -> Result<Vec<String>> {
        let mut arguments = vec!["inspect", "-f", "{{.Name}} {{.Id}} {{.State.StartedAt}} {{.RestartCount}}"];
        arguments.extend(names.iter().map(String::as_str));
        Ok(run("docker", &arguments).await?.lines().map(str::to_owned).collect())
    }

    /// The node that takes the writes of a cell, as the platform reports it.
    pub async fn writer(&self, cell: &str) -> Result<String> {
        let shown = self.json(&["cell", "show", cell]).await?;
        shown["status"]["database"]["writer"].as_str().map(str::to_owned).with_context(|| format!("{cell} reports no writer"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.keep {
            say(&format!("kept: atoll --platform {} --state {} down", self.platform, self.state.display()));
            return;
        }
        let logs = std::env::var_os("ATOLL_PROOF_LOGS").map(PathBuf::from);
        if let Some(folder) = logs {
            save_logs(&self.platform, &folder);
        }
        let down = std::process::Command::new(&self.atoll)
            .args(["--state".as_ref(), self.state.as_os_str(), "--platform".as_ref(), self.platform.as_ref(), "down".as_ref()])
            .output();
        match down {
            Ok(output) if output.status.success() => {}
            Ok(output) => say(&format!("atoll down ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())),
            Err(error) => say(&format!("atoll down could not be started: {error}")),
        }
    }
}

/// Keeps each container's log in a folder.
fn save_logs(platform: &str, folder: &Path) {
    let script = format!(
        "mkdir -p '{0}' && for c in $(docker ps -aq --filter label=dev.atoll.platform={platform}); do n=$(docker inspect -f '{{{{.Name}}}}' $c | tr -d /); docker logs $c > '{0}'/$n.log 2>&1; done",
        folder.display()
    );
    if let Err(error) = std::process::Command::new("sh").args(["-c", &script]).status() {
        say(&format!("logs could not be kept: {error}"));
    }
}

/// The program that is proved.
pub fn program() -> Result<PathBuf> {
    let atoll =
        std::env::var_os("ATOLL_BIN").map_or_else(|| Ok(workspace()?.join("target/release/atoll")), |path| anyhow::Ok(PathBuf::from(path)))?;
    ensure!(atoll.exists(), "{} does not exist: run `make build images` first, or set ATOLL_BIN", atoll.display());
    Ok(atoll)
}

/// The root of the workspace: where the program was compiled, or the present folder.
pub fn workspace() -> Result<PathBuf> {
    let here = std::env::current_dir()?;
    here.ancestors()
        .find(|folder| folder.join("blueprints/wordpress/blueprint.yaml").exists())
        .map(Path::to_path_buf)
        .context("run proofs inside the project's folder: blueprints/wordpress/blueprint.yaml was not found")
}

/// `<name>.<version>` of the blueprint in a file.
fn blueprint_name(path: &Path) -> Result<String> {
    let text = fs_err::read_to_string(path)?;
    let field = |name: &str| {
        text.split([',', '\n', '{', '}'])
            .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix(':').map(|v| v.trim().trim_matches('"').to_owned()))
            .with_context(|| format!("{} has no {name}", path.display()))
    };
    Ok(format!("{}.{}", field("name")?, field("version")?))
}

/// Copies a folder with everything in it.
fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs_err::create_dir_all(to)?;
    for entry in fs_err::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs_err::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Time for slow steps of a proof.
pub const PATIENCE: Duration = Duration::from_secs(120);

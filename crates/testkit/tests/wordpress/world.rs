//! Containers of one test: database, cache, PHP, nginx, on a network of their own.

use std::cell::OnceCell;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use testkit::{Docker, Guard, free_subnet, prefix};

const PHP: &str = "localhost/atoll/wordpress-php:6.1.9";
const WEB: &str = "localhost/atoll/wordpress-web:6.1.9";
const DATABASE: &str = "localhost/atoll/mariadb:10.11";
const CACHE: &str = "localhost/atoll/memcached:1.6";
const PASSWORD: &str = "a-password-of-tests";
/// A socket in memory, as root of the database by the socket's owner.
const SOCKET: &str = "/tmp/my.sock";
/// A server without a cluster, on a directory in memory.
const SERVER: &str = "set -e; mariadb-install-db --no-defaults --datadir=/var/lib/mysql --auth-root-authentication-method=socket \
    --auth-root-socket-user=mysql --skip-test-db --rpm >/dev/null 2>&1; exec mariadbd --no-defaults --datadir=/var/lib/mysql --socket=/tmp/my.sock \
    --pid-file=/tmp/my.pid --bind-address=0.0.0.0 --skip-name-resolve --innodb-buffer-pool-size=64M --innodb-log-file-size=16M";

/// What a test runs on. Dropped, everything of it goes.
pub struct World {
    prefix: String,
    folder: tempfile::TempDir,
    web: OnceCell<SocketAddr>,
    _guard: Guard,
}

impl World {
    /// Database and cache, with a schema, an account and settings for each tenant.
    pub fn start(tenants: &[&str]) -> Self {
        for image in [PHP, WEB, DATABASE, CACHE] {
            let _ = Docker::with_image(image);
        }
        let prefix = prefix();
        let guard = Guard::new(&prefix);
        let folder = tempfile::tempdir().unwrap();
        let world = Self { prefix, folder, web: OnceCell::new(), _guard: guard };
        world.network();
        world.run("db", &["--tmpfs", "/var/lib/mysql:uid=1003,mode=0750", "--tmpfs", "/tmp:uid=1003"], DATABASE, &["bash", "-c", SERVER]);
        world.run("cache", &[], CACHE, &[]);
        for tenant in tenants {
            world.tenant(tenant);
        }
        world.wait_for("the database", || Docker.try_run(["exec", &world.name("db"), "mariadb", "-S", SOCKET, "-e", "SELECT 1"]).is_some());
        for tenant in tenants {
            world.sql(&format!(
                "CREATE DATABASE t_{tenant}; CREATE USER t_{tenant}@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON t_{tenant}.* TO t_{tenant}@'%';"
            ));
        }
        world
    }

    fn network(&self) {
        let made = (0..5).any(|_| Docker.try_run(["network", "create", "--internal", "--subnet", &free_subnet(), &self.prefix]).is_some());
        assert!(made, "no network could be made under 10.92.0.0/16");
    }

    fn run(&self, name: &str, options: &[&str], image: &str, command: &[&str]) {
        let name = self.name(name);
        let fixed = ["run", "--detach", "--name", &name, "--network", &self.prefix, "--read-only", "--cap-drop", "ALL"];
        Docker.run(fixed.iter().chain(options).chain([&image]).chain(command));
    }

    fn tenant(&self, tenant: &str) {
        self.write(
            &format!("settings/{tenant}/settings.php"),
            &format!(
                "<?php return ['tenant' => '{tenant}', 'title' => 'Title of {tenant}', 'contact' => 'o@{tenant}.example', 'language' => 'en', 'plan' => 'p', \
                 'url' => 'http://{tenant}.localhost:8080', 'domains' => ['{tenant}.localhost'], 'database' => ['host' => 'db', 'port' => 3306, \
                 'name' => 't_{tenant}', 'user' => 't_{tenant}', 'password' => '{PASSWORD}'], 'salt' => 'salt', 'mail' => null];"
            ),
        );
        let parameters = json!({ "tenant": tenant, "adminUser": "admin", "adminPassword": PASSWORD, "contact": "o@example.org", "language": "en" });
        self.write(&format!("jobs/{tenant}/params.json"), &parameters.to_string());
        self.write(&format!("files/{tenant}/uploads/.keep"), "");
    }

    /// A file below the test's folder; the containers' users may read it and write beside it.
    pub fn write(&self, path: &str, content: &str) {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        for folder in path.ancestors().skip(1).take_while(|at| at.starts_with(self.folder.path())) {
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).unwrap();
        }
    }

    /// Name of a container of this test.
    pub fn name(&self, what: &str) -> String {
        format!("{}-{what}", self.prefix)
    }

    /// A command of the engine.
    #[expect(clippy::unused_self, reason = "reads as the world's own")]
    pub fn docker(&self, arguments: &[&str]) -> String {
        Docker.run(arguments)
    }

    fn address(&self, what: &str) -> String {
        let format = format!("{{{{(index .NetworkSettings.Networks \"{}\").IPAddress}}}}", self.prefix);
        Docker.run(["inspect", "--format", &format, &self.name(what)])
    }

    fn mount(&self, what: &str, inside: &str, mode: &str) -> String {
        format!("{}:{inside}:{mode}", Path::new(self.folder.path()).join(what).display())
    }

    /// What every PHP container gets: memory for temporary files, names by address, settings and files.
    fn php_options(&self) -> Vec<String> {
        let hosts = ["db", "cache"].map(|name| format!("--add-host={name}:{}", self.address(name)));
        let mounts = [("settings", "/atoll/settings", "ro"), ("files", "/atoll/files", "rw")];
        let mounts = mounts.map(|(what, inside, mode)| format!("--volume={}", self.mount(what, inside, mode)));
        ["--tmpfs=/tmp:uid=1001".to_owned()].into_iter().chain(hosts).chain(mounts).collect()
    }

    /// Runs the hook `create` and gives its words.
    pub fn create(&self, tenant: &str) -> String {
        let volume = format!("--volume={}", self.mount(&format!("jobs/{tenant}"), "/atoll/job", "ro"));
        let options = self.php_options();
        let mut arguments = vec!["run", "--rm", "--name", "", "--network", &self.prefix, "--read-only", "--cap-drop", "ALL", &volume];
        let name = self.name("job");
        arguments[3] = &name;
        arguments.extend(options.iter().map(String::as_str));
        arguments.extend([PHP, "php", "/srv/atoll/create.php"]);
        Docker.run(arguments)
    }

    /// Starts a script inside of alpha's WordPress, in the background.
    pub fn script(&self, body: &str) -> Script {
        let head = "<?php define('ATOLL_TENANT', 'alpha'); require '/srv/atoll/tenant.php'; require '/srv/atoll/job.php'; \
                    job_request(atoll_settings('alpha')); require '/srv/wordpress/wp-load.php';";
        self.write("scripts/script.php", &format!("{head}\n{body}"));
        let volume = format!("--volume={}", self.mount("scripts", "/scripts", "ro"));
        let options = self.php_options();
        let options: Vec<&str> = options.iter().map(String::as_str).chain([volume.as_str()]).collect();
        self.run("script", &options, PHP, &["php", "/scripts/script.php"]);
        Script { name: self.name("script") }
    }

    /// Starts PHP and nginx and waits for both.
    pub fn serve(&self) {
        let options = self.php_options();
        self.run("php", &options.iter().map(String::as_str).collect::<Vec<_>>(), PHP, &[]);
        let php = format!("--add-host=php:{}", self.address("php"));
        let files = format!("--volume={}", self.mount("files", "/atoll/files", "ro"));
        self.run("web", &["--tmpfs=/tmp:uid=1002", &php, &files], WEB, &[]);
        let address = format!("{}:8080", self.address("web")).parse().unwrap();
        self.wait_for("nginx", || TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok());
        self.web.set(address).unwrap();
        self.wait_for("PHP", || self.visitor("").get("/.atoll/php").status == 200);
    }

    /// Somebody who asks for a tenant's site, as the gate would pass it on.
    pub fn visitor(&self, tenant: &str) -> Visitor {
        Visitor { address: *self.web.get().unwrap(), tenant: tenant.to_owned(), cookies: Vec::new() }
    }

    /// Statements as the database's root.
    pub fn sql(&self, statements: &str) -> String {
        Docker.run(["exec", &self.name("db"), "mariadb", "-S", SOCKET, "-N", "-e", statements])
    }

    /// Ends the connection that executes a statement beginning so, once it does.
    pub fn kill_statement(&self, beginning: &str) {
        self.kill_statement_after(beginning, "");
    }

    /// As [`Self::kill_statement`], after these statements.
    pub fn kill_statement_after(&self, beginning: &str, first: &str) {
        let query = format!("SELECT id FROM information_schema.processlist WHERE info LIKE '{beginning}%'");
        let mut id = String::new();
        self.wait_for("the statement", || {
            id = self.sql(&query);
            !id.is_empty()
        });
        self.sql(&format!("{first} KILL CONNECTION {id}"));
    }

    fn wait_for(&self, what: &str, mut there: impl FnMut() -> bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(testkit::wait_until(&format!("{}: {what}", self.prefix), Duration::from_secs(90), || there().then_some(())));
    }
}

/// A script that runs.
pub struct Script {
    name: String,
}

impl Script {
    /// Waits for its end and gives its words.
    pub fn wait(self) -> String {
        Docker.run(["wait", &self.name]);
        let said = Docker.run(["logs", &self.name]);
        Docker.run(["rm", "--force", &self.name]);
        said
    }
}

/// A request to be sent.
pub struct Request {
    method: &'static str,
    path: String,
    headers: String,
    body: Vec<u8>,
}

impl Request {
    /// POST of a body.
    pub fn post(path: &str, body: &[u8]) -> Self {
        Self { method: "POST", path: path.to_owned(), headers: String::new(), body: body.to_vec() }
    }

    /// With a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers += &format!("{name}: {value}\r\n");
        self
    }
}

/// Somebody with cookies.
pub struct Visitor {
    address: SocketAddr,
    tenant: String,
    cookies: Vec<String>,
}

impl Visitor {
    /// GET.
    pub fn get(&mut self, path: &str) -> Answer {
        self.send(&Request { method: "GET", path: path.to_owned(), headers: String::new(), body: Vec::new() })
    }

    /// Any request. HTTP/1.0, so that the answer ends with the connection.
    pub fn send(&mut self, request: &Request) -> Answer {
        let Request { method, path, headers, body } = request;
        let host: String = self.tenant.chars().filter(char::is_ascii_alphanumeric).collect();
        let mut text = format!("{method} {path} HTTP/1.0\r\nHost: {host}.localhost:8080\r\nX-Atoll-Tenant: {}\r\n{headers}", self.tenant);
        text += &format!("Content-Length: {}\r\nCookie: {}\r\n\r\n", body.len(), self.cookies.join("; "));
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(&[text.as_bytes(), body].concat()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let answer = Answer::read(path, &bytes);
        let cookies = answer.headers.iter().filter(|(name, _)| name == "set-cookie");
        self.cookies.extend(cookies.filter_map(|(_, value)| value.split(';').next().map(str::to_owned)));
        answer
    }

    /// Logs in as the administrator.
    pub fn log_in(&mut self) {
        self.cookies.push("wordpress_test_cookie=WP%20Cookie%20check".to_owned());
        let form = format!("log=admin&pwd={PASSWORD}&wp-submit=Log+In&testcookie=1");
        let form = Request::post("/wp-login.php", form.as_bytes()).header("Content-Type", "application/x-www-form-urlencoded");
        self.send(&form).is(302);
    }
}

/// An answer.
pub struct Answer {
    path: String,
    /// Status.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    fn read(path: &str, bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or_else(|| panic!("{path} was not answered: {bytes:?}"));
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap();
        let headers = head.lines().skip(1).filter_map(|line| line.split_once(": ")).map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect();
        Self { path: path.to_owned(), status, headers, body: bytes[end + 4..].to_vec() }
    }

    /// Fails unless the status is this.
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {}", self.path, self.text().chars().take(400).collect::<String>());
        self
    }

    /// Fails unless the status is 200.
    pub fn ok(self) -> Self {
        self.is(200)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().to_owned()
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

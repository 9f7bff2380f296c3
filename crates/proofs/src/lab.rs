//! Machines that are network namespaces on one switch; everything is removed when the lab is dropped.

use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use rand::Rng as _;

use crate::fault::run;

/// The switch and its machines. The switch is a bridge in a namespace of its own: on this machine's side the firewall of a container engine would drop what
/// goes from machine to machine.
#[derive(Debug)]
pub struct Lab {
    name: String,
    switch: String,
    net: [u8; 3],
    machines: Vec<String>,
}

impl Lab {
    /// A switch with this machine at `.1` of a network of its own.
    pub async fn new() -> Result<Self> {
        let mut random = rand::rng();
        // 198.18.0.0/15 is set aside for measurements (RFC 2544); nothing routes it.
        let net = [198, 18 + random.random_range(0..2), random.random()];
        let name = format!("atp{:04x}", random.random::<u16>());
        let lab = Self { switch: format!("{name}-switch"), name, net, machines: Vec::new() };
        run("ip", &["netns", "add", &lab.switch]).await.context("namespaces need root and iproute2")?;
        run("ip", &["-n", &lab.switch, "link", "add", "br0", "type", "bridge"]).await?;
        run("ip", &["-n", &lab.switch, "link", "set", "br0", "up"]).await?;
        lab.plug("p1", &["name", &lab.name]).await?;
        run("ip", &["addr", "add", &format!("{}/24", lab.at(1)), "dev", &lab.name]).await?;
        run("ip", &["link", "set", &lab.name, "up"]).await?;
        Ok(lab)
    }

    /// A cable from a port of the switch to the other end, which is described as `ip link` wants it.
    async fn plug(&self, port: &str, other: &[&str]) -> Result<()> {
        run("ip", &[&["link", "add", port, "netns", &self.switch, "type", "veth", "peer"], other].concat()).await?;
        run("ip", &["-n", &self.switch, "link", "set", port, "master", "br0", "up"]).await.map(drop)
    }

    /// The address with this number.
    pub const fn at(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(self.net[0], self.net[1], self.net[2], number)
    }

    /// Adds a machine with one link, `eth0`, at this address; its name.
    pub async fn machine(&mut self, number: u8) -> Result<String> {
        let name = format!("{}-{number}", self.name);
        run("ip", &["netns", "add", &name]).await?;
        self.machines.push(name.clone());
        self.plug(&format!("p{number}"), &["name", "eth0", "netns", &name]).await?;
        let address = format!("{}/24", self.at(number));
        for line in [vec!["link", "set", "lo", "up"], vec!["addr", "add", &address, "dev", "eth0"], vec!["link", "set", "eth0", "up"]] {
            run("ip", &[&["-n", &name], &line[..]].concat()).await?;
        }
        Ok(name)
    }

    /// Cuts a machine's link or joins it again.
    pub async fn link(&self, machine: &str, up: bool) -> Result<()> {
        let number = machine.rsplit('-').next().unwrap_or_default();
        run("ip", &["-n", &self.switch, "link", "set", &format!("p{number}"), if up { "up" } else { "down" }]).await.map(drop)
    }

    /// Which machine has an address now.
    pub async fn holder(&self, address: Ipv4Addr) -> Result<Vec<String>> {
        let mut holders = Vec::new();
        for machine in &self.machines {
            let shown = run("ip", &["-n", machine, "-o", "-4", "addr", "show", "dev", "eth0"]).await?;
            if shown.contains(&format!(" {address}/")) {
                holders.push(machine.clone());
            }
        }
        Ok(holders)
    }

    /// Starts a program on a machine; its output goes to a file.
    pub fn start(&self, machine: &str, program: &str, arguments: &[&str], log: &std::path::Path) -> Result<Running> {
        ensure!(self.machines.iter().any(|known| known == machine), "there is no machine {machine}");
        let log = fs_err::File::create(log)?.into_parts().0;
        let mut command = Command::new("ip");
        command.args(["netns", "exec", machine, program]).args(arguments);
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        Ok(Running(child.with_context(|| format!("{program} could not be started"))?))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // The cable to this machine goes with the switch's end.
        let remove = self.machines.iter().chain([&self.switch]).map(|name| ["netns", "del", name]);
        for arguments in remove {
            if !Command::new("ip").args(arguments).status().is_ok_and(|status| status.success()) {
                crate::outcome::say(&format!("ip {} failed: remove it by hand", arguments.join(" ")));
            }
        }
    }
}

/// A program; it is killed when this is dropped. `ip netns exec` becomes the program it starts, so the process is the program itself.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// kill -9, and its end.
    pub fn kill(&mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }

    /// Asks it to stop and waits for its end.
    pub async fn stop(mut self) -> Result<()> {
        run("kill", &["-TERM", &self.pid().to_string()]).await?;
        tokio::task::spawn_blocking(move || self.0.wait()).await??;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that ended already is what is wanted.
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

// SPDX-License-Identifier: Apache-2.0
//! The proxies, each on an address of its own, set up as their users would for this machine; and what the kernel says of them.

use std::{
    env,
    ffi::OsStr,
    fs,
    net::{Ipv4Addr, TcpStream},
    path::PathBuf,
    process::{self, Child, Command, Stdio},
    thread::available_parallelism,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use slb_lab::wait;

use crate::{
    binary::SLB,
    load::{BACKEND, HTTP, PORTS},
};

/// nginx by its defaults, which closes both directions as soon as one of them is closed: what was under way in the other one is lost. It is
/// shown, and not compared with: what all others do is more.
pub const CLOSING: &str = "nginx, closing";

/// The way without a proxy.
pub const DIRECT: &str = "direct";

/// One way from the client to the backend.
pub struct Contender {
    pub name: &'static str,
    /// Where clients connect to.
    pub address: Ipv4Addr,
    /// `None` for the way without a proxy.
    proxy: Option<Proxy>,
}

/// A program that runs until this is dropped.
struct Proxy {
    child: Child,
    folder: PathBuf,
}

impl Contender {
    /// The first one is the way without a proxy, the second one slb.
    pub fn all() -> [Self; 6] {
        let cores = available_parallelism().unwrap().get();
        let at = |last| Ipv4Addr::new(127, 0, 0, last);
        let [slb, haproxy, splicing, nginx, closing] = [2, 3, 4, 5, 6].map(at);
        [
            Self { name: DIRECT, address: BACKEND, proxy: None },
            Self::start("slb", slb, &slb_file(slb), |file, folder| {
                let mut slb = Command::new(SLB);
                slb.args(["server", "--dataplane", "user", "--adapter", "lo", "--address", "127.0.0.1"]);
                slb.arg("--config").arg(file).arg("--stateDir").arg(folder);
                slb
            }),
            Self::start("HAProxy", haproxy, &haproxy_file(haproxy, cores, ""), haproxy_command),
            Self::start(
                "HAProxy, splice",
                splicing,
                &haproxy_file(splicing, cores, "option splice-auto"),
                haproxy_command,
            ),
            Self::start("nginx", nginx, &nginx_file(nginx, cores, "proxy_half_close on;"), nginx_command),
            Self::start(CLOSING, closing, &nginx_file(closing, cores, ""), nginx_command),
        ]
    }

    fn start(
        name: &'static str,
        address: Ipv4Addr,
        configuration: &str,
        command: impl FnOnce(&OsStr, &OsStr) -> Command,
    ) -> Self {
        let folder = env::temp_dir().join(format!("slb-versus-{}-{address}", process::id()));
        fs::create_dir(&folder).unwrap();
        let file = folder.join("configuration");
        fs::write(&file, configuration).unwrap();
        let mut command = command(file.as_os_str(), folder.as_os_str());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect(name);
        let proxy = Some(Proxy { child, folder });
        // The other one is listened to before.
        wait::until(name, || TcpStream::connect((address, HTTP)).ok());
        Self { name, address, proxy }
    }

    /// The processor time that the proxy and its children took: `utime` and `stime` of proc(5).
    pub fn processor_time(&self) -> Duration {
        const TICK: Duration = Duration::from_millis(10);
        let ticks = |process: u32| {
            let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
            let (_, fields) = stat.rsplit_once(") ").unwrap();
            fields.split(' ').skip(11).take(2).map(|field| field.parse::<u32>().unwrap()).sum::<u32>()
        };
        let family = self.proxy.as_ref().map(Proxy::family).unwrap_or_default();
        TICK * family.into_iter().map(ticks).sum::<u32>()
    }
}

impl Proxy {
    /// The process and its children.
    fn family(&self) -> Vec<u32> {
        let process = self.child.id();
        let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
        let children = children.split_whitespace().map(|child| child.parse().unwrap());
        [process].into_iter().chain(children).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // SIGKILL would leave nginx's workers.
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.child.wait().unwrap();
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

fn slb_file(address: Ipv4Addr) -> String {
    let of_port = |port| {
        format!(
            "[[loadbalancer]]\nname = \"{port}\"\neip = \"{address}\"\nport = {port}\n\
             [[loadbalancer.backend]]\nip = \"{BACKEND}\"\nport = {port}\n"
        )
    };
    PORTS.map(of_port).concat()
}

fn haproxy_command(file: &OsStr, _folder: &OsStr) -> Command {
    let mut haproxy = Command::new("haproxy");
    // In the foreground.
    haproxy.args(["-db", "-f"]).arg(file);
    haproxy
}

fn haproxy_file(address: Ipv4Addr, cores: usize, more: &str) -> String {
    let of_port = |port| format!("listen port-{port}\n bind {address}:{port}\n server backend {BACKEND}:{port}\n");
    format!(
        "global\n nbthread {cores}\n maxconn 4096\n\
         defaults\n mode tcp\n timeout connect 5s\n timeout client 1m\n timeout server 1m\n {more}\n"
    ) + &PORTS.map(of_port).concat()
}

fn nginx_command(file: &OsStr, folder: &OsStr) -> Command {
    let mut nginx = Command::new("nginx");
    nginx.arg("-p").arg(folder).arg("-c").arg(file).args(["-e", "stderr"]);
    nginx
}

fn nginx_file(address: Ipv4Addr, cores: usize, more: &str) -> String {
    let of_port =
        |port| format!(" server {{ listen {address}:{port} reuseport backlog=4096; proxy_pass {BACKEND}:{port}; }}\n");
    format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\nuser root;\ndaemon off;\npid nginx.pid;\n\
         worker_processes {cores};\nevents {{ worker_connections 4096; }}\nstream {{\n {more}\n{}}}\n",
        PORTS.map(of_port).concat()
    )
}

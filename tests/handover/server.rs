// SPDX-License-Identifier: Apache-2.0
//! A server, and those that go on for it.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::{fs::PermissionsExt, fs::symlink, net::UnixDatagram},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use slb_lab::http;

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

/// The newest server is killed at the end. It is called by a link in its folder, which is replaced for another version.
pub struct Server {
    /// The first one.
    child: Child,
    said: BufReader<ChildStderr>,
    pub folder: PathBuf,
    /// Who serves, or whom the last signal made.
    pub id: u32,
    port: u16,
    /// What systemd hears.
    notified: UnixDatagram,
}

impl Server {
    /// Once it says that it is ready.
    pub fn start(name: &str, range: &str) -> Self {
        let folder = folder(name);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self::command(&folder, range, port, |command| {
            command.args(["-c", r#"exec "$@""#, "sh"]);
        });
        server.hear("] ready");
        server
    }

    /// Once it has been started, by a shell that is told how.
    pub fn command(folder: &Path, range: &str, port: u16, tell: impl FnOnce(&mut Command)) -> Self {
        let link = folder.join("slb");
        let _ = fs::remove_file(&link);
        symlink(SLB, &link).unwrap();
        let socket = folder.join("notify");
        let _ = fs::remove_file(&socket);
        let notified = UnixDatagram::bind(&socket).unwrap();
        let mut command = Command::new("/bin/sh");
        tell(&mut command);
        command.arg(link).args(["server", "--adapter", "lo", "--ipamRange", range, "--address", "127.0.0.1"]);
        command.args(["--port", &port.to_string(), "--stateDir"]).arg(folder).env("NOTIFY_SOCKET", socket);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stderr.take().unwrap());
        let id = child.id();
        Self { child, said, folder: folder.to_owned(), id, port, notified }
    }

    /// What it says until that, or one that goes on for it.
    pub fn hear(&mut self, word: &str) -> String {
        self.hear_all(&[word])
    }

    /// The rest of what both say: neither is there any more.
    pub fn hear_out(&mut self) -> String {
        let mut said = String::new();
        self.said.read_to_string(&mut said).unwrap();
        said
    }

    /// What both say until all of that has been said, in whatever order.
    fn hear_all(&mut self, words: &[&str]) -> String {
        let mut said = String::new();
        while !words.iter().all(|word| said.contains(word)) {
            assert_ne!(self.said.read_line(&mut said).unwrap(), 0, "{said}");
        }
        said
    }

    /// What it tells systemd next.
    pub fn notification(&self) -> String {
        let mut message = [0; 256];
        let length = self.notified.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..length]).trim().to_owned()
    }

    pub fn signal(id: u32, signal: Signal) {
        kill_process(Pid::from_raw(id.try_into().unwrap()).unwrap(), signal).unwrap();
    }

    /// Another program is at its place from now on.
    pub fn install(&self, program: Option<&str>) {
        let new = self.folder.join("new");
        match program {
            Some(script) => {
                fs::write(&new, format!("#!/bin/sh\n{script}\n")).unwrap();
                fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
            }
            None => symlink(SLB, &new).unwrap(),
        }
        fs::rename(new, self.folder.join("slb")).unwrap();
    }

    /// Asks for a successor, which `id` is from then on; it need not be ready. The process that served before.
    pub fn succeed(&mut self) -> u32 {
        self.succeed_and_hear(&[])
    }

    /// A whole upgrade; the process that served before.
    pub fn upgrade(&mut self) -> u32 {
        self.succeed_and_hear(&["took over from the server before"])
    }

    fn succeed_and_hear(&mut self, words: &[&str]) -> u32 {
        let started = "started a successor";
        let before = self.id;
        Self::signal(before, Signal::USR2);
        let said = self.hear_all(&[&[started], words].concat());
        let line = said.lines().find(|line| line.contains(started)).unwrap();
        self.id = line.rsplit_once("process=").unwrap().1.parse().unwrap();
        before
    }

    /// The end of the first one.
    pub fn first_ends(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    pub fn first_is_there(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn api(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    pub fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        ask(self.api(), method, path, body)
    }

    /// A load-balancer with that backend, and where it is.
    pub fn create(&self, protocol: &str, backend: SocketAddr) -> SocketAddr {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        self.create_on(protocol, port, backend)
    }

    /// The same on that port.
    pub fn create_on(&self, protocol: &str, port: u16, backend: SocketAddr) -> SocketAddr {
        let body = format!(
            r#"{{"name":"{protocol}","port":{port},"protocol":"{protocol}","backends":[{{"ip":"{}","port":{}}}]}}"#,
            backend.ip(),
            backend.port()
        );
        let (status, created) = self.ask("POST", "/loadbalancer", &body);
        assert_eq!(status, 201, "{created}");
        SocketAddr::new(created["eip"].as_str().unwrap().parse().unwrap(), port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_raw(self.id.try_into().unwrap()).unwrap(), Signal::KILL);
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

/// Its own folder of a test.
pub fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("handover-{name}"));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

/// The API at that address.
pub fn ask(at: SocketAddr, method: &str, path: &str, body: &str) -> (u16, Value) {
    let response = http::ask_here(at, method, path, &[], body).unwrap();
    (response.status, serde_json::from_str(&response.body).unwrap_or_default())
}

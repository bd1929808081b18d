// SPDX-License-Identifier: Apache-2.0
//! A program that runs on a host.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything that works takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// A program that runs. It is killed when this is dropped; what it said is shown if the test fails.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    said: Arc<Said>,
}

/// What both of its outputs said so far.
#[derive(Debug, Default)]
struct Said {
    heard: Mutex<Heard>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Heard {
    lines: Vec<String>,
    /// How many of its outputs are open.
    open: u8,
}

impl Said {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Process {
    /// Starts a program where the test runs.
    ///
    /// # Panics
    /// There is no such program.
    #[must_use]
    pub fn here(program: &str, args: &[&str]) -> Self {
        Self::start(Command::new(program).args(args))
    }

    /// Starts it.
    ///
    /// # Panics
    /// There is no such program.
    pub(crate) fn start(command: &mut Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect(&name);
        let said = Arc::new(Said::default());
        if let Some(output) = child.stdout.take() {
            listen(output, &said);
        }
        if let Some(output) = child.stderr.take() {
            listen(output, &said);
        }
        Self { name, child, said }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it said so far, by line.
    #[must_use]
    pub fn said(&self) -> Vec<String> {
        self.said.heard().lines.clone()
    }

    /// Waits for a line that `wanted` accepts and returns it; looks at earlier lines too.
    ///
    /// # Panics
    /// There is none for a minute, or it ended without one.
    pub fn line(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        let mut heard = self.said.heard();
        loop {
            if let Some(line) = heard.lines.iter().find(|line| wanted(line)) {
                return line.clone();
            }
            let left = DEADLINE.checked_sub(start.elapsed()).filter(|_| heard.open > 0);
            assert!(left.is_some(), "{} did not say {what}; it said:\n{}", self.name, heard.lines.join("\n"));
            let wait = left.unwrap_or_default();
            heard = self.said.more.wait_timeout(heard, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// It has ended already and was waited for.
    pub fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.child.id().cast_signed()).expect("a process id");
        kill_process(id, signal).expect("a process");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// It does not end within a minute.
    pub fn wait(&mut self) -> ExitStatus {
        crate::wait::until("the end of a process", || self.child.try_wait().expect("a child"))
    }

    /// Whether it has ended.
    ///
    /// # Panics
    /// The kernel does not know it.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child")
    }

    /// Sends SIGKILL and waits for its end.
    pub fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let said = self.said().join("\n");
            drop(writeln!(std::io::stderr(), "---- {} said:\n{said}\n----", self.name));
        }
    }
}

fn listen(output: impl Read + Send + 'static, said: &Arc<Said>) {
    let said = Arc::clone(said);
    said.heard().open += 1;
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            said.heard().lines.push(line);
            said.more.notify_all();
        }
        said.heard().open -= 1;
        said.more.notify_all();
    });
}

// SPDX-License-Identifier: Apache-2.0
//! Follows a kernel from its start to its end, and shows what the job prints as it comes.

use std::{
    env,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};

use super::job::{BEGIN, END};

/// Lines of the console that are shown when a kernel fails.
pub(super) const TAIL: usize = 60;
/// How long one boot with all its tests may take; `SLB_LAB_DEADLINE`, in seconds, changes it.
const DEADLINE: Duration = Duration::from_secs(1800);

/// What became of a kernel.
pub(super) struct Console {
    /// Everything it printed.
    pub(super) lines: Vec<String>,
    /// Why it was not seen to its end.
    pub(super) failure: Option<String>,
}

/// Starts the kernel and stays until it ends, or kills it when its time is up.
pub(super) fn follow(command: &mut Command) -> Console {
    let seconds = env::var("SLB_LAB_DEADLINE").ok().and_then(|text| text.parse().ok());
    let limit = seconds.map_or(DEADLINE, Duration::from_secs);
    let deadline = Instant::now() + limit;
    let mut console = Console { lines: Vec::new(), failure: None };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            console.failure = Some(format!("was not started: {}: {error}", command.get_program().display()));
            return console;
        }
    };
    let lines = lines_of(&mut child);
    let mut shown = false;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Line::OfEmulator(line)) => console.lines.push(line),
            Ok(Line::OfKernel(line)) => {
                shown = (shown || line.ends_with(BEGIN)) && !line.ends_with(END);
                if shown && !line.ends_with(BEGIN) {
                    drop(writeln!(io::stdout(), "{line}"));
                }
                console.lines.push(line);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                kill_group(&child);
                console.failure = Some(format!("was not done after {} s", limit.as_secs()));
                break;
            }
        }
    }
    drop(child.wait());
    console
}

/// A line, and who said it.
enum Line {
    OfKernel(String),
    OfEmulator(String),
}

fn lines_of(child: &mut Child) -> mpsc::Receiver<Line> {
    let (send, lines) = mpsc::channel();
    if let Some(output) = child.stdout.take() {
        pass_on(output, Line::OfKernel, send.clone());
    }
    if let Some(output) = child.stderr.take() {
        pass_on(output, Line::OfEmulator, send);
    }
    lines
}

fn pass_on(output: impl Read + Send + 'static, who: fn(String) -> Line, send: mpsc::Sender<Line>) {
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            if send.send(who(line)).is_err() {
                break;
            }
        }
    });
}

/// A kernel in user space consists of several processes.
fn kill_group(child: &Child) {
    if let Some(group) = Pid::from_raw(child.id().cast_signed()) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

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

/// Runs a kernel, `$@`, which may be several processes, in a group of its own. Kills it when the other end of the standard input is
/// closed: by us, or because we were killed. Whatever is left of the group when the kernel has ended goes too.
const GUARD: &str = r#"
exec 3<&0
setsid "$@" </dev/null 3<&- &
kernel=$!
exec >/dev/null 2>&1
{ read -r _; kill -s KILL $kernel; kill -s KILL -- -$kernel; } <&3 &
wait $kernel
kill -s KILL -- -$kernel
kill $!
"#;

/// Starts the kernel and stays until it ends, or kills it when its time is up.
pub(super) fn follow(kernel: &Command) -> Console {
    let seconds = env::var("SLB_LAB_DEADLINE").ok().and_then(|text| text.parse().ok());
    let limit = seconds.map_or(DEADLINE, Duration::from_secs);
    let deadline = Instant::now() + limit;
    let mut console = Console { lines: Vec::new(), failure: None };
    let mut command = Command::new("sh");
    command.args(["-c", GUARD, "sh"]).arg(kernel.get_program()).args(kernel.get_args()).process_group(0);
    command.envs(kernel.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            console.failure = Some(format!("was not started: sh: {error}"));
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
                console.failure = Some(format!("was not done after {} s", limit.as_secs()));
                break;
            }
        }
    }
    // This closes its standard input first.
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

// SPDX-License-Identifier: Apache-2.0
//! Boots a kernel on top of the machine's own file system and runs this very binary in it as the first process's only job.
//!
//! The kernel sees the machine's files, so every program and the binary itself are there. What it writes to `/run`, `/var/lib` and
//! `/root` is its own. The console carries the output; the exit code comes out through a file. A kernel that does not boot,
//! dies, or takes too long is an error and never a skip.

mod fast;
mod stock;

use std::{
    env, fmt, fs,
    io::{self, BufRead, BufReader, IsTerminal, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

/// How long one boot with all its tests may take; `SLB_LAB_DEADLINE` in seconds changes it.
const DEADLINE: Duration = Duration::from_secs(1800);
/// Lines of the console shown when a kernel fails.
const TAIL: usize = 60;
/// The init script prints these around the output of the tests.
const BEGIN: &str = "slb-lab: begin";
const END: &str = "slb-lab: end";

/// A kernel that tests run on. The names are those that test files use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(non_camel_case_types, reason = "they are written as words in test files")]
pub enum Kernel {
    /// User Mode Linux: boots in seconds; has everything but nf_tables' ip families, and one processor.
    fast,
    /// A stock Debian kernel under emulation: slow, and what users have.
    stock,
}

/// Why the tests were not run to their end.
#[derive(Debug)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Kernel {
    /// Its name in test files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::fast => "fast",
            Self::stock => "stock",
        }
    }

    /// Boots and runs the binary with the arguments it was started with and `mark` set to the kernel's name. Says whether it
    /// succeeded.
    ///
    /// # Errors
    /// The kernel did not boot, died, or took too long.
    pub fn run_this_binary(self, mark: &str) -> Result<bool, Error> {
        let exe = env::current_exe().map_err(|error| Error(format!("this binary cannot be found: {error}")))?;
        let folder = Folder::new(&exe)?;
        fs::write(folder.0.join("init"), self.init(&folder.0, &exe, mark)).map_err(|error| folder.error(&error))?;
        make_executable(&folder.0.join("init")).map_err(|error| folder.error(&error))?;
        let mut command = match self {
            Self::fast => fast::command(&folder.0)?,
            Self::stock => stock::command(&folder.0)?,
        };
        let console = follow(&mut command)?;
        match fs::read_to_string(folder.0.join("result")).map(|code| code.trim().to_owned()) {
            Ok(code) => Ok(code == "0"),
            Err(_) => Err(Error(format!("the {} kernel ended without a result; its console:\n{console}", self.name()))),
        }
    }

    fn init(self, folder: &Path, exe: &Path, mark: &str) -> String {
        let modules = match self {
            Self::fast => fast::MODULES,
            Self::stock => stock::MODULES,
        };
        let here = env::current_dir().unwrap_or_default();
        let plain = (!io::stdout().is_terminal()).then(|| "--color=never".to_owned());
        let words: Vec<String> = env::args().skip(1).chain(plain).map(|word| quote(&word)).collect();
        let variables: String = env::vars()
            .filter(|(name, _)| {
                ["CARGO_", "RUST_", "PROPTEST_", "SLB_LAB_", "PATH"].iter().any(|p| name.starts_with(p))
            })
            .map(|(name, value)| format!("export {name}={}\n", quote(&value)))
            .collect();
        format!(
            "{}\nmodules={modules}\n{}\n{variables}export {mark}={}\ncd {}\necho '{BEGIN}'\n{} {}\necho $? > {}\necho '{END}'\npoweroff -f\n",
            include_str!("init.sh"),
            include_str!("modules.sh"),
            self.name(),
            quote(&here.to_string_lossy()),
            quote(&exe.to_string_lossy()),
            words.join(" "),
            quote(&folder.join("result").to_string_lossy()),
        )
    }
}

/// A folder on the machine that the kernel can see.
struct Folder(PathBuf);

impl Folder {
    fn new(exe: &Path) -> Result<Self, Error> {
        let folder = exe.parent().unwrap_or(Path::new("/tmp")).join(format!("lab-{}", std::process::id()));
        let made = Self(folder);
        drop(fs::remove_dir_all(&made.0));
        fs::create_dir_all(&made.0).map_err(|error| made.error(&error))?;
        Ok(made)
    }

    fn error(&self, error: &io::Error) -> Error {
        Error(format!("{}: {error}", self.0.display()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn make_executable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Runs the kernel to its end, passes on what the tests print, and returns the last lines of the console.
fn follow(command: &mut Command) -> Result<String, Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let started = command.spawn();
    let mut child =
        started.map_err(|error| Error(format!("{program}: {error}; `make setup` installs what tests need")))?;
    let seconds = env::var("SLB_LAB_DEADLINE").ok().and_then(|text| text.parse().ok());
    let deadline = Instant::now() + seconds.map_or(DEADLINE, Duration::from_secs);
    let lines = lines_of(&mut child);
    let mut console = Vec::new();
    let mut shown = false;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) if line.ends_with(BEGIN) => shown = true,
            Ok(line) if line.ends_with(END) => shown = false,
            Ok(line) => {
                if shown {
                    drop(writeln!(io::stdout(), "{line}"));
                }
                console.push(line);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                kill_group(&child);
                drop(child.wait());
                return Err(Error(format!("{program} took too long; its console:\n{}", tail(&console))));
            }
        }
    }
    drop(child.wait());
    Ok(tail(&console))
}

fn lines_of(child: &mut Child) -> mpsc::Receiver<String> {
    let (send, lines) = mpsc::channel();
    if let Some(output) = child.stdout.take() {
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
                if send.send(line).is_err() {
                    break;
                }
            }
        });
    }
    lines
}

fn kill_group(child: &Child) {
    use rustix::process::{Pid, Signal, kill_process_group};
    if let Some(group) = Pid::from_raw(child.id().cast_signed()) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

fn tail(console: &[String]) -> String {
    console[console.len().saturating_sub(TAIL)..].join("\n")
}

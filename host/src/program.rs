// SPDX-License-Identifier: Apache-2.0
//! Runs the few programs that slb cannot do without: modprobe, and iptables where the kernel has no nftables.

use std::{
    env, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter},
    process::{ChildStderr, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::Error;

/// How long a program may take. iptables waits up to 10 s for others that hold its lock.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where programs for administrators are, beside `PATH`, which may lack them.
const SYSTEM_FOLDERS: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin"];
/// As much as is quoted of what a program had to complain of.
const QUOTED: usize = 300;

/// The program of that name, `None` if it is not installed.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(SYSTEM_FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Runs a program on what `input` has and hands over what it writes to its standard output, line by line. It ends with this future.
pub(crate) async fn run(
    program: &Path,
    arguments: &[&str],
    input: impl IntoIterator<Item = String>,
    each_line: impl FnMut(&str),
) -> Result<(), Error> {
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let failed = |source| Error::Run { program: name.clone(), source };
    let mut child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let talk = async {
        // Written and read side by side: a program may answer before it has read everything.
        let (written, read, said) = tokio::join!(write(stdin, input), read(stdout, each_line), complaint(stderr));
        read?;
        match written {
            // One that does not want its input has its reason, which its status tells.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok((child.wait().await?, said?)),
        }
    };
    let (status, said) = match timeout(PATIENCE, talk).await {
        Ok(ended) => ended.map_err(failed)?,
        Err(_) => return Err(Error::Hung { program: name, seconds: PATIENCE.as_secs() }),
    };
    if status.success() { Ok(()) } else { Err(Error::Failed { program: name, status, said }) }
}

/// There may be rules for ten thousand VIPs: no more than a few lines are in memory.
async fn write(stdin: Option<ChildStdin>, input: impl IntoIterator<Item = String>) -> io::Result<()> {
    let Some(stdin) = stdin else { return Ok(()) };
    let mut stdin = BufWriter::new(stdin);
    for text in input {
        stdin.write_all(text.as_bytes()).await?;
    }
    stdin.flush().await
}

/// Not more than a line, either.
async fn read(stdout: Option<ChildStdout>, mut each_line: impl FnMut(&str)) -> io::Result<()> {
    let Some(stdout) = stdout else { return Ok(()) };
    let (mut lines, mut line) = (BufReader::new(stdout), Vec::new());
    while lines.read_until(b'\n', &mut line).await? > 0 {
        each_line(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']));
        line.clear();
    }
    Ok(())
}

/// What it has to complain of, on one line.
async fn complaint(stderr: Option<ChildStderr>) -> io::Result<String> {
    let mut said = Vec::new();
    if let Some(mut stderr) = stderr {
        stderr.read_to_end(&mut said).await?;
    }
    let said = String::from_utf8_lossy(&said);
    let said: Vec<&str> = said.split_whitespace().collect();
    Ok(said.join(" ").chars().take(QUOTED).collect())
}

// SPDX-License-Identifier: Apache-2.0
//! Runs the few programs that slb cannot do without: modprobe, and iptables where the kernel has no nftables.

use std::{
    env, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

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

/// Runs a program on `input` and returns what it writes to its standard output. It ends with this future.
pub(crate) async fn run(program: &Path, arguments: &[&str], input: &str) -> Result<String, Error> {
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
    let mut stdin = child.stdin.take();
    let talk = async {
        // Written and read side by side: a program may answer before it has read everything.
        let (written, output) = tokio::join!(
            async {
                let Some(mut stdin) = stdin.take() else { return Ok(()) };
                stdin.write_all(input.as_bytes()).await
            },
            child.wait_with_output()
        );
        let output = output?;
        match written {
            // One that does not want its input has its reason, which its status tells.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(output),
        }
    };
    let output = match timeout(PATIENCE, talk).await {
        Ok(output) => output.map_err(failed)?,
        Err(_) => return Err(Error::Hung { program: name, seconds: PATIENCE.as_secs() }),
    };
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        let said: Vec<&str> = said.split_whitespace().collect();
        let said: String = said.join(" ").chars().take(QUOTED).collect();
        Err(Error::Failed { program: name, status: output.status, said })
    }
}

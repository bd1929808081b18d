// SPDX-License-Identifier: Apache-2.0
//! Commands.

use std::{env, fs, process};

use tokio::net::unix::pipe;

use super::*;

fn command(words: &[&str]) -> Question {
    Question::Exec(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>().try_into().unwrap())
}

fn shell(script: &str) -> Question {
    command(&["/bin/sh", "-c", script])
}

fn backend() -> SocketAddr {
    "192.0.2.1:80".parse().unwrap()
}

#[tokio::test]
async fn how_it_ends_is_the_answer() {
    assert_eq!(ask(command(&["/bin/true"]), backend()).await, Ok(()));
    contains(ask(command(&["/bin/false"]), backend()).await, "the command ended with exit status: 1");
    let words = ask(shell("echo it is; echo 'broken\u{1b}' >&2; exit 2"), backend()).await;
    contains(words, "the command ended with exit status: 2: it is\\nbroken\\u{1b}");
    contains(ask(shell("kill -9 $$"), backend()).await, "signal: 9");
    contains(ask(command(&["/nowhere"]), backend()).await, "cannot start the command: No such file");
    // More than a pipe holds and more than is kept.
    assert_eq!(ask(shell("head -c 1000000 /dev/zero"), backend()).await, Ok(()));
}

#[tokio::test]
async fn it_is_told_of_the_backend_and_of_nothing_else() {
    let script = r#"[ "$SLB_BACKEND_IP $SLB_BACKEND_PORT $(pwd)" = "192.0.2.1 80 /" ] && ! env | grep -qv '^\(SLB_BACKEND_\|PATH=\|PWD=\|_=\|SHLVL=\)'"#;
    assert_eq!(ask(shell(script), backend()).await, Ok(()));
}

#[tokio::test]
async fn it_is_killed_with_all_it_started_when_its_time_is_over() {
    let fifo = env::temp_dir().join(format!("slb-health-{}", process::id()));
    assert!(process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // Who writes waits for a reader to be there.
    let mut read = pipe::OpenOptions::new().open_receiver(&fifo).unwrap();
    let script = format!("sleep 1000 >{} & wait", fifo.display());
    contains(ask_within(BRIEF * 10, shell(&script), backend()).await, "no answer within 500ms");
    // The pipe ends with the last who could write.
    let end = tokio::io::AsyncReadExt::read(&mut read, &mut [0]).await.unwrap();
    fs::remove_file(&fifo).unwrap();
    assert_eq!(end, 0);
}

#[tokio::test]
async fn it_has_to_be_allowed() {
    let check = Check {
        question: command(&["/bin/true"]),
        timing: Timing::default(),
        address: Address::default(),
        port: None,
        source: None,
    };
    let mut checks = Checks::start(Commands::default()).unwrap();
    let watch = Watch { target: backend(), check: Arc::new(check), through: None, proxy_protocol: None };
    checks.set(LoadBalancerId(Uuid::nil()), BTreeMap::from([(watch, Beginning::New)]));
    assert_eq!(checks.next().await[0].reason.as_deref(), Some("commands are not allowed as checks here"));
}

// SPDX-License-Identifier: Apache-2.0
//! Has what the file says carried out: at the start, after each edit, and when SIGHUP asks for it. What cannot be is reported and tried
//! again: an address may become free, an adapter may come up.

use std::{
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use slb_api::declaration::Declared;
use slb_core::{
    board::Board,
    command::{Answer, Declaration, Failure, Mailbox, Tally},
    declared::{FileProblem, FileReport},
    errors::Chain,
    ports::Unserved,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};
use tracing::{error, info, warn};

use super::{BadFile, File, watch::Watch};
use crate::args::Given;

/// The first wait after what is right in itself could not be carried out; it doubles each time.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// Follows a file.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    /// What is no regular file is not followed: what it said at the start counts.
    unfollowed: Option<File>,
    /// Whether health checks may run commands on this host.
    commands: bool,
    /// Those of the file that count since the start.
    options: Given,
    hangup: Signal,
    report: FileReport,
    /// What the file said when it was last read.
    last: Option<Result<File, BadFile>>,
    /// How long to wait before trying again, if that is worth anything.
    retry: Option<Duration>,
}

/// Why what the file says is not carried out.
enum Refused {
    /// It is wrong in itself, or nothing that this server can do.
    Broken(BadFile),
    /// It may be carried out later.
    ForNow(BadFile),
    /// Nobody is there any more to carry it out.
    Stopping,
}

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Woken {
    /// The file may be another.
    Edited,
    /// To look, whether it is another or not.
    Asked,
    /// Nothing new, but it may go this time.
    ToTryAgain,
}

impl Follower {
    /// Of the file as it was when the server was started.
    ///
    /// # Errors
    /// SIGHUP cannot be received.
    pub fn new(file: &File, commands: bool) -> io::Result<Self> {
        Ok(Self {
            path: file.path.clone(),
            unfollowed: (!file.is_regular).then(|| file.clone()),
            commands,
            options: file.options().unwrap_or_default(),
            hangup: signal(SignalKind::hangup())?,
            report: FileReport { path: file.path.clone(), applied: None, problem: None },
            last: None,
            retry: None,
        })
    }

    /// How the file is doing.
    pub fn report(&self) -> FileReport {
        self.report.clone()
    }

    /// Goes on until the server stops; says when what the file says has been carried out or refused for the first time.
    pub async fn follow(mut self, mailbox: Mailbox, board: Arc<Board>, first: oneshot::Sender<()>) {
        let mut first = Some(first);
        if self.unfollowed.is_some() {
            warn!(file = %self.path.display(), "it is not a regular file: what was read at the start counts until the next start");
        }
        let mut is_due = true;
        loop {
            let (watch, read) = self.read().await;
            if self.last.as_ref() != Some(&read) {
                self.warn_of_options(&read);
                is_due = true;
            }
            let woken = loop {
                if is_due || self.retry.is_some() {
                    let outcome = self.carry_out(&read, &mailbox).await;
                    if self.tell(outcome).is_none() {
                        return;
                    }
                    board.post_file(self.report.clone());
                    drop(first.take());
                }
                match self.wait(watch.as_ref()).await {
                    // What was read, not what somebody may just be writing.
                    Woken::ToTryAgain => {}
                    other @ (Woken::Edited | Woken::Asked) => break other,
                }
            };
            is_due = woken == Woken::Asked;
            self.last = Some(read);
        }
    }

    /// Off the thread that owns the state, which waits for no disk. First the watch, and then the file: an edit in between is seen.
    async fn read(&self) -> (Option<io::Result<Watch>>, Result<File, BadFile>) {
        if let Some(file) = &self.unfollowed {
            return (None, Ok(file.clone()));
        }
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || (Some(Watch::on(&path)), File::read_again(&path)));
        read.await.unwrap_or_else(|ended| (None, Err(BadFile::new(&self.path, &ended.to_string()))))
    }

    /// Options are not followed.
    fn warn_of_options(&self, read: &Result<File, BadFile>) {
        if let Ok(file) = read
            && file.options().is_ok_and(|options| options != self.options)
        {
            warn!(file = %self.path.display(), "options in the file count from the next start on");
        }
    }

    async fn carry_out(&self, read: &Result<File, BadFile>, mailbox: &Mailbox) -> Result<Tally, Refused> {
        let broken = Refused::Broken;
        let file = read.as_ref().map_err(|bad| broken(bad.clone()))?;
        file.options().map_err(broken)?;
        let declared = file.load_balancers(self.commands).map_err(broken)?;
        let (places, all): (Vec<String>, Vec<_>) =
            declared.into_iter().map(|Declared { at, load_balancer }| (at, load_balancer)).unzip();
        match mailbox.ask(Declaration::of_file(all)).await {
            Ok(Answer::Declared(tally, _)) => Ok(tally),
            Ok(_) => Ok(Tally::default()),
            Err(Failure::Stopping) => Err(Refused::Stopping),
            Err(Failure::Declared { index, why }) => {
                let at = index.and_then(|index| places.get(index)).map(String::as_str);
                let bad = file.blame(at, &Chain(&*why).to_string());
                let is_for_good = matches!(*why, Failure::Step { cause, .. } if cause.is::<Unserved>());
                Err(if is_for_good { Refused::Broken(bad) } else { Refused::ForNow(bad) })
            }
            Err(other) => Err(Refused::ForNow(file.blame(None, &Chain(&other).to_string()))),
        }
    }

    /// Tells of it, once. `None` if there is nobody to tell.
    fn tell(&mut self, outcome: Result<Tally, Refused>) -> Option<()> {
        let now = SystemTime::now();
        let bad = match outcome {
            Ok(tally) => {
                if tally != Tally::default() {
                    info!(file = %self.path.display(), "the file is carried out: {tally}");
                } else if self.report.problem.is_some() {
                    info!(file = %self.path.display(), "the file is right again, and nothing is to be changed");
                }
                self.report = FileReport { applied: Some(now), problem: None, ..self.report.clone() };
                self.retry = None;
                return Some(());
            }
            Err(Refused::Stopping) => return None,
            Err(Refused::Broken(bad)) => {
                self.retry = None;
                bad
            }
            Err(Refused::ForNow(bad)) => {
                let next = self.retry.map_or(FIRST_RETRY, |before| before.saturating_mul(2).min(LONGEST_RETRY));
                self.retry = Some(next);
                bad
            }
        };
        let (line, why) = (bad.line(), bad.why());
        if self.report.problem.as_ref().is_none_or(|known| (known.line, &known.why) != (line, &why)) {
            match self.retry {
                Some(_) => error!("{bad}; nothing of the file is carried out for now, it is tried again"),
                None => error!("{bad}; what was there stays until the file is mended"),
            }
            self.report.problem = Some(FileProblem { since: now, line, why });
        }
        Some(())
    }

    /// Until there is something to do.
    async fn wait(&mut self, watch: Option<&io::Result<Watch>>) -> Woken {
        let Self { path, hangup, retry, .. } = self;
        let changed = async {
            let cannot = match watch {
                None => std::future::pending().await,
                Some(Ok(watch)) => watch.changed().await.err(),
                Some(Err(error)) => Some(io::Error::new(error.kind(), error.to_string())),
            };
            if let Some(error) = cannot {
                warn!(file = %path.display(), %error, "edits of the file cannot be seen; SIGHUP has it read");
                std::future::pending().await
            }
        };
        let again = async {
            match *retry {
                Some(time) => tokio::time::sleep(time).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Cancel-safe, all of them: the file is read next, or carried out again, in any case.
            () = changed => Woken::Edited,
            () = again => Woken::ToTryAgain,
            _ = hangup.recv() => {
                info!(file = %path.display(), "asked to read the file");
                Woken::Asked
            }
        }
    }
}

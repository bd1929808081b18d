// SPDX-License-Identifier: Apache-2.0
//! Threads that move bytes, apart from the one that owns the state: each with a runtime and sockets of its own.

use std::{io, num::NonZeroUsize, thread, time::Duration};

use tokio::{
    runtime::{Builder, Handle},
    sync::watch,
    time::interval,
};

use crate::pipe;

/// A runtime in which a timer is set that is due before all others wakes itself up for that. So each has one that always is due soon:
/// connections that are over at once do without.
const SOON: Duration = Duration::from_secs(2);

/// They end, with all connections, when this is dropped.
#[derive(Debug)]
pub struct Workers {
    handles: Vec<Handle>,
    threads: Vec<thread::JoinHandle<()>>,
    /// `None` once they are to end.
    stop: Option<watch::Sender<()>>,
}

impl Workers {
    /// Starts so many, each of which may have so many pipes.
    ///
    /// # Errors
    /// There are no threads or descriptors left.
    pub fn start(many: NonZeroUsize, pipes: usize) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(());
        // From the first one on: those that are there end if the next one cannot be had.
        let mut workers = Self { handles: Vec::new(), threads: Vec::new(), stop: Some(stop) };
        for number in 0..many.get() {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let mut stopped = stopped.clone();
            workers.handles.push(runtime.handle().clone());
            workers.threads.push(thread::Builder::new().name(format!("slb-proxy-{number}")).spawn(move || {
                pipe::allow(pipes);
                runtime.spawn(due_soon());
                // Ends with an error, when there is nobody left who could stop it.
                let _ = runtime.block_on(stopped.changed());
                runtime.shutdown_background();
            })?);
        }
        Ok(workers)
    }

    /// The runtime of each.
    pub fn handles(&self) -> &[Handle] {
        &self.handles
    }
}

async fn due_soon() {
    let mut timer = interval(SOON);
    loop {
        timer.tick().await;
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop = None;
        for thread in self.threads.drain(..) {
            // One that panicked is over, too.
            let _ = thread.join();
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! `slb backend setup`: makes the host that it runs on fit for packets of direct routing and of tunnels, and takes that back.

use std::process::ExitCode;

use slb_core::errors::Chain;
use slb_host::backend::{Error, Kernel, NotWished, Wish};
use tracing::{error, info, warn};

use crate::{USAGE, args::SetupArgs, config::Logging, log, output};

/// Does what the options say. Whatever goes wrong is one line on standard error.
pub fn setup(args: SetupArgs) -> ExitCode {
    log::start(Logging::default());
    let (undo, dry_run) = (args.undo, args.dry_run);
    let wish = match if undo { Ok(Wish::default()) } else { wish(args) } {
        Ok(wish) => wish,
        Err(bad) => {
            error!("{bad}");
            return ExitCode::from(USAGE);
        }
    };
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(make(&wish, dry_run)),
        Err(error) => failed(&error),
    }
}

fn wish(args: SetupArgs) -> Result<Wish, NotWished> {
    let tunnel = args.tunnel.map(|tunnel| tunnel.parse()).transpose()?;
    let over: Vec<_> = args.over.iter().map(|family| family.parse()).collect::<Result<_, _>>()?;
    Wish::new(args.vips, tunnel, over, args.adapters)
}

async fn make(wish: &Wish, dry_run: bool) -> ExitCode {
    let made = if dry_run { plan(wish).await } else { apply(wish).await };
    made.unwrap_or_else(|error| failed(&error))
}

async fn plan(wish: &Wish) -> Result<ExitCode, Error> {
    Ok(output::write(Kernel::open()?.plan(wish).await?))
}

async fn apply(wish: &Wish) -> Result<ExitCode, Error> {
    let done = Kernel::open()?.apply(wish).await?;
    if done.is_unclamped() {
        warn!(
            "there is no iptables, so clients cannot be told how much fits into the tunnel: uploads of those that no ICMP reaches stand still; \
             install it and call this again"
        );
    }
    done.steps().for_each(|step| info!("{step}"));
    info!("{}", if done.is_empty() { "it is so already" } else { "done" });
    Ok(ExitCode::SUCCESS)
}

fn failed(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    error!("{}", Chain(error));
    ExitCode::FAILURE
}

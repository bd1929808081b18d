// SPDX-License-Identifier: Apache-2.0
//! slb turns a Linux box into a load-balancer appliance. This crate is wiring only: [`args`] is what was typed, [`config`]
//! what it means, [`file`](mod@file) the configuration file and its load-balancers, [`preflight`] the checks before anything is changed,
//! [`alone`] that no other slb is at work, [`adapter`] the one of the last run, [`pool`], [`advertiser`], [`dataplane`] and [`host`] what was chosen of several, [`run`] the
//! server, [`signals`] what it is asked for, [`watchdog`] that it is alive, [`handover`] how another one goes on for it, [`cleanup`] its undoing, [`backend`] what is done on the host of a
//! backend, [`log`] how to log,
//! [`output`] what is no log.

mod adapter;
mod advertiser;
mod alone;
mod args;
mod backend;
mod cleanup;
mod config;
mod dataplane;
mod file;
mod handover;
mod host;
mod log;
mod output;
mod pool;
mod preflight;
mod run;
mod signals;
mod watchdog;

use std::process::ExitCode;

use clap::Parser;
use slb_core::errors::Chain;
use tracing::error;

use crate::{
    args::{BackendVerb, CommandLine, Given, ServerArgs, Verb},
    config::{BadOption, Config, Logging},
    file::File,
};

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: slb_ffi::memory::Allocator = slb_ffi::memory::Allocator;

/// What a shell calls wrong usage (sysexits.h `EX_USAGE`).
const USAGE: u8 = 64;

fn main() -> ExitCode {
    match CommandLine::parse().verb {
        Verb::Version => version(),
        Verb::Server(args) => start(config::given(args), |given, file| {
            let given = config::with_vips_of(given, file.as_ref())?;
            Ok(run::server(Config::from_given(given)?.with_file(file)?))
        }),
        Verb::Backend(BackendVerb::Setup(args)) => backend::setup(args),
        Verb::Cleanup(ServerArgs { config, given }) => {
            start(Ok((given, None)), |given, _| Ok(cleanup::all(&config::state_dir_of(given, config.as_deref())?)))
        }
    }
}

fn start(
    given: Result<(Given, Option<File>), BadOption>,
    verb: impl FnOnce(Given, Option<File>) -> Result<Result<(), run::Fatal>, BadOption>,
) -> ExitCode {
    let logging = given.as_ref().map_or_else(|_| Ok(Logging::default()), |(given, _)| Logging::from_given(given));
    log::start(logging.as_ref().copied().unwrap_or_default());
    match logging.and(given).and_then(|(given, file)| verb(given, file)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(fatal)) => {
            error!("{}", Chain(&fatal));
            ExitCode::FAILURE
        }
        Err(bad) => {
            error!("{bad}");
            ExitCode::from(USAGE)
        }
    }
}

fn version() -> ExitCode {
    log::start(Logging::default());
    output::write(format_args!("slb {}\ndata plane here: {}\n", env!("CARGO_PKG_VERSION"), dataplane::here()))
}

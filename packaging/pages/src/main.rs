// SPDX-License-Identifier: Apache-2.0
//! `slb-pages FOLDER` writes slb's man pages and shell completions there. They are made of the same command line as slb
//! itself, and no byte of what makes them is in slb.

#[expect(dead_code, reason = "slb reads what it was given; here only the options count")]
#[path = "../../../src/args.rs"]
mod args;

use std::{env, error::Error, fs, path::PathBuf};

use clap::CommandFactory;
use clap_complete::Shell;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(env::args_os().nth(1).ok_or("say which folder")?);
    fs::create_dir_all(&folder)?;
    let mut command = args::CommandLine::command();
    clap_mangen::generate_to(command.clone().disable_help_subcommand(true), &folder)?;
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        clap_complete::generate_to(shell, &mut command, "slb", &folder)?;
    }
    Ok(())
}

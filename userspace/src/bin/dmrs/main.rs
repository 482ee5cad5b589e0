// SPDX-License-Identifier: GPL-2.0

//! The command-line tool: see `dmrs --help`.

mod cli;
mod commands;
mod failed;
mod output;

use std::{io::Write, process::ExitCode};

use clap::Parser;
use dmrs::{Dm, UdevSync};

use cli::{Cli, Command};
use failed::Failed;
use output::Output;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut out = Output::new(cli.json);
    match run(&cli, &mut out).and_then(|()| Ok(out.flush()?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            // What came before the failure comes before its message.
            let _ = out.flush();
            failed.report(cli.json);
            ExitCode::from(failed.exit_code())
        }
    }
}

fn run(cli: &Cli, out: &mut Output) -> Result<(), Failed> {
    let open = || {
        Dm::open(match cli.no_udev_sync {
            true => UdevSync::Never,
            false => UdevSync::IfRunning,
        })
    };
    match &cli.command {
        Command::Create(args) => commands::create::create(args, open, cli.json),
        Command::Load(args) => commands::create::load(args, open, cli.json),
        Command::Clear(args) => commands::change::clear(&open()?, args),
        Command::Suspend(args) => commands::change::suspend(&open()?, args),
        Command::Resume(args) => commands::change::resume(&open()?, args),
        Command::Rename(args) => commands::change::rename(&open()?, args),
        Command::Remove(args) => commands::change::remove(&open()?, args),
        Command::Message(args) => commands::change::message(args, open, out),
        Command::Powercut(args) => commands::powercut::powercut(&open()?, args, out),
        Command::Wait(args) => commands::change::wait(&open()?, args, out),
        Command::Mknodes(args) => commands::change::make_nodes(&open()?, args, out),
        Command::Table(args) => commands::show::table(&open()?, args, out),
        Command::Status(args) => commands::show::status(&open()?, args, out),
        Command::Info(args) => commands::show::info(&open()?, args, out),
        Command::Targets => commands::show::targets(&open()?, out),
        Command::Version => commands::show::version(&open()?, out),
        Command::Deps(args) => commands::list::dependencies(&open()?, args, out),
        Command::Ls(args) => commands::list::list(&open()?, args, out),
        Command::Check(args) => commands::check::check(args, open, out),
        Command::Swap(args) => commands::swap::swap(&open()?, args, out),
        Command::Diff(args) => commands::diff::diff(open, args, out),
        Command::Stat(args) => commands::stat::stat(&open()?, args, out),
        Command::Completions { shell } => commands::generate::completions(*shell, out),
        Command::Manual { directory } => commands::generate::manual(directory),
    }
}

// SPDX-License-Identifier: GPL-2.0

//! What is made from the definition of the command line: completions, and manual pages.

use std::{fs, path::Path};

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::{cli::Cli, failed::Failed, output::Output};

const SECTION: &str = "8";

pub fn completions(shell: Shell, out: &mut Output) -> Result<(), Failed> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "dmrs", &mut text);
    std::io::Write::write_all(out, &text)?;
    Ok(())
}

/// `dmrs.8`, and a page for each command.
pub fn manual(directory: &Path) -> Result<(), Failed> {
    let failed = |source| Failed::Write {
        path: directory.display().to_string(),
        source,
    };
    fs::create_dir_all(directory).map_err(failed)?;
    let mut command = Cli::command();
    command.build();
    let commands = command
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(|command| (format!("dmrs-{}", command.get_name()), command.clone()));
    let pages = commands.chain([("dmrs".to_owned(), command.clone())]);
    for (name, command) in pages {
        let mut text = Vec::new();
        let man = Man::new(command)
            .section(SECTION)
            .manual("System administration");
        man.render(&mut text).map_err(failed)?;
        let path = directory.join(format!("{name}.{SECTION}"));
        fs::write(path, text).map_err(failed)?;
    }
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0

//! `powercut`.

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    process::Command,
    thread,
    time::Duration,
};

use dmrs::{DeviceId, Dm, Slot, Target};
use serde_json::json;

use crate::{cli::Powercut, failed::Failed, output::Output};

const TARGET: &str = "rust-powercut";

/// The lines of a table that have the target.
struct Disk<'a> {
    dm: &'a Dm,
    id: DeviceId,
    lines: Vec<Target>,
}

impl Disk<'_> {
    /// Sends a message to each of the targets.
    fn tell(&self, message: &str) -> Result<(), Failed> {
        for line in &self.lines {
            self.dm.message(&self.id, line.start, message)?;
        }
        Ok(())
    }

    /// Whether the power of all of them is off.
    fn is_off(&self) -> Result<bool, Failed> {
        let (_, status) = self.dm.status(&self.id, Slot::Live, true)?;
        let mut ours = status.targets.iter().filter(|line| line.name == TARGET);
        Ok(ours.all(|line| line.args.starts_with("off")))
    }

    fn cut(&self, after: Option<u64>) -> Result<(), Failed> {
        let Some(after) = after else {
            return self.tell("powercut");
        };
        self.tell(&format!("powercut after {after}"))?;
        while !self.is_off()? {
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// The seed that the table gives the first of them.
    fn seed(&self) -> u64 {
        let args = self.lines.first().map_or("", |line| line.args.as_str());
        let mut words = args.split_whitespace().skip_while(|word| *word != "seed");
        words.nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
    }
}

pub fn powercut(dm: &Dm, args: &Powercut, out: &mut Output) -> Result<(), Failed> {
    let id = dm.find(&args.device)?;
    let (info, table) = dm.table(&id, Slot::Live)?;
    let name = info.shown_name();
    let lines: Vec<_> = table
        .targets
        .into_iter()
        .filter(|line| line.name == TARGET)
        .collect();
    if lines.is_empty() {
        return Err(Failed::NoPowercut(name));
    }
    let disk = Disk { dm, id, lines };
    let mut path = PathBuf::from("/dev/mapper").join(&name);
    if !path.exists() {
        path = PathBuf::from(format!("/dev/dm-{}", info.device.minor));
    }
    let progress = std::io::stderr().is_terminal() && args.times > 1;
    for cut in 1..=args.times {
        disk.cut(args.after)?;
        if args.leave_off {
            break;
        }
        disk.tell("restore")?;
        if let Some(command) = &args.check {
            let status = Command::new("/bin/sh")
                .args(["-c", command])
                .env("DEVICE", &path)
                .status()
                .map_err(|source| Failed::Run {
                    command: command.clone(),
                    source,
                })?;
            if !status.success() {
                let (of, seed) = (args.times, disk.seed());
                return Err(Failed::Check {
                    status,
                    cut,
                    of,
                    seed,
                });
            }
        }
        if progress {
            anstream::eprint!("\r{name}: cut {cut} of {}", args.times);
        }
    }
    if progress {
        anstream::eprintln!();
    }
    let (_, status) = dm.status(&disk.id, Slot::Live, true)?;
    let mut all = status.targets.iter().filter(|line| line.name == TARGET);
    let said = all.next().map_or("", |line| line.args.as_str());
    match out.json {
        true => out.document(&json!({
            "name": name, "cuts": args.times, "seed": disk.seed(), "status": said,
        }))?,
        false => writeln!(out, "{name}: {said}")?,
    }
    Ok(())
}

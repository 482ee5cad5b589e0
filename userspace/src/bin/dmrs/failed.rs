// SPDX-License-Identifier: GPL-2.0

//! Why a command failed, for people and for scripts.

use std::io;

use anstyle::{AnsiColor, Style};
use dmrs::{name::NameError, Error};
use nix::errno::Errno;
use serde_json::{json, Value};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    #[error(transparent)]
    Dm(#[from] Error),
    #[error("cannot write the output: {0}\n  see where standard output goes")]
    Output(#[from] io::Error),
    #[error("cannot read {path}: {source}\n  see that it is a block device that works")]
    Read { path: String, source: io::Error },
    #[error("cannot write into {path}: {source}")]
    Write { path: String, source: io::Error },
    /// What is wrong with a table has been shown, or is to be told in JSON; nothing was changed.
    #[error("{message}")]
    Table {
        message: String,
        findings: Vec<Value>,
    },
    /// The devices that were compared differ, as has been shown.
    #[error("the devices differ")]
    Differ,
    #[error("{0} has no target rust-powercut\n  'dmrs table' shows what it has")]
    NoPowercut(String),
    #[error("cannot run '{command}': {source}\n  see that there is a shell, /bin/sh")]
    Run { command: String, source: io::Error },
    #[error("the check failed ({status}) after cut {cut} of {of}, with seed {seed}")]
    Check {
        status: std::process::ExitStatus,
        cut: u64,
        of: u64,
        seed: u64,
    },
    #[error("interrupted")]
    Interrupted,
}

impl From<NameError> for Failed {
    fn from(error: NameError) -> Failed {
        Failed::Dm(error.into())
    }
}

impl Failed {
    /// See the end of `dmrs --help`.
    pub fn exit_code(&self) -> u8 {
        match self {
            // Whoever read the output has seen enough.
            Failed::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Failed::Dm(Error::NoSuchDevice(_)) => 3,
            Failed::Dm(Error::NotRoot) => 4,
            Failed::Dm(Error::Refused(refusal)) if refusal.errno == Errno::EBUSY => 5,
            Failed::Dm(Error::Refused(refusal)) if refusal.errno == Errno::ENXIO => 3,
            Failed::Table { .. } | Failed::Dm(Error::Table { .. }) => 6,
            Failed::Differ => 7,
            _ => 1,
        }
    }

    /// Tells it on standard error.
    pub fn report(&self, json: bool) {
        // That they differ is the result, not an error.
        if self.exit_code() == 0 || matches!(self, Failed::Differ) {
            return;
        }
        let text = self.to_string();
        if json {
            anstream::eprintln!("{}", self.as_json(&text));
            return;
        }
        let bold = AnsiColor::Red.on_default().bold();
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        anstream::eprintln!("{bold}dmrs{bold:#}: {first}");
        for line in lines {
            let dim = Style::new().dimmed();
            anstream::eprintln!("{dim}{line}{dim:#}");
        }
    }

    fn as_json(&self, text: &str) -> Value {
        let mut lines = text.lines().map(str::trim);
        let mut error = json!({
            "error": lines.next().unwrap_or_default(),
            "details": lines.collect::<Vec<_>>(),
            "exit_code": self.exit_code(),
        });
        if let Failed::Dm(Error::Refused(refusal)) = self {
            error["errno"] = json!(format!("{:?}", refusal.errno));
            error["kernel"] = json!(refusal.reasons);
            error["device"] = json!(refusal.device);
        }
        if let Failed::Check { cut, seed, .. } = self {
            error["cut"] = json!(cut);
            error["seed"] = json!(seed);
        }
        if let Failed::Table { findings, .. } = self {
            error["findings"] = json!(findings);
        }
        error
    }
}

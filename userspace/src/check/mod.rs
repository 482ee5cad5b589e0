// SPDX-License-Identifier: GPL-2.0

//! Tables are checked before the kernel sees them.
//!
//! What is found as [`Severity::Error`] is what the kernel would refuse, most of it with `EINVAL`
//! and the reason in its log only. What it would take, and a person would hardly mean, is a
//! [`Severity::Warning`].

mod arguments;
mod grammar;
mod live;
mod powercut;

use std::{cmp::Ordering, ops::Range};

use devicemapper::Device;

use crate::table::{Line, Source, TableError};

pub use live::LiveSystem;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The kernel would take it.
    Warning,
    /// The kernel would refuse it.
    Error,
}

/// Something that is wrong with a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Its line, from 1.
    pub line: usize,
    /// The bytes of the text that are at fault; empty if something is missing there.
    pub span: Range<usize>,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What is wrong with the very word, in a few.
    pub label: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// What is known of a device that a table names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceFacts {
    /// Its number.
    pub device: Option<Device>,
    /// Its size in sectors of 512 bytes.
    pub sectors: Option<u64>,
    /// The smallest unit that it can be read or written in, in bytes.
    pub logical_block_size: Option<u32>,
    /// Whether it can only be read.
    pub read_only: bool,
    /// Who has it for himself, so that a table cannot have it.
    pub holder: Option<String>,
}

/// What is behind a word that should be a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// A block device.
    Found(DeviceFacts),
    /// Something else.
    NoDevice,
    /// Nothing; but there is something with a name like it.
    Missing(Option<String>),
    /// That cannot be told.
    Unknown,
}

/// Where a target is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// The kernel has it, or loads the module that does by itself.
    Usable,
    /// The kernel has no such target, and knows of no module.
    Unknown,
    /// That cannot be told.
    Untold,
}

/// What a check asks of the machine.
pub trait System {
    /// What is behind the word `text` of a table.
    fn device(&self, text: &str) -> Lookup;
    /// Where a target is.
    fn target(&self, name: &str) -> TargetState;
    /// The names of targets to choose from.
    fn target_names(&self) -> Vec<String>;
}

/// What a table is for.
#[derive(Clone, Debug, Default)]
pub struct Purpose {
    /// The device that is to have it, if that exists.
    pub device: Option<Device>,
    /// Whether it is loaded so that it can only be read.
    pub read_only: bool,
}

/// Checks the text of a table. The findings are in the order of the text.
pub fn check(text: &str, system: &dyn System, purpose: &Purpose) -> Vec<Finding> {
    let source = Source::parse(text);
    let mut findings: Vec<_> = source.errors.iter().map(unreadable).collect();
    findings.extend(order(&source.lines));
    for line in &source.lines {
        match target(line, system) {
            Some(finding) => findings.push(finding),
            None => findings.extend(arguments::check(text, line, system, purpose)),
        }
    }
    findings.sort_by_key(|finding| (finding.span.start, finding.span.end));
    findings
}

impl Finding {
    fn error(line: &Line, span: &Range<usize>, message: impl Into<String>) -> Finding {
        Finding {
            severity: Severity::Error,
            line: line.number,
            span: span.clone(),
            message: message.into(),
            label: String::new(),
            help: None,
        }
    }

    fn warning(line: &Line, span: &Range<usize>, message: impl Into<String>) -> Finding {
        Finding {
            severity: Severity::Warning,
            ..Finding::error(line, span, message)
        }
    }

    fn label(self, label: impl Into<String>) -> Finding {
        Finding {
            label: label.into(),
            ..self
        }
    }

    fn help(self, help: impl Into<String>) -> Finding {
        Finding {
            help: Some(help.into()),
            ..self
        }
    }
}

fn unreadable(error: &TableError) -> Finding {
    let message = error.problem.to_string();
    let (message, help) = match message.split_once(": ") {
        Some((message, help)) => (message.to_owned(), Some(help.to_owned())),
        None => (message, None),
    };
    Finding {
        severity: Severity::Error,
        line: error.line,
        span: error.offset + error.span.start..error.offset + error.span.end,
        message,
        label: String::new(),
        help,
    }
}

/// Each line has to begin where the one before ends, and the first at 0.
fn order(lines: &[Line]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut expected = 0;
    for (index, line) in lines.iter().enumerate() {
        let (earlier, later) = (&lines[..index], &lines[index + 1..]);
        findings.extend(match line.target.start.cmp(&expected) {
            Ordering::Equal => None,
            Ordering::Greater => Some(gap(line, later, expected)),
            Ordering::Less => overlap(line, earlier, expected),
        });
        expected = expected.max(line.target.start + line.target.length);
    }
    findings
}

fn gap(line: &Line, later: &[Line], expected: u64) -> Finding {
    let last = line.target.start - 1;
    let finding = |message: String| Finding::error(line, &line.start, message);
    match later.iter().find(|later| later.target.start == expected) {
        Some(later) => finding("the lines are not in order".to_owned())
            .label(format!("line {} comes before this one", later.number))
            .help("put the lines in the order of their first sectors"),
        None => finding(format!("no target serves the sectors {expected} to {last}"))
            .label(format!("should be {expected}"))
            .help("begin each line where the one before ends, and the first at 0"),
    }
}

/// `None` if the line overlaps no other: then another has been said to be out of order.
fn overlap(line: &Line, earlier: &[Line], expected: u64) -> Option<Finding> {
    let start = line.target.start;
    let end = start + line.target.length;
    let other = earlier.iter().find(|earlier| {
        let target = &earlier.target;
        start < target.start + target.length && target.start < end
    })?;
    let first = start.max(other.target.start);
    let last = (other.target.start + other.target.length).min(end) - 1;
    let message = format!(
        "the sectors {first} to {last} are served by line {} already",
        other.number
    );
    Some(
        Finding::error(line, &line.start, message)
            .label(format!("should be {expected}"))
            .help("let each sector be served by one line only"),
    )
}

fn target(line: &Line, system: &dyn System) -> Option<Finding> {
    let name = line.target.name.as_str();
    if system.target(name) != TargetState::Unknown {
        return None;
    }
    let finding = Finding::error(line, &line.name, format!("there is no target '{name}'"))
        .label("the kernel has none, and loads no module that does");
    if let Some(module) = grammar::module_of(name) {
        return Some(finding.help(format!(
            "the module {module} brings it, and cannot be loaded: is it installed for this kernel?"
        )));
    }
    Some(match nearest(name, &system.target_names()) {
        Some(near) => finding.help(format!("there is '{near}': is that the one?")),
        None => finding.help("'dmrs targets' lists those that the kernel has at present"),
    })
}

/// The name most like `text`, if one is at all.
fn nearest(text: &str, names: &[String]) -> Option<String> {
    names
        .iter()
        .map(|name| (strsim::damerau_levenshtein(text, name), name))
        .filter(|(distance, name)| *distance > 0 && *distance * 3 <= name.len().max(text.len()))
        .min()
        .map(|(_, name)| name.clone())
}

#[cfg(test)]
mod tests;

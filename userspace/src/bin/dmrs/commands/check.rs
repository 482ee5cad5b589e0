// SPDX-License-Identifier: GPL-2.0

//! `check`, and what it finds, drawn as a compiler does.

use std::io::Write;

use annotate_snippets::{renderer::DecorStyle, AnnotationKind, Level, Renderer, Snippet};
use dmrs::{
    check::{Finding, LiveSystem, Purpose, Severity},
    concise::ConciseError,
    Dm, Error, Slot, Source,
};
use serde_json::{json, Value};

use super::create::Text;
use crate::{
    cli::Check,
    failed::Failed,
    output::{Output, NEW},
};

pub fn check(
    args: &Check,
    open: impl FnOnce() -> Result<Dm, Error>,
    out: &mut Output,
) -> Result<(), Failed> {
    let text = Text::read(&args.table, args.file.as_deref())?;
    // Without root, the targets that the kernel has are not known, and all else can be checked.
    let dm = match &args.device {
        Some(_) => Some(open()?),
        None => open().ok(),
    };
    let device = match (&dm, &args.device) {
        (Some(dm), Some(device)) => Some(dm.info(&dm.find(device)?, Slot::Live)?.device),
        _ => None,
    };
    let purpose = Purpose {
        device,
        read_only: args.read_only,
    };
    let findings = dmrs::check::check(&text.text, &LiveSystem::new(dm.as_ref()), &purpose);
    let errors = count(&findings);
    if out.json {
        out.document(&json!({
            "errors": errors,
            "warnings": findings.len() - errors,
            "findings": as_json(&text, &findings),
        }))?;
    } else {
        write!(out, "{}", drawn(&text, &findings))?;
        if findings.is_empty() {
            let lines = Source::parse(&text.text).lines.len();
            writeln!(
                out,
                "{NEW}{}: {lines} line(s), in order{NEW:#}",
                text.origin
            )?;
        }
    }
    match errors {
        0 => Ok(()),
        // In JSON, what was found is told already.
        _ => Err(Failed::Table {
            message: said(&text, errors),
            findings: Vec::new(),
        }),
    }
}

/// Shows what is wrong with a table on standard error, and ends the command if the kernel would
/// refuse it.
pub fn refuse(text: &Text, findings: &[Finding], json: bool) -> Result<(), Failed> {
    let errors = count(findings);
    if !json {
        anstream::eprint!("{}", drawn(text, findings));
    }
    if errors == 0 {
        return Ok(());
    }
    Err(Failed::Table {
        message: format!(
            "{}; nothing was loaded\n  correct it, or let the kernel alone judge it with --nocheck",
            said(text, errors)
        ),
        findings: as_json(text, findings),
    })
}

/// Shows what is wrong with devices in the concise form.
pub fn concise_error(text: &Text, error: &ConciseError, json: bool) -> Failed {
    let message = error.problem.to_string();
    let (message, help) = match message.split_once(": ") {
        Some((message, help)) => (message.to_owned(), Some(help.to_owned())),
        None => (message, None),
    };
    let line = text.text[..error.span.start].matches('\n').count() + 1;
    let findings = [Finding {
        severity: Severity::Error,
        line,
        span: error.span.clone(),
        message,
        label: String::new(),
        help,
    }];
    match refuse(text, &findings, json) {
        Err(failed) => failed,
        Ok(()) => unreachable!("it is an error"),
    }
}

fn said(text: &Text, errors: usize) -> String {
    let s = if errors == 1 { "" } else { "s" };
    format!("{errors} error{s} in {}", text.origin)
}

fn count(findings: &[Finding]) -> usize {
    let errors = findings.iter().filter(|f| f.severity == Severity::Error);
    errors.count()
}

fn drawn(text: &Text, findings: &[Finding]) -> String {
    let shown = text.without_keys();
    let renderer = Renderer::styled().decor_style(DecorStyle::Ascii);
    let mut out = String::new();
    for finding in findings {
        let level = match finding.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let annotation = AnnotationKind::Primary
            .span(finding.span.clone())
            .label(finding.label.as_str());
        let mut group = level.primary_title(finding.message.as_str()).element(
            Snippet::source(shown.as_str())
                .path(text.origin.as_str())
                .annotation(annotation),
        );
        if let Some(help) = &finding.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        out.push_str(&renderer.render(&[group]));
        out.push_str("\n\n");
    }
    out
}

fn as_json(text: &Text, findings: &[Finding]) -> Vec<Value> {
    let column = |at: usize| {
        let before = &text.text[..at];
        before[before.rfind('\n').map_or(0, |n| n + 1)..]
            .chars()
            .count()
            + 1
    };
    let one = |finding: &Finding| {
        json!({
            "severity": match finding.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
            "file": text.origin,
            "line": finding.line,
            "column": column(finding.span.start),
            "end_column": column(finding.span.end),
            "message": finding.message,
            "label": finding.label,
            "help": finding.help,
        })
    };
    findings.iter().map(one).collect()
}

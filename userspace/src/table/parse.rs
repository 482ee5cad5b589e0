// SPDX-License-Identifier: GPL-2.0

//! The text of a table.

use std::{fmt, ops::Range};

use thiserror::Error;
use zeroize::Zeroizing;

use super::{Target, MAX_TARGET_NAME};

/// What is wrong with a table, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableError {
    /// The line, counted from 1.
    pub line: usize,
    /// The bytes of that line that are at fault; empty if something is missing there.
    pub span: Range<usize>,
    /// Where the line begins in the text, in bytes.
    pub offset: usize,
    /// What is wrong with them.
    pub problem: Problem,
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problem {
            Problem::NoTargets => self.problem.fmt(f),
            _ => write!(f, "line {}: {}", self.line, self.problem),
        }
    }
}

impl std::error::Error for TableError {}

/// What can be wrong with the text of a table.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Problem {
    /// The text has no line with a target.
    #[error("the table is empty: give it one line 'START LENGTH TARGET ARGUMENTS' per target")]
    NoTargets,
    /// The line ends too early.
    #[error("the {0} is missing: a line is 'START LENGTH TARGET ARGUMENTS'")]
    Missing(Field),
    /// The start or the length is no number.
    #[error("the {0} '{1}' must be a whole number of 512-byte sectors, in decimal")]
    NotANumber(Field, String),
    /// The start or the length has more than 64 bits.
    #[error("the {0} '{1}' is more sectors than a device can have: make it smaller")]
    TooLarge(Field, String),
    /// The length is zero.
    #[error("the length is 0: give the number of 512-byte sectors, or remove the line")]
    NoLength,
    /// The range ends beyond the last sector that a number can name.
    #[error("the range ends beyond sector 2^64 - 1: make its start or its length smaller")]
    EndsTooLate,
    /// The kernel has no room for such a target name.
    #[error(
        "'{0}' is no target: a target's name has {MAX_TARGET_NAME} bytes at most \
         ('dmrs targets' lists those that the kernel has)"
    )]
    TargetTooLong(String),
    /// A NUL byte, at which the kernel would take the arguments to end.
    #[error("there is a NUL byte in the line: give the table as plain text")]
    Nul,
}

/// A part of a line of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The first sector.
    Start,
    /// The number of sectors.
    Length,
    /// The name of the target.
    Target,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Field::Start => "start",
            Field::Length => "length",
            Field::Target => "target",
        })
    }
}

type LineError = (Range<usize>, Problem);

/// The text of a table, taken apart: what its lines say, and what is wrong with the others.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The lines that have a target.
    pub lines: Vec<Line>,
    /// The lines that are no lines of a table, or that there is none at all.
    pub errors: Vec<TableError>,
}

/// A line of a table, and where its words are: in bytes from the beginning of the text.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it says.
    pub target: Target,
    /// Its number, from 1.
    pub number: usize,
    /// Where the first sector is.
    pub start: Range<usize>,
    /// Where the length is.
    pub length: Range<usize>,
    /// Where the name of the target is.
    pub name: Range<usize>,
    /// Where all of the arguments are.
    pub all_args: Range<usize>,
    /// Where each of them is, as the kernel takes them apart.
    pub args: Vec<Range<usize>>,
}

impl Source {
    /// Reads all lines of a text.
    pub fn parse(text: &str) -> Source {
        let mut source = Source::default();
        let mut offset = 0;
        let mut number = 0;
        for whole in text.split_inclusive('\n') {
            number += 1;
            let line = whole.strip_suffix('\n').unwrap_or(whole);
            let line = line.strip_suffix('\r').unwrap_or(line);
            match parse_line(line, number, offset) {
                Ok(line) => source.lines.extend(line),
                Err((span, problem)) => source.errors.push(TableError {
                    line: number,
                    span,
                    offset,
                    problem,
                }),
            }
            offset += whole.len();
        }
        if source.lines.is_empty() && source.errors.is_empty() {
            source.errors.push(TableError {
                line: number.max(1),
                span: 0..0,
                offset: text.len(),
                problem: Problem::NoTargets,
            });
        }
        source
    }
}

impl Source {
    /// The text with zeros in the place of keys, byte by byte, so that it can be shown: every
    /// span still fits. In lines that could not be read, all that might be a key is hidden.
    pub fn without_keys(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        let broken = |range: Range<usize>| {
            let errors = self.errors.iter().map(|error| error.offset);
            errors.into_iter().any(|offset| range.contains(&offset))
        };
        for line in text.split_inclusive('\n') {
            let range = at..at + line.len();
            at = range.end;
            let known = self.lines.iter().find(|l| range.contains(&l.start.start));
            match known {
                Some(known) => {
                    let args = &known.all_args;
                    out.push_str(&text[range.start..args.start]);
                    out.push_str(&known.target.args_without_keys());
                    out.push_str(&text[args.end..range.end]);
                }
                None if broken(range) => out.push_str(&hide_long_words(line)),
                None => out.push_str(line),
            }
        }
        out
    }
}

/// Hides words as long as a key that have nothing of a path in them.
fn hide_long_words(line: &str) -> String {
    const SHORTEST_KEY: usize = 16;
    line.split_inclusive(char::is_whitespace)
        .map(
            |word| match word.len() > SHORTEST_KEY && !word.contains('/') {
                true => {
                    let text = word.trim_end();
                    format!("{}{}", "0".repeat(text.len()), &word[text.len()..])
                }
                false => word.to_owned(),
            },
        )
        .collect()
}

/// Reads one line, which begins at `offset`; `None` if it is blank or a comment.
fn parse_line(line: &str, number: usize, offset: usize) -> Result<Option<Line>, LineError> {
    if let Some(at) = line.find('\0') {
        return Err((at..at + 1, Problem::Nul));
    }
    let mut rest = Words { line, at: 0 };
    if matches!(rest.peek(), None | Some('#')) {
        return Ok(None);
    }
    let (start, start_span) = rest.number(Field::Start)?;
    let (length, length_span) = rest.number(Field::Length)?;
    if length == 0 {
        return Err((length_span, Problem::NoLength));
    }
    if start.checked_add(length).is_none() {
        return Err((length_span, Problem::EndsTooLate));
    }
    let name_span = rest.word(Field::Target)?;
    let name = &line[name_span.clone()];
    if name.len() > MAX_TARGET_NAME {
        return Err((name_span, Problem::TargetTooLong(name.to_owned())));
    }
    let begin = rest.at;
    let args = line[begin..].split('#').next().unwrap_or_default();
    let trimmed = begin + args.len() - args.trim_start().len();
    let absolute = |span: Range<usize>| offset + span.start..offset + span.end;
    Ok(Some(Line {
        target: Target {
            start,
            length,
            name: name.to_owned(),
            args: Zeroizing::new(args.trim().to_owned()),
        },
        number,
        start: absolute(start_span),
        length: absolute(length_span),
        name: absolute(name_span),
        all_args: absolute(trimmed..trimmed + args.trim().len()),
        args: words(args)
            .into_iter()
            .map(|span| absolute(begin + span.start..begin + span.end))
            .collect(),
    }))
}

/// The words of a text as the kernel's `dm_split_args` finds them: a backslash makes white space,
/// and itself, a part of the word.
fn words(text: &str) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut begin = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if c.is_ascii_whitespace() {
            words.extend(begin.take().map(|begin| begin..at));
        } else {
            begin.get_or_insert(at);
            escaped = c == '\\';
        }
    }
    words.extend(begin.map(|begin| begin..text.len()));
    words
}

struct Words<'a> {
    line: &'a str,
    at: usize,
}

impl Words<'_> {
    fn peek(&mut self) -> Option<char> {
        let rest = &self.line[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.line[self.at..].chars().next()
    }

    fn word(&mut self, field: Field) -> Result<Range<usize>, LineError> {
        if matches!(self.peek(), None | Some('#')) {
            return Err((self.at..self.at, Problem::Missing(field)));
        }
        let rest = &self.line[self.at..];
        let begin = self.at;
        self.at += rest.find(char::is_whitespace).unwrap_or(rest.len());
        Ok(begin..self.at)
    }

    fn number(&mut self, field: Field) -> Result<(u64, Range<usize>), LineError> {
        let span = self.word(field)?;
        let word = &self.line[span.clone()];
        if !word.bytes().all(|b| b.is_ascii_digit()) {
            return Err((span, Problem::NotANumber(field, word.to_owned())));
        }
        match word.parse() {
            Ok(number) => Ok((number, span)),
            Err(_) => Err((span, Problem::TooLarge(field, word.to_owned()))),
        }
    }
}

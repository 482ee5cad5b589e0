// SPDX-License-Identifier: GPL-2.0

//! Tables: what a device consists of, target by target.
//!
//! The text form has one target per line: `START LENGTH TARGET ARGUMENTS…`, with start and
//! length in sectors of 512 bytes. Blank lines and lines that begin with `#` are skipped, and
//! a `#` among the arguments begins a comment.

use std::{fmt, ops::Range};

use thiserror::Error;
use zeroize::Zeroizing;

/// The longest name of a target, in bytes.
pub const MAX_TARGET_NAME: usize = devicemapper_sys::DM_MAX_TYPE_NAME as usize - 1;

/// One line of a table: a range of sectors, and what serves it.
///
/// The arguments may hold a key: they are wiped from memory when dropped, and
/// [`fmt::Debug`] and [`fmt::Display`] put zeros in the place of keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// The first sector of the device that this target serves (512 bytes each).
    pub start: u64,
    /// How many sectors it serves (512 bytes each).
    pub length: u64,
    /// The name of the target, such as `linear`.
    pub name: String,
    /// Its arguments, as the target itself splits them; empty if it has none.
    pub args: Zeroizing<String>,
}

impl Target {
    /// The arguments with a zero in the place of each character of a key, as `dmsetup` hides
    /// them. Names of keys in the kernel's keyring are not hidden: they are no secret.
    pub fn args_without_keys(&self) -> Zeroizing<String> {
        // A target of this project takes the arguments of the in-tree one that it stands for.
        match self.name.strip_prefix("rust-").unwrap_or(&self.name) {
            "crypt" => hide_second_word(&self.args),
            "integrity" => ["internal_hash:", "journal_crypt:", "journal_mac:"]
                .iter()
                .fold(self.args.clone(), |args, option| hide_after(&args, option)),
            _ => self.args.clone(),
        }
    }

    /// The line that the kernel would be given, keys included.
    pub fn line_with_keys(&self) -> Zeroizing<String> {
        self.line(&self.args)
    }

    fn line(&self, args: &str) -> Zeroizing<String> {
        Zeroizing::new(format!(
            "{} {} {} {args}",
            self.start, self.length, self.name
        ))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line(&self.args_without_keys()))
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

fn zeros(text: &str) -> impl Iterator<Item = char> + '_ {
    text.bytes().map(|_| '0')
}

/// `CIPHER KEY …`: the key is a word of its own, or `:` and a description.
fn hide_second_word(args: &str) -> Zeroizing<String> {
    let after_word = |at: usize| {
        let rest = &args[at..];
        at + rest.find(char::is_whitespace).unwrap_or(rest.len())
    };
    let after_space = |at: usize| at + args[at..].len() - args[at..].trim_start().len();
    let key = after_space(after_word(after_space(0)));
    let end = after_word(key);

    let mut out = Zeroizing::new(String::with_capacity(args.len()));
    if args[key..].starts_with(':') {
        out.push_str(args);
    } else {
        out.push_str(&args[..key]);
        out.extend(zeros(&args[key..end]));
        out.push_str(&args[end..]);
    }
    out
}

/// `OPTION:ALGORITHM[:KEY]`.
fn hide_after(args: &str, option: &str) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(args.len()));
    let key = args.find(option).and_then(|at| {
        let value = at + option.len();
        let end = args[value..]
            .find([' ', ':'])
            .map_or(args.len(), |n| value + n);
        args[end..].starts_with(':').then_some(end + 1)
    });
    match key {
        Some(key) => {
            let end = args[key..].find(' ').map_or(args.len(), |n| key + n);
            out.push_str(&args[..key]);
            out.extend(zeros(&args[key..end]));
            out.push_str(&args[end..]);
        }
        None => out.push_str(args),
    }
    out
}

/// The targets of one device, in the order in which they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The targets.
    pub targets: Vec<Target>,
}

impl Table {
    /// Reads a table from its text form.
    ///
    /// # Errors
    ///
    /// [`TableError`] for the first line that is not a line of a table, or for a text that
    /// has no such line.
    ///
    /// ```
    /// let table = dmrs::Table::parse("# half of a disk\n0 2048 linear /dev/sda 0\n")?;
    /// assert_eq!(table.targets[0].name, "linear");
    /// assert_eq!(table.size(), 2048);
    /// # Ok::<(), dmrs::TableError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Table, TableError> {
        let mut targets = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let target = parse_line(line).map_err(|(span, problem)| TableError {
                line: index + 1,
                span,
                problem,
            })?;
            targets.extend(target);
        }
        if targets.is_empty() {
            return Err(TableError {
                line: text.lines().count().max(1),
                span: 0..0,
                problem: Problem::NoTargets,
            });
        }
        Ok(Table { targets })
    }

    /// The size of a device that has this table, in sectors of 512 bytes.
    pub fn size(&self) -> u64 {
        self.targets
            .iter()
            .map(|target| target.start.saturating_add(target.length))
            .max()
            .unwrap_or(0)
    }
}

/// What is wrong with a table, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableError {
    /// The line, counted from 1.
    pub line: usize,
    /// The bytes of that line that are at fault; empty if something is missing there.
    pub span: Range<usize>,
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

/// Reads one line; `None` if it is blank or a comment.
fn parse_line(line: &str) -> Result<Option<Target>, LineError> {
    if let Some(at) = line.find('\0') {
        return Err((at..at + 1, Problem::Nul));
    }
    let mut rest = Words { line, at: 0 };
    if matches!(rest.peek(), None | Some('#')) {
        return Ok(None);
    }
    let (start, _) = rest.number(Field::Start)?;
    let (length, length_span) = rest.number(Field::Length)?;
    if length == 0 {
        return Err((length_span, Problem::NoLength));
    }
    if start.checked_add(length).is_none() {
        return Err((length_span, Problem::EndsTooLate));
    }
    let span = rest.word(Field::Target)?;
    let name = &line[span.clone()];
    if name.len() > MAX_TARGET_NAME {
        return Err((span, Problem::TargetTooLong(name.to_owned())));
    }
    let args = line[rest.at..].split('#').next().unwrap_or_default();
    Ok(Some(Target {
        start,
        length,
        name: name.to_owned(),
        args: Zeroizing::new(args.trim().to_owned()),
    }))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target(start: u64, length: u64, name: &str, args: &str) -> Target {
        Target {
            start,
            length,
            name: name.to_owned(),
            args: Zeroizing::new(args.to_owned()),
        }
    }

    fn problem(text: &str) -> (usize, Range<usize>, Problem) {
        let error = Table::parse(text).unwrap_err();
        (error.line, error.span, error.problem)
    }

    #[test]
    fn reads_lines_comments_and_blanks() {
        let text = "\n# a comment\n  0\t8   linear  /dev/sda 0  # the first\n\n8 8 zero\n";
        assert_eq!(
            Table::parse(text).unwrap().targets,
            [
                target(0, 8, "linear", "/dev/sda 0"),
                target(8, 8, "zero", "")
            ]
        );
        assert_eq!(Table::parse(text).unwrap().size(), 16);
    }

    #[test]
    fn reads_windows_line_ends() {
        let table = Table::parse("0 8 linear /dev/sda 0\r\n").unwrap();
        assert_eq!(table.targets, [target(0, 8, "linear", "/dev/sda 0")]);
    }

    #[test]
    fn points_at_the_word_at_fault() {
        let missing = |field| Problem::Missing(field);
        assert_eq!(problem(""), (1, 0..0, Problem::NoTargets));
        assert_eq!(problem("# x\n\n"), (2, 0..0, Problem::NoTargets));
        assert_eq!(problem("0"), (1, 1..1, missing(Field::Length)));
        assert_eq!(problem("0 8"), (1, 3..3, missing(Field::Target)));
        assert_eq!(problem("0 8 # zero"), (1, 4..4, missing(Field::Target)));
        assert_eq!(
            problem("0 8 zero\n8 x zero"),
            (2, 2..3, Problem::NotANumber(Field::Length, "x".to_owned()))
        );
        assert_eq!(
            problem("-1 8 zero"),
            (1, 0..2, Problem::NotANumber(Field::Start, "-1".to_owned()))
        );
        assert_eq!(
            problem("18446744073709551616 8 zero"),
            (
                1,
                0..20,
                Problem::TooLarge(Field::Start, "18446744073709551616".to_owned())
            )
        );
        assert_eq!(
            problem("18446744073709551615 1 zero"),
            (1, 21..22, Problem::EndsTooLate)
        );
        assert_eq!(problem("0 0 zero"), (1, 2..3, Problem::NoLength));
        assert_eq!(
            problem("0 1 sixteen-letters-"),
            (
                1,
                4..20,
                Problem::TargetTooLong("sixteen-letters-".to_owned())
            )
        );
        assert_eq!(problem("0 1 zero \0"), (1, 9..10, Problem::Nul));
    }

    #[test]
    fn hides_keys_as_dmsetup_does() {
        for name in ["crypt", "rust-crypt"] {
            let line = |args| target(0, 8, name, args).to_string();
            assert_eq!(
                line("aes-xts-plain64 00ff 0 /dev/sda 0"),
                format!("0 8 {name} aes-xts-plain64 0000 0 /dev/sda 0")
            );
            assert_eq!(line("aes beef"), format!("0 8 {name} aes 0000"));
            assert_eq!(line("aes \t beef 0"), format!("0 8 {name} aes \t 0000 0"));
            assert_eq!(
                line("aes :32:logon:k 0 /dev/sda 0"),
                format!("0 8 {name} aes :32:logon:k 0 /dev/sda 0")
            );
            assert_eq!(line("aes"), format!("0 8 {name} aes"));
        }
        let integrity = target(
            0,
            8,
            "integrity",
            "8:0 0 32 J 3 internal_hash:hmac(sha256):beef journal_mac:crc32c journal_crypt:ctr:f0",
        );
        assert_eq!(
            *integrity.args_without_keys(),
            "8:0 0 32 J 3 internal_hash:hmac(sha256):0000 journal_mac:crc32c journal_crypt:ctr:00"
        );
        assert_eq!(
            target(0, 8, "linear", "8:0 4242").to_string(),
            "0 8 linear 8:0 4242"
        );
    }

    #[test]
    fn debug_output_has_no_key() {
        let table = Table::parse("0 8 crypt aes 00beef00 0 /dev/sda 0").unwrap();
        assert!(!format!("{table:?}").contains("beef"));
        assert!(table.targets[0].line_with_keys().contains("beef"));
    }

    prop_compose! {
        fn any_target()(
            start in 0..=u64::MAX / 2,
            length in 1..=u64::MAX / 2,
            name in "[a-z][a-z0-9-]{0,14}",
            args in proptest::collection::vec("[!-\"$-~]{1,8}", 0..6),
        ) -> Target {
            target(start, length, &name, &args.join(" "))
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(targets in proptest::collection::vec(any_target(), 1..5)) {
            let text: Vec<String> = targets.iter().map(|t| t.line_with_keys().to_string()).collect();
            prop_assert_eq!(Table::parse(&text.join("\n")).unwrap().targets, targets);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9 \t#\r\n\0a-z-]{0,80}") {
            if let Err(error) = Table::parse(&text) {
                let line = text.lines().nth(error.line - 1).unwrap_or_default();
                prop_assert!(line.get(error.span).is_some());
            }
        }

        #[test]
        fn hiding_keeps_the_length(args in ".{0,60}") {
            for name in ["crypt", "integrity", "linear"] {
                let target = target(0, 8, name, &args);
                prop_assert_eq!(target.args_without_keys().len(), args.len());
            }
        }
    }
}

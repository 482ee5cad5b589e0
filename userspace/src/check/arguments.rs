// SPDX-License-Identifier: GPL-2.0

//! The arguments of one line.

use std::{cmp::Ordering, ops::Range};

use super::{
    grammar::{self, Arg, Kind, More},
    powercut, DeviceFacts, Finding, Lookup, Purpose, System,
};
use crate::table::Line;

const SECTOR: u64 = 512;

/// The arguments of a line, as they are gone through.
struct Reader<'a> {
    text: &'a str,
    line: &'a Line,
    system: &'a dyn System,
    purpose: &'a Purpose,
    next: usize,
    /// How much is used of a device from its offset on: less than the line has, if striped.
    length: u64,
    /// The last device, for the offset that follows.
    device: Option<(Range<usize>, DeviceFacts)>,
    findings: Vec<Finding>,
}

/// Finds what is wrong with the arguments of a target that is known here.
pub(super) fn check(
    text: &str,
    line: &Line,
    system: &dyn System,
    purpose: &Purpose,
) -> Vec<Finding> {
    let mut reader = Reader {
        text,
        line,
        system,
        purpose,
        next: 0,
        length: line.target.length,
        device: None,
        findings: Vec::new(),
    };
    if let Some(grammar) = grammar::of(&line.target.name) {
        // Once an argument is missing, what the others mean is a guess.
        let _ = reader.grammar(grammar.args, grammar.more);
    }
    reader.findings
}

/// The arguments end too early; it has been told.
struct Ended;

impl<'a> Reader<'a> {
    fn grammar(&mut self, args: &[Arg], more: More) -> Result<(), Ended> {
        self.args(args)?;
        match more {
            More::Nothing => self.nothing_more(),
            More::Counted(what) => self.counted(what),
            More::Powercut => self.powercut(),
            More::Anything => {}
            More::Groups(group, counts) => self.groups(group, counts)?,
            More::Stripes => self.stripes()?,
        }
        Ok(())
    }

    fn word(&self, span: &Range<usize>) -> &'a str {
        &self.text[span.clone()]
    }

    fn take(&mut self) -> Option<Range<usize>> {
        let span = self.line.args.get(self.next).cloned();
        self.next += usize::from(span.is_some());
        span
    }

    fn args(&mut self, args: &[Arg]) -> Result<(), Ended> {
        for &(name, kind) in args {
            let Some(span) = self.take() else {
                return Err(self.missing(name));
            };
            self.arg(name, kind, &span);
        }
        Ok(())
    }

    fn missing(&mut self, name: &str) -> Ended {
        let last = self.line.args.last().unwrap_or(&self.line.name);
        let target = &self.line.target.name;
        self.findings.push(
            Finding::error(
                self.line,
                &(last.end..last.end),
                format!("the {name} of '{target}' is missing"),
            )
            .label(format!("the {name} comes here"))
            .help(usage(target)),
        );
        Ended
    }

    fn nothing_more(&mut self) {
        let Some(first) = self.take() else {
            return;
        };
        let end = self.line.args.last().map_or(first.end, |last| last.end);
        let target = &self.line.target.name;
        self.findings.push(
            Finding::error(
                self.line,
                &(first.start..end),
                format!("'{target}' takes no more than {} arguments", self.next - 1),
            )
            .label("too much")
            .help(usage(target)),
        );
        self.next = self.line.args.len();
    }

    fn counted(&mut self, what: &str) {
        let Some(span) = self.take() else {
            return;
        };
        let given = self.line.args.len() - self.next;
        let Some(count) = self.number(&format!("number of {what}"), &span) else {
            return;
        };
        let finding = match count.cmp(&(given as u64)) {
            Ordering::Equal => return,
            Ordering::Greater => Finding::error(
                self.line,
                &span,
                format!("there are {given} {what}, not {count}"),
            )
            .help(format!(
                "this is the number of words that follow it as {what}"
            )),
            Ordering::Less => Finding::warning(
                self.line,
                &span,
                format!("only {count} of the {given} {what} are looked at"),
            ),
        };
        self.findings
            .push(finding.label(format!("should be {given}")));
    }

    fn powercut(&mut self) {
        let before = self.findings.len();
        self.counted("options");
        let words = self.line.args.get(self.next..).unwrap_or_default();
        // If they are not as many as it says, what each means is a guess.
        if self.findings.len() > before || words.is_empty() {
            return;
        }
        let Some((at, what)) = powercut::refused(words.iter().map(|span| self.word(span))) else {
            return;
        };
        let span = words[at.start].start..words[at.end - 1].end;
        self.findings.push(
            Finding::error(self.line, &span, what)
                .label("not as it should be")
                .help(powercut::HELP),
        );
    }

    fn groups(&mut self, group: &[Arg], counts: &[usize]) -> Result<(), Ended> {
        let mut done = 0;
        while done == 0 || self.next < self.line.args.len() {
            if Some(&done) == counts.last() {
                self.nothing_more();
                break;
            }
            self.args(group)?;
            done += 1;
        }
        Ok(())
    }

    fn stripes(&mut self) -> Result<(), Ended> {
        let [stripes, chunk] = &self.line.args[..2] else {
            return Ok(());
        };
        let parsed = |span: &Range<usize>| self.word(span).parse::<u64>().ok().filter(|&n| n > 0);
        let (Some(count), Some(size)) = (parsed(stripes), parsed(chunk)) else {
            // It has been told that they are no numbers.
            return Ok(());
        };
        let length = self.line.target.length;
        if length % count != 0 {
            self.findings.push(
                Finding::error(
                    self.line,
                    &self.line.length,
                    format!("{length} sectors cannot be divided among {count} stripes"),
                )
                .label(format!("must be a multiple of {count} times {size}")),
            );
        } else if (length / count) % size != 0 {
            self.findings.push(
                Finding::error(
                    self.line,
                    &self.line.length,
                    format!(
                        "each of {count} stripes has {} sectors, which are no whole chunks",
                        length / count
                    ),
                )
                .label(format!("must be a multiple of {count} times {size}")),
            );
        } else {
            self.length = length / count;
        }
        for _ in 0..count {
            self.args(&[("device", Kind::Device), ("offset", Kind::Offset)])?;
        }
        self.nothing_more();
        Ok(())
    }

    fn arg(&mut self, name: &str, kind: Kind, span: &Range<usize>) {
        match kind {
            Kind::Device => self.lookup(name, span),
            Kind::Offset => {
                let offset = self.number(name, span);
                if let (Some(offset), Some((_, facts))) = (offset, self.device.take()) {
                    self.area(span, offset, &facts);
                }
            }
            Kind::Number => drop(self.number(name, span)),
            Kind::Count => {
                if self.number(name, span) == Some(0) {
                    self.findings.push(
                        Finding::error(self.line, span, format!("the {name} may not be 0"))
                            .label("at least 1"),
                    );
                }
            }
            Kind::Key => self.key(span),
            Kind::Word => {}
        }
    }

    fn number(&mut self, name: &str, span: &Range<usize>) -> Option<u64> {
        let word = self.word(span);
        let digits = word.strip_prefix('+').unwrap_or(word);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            self.findings.push(
                Finding::error(
                    self.line,
                    span,
                    format!("the {name} '{word}' is no whole number"),
                )
                .label("a whole number, in decimal"),
            );
            return None;
        }
        // One with more than 64 bits is read by some targets and refused by others.
        word.parse().ok()
    }

    fn key(&mut self, span: &Range<usize>) {
        // Nothing of a key is told but what it lacks.
        let word = self.word(span);
        if word == "-" || word.starts_with(':') {
            return;
        }
        if !word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            self.findings.push(
                Finding::error(self.line, span, "the key is not in hexadecimal")
                    .label("digits and the letters a to f, '-', or ':SIZE:TYPE:NAME'"),
            );
        } else if word.bytes().all(|byte| byte == b'0') {
            self.findings.push(
                Finding::warning(self.line, span, "the key is nothing but zeros")
                    .label("is this the key?")
                    .help("a table that was shown without --showkeys has zeros in its key's place"),
            );
        } else if word.len() % 2 == 1 {
            self.findings.push(
                Finding::warning(self.line, span, "the key has an odd number of digits")
                    .label("the last one is not looked at"),
            );
        }
    }

    fn lookup(&mut self, name: &str, span: &Range<usize>) {
        let word = self.word(span);
        self.device = None;
        let finding = |message: String| Finding::error(self.line, span, message);
        let found = match self.system.device(word) {
            Lookup::Found(facts) => facts,
            Lookup::Unknown => return,
            Lookup::NoDevice => {
                let finding = finding(format!("the {name} '{word}' is no block device"));
                self.findings.push(finding.label("something else is there"));
                return;
            }
            Lookup::Missing(near) => {
                let finding = finding(format!("there is no device '{word}'"));
                self.findings.push(match near {
                    Some(near) => finding
                        .label("nothing is there")
                        .help(format!("there is '{near}': is that the one?")),
                    None => finding
                        .label("nothing is there")
                        .help("give the path of a block device, or its MAJOR:MINOR"),
                });
                return;
            }
        };
        if found.device.is_some() && found.device == self.purpose.device {
            let finding = finding("the device would stand on itself".to_owned());
            self.findings
                .push(finding.label("this is the device that is to have the table"));
        } else if let Some(holder) = &found.holder {
            let finding = finding(format!("the {name} '{word}' is in use"));
            self.findings.push(
                finding
                    .label(holder)
                    .help("unmount it, or remove what holds it"),
            );
        } else if found.read_only && !self.purpose.read_only {
            let message = format!("the {name} '{word}' can only be read");
            self.findings.push(
                Finding::warning(self.line, span, message)
                    .label("writes to it will fail")
                    .help("load the table with --readonly"),
            );
        }
        self.device = Some((span.clone(), found));
    }

    /// The kernel's `device_area_is_invalid`.
    fn area(&mut self, span: &Range<usize>, offset: u64, facts: &DeviceFacts) {
        // A device without a size is not judged by it.
        let Some(sectors) = facts.sectors.filter(|&sectors| sectors > 0) else {
            return;
        };
        let length = self.length;
        let end = offset.checked_add(length);
        if end.is_none_or(|end| end > sectors) {
            self.findings.push(
                Finding::error(
                    self.line,
                    span,
                    format!("the device is too small: it has {sectors} sectors"),
                )
                .label(match end {
                    Some(end) => format!("{length} sectors from here end at {end}"),
                    None => format!("{length} sectors from here end beyond any number"),
                })
                .help(match sectors.checked_sub(offset) {
                    Some(left @ 1..) => format!("from there on it has {left} sectors"),
                    _ => format!("its last sector is {}", sectors - 1),
                }),
            );
            return;
        }
        let block = u64::from(facts.logical_block_size.unwrap_or(0)) / SECTOR;
        if block <= 1 {
            return;
        }
        for (span, number, what) in [
            (span, offset, "offset"),
            (&self.line.length, length, "length"),
        ] {
            if number % block != 0 {
                self.findings.push(
                    Finding::error(
                        self.line,
                        span,
                        format!(
                            "the {what} {number} is not aligned to the logical blocks of {} bytes",
                            block * SECTOR
                        ),
                    )
                    .label(format!("must be a multiple of {block} sectors")),
                );
            }
        }
    }
}

/// The form of the line, in words.
fn usage(target: &str) -> String {
    let Some(grammar) = grammar::of(target) else {
        return String::new();
    };
    let names = |args: &[Arg]| -> String {
        let names = args
            .iter()
            .map(|(name, _)| format!(" {}", name.to_uppercase().replace(' ', "_")));
        names.collect()
    };
    let more = match grammar.more {
        More::Nothing => String::new(),
        More::Counted(what) => {
            let what = what.to_uppercase();
            format!(" [NUMBER_OF_{what} {what}...]")
        }
        More::Powercut => " [NUMBER_OF_OPTIONS OPTIONS...]".to_owned(),
        More::Anything => " ...".to_owned(),
        More::Groups(group, _) => format!("{} [the same for writes [and flushes]]", names(group)),
        More::Stripes => " DEVICE OFFSET [DEVICE OFFSET...]".to_owned(),
    };
    format!(
        "a line is: START LENGTH {target}{}{more}",
        names(grammar.args)
    )
}

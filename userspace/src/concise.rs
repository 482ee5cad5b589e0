// SPDX-License-Identifier: GPL-2.0

//! Devices on one line: the form that `dmsetup --concise` and the kernel's `dm-mod.create=` use.
//!
//! `NAME,UUID,MINOR,FLAGS,LINE[,LINE…][;NAME,…]`, where FLAGS is `ro` or `rw`. UUID, MINOR and
//! FLAGS may be empty. A backslash takes the meaning from the character after it.

use std::{fmt, fmt::Write, ops::Range};

use thiserror::Error;
use zeroize::Zeroizing;

use crate::{dm::Info, name, table::Table};

/// A device as the concise form has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConciseDevice {
    /// Its name, as people write it.
    pub name: String,
    /// Its UUID, if it is to have one.
    pub uuid: Option<String>,
    /// Its minor number, if the kernel is not to choose.
    pub minor: Option<u32>,
    /// Whether it can only be read.
    pub read_only: bool,
    /// The text of its table, with a line for each target. It may hold keys.
    pub table: Zeroizing<String>,
}

/// What is wrong with a text in the concise form, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConciseError {
    /// The bytes at fault; empty if something is missing there.
    pub span: Range<usize>,
    /// What is wrong with them.
    pub problem: ConciseProblem,
}

impl fmt::Display for ConciseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "character {}: {}", self.span.start + 1, self.problem)
    }
}

impl std::error::Error for ConciseError {}

/// What can be wrong with a text in the concise form.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ConciseProblem {
    /// There is no device in it.
    #[error("there is no device: give NAME,UUID,MINOR,FLAGS,TABLE")]
    Empty,
    /// A device without a name.
    #[error("the name is missing: a device is NAME,UUID,MINOR,FLAGS,TABLE")]
    NoName,
    /// A device that ends before its table.
    #[error("the table is missing: a device is NAME,UUID,MINOR,FLAGS,TABLE")]
    NoTable,
    /// A minor number that is none.
    #[error("the minor number '{0}' must be a whole number, or left out")]
    Minor(String),
    /// Flags that are none.
    #[error("the flags '{0}' must be ro, rw, or left out")]
    Flags(String),
}

/// A field: its text without the backslashes, and where it was.
struct Field {
    text: Zeroizing<String>,
    span: Range<usize>,
}

/// Reads devices in the concise form.
///
/// # Errors
///
/// [`ConciseError`] for the first thing that is wrong. The tables themselves are not looked at.
///
/// ```
/// let devices = dmrs::concise::parse("home,,,rw,0 8 linear /dev/sda 0,8 8 zero;swap,,3,ro,0 8 zero")?;
/// assert_eq!(devices[0].table.as_str(), "0 8 linear /dev/sda 0\n8 8 zero");
/// assert_eq!((devices[1].name.as_str(), devices[1].minor), ("swap", Some(3)));
/// # Ok::<(), dmrs::concise::ConciseError>(())
/// ```
pub fn parse(text: &str) -> Result<Vec<ConciseDevice>, ConciseError> {
    let mut devices = Vec::new();
    for fields in split(text) {
        // Nothing after the last semicolon is no device.
        if fields.iter().all(|field| field.text.is_empty()) {
            continue;
        }
        devices.push(device(&fields)?);
    }
    match devices.is_empty() {
        true => Err(ConciseError {
            span: 0..0,
            problem: ConciseProblem::Empty,
        }),
        false => Ok(devices),
    }
}

fn device(fields: &[Field]) -> Result<ConciseDevice, ConciseError> {
    let wrong = |field: &Field, problem| ConciseError {
        span: field.span.clone(),
        problem,
    };
    let end = fields.last().map_or(0, |field| field.span.end);
    let [name, uuid, minor, flags, lines @ ..] = fields else {
        return Err(ConciseError {
            span: end..end,
            problem: ConciseProblem::NoTable,
        });
    };
    if name.text.is_empty() {
        return Err(wrong(name, ConciseProblem::NoName));
    }
    if lines.iter().all(|line| line.text.is_empty()) {
        return Err(ConciseError {
            span: end..end,
            problem: ConciseProblem::NoTable,
        });
    }
    let minor = match minor.text.as_str() {
        "" => None,
        text => match text.parse() {
            Ok(minor) => Some(minor),
            Err(_) => return Err(wrong(minor, ConciseProblem::Minor(text.to_owned()))),
        },
    };
    let read_only = match flags.text.as_str() {
        "" | "rw" => false,
        "ro" => true,
        text => return Err(wrong(flags, ConciseProblem::Flags(text.to_owned()))),
    };
    // The size is known beforehand, so that growing leaves no copy of a key behind.
    let size = lines.iter().map(|line| line.text.len() + 1).sum();
    let mut table = Zeroizing::new(String::with_capacity(size));
    for line in lines {
        if !table.is_empty() {
            table.push('\n');
        }
        table.push_str(&line.text);
    }
    Ok(ConciseDevice {
        name: name.text.to_string(),
        uuid: (!uuid.text.is_empty()).then(|| uuid.text.to_string()),
        minor,
        read_only,
        table,
    })
}

/// The fields of each device, without the white space around them.
fn split(text: &str) -> Vec<Vec<Field>> {
    let mut devices = vec![Vec::new()];
    let mut field = Zeroizing::new(String::with_capacity(text.len()));
    let mut begin = 0;
    let mut chars = text.char_indices();
    loop {
        let next = chars.next();
        match next {
            Some((_, '\\')) => field.extend(chars.next().map(|(_, c)| c)),
            None | Some((_, ',' | ';')) => {
                let end = next.map_or(text.len(), |(at, _)| at);
                let raw = &text[begin..end];
                let start = begin + raw.len() - raw.trim_start().len();
                let done = Field {
                    text: Zeroizing::new(field.trim().to_owned()),
                    span: start..start + raw.trim().len(),
                };
                if let Some(last) = devices.last_mut() {
                    last.push(done);
                }
                field = Zeroizing::new(String::with_capacity(text.len()));
                begin = end + 1;
                match next {
                    None => return devices,
                    Some((_, ';')) => devices.push(Vec::new()),
                    Some(_) => {}
                }
            }
            Some((_, c)) => field.push(c),
        }
    }
}

/// A device in the concise form, with its keys or with zeros in their place.
pub fn format(info: &Info, table: &Table, keys: bool) -> Zeroizing<String> {
    let uuid = info.uuid.as_ref().map(|uuid| name::show_uuid(uuid));
    let lines: Vec<_> = table
        .targets
        .iter()
        .map(|target| match keys {
            true => target.line_with_keys(),
            false => Zeroizing::new(target.to_string()),
        })
        .collect();
    let size: usize = lines.iter().map(|line| 2 * line.len() + 1).sum();
    let mut out = Zeroizing::new(String::with_capacity(size + 1024));
    escape(&info.shown_name(), &mut out);
    out.push(',');
    escape(uuid.as_deref().unwrap_or_default(), &mut out);
    let flags = if info.read_only { "ro" } else { "rw" };
    // Writing to a string does not fail.
    let _ = write!(out, ",{},{flags}", info.device.minor);
    for line in lines {
        out.push(',');
        escape(line.trim_end(), &mut out);
    }
    out
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        if matches!(c, ',' | ';' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
}

#[cfg(test)]
mod tests {
    use devicemapper::Device;
    use proptest::prelude::*;

    use super::*;

    fn problem(text: &str) -> (Range<usize>, ConciseProblem) {
        let error = parse(text).unwrap_err();
        (error.span, error.problem)
    }

    #[test]
    fn reads_the_kernels_examples() {
        let text = "dm-lv,,,ro,0 4096 linear 98:16 0, 4096 4096 linear 98:32 0;\
                    dm-rw,,4,rw,0 1 zero;";
        let devices = parse(text).unwrap();
        assert_eq!(devices.len(), 2);
        assert!(devices[0].read_only && !devices[1].read_only);
        assert_eq!(
            devices[0].table.as_str(),
            "0 4096 linear 98:16 0\n4096 4096 linear 98:32 0"
        );
        assert_eq!((devices[1].minor, &devices[1].uuid), (Some(4), &None));
    }

    #[test]
    fn points_at_the_field_at_fault() {
        assert_eq!(problem(""), (0..0, ConciseProblem::Empty));
        assert_eq!(problem("a,b"), (3..3, ConciseProblem::NoTable));
        assert_eq!(problem("a,,,rw"), (6..6, ConciseProblem::NoTable));
        assert_eq!(problem("a,,,rw,"), (7..7, ConciseProblem::NoTable));
        assert_eq!(problem(",,,rw,0 1 zero"), (0..0, ConciseProblem::NoName));
        assert_eq!(
            problem("a,, x,rw,0 1 zero"),
            (4..5, ConciseProblem::Minor("x".to_owned()))
        );
        assert_eq!(
            problem("a,,,wo,0 1 zero"),
            (4..6, ConciseProblem::Flags("wo".to_owned()))
        );
    }

    prop_compose! {
        fn any_device()(
            // Half escaped names are refused.
            name in "[a-z,;\\\\ ]{0,8}[a-z]".prop_filter("half escaped", |name| !name.contains("\\x")),
            uuid in proptest::option::of("[A-Z,;\\\\-]{1,12}"),
            minor: u8,
            read_only: bool,
            args in "[!-\"$-~]{1,8}",
        ) -> (Info, Table) {
            let info = Info {
                name: name::device_name(name.trim()).unwrap(),
                uuid: uuid.map(|uuid| name::device_uuid(&uuid).unwrap()),
                device: Device { major: 253, minor: minor.into() },
                open_count: 0,
                event_nr: 0,
                target_count: 1,
                suspended: false,
                read_only,
                live_table: true,
                inactive_table: false,
                deferred_remove: false,
            };
            (info, Table::parse(&format!("0 8 linear {args}")).unwrap())
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(devices in proptest::collection::vec(any_device(), 1..4)) {
            let text: Vec<_> = devices.iter().map(|(i, t)| format(i, t, true).to_string()).collect();
            let read = parse(&text.join(";")).unwrap();
            prop_assert_eq!(read.len(), devices.len());
            for (read, (info, table)) in read.iter().zip(&devices) {
                prop_assert_eq!(&read.name, &info.shown_name());
                prop_assert_eq!(read.minor, Some(info.device.minor));
                prop_assert_eq!(read.read_only, info.read_only);
                prop_assert_eq!(&Table::parse(&read.table).unwrap(), table);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "[a-z0-9,;\\\\ ä]{0,40}") {
            if let Err(error) = parse(&text) {
                prop_assert!(text.get(error.span).is_some());
            }
        }
    }
}

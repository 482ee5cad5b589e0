// SPDX-License-Identifier: GPL-2.0

//! What goes to standard output: for people, or JSON.

use std::io::{self, BufWriter, StdoutLock, Write};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use comfy_table::{presets, ContentArrangement, Table};
use dmrs::{name, DeviceId, Info, Target};
use indicatif::BinaryBytes;
use serde::Serialize;
use serde_json::{json, Value};

/// Names of devices.
pub const NAME: Style = AnsiColor::Cyan.on_default();
/// Names of targets.
pub const TARGET: Style = AnsiColor::Green.on_default();
/// What comes into being.
pub const NEW: Style = AnsiColor::Green.on_default();
/// What goes, or should not be so.
pub const OLD: Style = AnsiColor::Red.on_default();
pub const HEADING: Style = Style::new().bold();
pub const DIM: Style = Style::new().dimmed();

/// Standard output. Colours reach a terminal only, and none for which `NO_COLOR` is set.
pub struct Output {
    /// Whether JSON is wanted.
    pub json: bool,
    out: BufWriter<AutoStream<StdoutLock<'static>>>,
}

impl Output {
    pub fn new(json: bool) -> Output {
        Output {
            json,
            out: BufWriter::new(anstream::stdout().lock()),
        }
    }

    /// Prints a JSON document.
    pub fn document(&mut self, document: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut self.out, document)?;
        writeln!(self.out)
    }

    /// Prints a JSON document on one line, at once.
    pub fn line(&mut self, document: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, document)?;
        writeln!(self.out)?;
        self.out.flush()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Rows in aligned columns under headings. Columns in `right` have numbers.
pub fn columns(headings: &[&str], rows: Vec<Vec<String>>, right: &[usize]) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(headings)
        .add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&index) {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
    }
    let text = table.to_string();
    let mut lines = text.lines().map(str::trim_end);
    let heading = lines.next().unwrap_or_default();
    let mut out = format!("{HEADING}{heading}{HEADING:#}\n");
    for line in lines {
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// A number of sectors of 512 bytes, readable.
pub fn size(sectors: u64) -> String {
    BinaryBytes(sectors.saturating_mul(512)).to_string()
}

/// The state of a device in a word or two.
pub fn state(info: &Info) -> String {
    let mut state = match (info.suspended, info.live_table) {
        (true, _) => "suspended",
        (false, true) => "active",
        (false, false) => "no table",
    }
    .to_owned();
    if info.read_only {
        state.push_str(", read-only");
    }
    if info.inactive_table {
        state.push_str(", new table");
    }
    if info.deferred_remove {
        state.push_str(", to be removed");
    }
    state
}

/// By what a device is known.
pub fn identity(info: &Info) -> Value {
    json!({
        "name": info.shown_name(),
        "uuid": info.uuid.as_ref().map(|uuid| name::show_uuid(uuid)),
        "kernel_name": format!("dm-{}", info.device.minor),
        "major": info.device.major,
        "minor": info.device.minor,
    })
}

/// A device's number as an identifier.
pub fn by_number(info: &Info) -> DeviceId {
    DeviceId::Number(info.device)
}

/// A line of a table.
pub fn target(target: &Target, keys: bool) -> Value {
    let hidden = target.args_without_keys();
    let args = if keys { &target.args } else { &hidden };
    json!({
        "start": target.start,
        "length": target.length,
        "target": target.name,
        "args": args.as_str(),
    })
}

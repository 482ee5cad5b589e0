// SPDX-License-Identifier: GPL-2.0

//! The report as a page that needs nothing else.

use crate::markdown::{number, percent, signed};
use crate::results::{Count, Figure, Profile, Results, Speed};
use anyhow::{Context, Result};
use plotly::common::{DashType, ErrorData, ErrorType, Line, Marker, Mode, Orientation};
use plotly::layout::{
    Axis, AxisType, BarMode, Layout, Legend, Margin, Shape, ShapeLine, ShapeType,
};
use plotly::{Bar, Plot, Scatter};
use std::fmt::Write;

/// The colours, which the page's style defines and its script puts in.
const C: &str = "--c";
const RUST: &str = "--rust";
const FLOOR: &str = "--floor";

/// Text as HTML has it.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// A page as it grows: what is seen, and the plots that the script draws.
#[derive(Default)]
struct Page {
    body: String,
    plots: Vec<String>,
}

impl Page {
    fn text(&mut self, html: &str) {
        self.body.push_str(html);
        self.body.push('\n');
    }

    fn section(&mut self, title: &str, about: &str) {
        let _ = writeln!(self.body, "<h2>{title}</h2>\n<p class=dim>{about}</p>");
    }

    fn plot(&mut self, height: usize, traces: Vec<Box<dyn plotly::Trace>>, layout: Layout) {
        let mut plot = Plot::new();
        plot.add_traces(traces);
        let margin = Margin::new().left(10).right(20).top(48).bottom(40);
        plot.set_layout(layout.height(height).margin(margin));
        let id = format!("plot{}", self.plots.len());
        let _ = writeln!(
            self.body,
            "<div class=plot id={id} style=\"height:{height}px\"></div>"
        );
        // What ends a script must not stand in one.
        let json = plot.to_json().replace("</", "<\\/");
        self.plots.push(format!("\"{id}\": {json}"));
    }

    fn table(&mut self, head: &[&str], rows: impl Iterator<Item = Vec<String>>, words: usize) {
        self.text("<div class=wide><table><tr>");
        for (i, name) in head.iter().enumerate() {
            let class = if i < words { "" } else { " class=n" };
            let _ = write!(self.body, "<th{class}>{name}");
        }
        for row in rows {
            self.body.push_str("\n<tr>");
            for (i, cell) in row.iter().enumerate() {
                let class = match (i < words, head.get(i).is_some_and(|h| h.ends_with('*'))) {
                    (true, _) => "",
                    (false, false) => " class=n",
                    (false, true) => " class=\"n grey\"",
                };
                let _ = write!(self.body, "<td{class}>{cell}");
            }
        }
        self.text("\n</table></div>");
    }
}

/// A difference in colour: fewer is good.
fn verdict(difference: f64, noise: f64, text: String) -> String {
    match difference {
        d if d < 0.0 => format!("<span class=good>{text}</span>"),
        d if d > noise => format!("<span class=bad>{text}</span>"),
        _ => text,
    }
}

fn per_io(results: &Results) -> impl Iterator<Item = &Count> {
    let groups = ["io", "flush"];
    results
        .counts
        .iter()
        .filter(move |c| groups.contains(&c.group.as_str()))
}

fn headline(page: &mut Page, results: &Results) {
    let rows: Vec<&Count> = results.counts.iter().filter(|c| c.is_io()).collect();
    let fewer = rows.iter().filter(|c| c.difference() < 0.0).count();
    let more: Vec<_> = rows.iter().filter(|c| c.difference() > c.noise()).collect();
    let same = rows.len() - fewer - more.len();
    let mut text = format!(
        "Rust executes <b class=good>fewer</b> instructions per I/O than C in <b>{fewer}</b> of {} rows",
        rows.len()
    );
    if same > 0 {
        let _ = write!(text, ", as many in {same}");
    }
    match more
        .iter()
        .max_by(|a, b| a.difference().total_cmp(&b.difference()))
    {
        None => text.push_str(", and more in none."),
        Some(worst) => {
            let _ = write!(
                text,
                ", and <b class=bad>more</b> in <b>{}</b>, at worst {} ({}, {}).",
                more.len(),
                signed(worst.difference()),
                worst.target,
                worst.row
            );
        }
    }
    let _ = writeln!(page.body, "<p class=verdict>{text}</p>\n<div class=tiles>");
    for target in results.targets() {
        let read = per_io(results).find(|c| c.target == target && c.row == "4 KiB random read");
        let Some(count) = read else { continue };
        let difference = count.difference();
        let share = percent(difference / count.c.value);
        let own = match count.floor {
            Some(_) => format!(
                ", {} of its own part",
                percent(difference / count.own(count.c))
            ),
            None => String::new(),
        };
        let _ = writeln!(
            page.body,
            "<div class=tile>{target}<b>{}</b><span class=dim>instructions per 4 KiB read, Rust against C: {share} of \
             the whole{own}</span></div>",
            verdict(difference, count.noise(), signed(difference)),
        );
    }
    page.text("</div>");
}

/// How far values lie from the median, both ways.
fn error_bars(figures: &[Figure]) -> ErrorData {
    let up = figures.iter().map(|f| f.max - f.value).collect();
    let down = figures.iter().map(|f| f.value - f.min).collect();
    ErrorData::new(ErrorType::Data)
        .array(up)
        .array_minus(down)
        .thickness(1.0)
}

fn differences(page: &mut Page, results: &Results) {
    page.section(
        "Who is ahead, where and by how much",
        "Instructions that the target adds to the lower device (for error and zero, which have none: \
         all), Rust against C. Left of the line Rust executes fewer. Point at a bar for the figures.",
    );
    let mut names = Vec::new();
    let (mut values, mut colours, mut hovers) = (Vec::new(), Vec::new(), Vec::new());
    for c in per_io(results) {
        names.push(format!("{} · {}", c.target, c.row));
        values.push(c.difference() / c.own(c.c) * 100.0);
        colours.push(if c.difference() <= 0.0 { RUST } else { C });
        hovers.push(format!(
            "{} instructions<br>C {} · Rust {}<br>lower device {}",
            signed(c.difference()),
            number(c.c.value),
            number(c.rust.value),
            c.floor.map_or("–".to_owned(), |f| number(f.value)),
        ));
    }
    let height = 70 + names.len() * 17;
    let bars = Bar::new(values, names)
        .orientation(Orientation::Horizontal)
        .marker(Marker::new().color_array(colours))
        .hover_text_array(hovers)
        .hover_template("%{y}<br>%{hovertext}<extra></extra>");
    let x = Axis::new().title("% of the target's own instructions, Rust against C");
    let y = Axis::new()
        .auto_range(false)
        .range(vec![per_io(results).count() as f64 - 0.5, -0.5]);
    page.plot(
        height,
        vec![bars],
        Layout::new().x_axis(x).y_axis(y.dtick(1.0)).bar_gap(0.25),
    );
}

fn wholes(page: &mut Page, results: &Results) {
    page.section(
        "The whole of an I/O",
        "4 KiB: the system call, the lower device, and what the target adds. The spread over repeats and boots is \
         too small to be seen; it is in the table below.",
    );
    let rows: Vec<&Count> = per_io(results)
        .filter(|c| c.row == "4 KiB random read" || c.row == "4 KiB random write")
        .collect();
    let names = |who: &str| {
        let name = |c: &&Count| {
            format!(
                "{} · {} · {who}",
                c.target,
                c.row.trim_start_matches("4 KiB random ")
            )
        };
        rows.iter().map(name).collect::<Vec<_>>()
    };
    let mut all_names = Vec::new();
    for (c, rust) in names("C").into_iter().zip(names("Rust")) {
        all_names.extend([c, rust]);
    }
    let floors: Vec<f64> = rows
        .iter()
        .flat_map(|c| [c.floor.map_or(0.0, |f| f.value); 2])
        .collect();
    let lower = Bar::new(floors, all_names.clone())
        .name("the system call and the lower device")
        .orientation(Orientation::Horizontal)
        .marker(Marker::new().color(FLOOR));
    let added = |who: usize, title: &'static str, colour: &'static str| {
        let own: Vec<f64> = rows
            .iter()
            .map(|c| c.own(if who == 0 { c.c } else { c.rust }))
            .collect();
        let texts = own.iter().map(|v| number(*v)).collect();
        let names = all_names.iter().skip(who).step_by(2).cloned().collect();
        Bar::new(own, names)
            .name(title)
            .orientation(Orientation::Horizontal)
            .text_array(texts)
            .marker(Marker::new().color(colour))
    };
    let theirs = added(0, "what the target adds (error and zero: all): C", C);
    let ours = added(1, "Rust", RUST);
    let y = Axis::new()
        .auto_range(false)
        .range(vec![rows.len() as f64 * 2.0 - 0.5, -0.5]);
    let layout = Layout::new()
        .bar_mode(BarMode::Stack)
        .x_axis(Axis::new().title("instructions"))
        .y_axis(y.dtick(1.0))
        .legend(Legend::new().orientation(Orientation::Horizontal).y(1.06));
    page.plot(90 + rows.len() * 40, vec![lower, theirs, ours], layout);
}

/// A vertical line at one.
fn line_at_one(rows: usize) -> Shape {
    Shape::new()
        .shape_type(ShapeType::Line)
        .x0(1.0)
        .x1(1.0)
        .y0(-0.5)
        .y1(rows as f64 - 0.5)
        .line(ShapeLine::new().color("--dim").dash(DashType::Dot))
}

fn speed_plot(page: &mut Page, rows: &[&Speed], name: impl Fn(&Speed) -> String) {
    // As far as the medians go, but no farther than twice: what is noise is not to hide the rest.
    let medians = rows
        .iter()
        .flat_map(|s| [s.throughput.value, s.latency.value]);
    let far = medians.map(|m| m.max(1.0 / m)).fold(1.1, f64::max);
    let far = (1.0 + (far - 1.0) * 1.5).min(2.0);
    let names: Vec<String> = rows.iter().map(|s| name(s)).collect();
    let series = |title: &'static str, colour: &'static str, figures: Vec<Figure>| {
        let hovers = figures.iter().map(|f| {
            format!(
                "{:.3}, from {:.3} to {:.3} in {} pairs",
                f.value, f.min, f.max, f.n
            )
        });
        Scatter::new(figures.iter().map(|f| f.value).collect(), names.clone())
            .name(title)
            .mode(Mode::Markers)
            .marker(Marker::new().size(9).color(colour))
            .error_x(error_bars(&figures).color(colour))
            .hover_text_array(hovers.collect())
            .hover_template("%{y}<br>%{hovertext}<extra></extra>")
    };
    let throughput = series(
        "throughput",
        RUST,
        rows.iter().map(|s| s.throughput).collect(),
    );
    let latency = series("latency", C, rows.iter().map(|s| s.latency).collect());
    let y = Axis::new()
        .auto_range(false)
        .range(vec![rows.len() as f64 - 0.5, -0.5]);
    let layout = Layout::new()
        .x_axis(Axis::new().title("Rust / C").range(vec![1.0 / far, far]))
        .y_axis(y.dtick(1.0))
        .shapes(vec![line_at_one(rows.len())])
        .legend(Legend::new().orientation(Orientation::Horizontal).y(1.1));
    page.plot(110 + rows.len() * 24, vec![throughput, latency], layout);
}

fn speeds(page: &mut Page, results: &Results) {
    let most = results.speed.iter().map(|s| s.cpus).filter(|_| true);
    let Some(usual) = results.speed.first().map(|s| s.cpus) else {
        return;
    };
    page.section(
        "Throughput and latency",
        "fio, Rust and C in alternation; each dot is the median of the ratios of the pairs, its bar their spread. \
         Throughput right of the line, or latency left of it: Rust is ahead. A spread across the line: no difference \
         that this machine shows.",
    );
    let scaling: Vec<&Speed> = results
        .speed
        .iter()
        .filter(|s| s.row.starts_with("scaling"))
        .collect();
    let plain: Vec<&Speed> = results
        .speed
        .iter()
        .filter(|s| !s.row.starts_with("scaling"))
        .collect();
    if !plain.is_empty() {
        speed_plot(page, &plain, |s| {
            format!(
                "{} · {}",
                s.target,
                s.row.trim_start_matches("4 KiB random ")
            )
        });
        let _ = writeln!(page.body, "<p class=dim>{usual} CPUs.</p>");
    }
    if !scaling.is_empty() {
        let counts: std::collections::BTreeSet<u64> = most.collect();
        let counts: Vec<String> = counts.iter().map(u64::to_string).collect();
        page.section(
            "As CPUs are added",
            &format!(
                "The same with {} CPUs, as many jobs, depth 32, 4 KiB random reads.",
                counts.join(", ")
            ),
        );
        speed_plot(page, &scaling, |s| {
            format!("{} · {} CPUs", s.target, s.cpus)
        });
    }
    page.text("<details><summary>The figures</summary>");
    page.table(
        &[
            "target",
            "load",
            "CPUs",
            "throughput",
            "spread",
            "latency",
            "spread",
            "99 %",
            "spread",
            "C, IOPS*",
            "Rust, IOPS*",
            "C, µs*",
            "Rust, µs*",
        ],
        results.speed.iter().map(|s| {
            let spread = |f: Figure| format!("{:.3} – {:.3}", f.min, f.max);
            vec![
                s.target.clone(),
                s.row.clone(),
                s.cpus.to_string(),
                format!("{:.3}", s.throughput.value),
                spread(s.throughput),
                format!("{:.3}", s.latency.value),
                spread(s.latency),
                format!("{:.3}", s.p99.value),
                spread(s.p99),
                number(s.c_iops),
                number(s.rust_iops),
                format!("{:.1}", s.c_latency_ns / 1000.0),
                format!("{:.1}", s.rust_latency_ns / 1000.0),
            ]
        }),
        2,
    );
    page.text("<p class=dim>* of this machine, which is none to judge a disk by.</p></details>");
}

/// The target's own part, as something grows.
fn growth(page: &mut Page, results: &Results, group: &str, title: &str, log: bool) {
    let counts = |target: &str| {
        let target = target.to_owned();
        results
            .counts
            .iter()
            .filter(move |c| c.group == group && c.target == target && c.x > 0)
    };
    let mut traces: Vec<Box<dyn plotly::Trace>> = Vec::new();
    let symbols = [
        DashType::Solid,
        DashType::Dash,
        DashType::Dot,
        DashType::DashDot,
    ];
    for (target, dash) in results
        .targets()
        .into_iter()
        .zip(symbols.into_iter().cycle())
    {
        if counts(target).next().is_none() {
            continue;
        }
        for (who, colour) in [("C", C), ("Rust", RUST)] {
            let x: Vec<u64> = counts(target).map(|c| c.x).collect();
            let y = counts(target).map(|c| c.own(if who == "C" { c.c } else { c.rust }));
            let line = Line::new().color(colour).width(2.0).dash(dash.clone());
            traces.push(
                Scatter::new(x, y.collect())
                    .name(format!("{target}, {who}"))
                    .mode(Mode::LinesMarkers)
                    .line(line)
                    .marker(Marker::new().color(colour).size(5)),
            );
        }
    }
    if traces.is_empty() {
        return;
    }
    let axis = |title: &str, log: bool| {
        let axis = Axis::new().title(title);
        if log {
            axis.type_(AxisType::Log)
        } else {
            axis
        }
    };
    let steps: Vec<f64> = {
        let mut x: Vec<u64> = results
            .counts
            .iter()
            .filter(|c| c.group == group && c.x > 0)
            .map(|c| c.x)
            .collect();
        x.sort_unstable();
        x.dedup();
        x.into_iter().map(|x| x as f64).collect()
    };
    let labels: Vec<String> = steps
        .iter()
        .map(|x| match group {
            "size" => dm_rust_bench::row::size_text(*x as u64),
            _ => number(*x),
        })
        .collect();
    let x = axis(title, log).tick_values(steps).tick_text(labels);
    let y = axis(
        "instructions, the target's own",
        group == "size" || group == "table",
    );
    let layout = Layout::new()
        .x_axis(x)
        .y_axis(y)
        .legend(Legend::new().orientation(Orientation::Horizontal).y(1.3));
    page.plot(360, traces, layout);
}

fn profile(page: &mut Page, profile: &Profile) {
    let functions: Vec<_> = profile.functions.iter().take(24).collect();
    let names: Vec<String> = functions
        .iter()
        .map(|f| {
            let mut name: String = f.name.chars().take(70).collect();
            if name.len() < f.name.len() {
                name.push('…');
            }
            name
        })
        .collect();
    let bars = |who: &'static str, colour: &'static str, values: Vec<f64>| {
        Bar::new(values, names.clone())
            .name(who)
            .orientation(Orientation::Horizontal)
            .marker(Marker::new().color(colour))
    };
    let c = bars("C", C, functions.iter().map(|f| f.c - f.floor).collect());
    let rust = bars(
        "Rust",
        RUST,
        functions.iter().map(|f| f.rust - f.floor).collect(),
    );
    let _ = writeln!(
        page.body,
        "<details open><summary><b>{}</b>, {}</summary>",
        profile.target, profile.row
    );
    let y = Axis::new()
        .auto_range(false)
        .range(vec![functions.len() as f64 - 0.5, -0.5]);
    let layout = Layout::new()
        .bar_mode(BarMode::Group)
        .x_axis(Axis::new().title("instructions per I/O beyond the lower device's"))
        .y_axis(y.dtick(1.0))
        .legend(Legend::new().orientation(Orientation::Horizontal).y(1.06));
    page.plot(100 + functions.len() * 24, vec![c, rust], layout);
    let mut moved: Vec<_> = profile
        .functions
        .iter()
        .filter(|f| (f.rust - f.c).abs() >= 0.5)
        .collect();
    moved.sort_by(|a, b| (b.rust - b.c).abs().total_cmp(&(a.rust - a.c).abs()));
    page.table(
        &["function", "C", "Rust", "Rust − C"],
        moved.iter().take(16).map(|f| {
            vec![
                format!("<code>{}</code>", escape(&f.name)),
                format!("{:.1}", f.c),
                format!("{:.1}", f.rust),
                verdict(f.rust - f.c, 0.0, format!("{:+.1}", f.rust - f.c)),
            ]
        }),
        1,
    );
    page.text("</details>");
}

fn count_table(page: &mut Page, results: &Results) {
    page.section(
        "All counts",
        "Medians of the repeats. What a count holds: all instructions of the guest from before the system call to \
         after it, in the twentieth of the I/Os that took the fewest, so that ticks of the clock are not in it.",
    );
    page.text("<details><summary>The table</summary>");
    page.table(
        &[
            "target",
            "what",
            "lower device*",
            "C*",
            "Rust*",
            "Rust − C",
            "whole",
            "own",
            "spread of C, Rust*",
            "repeats*",
        ],
        results.counts.iter().map(|c| {
            let difference = c.difference();
            vec![
                c.target.clone(),
                escape(&c.row),
                c.floor.map_or("–".to_owned(), |f| number(f.value)),
                number(c.c.value),
                number(c.rust.value),
                verdict(difference, c.noise(), signed(difference)),
                percent(difference / c.c.value),
                percent(difference / c.own(c.c)),
                format!("{}, {}", number(c.c.spread()), number(c.rust.spread())),
                c.rust.n.to_string(),
            ]
        }),
        2,
    );
    page.text("</details>");
}

fn memory(page: &mut Page, results: &Results) {
    if results.memory.is_empty() && results.modules.is_empty() {
        return;
    }
    page.section(
        "Memory",
        "Bytes. What grows with devices, segments and I/O, and what the modules take.",
    );
    let measured = results
        .memory
        .iter()
        .map(|m| (m.target.as_str(), m.what.as_str(), m.c, m.rust));
    let code = results.code.iter().map(|c| {
        (
            c.target.as_str(),
            "its own functions",
            c.c as f64,
            c.rust as f64,
        )
    });
    page.table(
        &["target", "of", "C", "Rust", "Rust − C"],
        measured.chain(code).map(|(target, what, c, rust)| {
            let difference = verdict((rust - c).round(), 0.0, signed(rust - c));
            vec![
                target.to_owned(),
                what.to_owned(),
                number(c),
                number(rust),
                difference,
            ]
        }),
        2,
    );
    page.table(
        &[
            "module",
            "code",
            "constants",
            "variables",
            "other (freed after loading, or the kernel's tables)",
        ],
        results.modules.iter().map(|m| {
            let mut row = vec![m.name.clone()];
            row.extend([m.code, m.constants, m.variables, m.other].map(|n| number(n as f64)));
            row
        }),
        1,
    );
    page.text("<p class=dim>dm-mod holds linear, striped and error beside all of device mapper; dm-rust all of ours.</p>");
}

/// The page.
pub fn page(results: &Results) -> Result<String> {
    let mut page = Page::default();
    page.text("<h1>dm-rust beside the in-tree targets</h1>");
    let meta = |name: &str| results.meta.get(name).map_or("?", String::as_str);
    let _ = writeln!(
        page.body,
        "<p class=dim>Kernel {}, {}, {}. Measured {} at commit {} by <code>{}</code>.</p>",
        escape(meta("kernel")),
        escape(meta("qemu")),
        escape(meta("rustc")),
        escape(meta("date")),
        escape(meta("commit")),
        escape(meta("command")),
    );
    headline(&mut page, results);
    differences(&mut page, results);
    wholes(&mut page, results);
    speeds(&mut page, results);
    let has = |group: &str| results.counts.iter().any(|c| c.group == group);
    if ["size", "depth", "stripes", "table"].into_iter().any(has) {
        page.section(
            "As work grows",
            "Instructions of 4 KiB random reads where nothing else is said.",
        );
        page.text("<div class=pair>");
        for (group, title, log) in [
            ("size", "size of the I/O", true),
            ("depth", "mapped devices on top of each other", false),
            ("stripes", "stripes", true),
            ("table", "segments of a table that is loaded", true),
        ] {
            growth(&mut page, results, group, title, log);
        }
        page.text("</div>");
    }
    if !results.profiles.is_empty() {
        page.section(
            "Where it goes",
            "What the targets add to the lower device, by function; below each plot the functions in which they differ.",
        );
        for one in &results.profiles {
            profile(&mut page, one);
        }
    }
    memory(&mut page, results);
    count_table(&mut page, results);

    let scripts = Plot::offline_js_sources();
    // Of the two libraries in there, the one for formulas is not used.
    let library = scripts
        .split("</script>")
        .find(|script| script.contains("plotly.js v"))
        .context("the plotly crate holds no plotly.js")?;
    Ok(format!(
        "<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\n\
         <title>dm-rust beside the in-tree targets</title>\n<style>\n{}</style>\n{}\n\
         {library}</script>\n<script>\nconst plots = {{\n{}\n}};\n{}</script>\n",
        include_str!("page.css"),
        page.body,
        page.plots.join(",\n"),
        include_str!("page.js"),
    ))
}

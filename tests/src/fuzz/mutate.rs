// SPDX-License-Identifier: GPL-2.0

//! One mistake in a table.

use super::tokens::{any, bad_device, decorate, device, edge, number, pick};
use super::Plan;
use fastrand::Rng;

/// Makes one mistake; by chance the table may be as valid as before.
pub fn slip(rng: &mut Rng, plan: &mut Plan) {
    match rng.u32(..16) {
        0..11 => {
            let line = rng.usize(..plan.table.len());
            arguments(rng, &mut plan.table[line].params);
        }
        11..15 => layout(rng, plan),
        _ => plan.read_only = !plan.read_only,
    }
}

/// A mistake in the arguments of a line.
fn arguments(rng: &mut Rng, params: &mut String) {
    let mut tokens: Vec<String> = params.split(' ').map(str::to_owned).collect();
    let at = rng.usize(..tokens.len());
    match rng.u32(..16) {
        0 => drop(tokens.remove(at)),
        1 => tokens.insert(at, any(rng)),
        2 => tokens.push(any(rng)),
        3 => tokens.insert(at, tokens[at].clone()),
        4 => {
            let other = rng.usize(..tokens.len());
            tokens.swap(at, other);
        }
        5..9 => {
            let numbers: Vec<_> = (0..tokens.len())
                .filter(|i| tokens[*i].parse::<u64>().is_ok())
                .collect();
            match numbers.is_empty() {
                true => tokens.push(number(rng)),
                false => {
                    let at = pick(rng, &numbers);
                    tokens[at] = match rng.u32(..4) {
                        0 => near(rng, &tokens[at]),
                        _ => number(rng),
                    };
                }
            }
        }
        9..11 => tokens[at] = decorate(rng, &tokens[at]),
        11..14 => {
            let devices: Vec<_> = (0..tokens.len())
                .filter(|i| tokens[*i].starts_with('{'))
                .collect();
            let at = match devices.is_empty() {
                true => at,
                false => pick(rng, &devices),
            };
            tokens[at] = match rng.u32(..4) {
                0 => device(rng),
                1 => decorate(rng, &tokens[at]),
                _ => bad_device(rng),
            };
        }
        14 => {
            *params = spaced(rng, params);
            return;
        }
        _ => tokens.truncate(at),
    }
    *params = tokens.join(" ");
}

/// A number next to it.
fn near(rng: &mut Rng, token: &str) -> String {
    let number: u64 = token.parse().unwrap_or_default();
    let by = pick(rng, &[1, 1, 7, 8, 64]);
    match rng.bool() {
        true => number.wrapping_add(by),
        false => number.wrapping_sub(by),
    }
    .to_string()
}

/// Other white space.
fn spaced(rng: &mut Rng, params: &str) -> String {
    match rng.u32(..9) {
        0 => format!("  {params}"),
        1 => format!("{params}  "),
        2 => format!("{params}\n"),
        3 => params.replace(' ', "\t"),
        4 => params.replace(' ', "\n \u{b}"),
        5 => params.replacen(' ', "\\ ", 1),
        6 => params.replacen(' ', "  ", 1),
        7 => params.replace(' ', "\u{a0}"),
        _ => format!("{params} \\"),
    }
}

/// A mistake in how the lines lie.
fn layout(rng: &mut Rng, plan: &mut Plan) {
    let table = &mut plan.table;
    let at = rng.usize(..table.len());
    match rng.u32(..32) {
        0..6 => {
            let len = &mut table[at].len;
            *len = match rng.bool() {
                true => len.wrapping_add(pick(rng, &[1, 7, 8])),
                false => len.wrapping_sub(pick(rng, &[1, 7, 8])),
            };
        }
        6..9 => table[at].len = edge(rng),
        9..11 => table[at].start = edge(rng),
        11..14 => {
            let start = &mut table[at].start;
            *start = match rng.bool() {
                true => start.wrapping_add(pick(rng, &[1, 8])),
                false => start.wrapping_sub(pick(rng, &[1, 8])),
            };
        }
        14..16 => drop(table.remove(at)),
        16..18 => table.insert(at, table[at].clone()),
        18..20 => {
            let other = rng.usize(..table.len());
            table.swap(at, other);
        }
        // The whole rest of a size that fits no block.
        20..26 => {
            let by = pick(rng, &[1, 3, 4]);
            table[at].len = table[at].len.saturating_sub(by).max(1);
            let mut next = 0;
            for line in table {
                line.start = next;
                next = next.saturating_add(line.len);
            }
        }
        26..31 => {
            let target = pick(rng, &super::TARGETS);
            table[at].target = target.to_owned();
        }
        // The kernel starts a program to look for one that it does not know, so
        // this takes long.
        _ if rng.bool() => table[at].target = pick(rng, &["no-such", "", "linea", "zeroes"]).into(),
        _ => table.clear(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::{generate::valid, Mood};

    #[test]
    fn most_slips_change_the_plan() {
        let mut rng = Rng::with_seed(5);
        let mut same = 0;
        for _ in 0..2000 {
            let before = Plan {
                mood: Mood::Slip,
                read_only: false,
                live: true,
                vanish: None,
                table: valid(&mut rng, false, false),
                messages: Vec::new(),
                io: Vec::new(),
            };
            let mut after = before.clone();
            slip(&mut rng, &mut after);
            same += u32::from(before == after);
        }
        assert!(same < 250, "{same} of 2000 are unchanged");
    }
}

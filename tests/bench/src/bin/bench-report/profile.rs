// SPDX-License-Identifier: GPL-2.0

//! Puts what the profiler has counted down to functions.

use crate::results::{Function, Profile};
use anyhow::{Context, Result};
use dm_rust_bench::{Record, Who};
use std::collections::BTreeMap;

/// Where functions begin, in order.
pub struct Symbols(Vec<(u64, String)>);

impl Symbols {
    /// Of lines `symbol ADDRESS NAME [MODULE]`, which the guest has printed.
    pub fn of<'a>(lines: impl Iterator<Item = &'a str>) -> Symbols {
        let symbols = lines.filter_map(|line| {
            let mut words = line.strip_prefix("symbol ")?.split_ascii_whitespace();
            let address = u64::from_str_radix(words.next()?, 16).ok()?;
            let name = format!("{:#}", rustc_demangle::demangle(words.next()?));
            let module = words.next().map_or(String::new(), |m| format!(" {m}"));
            Some((address, format!("{name}{module}")))
        });
        let mut symbols: Vec<_> = symbols.collect();
        symbols.sort();
        symbols.dedup_by_key(|(address, _)| *address);
        Symbols(symbols)
    }

    /// The function that an address lies in.
    fn name(&self, address: u64) -> &str {
        const KERNEL: u64 = 1 << 63;
        if address < KERNEL {
            return "the program";
        }
        let after = self.0.partition_point(|(start, _)| *start <= address);
        let found = after.checked_sub(1).and_then(|at| self.0.get(at));
        found.map_or("elsewhere", |(_, name)| name)
    }
}

/// Instructions of each function, by the number of the window: lines `WINDOW ADDRESS COUNT`.
fn windows(raw: &str, symbols: &Symbols) -> Result<BTreeMap<u64, BTreeMap<String, f64>>> {
    let mut windows: BTreeMap<u64, BTreeMap<String, f64>> = BTreeMap::new();
    for line in raw.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [window, address, count] = words[..] else {
            anyhow::bail!("the profiler wrote `{line}`");
        };
        let address = u64::from_str_radix(address, 16).context("an address")?;
        let functions = windows.entry(window.parse()?).or_default();
        let name = symbols.name(address).to_owned();
        *functions.entry(name).or_default() += count.parse::<f64>()?;
    }
    Ok(windows)
}

/// What belongs together: the windows of one row.
pub fn profiles(records: &[Record], raw: &str, symbols: &Symbols) -> Result<Vec<Profile>> {
    let windows = windows(raw, symbols)?;
    let mut profiles: Vec<(Profile, BTreeMap<String, Function>)> = Vec::new();
    for record in records {
        let Record::Window {
            number,
            target,
            row,
            who,
            n,
        } = record
        else {
            continue;
        };
        let counted = windows.get(number);
        let counted = counted.with_context(|| format!("the profiler lacks window {number}"))?;
        let same = |p: &Profile| p.target == *target && p.row == *row;
        if !profiles.last().is_some_and(|(p, _)| same(p)) {
            let profile = Profile {
                target: target.clone(),
                row: row.clone(),
                functions: Vec::new(),
            };
            profiles.push((profile, BTreeMap::new()));
        }
        let Some((_, functions)) = profiles.last_mut() else {
            continue;
        };
        for (name, count) in counted {
            let function = functions.entry(name.clone()).or_default();
            let side = match who {
                Who::Floor => &mut function.floor,
                Who::C => &mut function.c,
                Who::Rust => &mut function.rust,
            };
            *side += count / *n as f64;
        }
    }
    let profiles = profiles.into_iter().map(|(mut profile, functions)| {
        let mut all: Vec<Function> = functions
            .into_iter()
            .map(|(name, f)| Function { name, ..f })
            // What dm adds or changes; less than half an instruction is a tick of the clock.
            .filter(|f| (f.c - f.floor).abs().max((f.rust - f.floor).abs()) >= 0.5)
            .collect();
        let added = |f: &Function| f.c.max(f.rust) - f.floor;
        all.sort_by(|a, b| added(b).total_cmp(&added(a)));
        profile.functions = all;
        profile
    });
    Ok(profiles.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_put_down_to_functions() {
        let lines = [
            "symbol ffffffff81000000 memcpy",
            "symbol ffffffffc0000010 dm_submit_bio [dm_mod]",
            "symbol ffffffffc0000040 clone_endio [dm_mod]",
        ];
        let symbols = Symbols::of(lines.into_iter());
        let window = |number, who| Record::Window {
            number,
            target: "linear".to_owned(),
            row: "read".to_owned(),
            who,
            n: 2,
        };
        let records = [window(0, Who::C), window(1, Who::Rust)];
        let raw = "0 ffffffffc0000014 10\n0 ffffffffc000003f 2\n0 4000 7\n1 ffffffffc0000040 6\n";
        let profiles = profiles(&records, raw, &symbols).unwrap();
        let [profile] = &profiles[..] else {
            panic!("one profile, not {profiles:?}")
        };
        let of = |name: &str| {
            let found = profile.functions.iter().find(|f| f.name == name);
            found.map(|f| (f.c, f.rust))
        };
        assert_eq!(of("dm_submit_bio [dm_mod]"), Some((6.0, 0.0)));
        assert_eq!(of("clone_endio [dm_mod]"), Some((0.0, 3.0)));
        assert_eq!(of("the program"), Some((3.5, 0.0)));
    }
}

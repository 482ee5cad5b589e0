// SPDX-License-Identifier: GPL-2.0

//! What the records come to.

use dm_rust_bench::{Record, Who};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A figure that was taken several times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// The median of them.
    pub value: f64,
    pub min: f64,
    pub max: f64,
    /// How many.
    pub n: u64,
}

impl Figure {
    pub fn of(mut values: Vec<f64>) -> Option<Figure> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let n = values.len();
        let value = (values[(n - 1) / 2] + values[n / 2]) / 2.0;
        let n = n as u64;
        Some(Figure { value, min, max, n })
    }

    /// How far the values lie apart.
    pub fn spread(&self) -> f64 {
        self.max - self.min
    }
}

/// Instructions of one row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Count {
    pub group: String,
    pub target: String,
    pub row: String,
    pub x: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<Figure>,
    pub c: Figure,
    pub rust: Figure,
}

impl Count {
    /// Whether it is instructions per I/O.
    pub fn is_io(&self) -> bool {
        self.group != "table"
    }

    /// How many more ours takes.
    pub fn difference(&self) -> f64 {
        self.rust.value - self.c.value
    }

    /// What is no difference: how far repeats lie apart, and two instructions in any case.
    pub fn noise(&self) -> f64 {
        self.c.spread().max(self.rust.spread()).max(2.0)
    }

    /// The target's own part, without the lower device's.
    pub fn own(&self, figure: Figure) -> f64 {
        figure.value - self.floor.map_or(0.0, |f| f.value)
    }
}

/// Pairs of runs of fio.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Speed {
    pub target: String,
    pub row: String,
    pub cpus: u64,
    /// Ours by the twin's, pair by pair.
    pub throughput: Figure,
    pub latency: Figure,
    /// Of the latency that one completion of a hundred exceeds.
    pub p99: Figure,
    /// Medians of what the ratios are made of; they say something about the machine.
    pub c_iops: f64,
    pub rust_iops: f64,
    pub c_latency_ns: f64,
    pub rust_latency_ns: f64,
}

/// Bytes of memory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Memory {
    pub target: String,
    pub what: String,
    pub c: f64,
    pub rust: f64,
}

/// Bytes of a module.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Module {
    pub name: String,
    pub code: u64,
    pub constants: u64,
    pub variables: u64,
    /// Of what is freed after loading, and of tables for the kernel's own use.
    pub other: u64,
}

/// Bytes of a target's own functions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Code {
    pub target: String,
    pub c: u64,
    pub rust: u64,
}

/// Instructions per I/O of one function.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Function {
    pub name: String,
    pub floor: f64,
    pub c: f64,
    pub rust: f64,
}

/// Where the instructions of a row go.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Profile {
    pub target: String,
    pub row: String,
    /// Those that dm adds to the lower device, the most expensive first.
    pub functions: Vec<Function>,
}

/// All of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Results {
    /// What it was measured with.
    pub meta: BTreeMap<String, String>,
    pub counts: Vec<Count>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub speed: Vec<Speed>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub memory: Vec<Memory>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<Module>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub code: Vec<Code>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<Profile>,
}

/// Groups by a key, in the order of first appearance.
struct Ordered<K, V>(Vec<(K, V)>);

impl<K: PartialEq, V: Default> Ordered<K, V> {
    fn entry(&mut self, key: K) -> &mut V {
        let at = match self.0.iter().position(|(k, _)| *k == key) {
            Some(at) => at,
            None => {
                self.0.push((key, V::default()));
                self.0.len() - 1
            }
        };
        &mut self.0[at].1
    }
}

type Values = BTreeMap<Who, Vec<f64>>;

impl Results {
    /// Sums up what the guests have printed.
    pub fn of(records: &[Record], meta: BTreeMap<String, String>) -> Results {
        let mut counts = Ordered::<_, (u64, Values)>(Vec::new());
        let mut speeds = Ordered::<_, BTreeMap<(Who, u64), [f64; 3]>>(Vec::new());
        let mut memory = Ordered::<_, Values>(Vec::new());
        let mut results = Results {
            meta,
            ..Results::default()
        };
        // Boots that measure the same number their pairs alike.
        let mut pairs_before = 0;
        for record in records.iter().cloned() {
            match record {
                Record::Count {
                    group,
                    target,
                    row,
                    x,
                    who,
                    low,
                    ..
                } => {
                    let entry = counts.entry((group, target, row));
                    entry.0 = x;
                    entry.1.entry(who).or_default().push(low);
                }
                Record::Speed {
                    target,
                    row,
                    cpus,
                    pair,
                    who,
                    iops,
                    latency_ns,
                    p99_ns,
                } => {
                    let pair = pair + pairs_before;
                    let entry = speeds.entry((target, row, cpus));
                    entry.insert((who, pair), [iops, latency_ns, p99_ns]);
                }
                Record::Memory {
                    target,
                    what,
                    who,
                    bytes,
                } => memory
                    .entry((target, what))
                    .entry(who)
                    .or_default()
                    .push(bytes),
                Record::Guest { kernel, .. } => {
                    results.meta.insert("kernel".to_owned(), kernel);
                    pairs_before += 1000;
                }
                Record::Window { .. } => {}
            }
        }
        let figure = |values: &Values, who| Figure::of(values.get(&who).cloned()?);
        results.counts.extend(
            counts
                .0
                .iter()
                .filter_map(|((group, target, row), (x, values))| {
                    Some(Count {
                        group: group.clone(),
                        target: target.clone(),
                        row: row.clone(),
                        x: *x,
                        floor: figure(values, Who::Floor),
                        c: figure(values, Who::C)?,
                        rust: figure(values, Who::Rust)?,
                    })
                }),
        );
        results
            .speed
            .extend(speeds.0.iter().filter_map(|((target, row, cpus), sides)| {
                let side = |who| sides.iter().filter(move |((w, _), _)| *w == who);
                let ratio = |part: usize| {
                    let pairs = side(Who::Rust).filter_map(|((_, pair), ours)| {
                        Some(ours[part] / sides.get(&(Who::C, *pair))?[part])
                    });
                    Figure::of(pairs.collect())
                };
                let median = |who, part: usize| {
                    Some(Figure::of(side(who).map(|(_, values)| values[part]).collect())?.value)
                };
                Some(Speed {
                    target: target.clone(),
                    row: row.clone(),
                    cpus: *cpus,
                    throughput: ratio(0)?,
                    latency: ratio(1)?,
                    p99: ratio(2)?,
                    c_iops: median(Who::C, 0)?,
                    rust_iops: median(Who::Rust, 0)?,
                    c_latency_ns: median(Who::C, 1)?,
                    rust_latency_ns: median(Who::Rust, 1)?,
                })
            }));
        results
            .memory
            .extend(memory.0.iter().filter_map(|((target, what), values)| {
                Some(Memory {
                    target: target.clone(),
                    what: what.clone(),
                    c: figure(values, Who::C)?.value,
                    rust: figure(values, Who::Rust)?.value,
                })
            }));
        results
    }

    /// The targets, in the order of measurement.
    pub fn targets(&self) -> Vec<&str> {
        let mut targets: Vec<&str> = Vec::new();
        for count in &self.counts {
            if !targets.contains(&count.target.as_str()) {
                targets.push(&count.target);
            }
        }
        targets
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn count(target: &str, row: &str, who: Who, low: f64) -> Record {
        Record::Count {
            group: "io".to_owned(),
            target: target.to_owned(),
            row: row.to_owned(),
            x: 4096,
            who,
            low,
            median: low,
            mean: low,
            n: 1,
        }
    }

    #[test]
    fn repeats_become_figures() {
        let mut records = Vec::new();
        for low in [10.0, 12.0, 11.0] {
            records.push(count("linear", "read", Who::Floor, low - 5.0));
            records.push(count("linear", "read", Who::C, low));
            records.push(count("linear", "read", Who::Rust, low - 1.0));
        }
        let results = Results::of(&records, BTreeMap::new());
        let [row] = &results.counts[..] else {
            panic!("one row, not {:?}", results.counts)
        };
        assert_eq!((row.c.value, row.c.spread(), row.c.n), (11.0, 2.0, 3));
        assert_eq!((row.difference(), row.own(row.c)), (-1.0, 5.0));
        assert_eq!(results.targets(), ["linear"]);
    }

    #[test]
    fn ratios_are_taken_pair_by_pair() {
        let speed = |who, pair, iops| Record::Speed {
            target: "linear".to_owned(),
            row: "read".to_owned(),
            cpus: 2,
            pair,
            who,
            iops,
            latency_ns: 1.0 / iops,
            p99_ns: 2.0 / iops,
        };
        // The machine gets faster by the half from pair to pair, both sides alike.
        let records = [
            speed(Who::C, 0, 100.0),
            speed(Who::Rust, 0, 110.0),
            speed(Who::C, 1, 150.0),
            speed(Who::Rust, 1, 165.0),
        ];
        let results = Results::of(&records, BTreeMap::new());
        let row = &results.speed[0];
        assert!((row.throughput.value - 1.1).abs() < 1e-9);
        assert!(row.throughput.spread() < 1e-9);
        for figure in [row.latency, row.p99] {
            assert!((figure.value - 1.0 / 1.1).abs() < 1e-9);
        }
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The sizes of modules and of their functions.

use crate::results::{Code, Module};
use anyhow::{ensure, Context, Result};
use dm_rust_bench::subject::SUBJECTS;
use object::{Object, ObjectSection, ObjectSymbol, SectionFlags, SymbolKind};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// The bytes of a module, unpacked.
fn read(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_some_and(|e| e == "xz") {
        let out = Command::new("xz").arg("-dc").arg(path).output();
        let out = out.context("cannot start xz")?;
        ensure!(out.status.success(), "xz cannot read {}", path.display());
        return Ok(out.stdout);
    }
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn module(name: &str, file: &object::File) -> Module {
    const WRITE: u64 = 1;
    const ALLOC: u64 = 2;
    const EXEC: u64 = 4;
    let mut module = Module {
        name: name.to_owned(),
        code: 0,
        constants: 0,
        variables: 0,
        other: 0,
    };
    for section in file.sections() {
        let SectionFlags::Elf { sh_flags } = section.flags() else {
            continue;
        };
        if sh_flags & ALLOC == 0 {
            continue;
        }
        let name = section.name().unwrap_or_default();
        let part = match () {
            () if name.starts_with(".init") || name.starts_with(".exit") => &mut module.other,
            () if sh_flags & EXEC != 0 => &mut module.code,
            () if name.starts_with(".rodata") => &mut module.constants,
            () if name.starts_with(".data") || name == ".bss" => &mut module.variables,
            () if sh_flags & WRITE != 0 && !name.starts_with('_') && !name.starts_with('.') => {
                &mut module.variables
            }
            () => &mut module.other,
        };
        *part += section.size();
    }
    module
}

/// Bytes of the functions that `is_ours` says so of.
fn code(file: &object::File, is_ours: impl Fn(&str) -> bool) -> u64 {
    let functions = file.symbols().filter(|s| s.kind() == SymbolKind::Text);
    let functions = functions.filter(|s| s.name().is_ok_and(&is_ours));
    functions.map(|s| s.size()).sum()
}

/// The sizes of our module and of the ones with the twins, in `tree`, and of each target's code.
pub fn sizes(ours: &Path, tree: &Path) -> Result<(Vec<Module>, Vec<Code>)> {
    let bytes = read(ours)?;
    let ours = object::File::parse(&*bytes).context("our module")?;
    let mut modules = vec![module("dm-rust", &ours)];
    let mut in_tree = BTreeMap::new();
    let mut codes = Vec::new();
    for subject in SUBJECTS {
        if !in_tree.contains_key(subject.module) {
            let path = [".ko.xz", ".ko"]
                .map(|end| tree.join(format!("{}{end}", subject.module)))
                .into_iter()
                .find(|path| path.exists())
                .with_context(|| format!("{} is not in {}", subject.module, tree.display()))?;
            in_tree.insert(subject.module, read(&path)?);
        }
        let Some(bytes) = in_tree.get(subject.module) else {
            continue;
        };
        let theirs = object::File::parse(&**bytes).context(subject.module)?;
        if !modules.iter().any(|m| m.name == subject.module) {
            modules.push(module(subject.module, &theirs));
        }
        if codes.iter().any(|c: &Code| c.target == subject.name) {
            continue;
        }
        let ending = format!("::{}>", subject.type_name);
        codes.push(Code {
            target: subject.name.to_owned(),
            c: code(&theirs, |name| name.starts_with(subject.prefix)),
            rust: code(&ours, |name| {
                let name = format!("{:#}", rustc_demangle::demangle(name));
                name.contains(&ending) || name.contains(&format!("targets::{}::", subject.name))
            }),
        });
    }
    Ok((modules, codes))
}

// SPDX-License-Identifier: GPL-2.0

//! Where the keys are in a table, and what is shown in their place.

use zeroize::Zeroizing;

/// The arguments with a zero in the place of each character of a key.
pub(super) fn hidden(target: &str, args: &Zeroizing<String>) -> Zeroizing<String> {
    // A target of this project takes the arguments of the in-tree one that it stands for.
    match target.strip_prefix("rust-").unwrap_or(target) {
        "crypt" | "inlinecrypt" => hide_second_word(args),
        "integrity" => ["internal_hash:", "journal_crypt:", "journal_mac:"]
            .iter()
            .fold(args.clone(), |args, option| hide_after(&args, option)),
        _ => args.clone(),
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

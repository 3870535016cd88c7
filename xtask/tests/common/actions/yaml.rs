//! The YAML that our workflows are written in: mappings and lists by indentation, plain and quoted texts, short lists in brackets, `|` and `>-`.

use serde_json::{Map, Value};

/// Reads a file.
pub fn parse(text: &str) -> Value {
    let lines: Vec<&str> = text.lines().collect();
    let mut at = 0;
    node(&lines, &mut at, 0)
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn is_nothing(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

/// What is indented by this much at least.
fn node(lines: &[&str], at: &mut usize, least: usize) -> Value {
    while *at < lines.len() && is_nothing(lines[*at]) {
        *at += 1;
    }
    let Some(first) = lines.get(*at).filter(|line| indent(line) >= least) else {
        return Value::Null;
    };
    let own = indent(first);
    if first.trim_start().starts_with("- ") { list(lines, at, own) } else { map(lines, at, own) }
}

fn list(lines: &[&str], at: &mut usize, own: usize) -> Value {
    let mut all = Vec::new();
    while let Some(line) = lines.get(*at) {
        if is_nothing(line) {
            *at += 1;
            continue;
        }
        if indent(line) != own || !line.trim_start().starts_with("- ") {
            break;
        }
        // An entry is a mapping whose first line has a dash before it.
        let mut inside: Vec<String> = vec![line.replacen("- ", "  ", 1)];
        *at += 1;
        while let Some(next) = lines.get(*at).filter(|n| is_nothing(n) || indent(n) > own) {
            inside.push((*next).to_owned());
            *at += 1;
        }
        let inside: Vec<&str> = inside.iter().map(String::as_str).collect();
        all.push(node(&inside, &mut 0, own + 2));
    }
    Value::Array(all)
}

fn map(lines: &[&str], at: &mut usize, own: usize) -> Value {
    let mut all = Map::new();
    while let Some(line) = lines.get(*at) {
        if is_nothing(line) {
            *at += 1;
            continue;
        }
        if indent(line) != own {
            assert!(indent(line) < own, "indented by another amount: `{line}`");
            break;
        }
        let (name, told) = line.trim().split_once(':').unwrap_or_else(|| panic!("`{line}`"));
        *at += 1;
        // What is behind a space and a number sign is for people.
        let value = match told.split(" #").next().unwrap_or_default().trim() {
            "|" => Value::String(block(lines, at, own, "\n") + "\n"),
            ">-" => Value::String(block(lines, at, own, " ")),
            "" => node(lines, at, own + 1),
            one => scalar(one),
        };
        assert!(all.insert(name.trim().to_owned(), value).is_none(), "`{name}` is there twice");
    }
    Value::Object(all)
}

/// Lines of a text, without their indentation.
fn block(lines: &[&str], at: &mut usize, own: usize, between: &str) -> String {
    let mut all: Vec<&str> = Vec::new();
    let mut least = None;
    while let Some(line) = lines.get(*at).filter(|l| l.trim().is_empty() || indent(l) > own) {
        let least = *least.get_or_insert_with(|| indent(line));
        all.push(line.get(least..).unwrap_or_default());
        *at += 1;
    }
    while all.last().is_some_and(|line| line.is_empty()) {
        all.pop();
    }
    all.join(between)
}

fn scalar(text: &str) -> Value {
    if let Some(inside) = text.strip_prefix('[').and_then(|of| of.strip_suffix(']')) {
        return inside.split(',').map(|one| scalar(one.trim())).collect();
    }
    for quote in ['"', '\''] {
        let inside = text.strip_prefix(quote).and_then(|of| of.strip_suffix(quote));
        if let Some(inside) = inside {
            return Value::String(inside.to_owned());
        }
    }
    match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "{}" => Value::Object(Map::new()),
        text => text.parse::<u64>().map_or_else(|_| Value::String(text.to_owned()), Value::from),
    }
}

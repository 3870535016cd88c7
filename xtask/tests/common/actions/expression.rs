//! Expressions of workflows: `||`, `&&`, `!`, `==`, `!=`, parentheses, texts in quotes, and names of the context.

use serde_json::Value;

/// What an expression is.
pub fn value(text: &str, context: &Value) -> Value {
    let text = text.trim();
    let text = text.strip_prefix("${{").and_then(|of| of.strip_suffix("}}")).unwrap_or(text);
    either(text.trim(), context)
}

/// Whether a value counts as true.
pub fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is) => *is,
        Value::String(text) => !text.is_empty(),
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::Array(_) | Value::Object(_) => true,
    }
}

/// A value as a text has it.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn either(text: &str, context: &Value) -> Value {
    let mut parts = split(text, "||").into_iter().map(|part| both(part, context));
    let first = parts.next().unwrap_or_default();
    parts.fold(first, |before, next| if truth(&before) { before } else { next })
}

fn both(text: &str, context: &Value) -> Value {
    let mut parts = split(text, "&&").into_iter().map(|part| compared(part, context));
    let first = parts.next().unwrap_or_default();
    parts.fold(first, |before, next| if truth(&before) { next } else { before })
}

fn compared(part: &str, context: &Value) -> Value {
    for (sign, equal) in [("==", true), ("!=", false)] {
        if let [left, right] = split(part, sign)[..] {
            let same = text(&one(left, context)) == text(&one(right, context));
            return Value::Bool(same == equal);
        }
    }
    one(part, context)
}

fn one(part: &str, context: &Value) -> Value {
    let part = part.trim();
    if let Some(inside) = part.strip_prefix('(').and_then(|of| of.strip_suffix(')')) {
        return either(inside, context);
    }
    if let Some(denied) = part.strip_prefix('!') {
        return Value::Bool(!truth(&one(denied, context)));
    }
    if let Some(quoted) = part.strip_prefix('\'').and_then(|of| of.strip_suffix('\'')) {
        return Value::String(quoted.to_owned());
    }
    match part {
        // Nothing is cancelled here.
        "cancelled()" => Value::Bool(false),
        name => {
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            assert!(!name.is_empty() && name.chars().all(plain), "`{name}` is not known here");
            context.pointer(&format!("/{}", name.replace('.', "/"))).cloned().unwrap_or_default()
        }
    }
}

/// Parts between signs that stand in no parentheses and no quotes.
fn split<'t>(text: &'t str, sign: &str) -> Vec<&'t str> {
    let (mut parts, mut depth, mut quoted, mut begin) = (Vec::new(), 0, false, 0);
    for (at, c) in text.char_indices() {
        match c {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ if depth == 0 && !quoted && at >= begin && text[at..].starts_with(sign) => {
                parts.push(&text[begin..at]);
                begin = at + sign.len();
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts
}

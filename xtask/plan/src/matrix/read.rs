//! A table of a TOML file, read key by key with positions. What is wrong goes to [`Problems`] and reading goes on,
//! so that one run reports everything. Pure. Knows TOML, nothing of matrices.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::duration;
use super::problem::{Problems, quoted};

/// A table with its place in the file and the name to call it by.
pub struct Table<'t> {
    /// What it is, for messages: "the matrix", "`[measure]`".
    what: String,
    span: Range<usize>,
    entries: &'t DeTable<'t>,
}

impl<'t> Table<'t> {
    /// A table that may hold these keys only: others are reported with the nearest right one.
    pub fn new(
        what: impl Into<String>,
        span: Range<usize>,
        entries: &'t DeTable<'t>,
        keys: &[&str],
        problems: &mut Problems<'_>,
    ) -> Table<'t> {
        let what = what.into();
        for key in entries.keys().filter(|key| !keys.contains(&key.get_ref().as_ref())) {
            let name = key.get_ref();
            problems.unknown(
                key.span(),
                format_args!("key in {what}:"),
                name,
                keys.iter().copied(),
            );
        }
        Table { what, span, entries }
    }

    /// Where the table is.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Where a key's value is, or the table where there is none.
    pub fn span_of(&self, key: &str) -> Range<usize> {
        self.entries.get(key).map_or_else(|| self.span(), Spanned::span)
    }

    /// Whether a key is there, with whatever value.
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Whether a key's value is an array with nothing in it.
    pub fn is_empty_array(&self, key: &str) -> bool {
        let value = self.entries.get(key).map(Spanned::get_ref);
        matches!(value, Some(DeValue::Array(array)) if array.is_empty())
    }

    /// Reports a key that is not there.
    pub fn require(&self, key: &str, example: &str, problems: &mut Problems<'_>) {
        if !self.has(key) {
            let message = format!("missing key `{key}` in {}", self.what);
            problems.add_with_help(self.span(), message, format!("write it as: {example}"));
        }
    }

    /// A string: not empty, without control characters.
    pub fn string(&self, key: &str, problems: &mut Problems<'_>) -> Option<Spanned<&'t str>> {
        let value = self.entries.get(key)?;
        string(value, &format!("`{key}`"), problems)
    }

    /// An array of such strings, none of them twice.
    pub fn strings(&self, key: &str, problems: &mut Problems<'_>) -> Option<Vec<Spanned<&'t str>>> {
        let value = self.entries.get(key)?;
        let DeValue::Array(array) = value.get_ref() else {
            let message = format!("`{key}` must be an array of strings, not {}", kind(value));
            problems.add_with_help(
                value.span(),
                message,
                format!("write it as: {key} = [\"...\"]"),
            );
            return None;
        };
        let what = format!("every value of `{key}`");
        let words: Vec<_> =
            array.iter().filter_map(|value| string(value, &what, problems)).collect();
        let mut seen = std::collections::HashSet::new();
        for word in words.iter().filter(|word| !seen.insert(*word.get_ref())) {
            problems
                .add(word.span(), format!("{} is there twice in `{key}`", quoted(word.get_ref())));
        }
        Some(words)
    }

    /// An array of such strings in which one may be there twice: the words of a command line.
    pub fn words(&self, key: &str, problems: &mut Problems<'_>) -> Option<Vec<Spanned<&'t str>>> {
        let value = self.entries.get(key)?;
        let DeValue::Array(array) = value.get_ref() else {
            let message = format!("`{key}` must be an array of strings, not {}", kind(value));
            let help = format!("write it as: {key} = [\"PROGRAM\", \"ARGUMENT\"]");
            problems.add_with_help(value.span(), message, help);
            return None;
        };
        let what = format!("every word of `{key}`");
        Some(array.iter().filter_map(|value| string(value, &what, problems)).collect())
    }

    /// A whole number in a range.
    pub fn integer(
        &self,
        key: &str,
        range: RangeInclusive<u32>,
        problems: &mut Problems<'_>,
    ) -> Option<u32> {
        let value = self.entries.get(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(digits) => u32::from_str_radix(digits.as_str(), digits.radix()).ok(),
            _ => None,
        };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let message = match value.get_ref() {
                DeValue::Integer(digits) => {
                    format!("{} is out of range", quoted(&digits.to_string()))
                }
                _ => format!("`{key}` must be a whole number, not {}", kind(value)),
            };
            let help =
                format!("`{key}` is a whole number from {} to {}", range.start(), range.end());
            problems.add_with_help(value.span(), message, help);
        }
        number
    }

    /// A number in a range, with or without a fraction.
    pub fn number(
        &self,
        key: &str,
        range: RangeInclusive<f64>,
        problems: &mut Problems<'_>,
    ) -> Option<f64> {
        let value = self.entries.get(key)?;
        let number = match value.get_ref() {
            DeValue::Float(digits) => digits.as_str().replace('_', "").parse::<f64>().ok(),
            DeValue::Integer(digits) => {
                let digits = i64::from_str_radix(digits.as_str(), digits.radix()).ok();
                digits.map(|digits| digits as f64)
            }
            _ => {
                let message = format!("`{key}` must be a number, not {}", kind(value));
                problems.add(value.span(), message);
                return None;
            }
        };
        // Neither bound holds for what is not a number.
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let help = format!("`{key}` is a number from {} to {}", range.start(), range.end());
            problems.add_with_help(value.span(), format!("`{key}` is out of range"), help);
        }
        number
    }

    /// A truth value.
    pub fn boolean(&self, key: &str, problems: &mut Problems<'_>) -> Option<bool> {
        let value = self.entries.get(key)?;
        if let DeValue::Boolean(is) = value.get_ref() {
            return Some(*is);
        }
        let message = format!("`{key}` must be true or false, not {}", kind(value));
        problems.add(value.span(), message);
        None
    }

    /// A duration in a range, with its place.
    pub fn duration(
        &self,
        key: &str,
        range: RangeInclusive<Duration>,
        problems: &mut Problems<'_>,
    ) -> Option<Duration> {
        let value = self.entries.get(key)?;
        let limits = format!(
            "`{key}` is a string from \"{}\" to \"{}\"",
            duration::show(*range.start()),
            duration::show(*range.end())
        );
        let DeValue::String(text) = value.get_ref() else {
            let message = format!("`{key}` must be a duration with a unit, not {}", kind(value));
            problems.add_with_help(value.span(), message, limits);
            return None;
        };
        match duration::parse(text) {
            Ok(length) if range.contains(&length) => return Some(length),
            Ok(_) => {
                problems.add_with_help(
                    value.span(),
                    format!("{} is out of range", quoted(text)),
                    limits,
                );
            }
            Err(why) => {
                let message = format!("{} is not a duration", quoted(text));
                problems.add_with_help(value.span(), message, why);
            }
        }
        None
    }

    /// A table inside this one.
    pub fn table(
        &self,
        key: &str,
        keys: &[&str],
        problems: &mut Problems<'_>,
    ) -> Option<Table<'t>> {
        let value = self.entries.get(key)?;
        table(format!("`[{key}]`"), value, keys, problems)
    }

    /// An array of tables (`[[exclude]]`); nothing where the key is absent.
    pub fn tables(&self, key: &str, keys: &[&str], problems: &mut Problems<'_>) -> Vec<Table<'t>> {
        let Some(value) = self.entries.get(key) else { return Vec::new() };
        let DeValue::Array(array) = value.get_ref() else {
            let message = format!("`{key}` must be an array of tables, not {}", kind(value));
            problems.add_with_help(value.span(), message, format!("write it as: [[{key}]]"));
            return Vec::new();
        };
        array
            .iter()
            .filter_map(|value| table(format!("`[[{key}]]`"), value, keys, problems))
            .collect()
    }

    /// Strings by names that the user chose, from a table inside this one; nothing where the key is absent.
    pub fn named_strings(
        &self,
        key: &str,
        problems: &mut Problems<'_>,
    ) -> Vec<(Spanned<&'t str>, Spanned<&'t str>)> {
        let Some(value) = self.entries.get(key) else { return Vec::new() };
        let DeValue::Table(entries) = value.get_ref() else {
            let message = format!("`{key}` must be a table of strings, not {}", kind(value));
            let help = format!("write it as: {key} = {{ \"NAME\" = \"VALUE\" }}");
            problems.add_with_help(value.span(), message, help);
            return Vec::new();
        };
        let named = entries.iter().filter_map(|(name, value)| {
            let text = string(value, &quoted(name.get_ref()), problems)?;
            Some((Spanned::new(name.span(), name.get_ref().as_ref()), text))
        });
        named.collect()
    }

    /// Names that the user chose in a table inside this one, with their places.
    pub fn names(&self, key: &str) -> Vec<Spanned<&'t str>> {
        let Some(DeValue::Table(entries)) = self.entries.get(key).map(Spanned::get_ref) else {
            return Vec::new();
        };
        entries.keys().map(|name| Spanned::new(name.span(), name.get_ref().as_ref())).collect()
    }

    /// Tables by names that the user chose (`[kernel.NAME]`); nothing where the key is absent.
    pub fn named_tables(
        &self,
        key: &str,
        keys: &[&str],
        problems: &mut Problems<'_>,
    ) -> Vec<(Spanned<&'t str>, Table<'t>)> {
        let Some(value) = self.entries.get(key) else { return Vec::new() };
        let DeValue::Table(entries) = value.get_ref() else {
            let message = format!("`{key}` must be a table of tables, not {}", kind(value));
            problems.add_with_help(value.span(), message, format!("write it as: [{key}.NAME]"));
            return Vec::new();
        };
        let named = entries.iter().filter_map(|(name, value)| {
            let what = format!("[{key}.{}]", name.get_ref());
            let table = table(quoted(&what), value, keys, problems)?;
            Some((Spanned::new(name.span(), name.get_ref().as_ref()), table))
        });
        named.collect()
    }
}

fn table<'t>(
    what: String,
    value: &'t Spanned<DeValue<'t>>,
    keys: &[&str],
    problems: &mut Problems<'_>,
) -> Option<Table<'t>> {
    match value.get_ref() {
        DeValue::Table(entries) => Some(Table::new(what, value.span(), entries, keys, problems)),
        _ => {
            problems.add(value.span(), format!("{what} must be a table, not {}", kind(value)));
            None
        }
    }
}

fn string<'t>(
    value: &'t Spanned<DeValue<'t>>,
    what: &str,
    problems: &mut Problems<'_>,
) -> Option<Spanned<&'t str>> {
    let DeValue::String(text) = value.get_ref() else {
        problems.add(value.span(), format!("{what} must be a string, not {}", kind(value)));
        return None;
    };
    if text.is_empty() {
        problems.add(value.span(), format!("{what} must not be empty"));
        return None;
    }
    if text.contains(char::is_control) {
        problems.add(value.span(), format!("{what} must not hold control characters"));
        return None;
    }
    Some(Spanned::new(value.span(), text.as_ref()))
}

/// What a value is, in words.
fn kind(value: &Spanned<DeValue<'_>>) -> &'static str {
    match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "a truth value",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

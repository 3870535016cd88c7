//! Changes that somebody reviewed and accepted: a TOML file that lies in the repository, so that accepting is a change like any other. Pure.

use serde::Deserialize;

use super::series::Key;
use crate::time::seconds;
use evenkeel_plan::matrix::{quoted, suggestion};

/// What a scope may name.
const SCOPES: [&str; 6] = ["all", "location", "dispersion", "tail", "stall", "between-boot"];

/// Letters of a commit that tell it from others.
const SHORTEST_COMMIT: usize = 7;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Document {
    schema: toml::Spanned<u32>,
    #[serde(default)]
    accept: Vec<toml::Spanned<Table>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Table {
    series: toml::Spanned<String>,
    commit: toml::Spanned<String>,
    reason: toml::Spanned<String>,
    scope: toml::Spanned<Vec<String>>,
    expires: toml::Spanned<String>,
}

/// A change that was accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// Line of the file.
    pub line: usize,
    /// Pattern over `CELL:WORKLOAD`; `*` stands for any letters.
    pub series: String,
    /// The commit that made the change, or its first letters.
    pub commit: String,
    /// Why it is right.
    pub reason: String,
    /// Aspects.
    pub scope: Vec<String>,
    /// First second of the day after which it does not hold any more, and the day as written.
    pub expires: (u64, String),
}

impl Accepted {
    /// Whether it is about a series.
    pub fn covers(&self, key: &Key) -> bool {
        let aspect = self.scope.iter().any(|scope| scope == "all" || *scope == key.aspect);
        aspect && matches(&self.series, &format!("{}:{}", key.cell, key.workload))
    }

    /// Whether it is this commit.
    pub fn is_of(&self, commit: &str) -> bool {
        commit.starts_with(&self.commit)
            || (commit.len() >= SHORTEST_COMMIT && self.commit.starts_with(commit))
    }
}

/// Reads the file. An error names file, line and column.
///
/// # Errors
/// The first mistake.
pub fn parse(text: &str, file: &str) -> Result<Vec<Accepted>, String> {
    let place = |at: usize| {
        let before = text.get(..at.min(text.len())).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    };
    let at = |at: usize, what: String| {
        let (line, column) = place(at);
        format!("{file}:{line}:{column}: {what}")
    };
    let document: Document = toml::from_str(text).map_err(|error| {
        at(error.span().map_or(0, |span| span.start), error.message().to_owned())
    })?;
    if *document.schema.get_ref() != 1 {
        let what = format!("schema {} is not known, only 1", document.schema.get_ref());
        return Err(at(document.schema.span().start, what));
    }
    let mut accepted = Vec::new();
    for table in document.accept {
        let line = place(table.span().start).0;
        let table = table.into_inner();
        for (key, value) in
            [("series", &table.series), ("commit", &table.commit), ("reason", &table.reason)]
        {
            if value.get_ref().trim().is_empty() {
                return Err(at(value.span().start, format!("`{key}` is empty")));
            }
        }
        if table.commit.get_ref().len() < SHORTEST_COMMIT {
            let what = format!(
                "commit {} has fewer than {SHORTEST_COMMIT} letters",
                quoted(table.commit.get_ref())
            );
            return Err(at(table.commit.span().start, what));
        }
        let scope = table.scope.get_ref();
        if scope.is_empty() {
            return Err(at(
                table.scope.span().start,
                format!("`scope` is empty; known: {}", SCOPES.join(", ")),
            ));
        }
        if let Some(odd) = scope.iter().find(|scope| !SCOPES.contains(&scope.as_str())) {
            let near = suggestion(odd, SCOPES).unwrap_or_default();
            return Err(at(
                table.scope.span().start,
                format!("unknown scope {}: {near}", quoted(odd)),
            ));
        }
        let day = table.expires.get_ref();
        let midnight = seconds(day).filter(|_| day.len() == 10).ok_or_else(|| {
            at(table.expires.span().start, format!("{} is no day, as in 2027-01-31", quoted(day)))
        })?;
        accepted.push(Accepted {
            line,
            expires: (midnight + 86_400, day.clone()),
            series: table.series.into_inner(),
            commit: table.commit.into_inner(),
            reason: table.reason.into_inner(),
            scope: table.scope.into_inner(),
        });
    }
    Ok(accepted)
}

/// Whether a text fits a pattern in which `*` stands for any letters.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return text.ends_with(part);
        }
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: &str = "schema = 1\n\n[[accept]]\nseries = \"*/docker/*:tcp-rr\"\ncommit = \"abcdef12\"\nreason = \"new bridge\"\n\
        scope = [\"tail\"]\nexpires = \"2027-01-31\"\n";

    #[test]
    fn patterns() {
        assert!(
            matches("*", "")
                && matches("a*b*c", "a-b-b-c")
                && matches("abc", "abc")
                && matches("*c", "cc")
        );
        assert!(
            !matches("a*b", "ab-")
                && !matches("a*b*c", "acb")
                && !matches("ab", "abc")
                && !matches("aa*aa", "aaa")
        );
    }

    #[test]
    fn what_is_accepted_is_of_series_aspect_and_commit() {
        let [accepted] = &parse(RIGHT, "a.toml").unwrap()[..] else { panic!("one") };
        let key = |cell: &str, aspect: &str| Key {
            cell: cell.into(),
            workload: "tcp-rr".into(),
            aspect: aspect.into(),
            figure: "jitter".into(),
            unit: "ns".into(),
            fingerprint: "f".into(),
        };
        assert!(accepted.covers(&key("running/docker/nat/stock/idle", "tail")));
        assert!(!accepted.covers(&key("running/docker/nat/stock/idle", "location")));
        assert!(!accepted.covers(&key("running/netns/nat/stock/idle", "tail")));
        assert!(
            accepted.is_of("abcdef1234")
                && accepted.is_of("abcdef1")
                && !accepted.is_of("abc")
                && !accepted.is_of("abcdef22")
        );
        assert_eq!((accepted.line, accepted.expires.0), (3, seconds("2027-02-01").unwrap()));
        assert_eq!(parse("schema = 1\n", "a").unwrap(), []);
    }

    #[test]
    fn mistakes_have_their_place() {
        let error = |from: &str, to: &str| parse(&RIGHT.replace(from, to), "a.toml").unwrap_err();
        insta::assert_snapshot!(
            [
                error("schema = 1", "schema = 2"),
                error("schema = 1", ""),
                error("reason", "raison"),
                error("abcdef12", "abc"),
                error("new bridge", " "),
                error("[\"tail\"]", "[]"),
                error("\"tail\"", "\"tial\""),
                error("\"tail\"", "1"),
                error("2027-01-31", "soon"),
                error("expires", "# expires"),
                error("[[accept]]", "[[accept"),
            ]
            .join("\n"),
            @r"
        a.toml:1:10: schema 2 is not known, only 1
        a.toml:1:1: missing field `schema`
        a.toml:6:1: unknown field `raison`, expected one of `series`, `commit`, `reason`, `scope`, `expires`
        a.toml:5:10: commit `abc` has fewer than 7 letters
        a.toml:6:10: `reason` is empty
        a.toml:7:9: `scope` is empty; known: all, location, dispersion, tail, stall, between-boot
        a.toml:7:9: unknown scope `tial`: did you mean `tail`? known: all, location, dispersion, tail, stall, between-boot
        a.toml:7:10: invalid type: integer `1`, expected a string
        a.toml:8:11: `soon` is no day, as in 2027-01-31
        a.toml:3:1: missing field `expires`
        a.toml:3:9: unclosed array table, expected `]]`
        "
        );
    }
}

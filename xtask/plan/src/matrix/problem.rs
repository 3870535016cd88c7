//! What is wrong with a matrix, and where: `file:line:column: message`, the line, a caret under the words, and help.
//! Pure. Knows text and positions, nothing of matrices.

use std::fmt;
use std::ops::Range;

use unicode_width::UnicodeWidthChar;

use super::nearest::nearest;

/// No more problems than this are kept of one file.
const MOST_PROBLEMS: usize = 50;

/// Known names are listed in the help where there are no more than this.
const MOST_LISTED: usize = 16;

/// Columns of a source line that are shown; the rest is cut.
const SHOWN_COLUMNS: usize = 160;

/// Columns of a tab.
const TAB: &str = "    ";

/// Everything that is wrong with one file, by position. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors {
    /// The problems, by position.
    pub problems: Vec<Problem>,
    /// How many more there were than are kept.
    pub dropped: usize,
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, problem) in self.problems.iter().enumerate() {
            if nth > 0 {
                f.write_str("\n\n")?;
            }
            write!(f, "{problem}")?;
        }
        if self.dropped > 0 {
            write!(f, "\n\n... and {} more", self.dropped)?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

/// One thing that is wrong. Its text may hold words of the user's file; they are free of control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file as it was named.
    pub file: String,
    /// 1-based line.
    pub line: usize,
    /// 1-based column, in characters.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
    excerpt: Excerpt,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Excerpt { shown, before, under } = &self.excerpt;
        let gutter = self.line.to_string().len();
        writeln!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        writeln!(f, "{:gutter$} |", "")?;
        writeln!(f, "{:gutter$} | {shown}", self.line)?;
        write!(f, "{:gutter$} | {:before$}{:^>under$}", "", "", "")?;
        match &self.help {
            Some(help) => write!(f, "\n{:gutter$} = help: {help}", ""),
            None => Ok(()),
        }
    }
}

/// The part of a line that is shown, in terminal columns.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Excerpt {
    shown: String,
    before: usize,
    under: usize,
}

/// A file's name and text, with its lines found once.
pub struct Source<'s> {
    file: &'s str,
    text: &'s str,
    line_starts: Vec<usize>,
}

impl<'s> Source<'s> {
    /// A text and the name to call it by.
    pub fn new(file: &'s str, text: &'s str) -> Source<'s> {
        let after_newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        Source { file, text, line_starts: std::iter::once(0).chain(after_newlines).collect() }
    }

    fn problem(&self, span: Range<usize>, message: String, help: Option<String>) -> Problem {
        let start = floor(self.text, span.start);
        let line = self.line_starts.partition_point(|at| *at <= start).max(1);
        let line_start = self.line_starts[line - 1];
        let line_text = self.text[line_start..].lines().next().unwrap_or_default();
        let within = (start - line_start).min(line_text.len());
        let end =
            floor(self.text, span.end).saturating_sub(line_start).clamp(within, line_text.len());
        Problem {
            file: printable(self.file),
            line,
            column: self.text[line_start..start].chars().count() + 1,
            message,
            help,
            excerpt: excerpt(line_text, within..end),
        }
    }
}

/// The nearest character border at or before a byte.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Cuts a line to what is shown, with its tabs expanded, and measures where the span lies in terminal columns.
fn excerpt(line: &str, span: Range<usize>) -> Excerpt {
    let (before, under, after) = (&line[..span.start], &line[span.clone()], &line[span.end..]);
    let before = keep_end(&printable(before), SHOWN_COLUMNS / 2);
    let under = keep_start(&printable(under), SHOWN_COLUMNS / 2);
    let used = width(&before) + width(&under);
    let after = keep_start(&printable(after), SHOWN_COLUMNS.saturating_sub(used));
    Excerpt {
        before: width(&before),
        under: width(&under).max(1),
        shown: format!("{before}{under}{after}").trim_end().to_owned(),
    }
}

fn keep_start(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut left = columns.saturating_sub(3);
    let kept: String = text.chars().take_while(|c| take_columns(*c, &mut left)).collect();
    kept + "..."
}

fn keep_end(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut left = columns.saturating_sub(3);
    let kept: Vec<char> = text.chars().rev().take_while(|c| take_columns(*c, &mut left)).collect();
    "...".chars().chain(kept.into_iter().rev()).collect()
}

/// Takes a character's columns from what is left; false where they are not there any more.
fn take_columns(c: char, left: &mut usize) -> bool {
    let needed = c.width().unwrap_or(0);
    let fits = needed <= *left;
    *left = left.saturating_sub(needed);
    fits
}

/// Terminal columns of a text that is free of control characters.
fn width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// Text from outside, made safe to print: tabs are expanded, control characters and those that turn
/// the direction of writing are replaced.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => shown.push_str(TAB),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                shown.push('\u{fffd}');
            }
            c if c.is_control() => shown.push('\u{fffd}'),
            c => shown.push(c),
        }
    }
    shown
}

/// A word of the user's in a message: in backquotes, printable, and not longer than makes sense.
pub fn quoted(word: &str) -> String {
    format!("`{}`", keep_start(&printable(word), SHOWN_COLUMNS / 2))
}

/// What would be right in place of a wrong name: the nearest one, and all if they are few.
pub fn suggestion<'k>(wrong: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    let known: Vec<&str> = known.into_iter().collect();
    let meant = nearest(wrong, known.iter().copied());
    let meant = meant.map(|name| format!("did you mean {}?", quoted(name)));
    let listed = (1..=MOST_LISTED).contains(&known.len());
    let all = listed.then(|| {
        let shown = known.iter().map(|name| keep_start(&printable(name), SHOWN_COLUMNS / 2));
        format!("known: {}", shown.collect::<Vec<_>>().join(", "))
    });
    match (meant, all) {
        (Some(meant), Some(all)) => Some(format!("{meant} {all}")),
        (meant, all) => meant.or(all),
    }
}

/// Collects problems while a file is read, so that all of them are reported in one go.
pub struct Problems<'s> {
    source: &'s Source<'s>,
    found: Vec<(usize, Problem)>,
    dropped: usize,
}

impl<'s> Problems<'s> {
    /// None found yet.
    pub fn new(source: &'s Source<'s>) -> Problems<'s> {
        Problems { source, found: Vec::new(), dropped: 0 }
    }

    /// Notes that something is wrong at a span of bytes.
    pub fn add(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.push(span, || (message.into(), None));
    }

    /// The same, with what would be right.
    pub fn add_with_help(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(span, || (message.into(), Some(help.into())));
    }

    /// Notes a name that is not among the known ones.
    pub fn unknown<'k>(
        &mut self,
        span: Range<usize>,
        what: impl fmt::Display,
        name: &str,
        known: impl IntoIterator<Item = &'k str>,
    ) {
        self.push(span, || (format!("unknown {what} {}", quoted(name)), suggestion(name, known)));
    }

    fn push(&mut self, span: Range<usize>, words: impl FnOnce() -> (String, Option<String>)) {
        if self.found.len() == MOST_PROBLEMS {
            self.dropped += 1;
            return;
        }
        let (message, help) = words();
        self.found.push((span.start, self.source.problem(span, message, help)));
    }

    /// The 1-based line of a byte.
    pub fn line_of(&self, at: usize) -> usize {
        self.source.line_starts.partition_point(|start| *start <= at).max(1)
    }

    /// Whether nothing was found so far.
    pub fn none(&self) -> bool {
        self.found.is_empty()
    }

    /// What was found, by position. For where something was.
    pub fn into_errors(mut self) -> Errors {
        self.found.sort_by_key(|(at, _)| *at);
        let problems = self.found.into_iter().map(|(_, problem)| problem).collect();
        Errors { problems, dropped: self.dropped }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str, span: Range<usize>) -> String {
        Source::new("m.toml", text).problem(span, "here".into(), None).to_string()
    }

    #[test]
    fn carets_stand_under_the_span_after_tabs_and_wide_characters() {
        insta::assert_snapshot!(shown("a\n\tb = \"x\"\n", 7..10), @r#"
        m.toml:2:6: here
          |
        2 |     b = "x"
          |         ^^^
        "#);
        let text = "k = [\"日本\", \"é\", \"x\"]";
        let at = text.find("\"x\"").unwrap();
        insta::assert_snapshot!(shown(text, at..at + 3), @r#"
        m.toml:1:17: here
          |
        1 | k = ["日本", "é", "x"]
          |                   ^^^
        "#);
    }

    #[test]
    fn carets_of_a_span_over_lines_end_with_the_line() {
        insta::assert_snapshot!(shown("a = [\r\n 1]\r\n", 4..9), @r"
        m.toml:1:5: here
          |
        1 | a = [
          |     ^
        ");
    }

    #[test]
    fn the_end_of_a_file_is_a_position() {
        insta::assert_snapshot!(shown("a =\n", 4..4), @r"
        m.toml:2:1: here
          |
        2 | 
          | ^
        ");
    }

    #[test]
    fn escape_sequences_and_turned_text_are_not_printed() {
        let shown = shown("a = \"\u{1b}[31m\u{202e}\"", 4..6);
        assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'), "{shown:?}");
    }

    #[test]
    fn long_lines_are_cut_around_the_span() {
        let text = format!("{}X{}", "a".repeat(5000), "b".repeat(5000));
        let shown = shown(&text, 5000..5001);
        let widest = shown.lines().map(width).max().unwrap();
        assert!(widest <= SHOWN_COLUMNS + 10, "{widest}");
        let (line, carets) = (shown.lines().nth(2).unwrap(), shown.lines().nth(3).unwrap());
        assert_eq!(line.find('X'), carets.find('^'));
    }

    proptest! {
        #[test]
        fn any_span_of_any_text_can_be_shown(text in "\\PC{0,20}[\n\t\r日é]{0,5}\\PC{0,20}", a in 0usize..80, b in 0usize..80) {
            let problem = Source::new("m.toml", &text).problem(a..b, "here".into(), None);
            prop_assert!(problem.line <= text.matches('\n').count() + 1);
            prop_assert!(problem.to_string().contains('^'));
        }
    }
}

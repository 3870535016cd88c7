//! Text from outside made safe for each sink. Cell names, reasons and tool output are data: nothing in
//! them may become markup, a mention, a link or a terminal command.

use std::fmt::{self, Write};

/// What a single piece of outside text may take in the report, in characters.
const LONGEST: usize = 2_000;

/// The text without terminal escapes, control characters and characters that reorder or hide
/// what follows them; line breaks and tabs become spaces, and an overlong text ends in an ellipsis.
pub(crate) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut taken = 0;
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape_sequence(&mut chars),
            '\n' | '\r' | '\t' => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            c if c.is_control() || reorders_or_hides(c) => {}
            c => {
                taken += 1;
                if taken > LONGEST {
                    out.push('…');
                    break;
                }
                out.push(c);
            }
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// Drops the rest of an ANSI escape: `ESC [ ... letter`, `ESC ] ... BEL`, or one character.
fn skip_escape_sequence(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.peek() {
        Some('[') => {
            chars.next();
            for c in chars.by_ref() {
                if ('\u{40}'..='\u{7e}').contains(&c) {
                    break;
                }
            }
        }
        Some(']') => {
            for c in chars.by_ref() {
                if c == '\u{7}' || c == '\u{9c}' {
                    break;
                }
            }
        }
        _ => {
            chars.next();
        }
    }
}

/// Bidirectional controls (Trojan Source), zero-width characters and non-characters.
fn reorders_or_hides(c: char) -> bool {
    matches!(c,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}' | '\u{e0000}'..='\u{e007f}')
}

/// Writes `text` for HTML and XML, in elements and in quoted attributes.
pub(crate) fn escape_markup(out: &mut impl Write, text: &str) -> fmt::Result {
    clean(text).chars().try_for_each(|c| match c {
        '<' => out.write_str("&lt;"),
        '>' => out.write_str("&gt;"),
        '&' => out.write_str("&amp;"),
        '"' => out.write_str("&quot;"),
        '\'' => out.write_str("&#39;"),
        c => out.write_char(c),
    })
}

/// Writes `text` for GitHub's and GitLab's Markdown, in a table cell or in the middle of a line.
///
/// Everything that could open a span, a table column, a link or raw HTML is escaped; a word joiner
/// (U+2060) breaks `@mention`, `#123`, `://` and `www.`, because those are found in the
/// text *after* backslashes are gone. A single `_` inside a word and a `-` or `.` stay as they are: they mean nothing there.
pub(crate) fn escape_markdown(out: &mut impl Write, text: &str) -> fmt::Result {
    const JOINER: char = '\u{2060}';
    let text = clean(text);
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let next = rest.peek().copied().unwrap_or(' ');
        match c {
            '<' => out.write_str("&lt;")?,
            '>' => out.write_str("&gt;")?,
            '&' => out.write_str("&amp;")?,
            '\\' | '`' | '*' | '[' | ']' | '|' | '~' | '$' | '!' => {
                out.write_char('\\')?;
                out.write_char(c)?;
            }
            '_' if !(before.is_alphanumeric() && next.is_alphanumeric()) => out.write_str("\\_")?,
            '@' | '#' => {
                out.write_char(c)?;
                out.write_char(JOINER)?;
            }
            ':' if next == '/' => {
                out.write_char(c)?;
                out.write_char(JOINER)?;
            }
            '.' if before.eq_ignore_ascii_case(&'w') => {
                out.write_char(JOINER)?;
                out.write_char(c)?;
            }
            '-' if next.is_ascii_digit() && before.eq_ignore_ascii_case(&'h') => {
                out.write_char(JOINER)?;
                out.write_char(c)?;
            }
            c => out.write_char(c)?,
        }
        before = c;
    }
    Ok(())
}

/// The anchor of a cell: `cell=running/docker/bridge/isolated/noisy`, usable both as an id and, unquoted, as a fragment.
pub(crate) fn anchor(cell: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | '-');
    format!("cell={}", cell.chars().map(|c| if safe(c) { c } else { '_' }).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn markup(text: &str) -> String {
        let mut out = String::new();
        escape_markup(&mut out, text).expect("a string takes everything");
        out
    }

    fn markdown(text: &str) -> String {
        let mut out = String::new();
        escape_markdown(&mut out, text).expect("a string takes everything");
        out
    }

    #[test]
    fn terminal_escapes_and_reordering_vanish() {
        assert_eq!(clean("\u{1b}[31mred\u{1b}[0m \u{1b}]0;title\u{7}x\u{202e}y\0"), "red xy");
        assert_eq!(clean("two\r\nlines\n"), "two lines");
        assert_eq!(clean(&"x".repeat(9_000)).chars().count(), LONGEST + 1);
    }

    #[test]
    fn names_stay_readable_in_markdown() {
        assert_eq!(
            markdown("running/docker/bridge/isolated/noisy"),
            "running/docker/bridge/isolated/noisy"
        );
        assert_eq!(markdown("sd_within of tcp-rr 1.5"), "sd_within of tcp-rr 1.5");
    }

    #[test]
    fn markdown_is_text() {
        assert_eq!(markdown("a|b `c` *d* _e_"), "a\\|b \\`c\\` \\*d\\* \\_e\\_");
        assert_eq!(markdown("@user #12"), "@\u{2060}user #\u{2060}12");
        assert_eq!(markdown("<img src=x>"), "&lt;img src=x&gt;");
        assert_eq!(markdown("https://x www.y"), "https:\u{2060}//x www\u{2060}.y");
    }

    proptest! {
        #[test]
        fn markup_never_leaves_its_place(text in ".{0,80}") {
            let safe = markup(&text);
            prop_assert!(!safe.contains(['<', '>', '"', '\'']), "{safe}");
            prop_assert!(!safe.chars().any(char::is_control));
        }

        #[test]
        fn markdown_never_leaves_its_table_cell(text in "[|\\\\`<>@#\\n\\r a-z]{0,60}") {
            let safe = markdown(&text);
            prop_assert!(!safe.contains(['<', '>', '\n', '\r']), "{safe}");
            for (at, c) in safe.char_indices().filter(|(_, c)| matches!(c, '|' | '`')) {
                let backslashes = safe[..at].chars().rev().take_while(|b| *b == '\\').count();
                prop_assert!(backslashes % 2 == 1, "{c} is bare in {safe}");
            }
        }

        #[test]
        fn anchors_need_no_quoting(cell in ".{0,40}") {
            prop_assert!(anchor(&cell).chars().all(|c| c.is_ascii_graphic() && !"<>\"'&#%?".contains(c)));
        }
    }
}

//! Placeholders in the words of a command line: `{port}`. Pure.
//!
//! Only braces around a word of a-z and `-` are one, so that awk's `{ print $1 }` and JSON's `{"a": 1}` stand for themselves. `{{port}}` is
//! `{port}` itself.

/// A piece of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'t> {
    /// What stands for itself.
    Text(&'t str),
    /// The name of a placeholder.
    Name(&'t str),
}

/// The pieces of a text, in order.
pub fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut all = Vec::new();
    let (mut plain, mut at) = (0, 0);
    while let Some(open) = text[at..].find('{').map(|found| at + found) {
        let (inner, doubled) = match text[open..].strip_prefix("{{") {
            Some(_) => (open + 2, true),
            None => (open + 1, false),
        };
        let is_word = |c: char| c.is_ascii_lowercase() || c == '-';
        let end = inner + text[inner..].find(|c| !is_word(c)).unwrap_or(text.len() - inner);
        let closes = text[end..].starts_with(if doubled { "}}" } else { "}" });
        if end == inner || !closes {
            at = open + 1;
            continue;
        }
        all.push(Piece::Text(&text[plain..open]));
        all.push(match doubled {
            true => Piece::Text(&text[open + 1..=end]),
            false => Piece::Name(&text[inner..end]),
        });
        at = end + if doubled { 2 } else { 1 };
        plain = at;
    }
    all.push(Piece::Text(&text[plain..]));
    all.retain(|piece| *piece != Piece::Text(""));
    all
}

/// The names in a text.
pub fn names(text: &str) -> impl Iterator<Item = &str> {
    pieces(text).into_iter().filter_map(|piece| match piece {
        Piece::Name(name) => Some(name),
        Piece::Text(_) => None,
    })
}

/// A text with values in place of its names; one without a value stays as it is written.
pub fn filled(text: &str, values: &[(&str, &str)]) -> String {
    let mut full = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Text(plain) => full.push_str(plain),
            Piece::Name(name) => match values.iter().find(|(known, _)| *known == name) {
                Some((_, value)) => full.push_str(value),
                None => full.push_str(&format!("{{{name}}}")),
            },
        }
    }
    full
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_a_word_in_braces_is_a_placeholder() {
        let filled = |text| filled(text, &[("port", "5204"), ("listen", "::1")]);
        for (text, full) in [
            ("{port}", "5204"),
            ("[{listen}]:{port}", "[::1]:5204"),
            ("{{port}}", "{port}"),
            ("{{{port}}}", "{{port}}"),
            ("{ print $1 }", "{ print $1 }"),
            (r#"{"a":{"b":1}}"#, r#"{"a":{"b":1}}"#),
            ("{}", "{}"),
            ("{port", "{port"),
            ("{{port}", "{5204"),
            ("{other}", "{other}"),
            ("é{port}é", "é5204é"),
        ] {
            assert_eq!(filled(text), full, "{text}");
        }
        assert_eq!(names("{port} {{target}} {a}").collect::<Vec<_>>(), ["port", "a"]);
    }

    proptest! {
        #[test]
        fn nothing_of_any_text_is_lost(text in "[{}a-cé ]{0,24}") {
            let length: usize = pieces(&text).iter().map(|piece| match piece {
                Piece::Text(plain) => plain.len(),
                Piece::Name(name) => name.len() + 2,
            }).sum();
            // Of doubled braces one pair goes.
            prop_assert!(length <= text.len() && (text.len() - length).is_multiple_of(2));
        }
    }
}

//! Package sources of apt as text: finding the entry of the distribution itself and adding one
//! component to it. Pure; both formats of sources.list(5).

/// The two ways in which sources are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Stanzas of fields (`*.sources`).
    Deb822,
    /// An entry a line (`*.list`).
    OneLine,
}

/// The archive whose entry is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Archive {
    /// The distribution's id (`debian`, `ubuntu`), which the name of its keyring starts with.
    pub(super) id: String,
    /// Names of its suite: the release's code name first.
    pub(super) suites: Vec<String>,
}

/// The change of one line that adds a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LineEdit {
    /// The line, counted from 0.
    pub(super) line: usize,
    /// What it becomes, without its line feed.
    pub(super) text: String,
}

/// What a file has to do with a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// An entry of the archive names the component already.
    Enabled,
    /// An entry of the archive would name it after this edit.
    With(LineEdit),
    /// No entry of the archive is here.
    Elsewhere,
}

/// How `text` offers the archive's `component`.
pub(super) fn offer(text: &str, format: Format, archive: &Archive, component: &str) -> Offer {
    let entries = match format {
        Format::Deb822 => stanzas(text),
        Format::OneLine => lines(text),
    };
    let mut ours = entries.into_iter().filter(|entry| entry.belongs_to(archive)).peekable();
    let Some(first) = ours.peek() else { return Offer::Elsewhere };
    let edit = LineEdit {
        line: first.line,
        text: append(text.lines().nth(first.line).unwrap_or_default(), format, component),
    };
    match ours.any(|entry| entry.components.iter().any(|name| name == component)) {
        true => Offer::Enabled,
        false => Offer::With(edit),
    }
}

/// `text` after an edit; every other line stays as it is, byte for byte.
pub(super) fn apply(text: &str, edit: &LineEdit) -> String {
    text.split_inclusive('\n')
        .enumerate()
        .map(|(at, line)| match at == edit.line {
            true => {
                let end = line.len() - line.trim_end_matches(['\r', '\n']).len();
                format!("{}{}", edit.text, &line[line.len() - end..])
            }
            false => line.to_owned(),
        })
        .collect()
}

/// An entry, as far as it matters here.
#[derive(Default)]
struct Entry {
    enabled: bool,
    suites: Vec<String>,
    components: Vec<String>,
    signed_by: Option<String>,
    /// The line that names the components.
    line: usize,
}

impl Entry {
    /// Whether this is the distribution's own entry for its base suite. Other people's archives use the same suites
    /// and components, but bring a key of their own.
    fn belongs_to(&self, archive: &Archive) -> bool {
        let keyring = format!("{}-archive-keyring", archive.id);
        self.enabled
            && self.suites.iter().any(|suite| archive.suites.contains(suite))
            && self.components.iter().any(|component| component == "main")
            && self.signed_by.as_ref().is_none_or(|key| {
                key.rsplit('/').next().is_some_and(|file| file.starts_with(&keyring))
            })
    }
}

/// The entries of a file of stanzas.
fn stanzas(text: &str) -> Vec<Entry> {
    let fresh = || Entry { enabled: true, ..Entry::default() };
    let (mut entries, mut entry, mut field) = (Vec::new(), fresh(), String::new());
    let (mut is_binary, mut is_open) = (false, false);
    for (at, line) in text.lines().enumerate().chain([(usize::MAX, "")]) {
        if line.trim().is_empty() {
            if is_open && is_binary {
                entries.push(std::mem::replace(&mut entry, fresh()));
            }
            (entry, is_binary, is_open) = (fresh(), false, false);
            field.clear();
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        is_open = true;
        let value = match line.split_once(':') {
            Some((name, value)) if !line.starts_with([' ', '\t']) => {
                field = name.trim().to_ascii_lowercase();
                if field == "components" {
                    entry.line = at;
                }
                value
            }
            _ => line,
        };
        let words = || value.split_whitespace().map(str::to_owned);
        match field.as_str() {
            "types" => is_binary |= words().any(|word| word == "deb"),
            "enabled" => entry.enabled = !words().any(|word| word.eq_ignore_ascii_case("no")),
            "suites" => entry.suites.extend(words()),
            "components" => entry.components.extend(words()),
            "signed-by" => entry.signed_by = entry.signed_by.or(words().next()),
            _ => {}
        }
    }
    entries
}

/// The entries of a file with an entry a line.
fn lines(text: &str) -> Vec<Entry> {
    text.lines().enumerate().filter_map(|(at, line)| one_line(at, line)).collect()
}

/// The entry in a line: `deb [option=value ...] uri suite component ... # remark`.
fn one_line(at: usize, line: &str) -> Option<Entry> {
    let body = line.split('#').next().unwrap_or_default();
    let rest = body.trim().strip_prefix("deb").filter(|rest| rest.starts_with([' ', '\t', '[']))?;
    let (options, rest) = match rest.trim_start().strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace().skip(1).map(str::to_owned);
    let suite = words.next()?;
    let signed_by = options.split_whitespace().find_map(|word| word.strip_prefix("signed-by="));
    Some(Entry {
        enabled: true,
        suites: vec![suite],
        components: words.collect(),
        signed_by: signed_by.map(str::to_owned),
        line: at,
    })
}

/// A line with one more component: at its end, before white space and remarks.
fn append(line: &str, format: Format, component: &str) -> String {
    let body = match format {
        Format::Deb822 => line,
        Format::OneLine => line.split('#').next().unwrap_or_default(),
    };
    let body = body.trim_end();
    format!("{body} {component}{}", &line[body.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bookworm() -> Archive {
        Archive {
            id: "debian".to_owned(),
            suites: vec!["bookworm".to_owned(), "stable".to_owned()],
        }
    }

    /// The text after asking for non-free; the same text where nothing changes.
    fn enabled(text: &str, format: Format) -> String {
        match offer(text, format, &bookworm(), "non-free") {
            Offer::With(edit) => apply(text, &edit),
            Offer::Enabled | Offer::Elsewhere => text.to_owned(),
        }
    }

    const STANZAS: &str = "Types: deb\n# a remark: with a colon\nURIs: http://mirror.example/debian\n\
        Suites: bookworm bookworm-updates\nComponents: main\n\
        Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n\
        Types: deb\nURIs: http://mirror.example/debian-security\nSuites: bookworm-security\nComponents: main\n";

    #[test]
    fn the_base_suite_gets_the_component_and_nothing_else_changes() {
        insta::assert_snapshot!(enabled(STANZAS, Format::Deb822), @r"
        Types: deb
        # a remark: with a colon
        URIs: http://mirror.example/debian
        Suites: bookworm bookworm-updates
        Components: main non-free
        Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

        Types: deb
        URIs: http://mirror.example/debian-security
        Suites: bookworm-security
        Components: main
        ");
    }

    #[test]
    fn a_line_gets_it_before_its_remark() {
        let text = "# deb http://mirror.example/debian bookworm main\n\
            deb-src http://mirror.example/debian bookworm main\n\
            deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror.example/debian bookworm main  # ours\n";
        insta::assert_snapshot!(enabled(text, Format::OneLine), @r"
        # deb http://mirror.example/debian bookworm main
        deb-src http://mirror.example/debian bookworm main
        deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror.example/debian bookworm main non-free  # ours
        ");
    }

    #[test]
    fn entries_of_other_people_are_left_alone() {
        let other = "deb [signed-by=/usr/share/keyrings/vendor-archive-keyring.gpg] http://vendor.example/debian bookworm main\n";
        assert_eq!(offer(other, Format::OneLine, &bookworm(), "non-free"), Offer::Elsewhere);
        let other = STANZAS.replace("debian-archive-keyring", "vendor");
        assert_eq!(offer(&other, Format::Deb822, &bookworm(), "non-free"), Offer::Elsewhere);
        let disabled = format!("Enabled: no\n{STANZAS}");
        assert_eq!(offer(&disabled, Format::Deb822, &bookworm(), "non-free"), Offer::Elsewhere);
        let sources = STANZAS.replace("Types: deb\n", "Types: deb-src\n");
        assert_eq!(offer(&sources, Format::Deb822, &bookworm(), "non-free"), Offer::Elsewhere);
    }

    #[test]
    fn a_component_on_a_continued_line_counts() {
        let text = STANZAS.replacen("Components: main\n", "Components: main\n non-free\n", 1);
        assert_eq!(offer(&text, Format::Deb822, &bookworm(), "non-free"), Offer::Enabled);
        // A longer name is another component.
        let text = STANZAS.replacen("main\n", "main non-free-firmware\n", 1);
        assert!(matches!(offer(&text, Format::Deb822, &bookworm(), "non-free"), Offer::With(_)));
    }

    #[test]
    fn line_ends_stay_as_they_are() {
        let text = "deb http://mirror.example/debian bookworm main\r\n# end";
        assert_eq!(
            enabled(text, Format::OneLine),
            "deb http://mirror.example/debian bookworm main non-free\r\n# end"
        );
    }

    /// Files made of lines that occur in sources, in any order.
    fn file() -> impl Strategy<Value = String> {
        let line = prop::sample::select(vec![
            "",
            "Types: deb",
            "Types: deb-src",
            "Suites: bookworm",
            "Suites: stable sid",
            "Suites: other",
            "Components: main",
            "Components:",
            " main contrib",
            "components: main non-free",
            "Enabled: no",
            "Signed-By:",
            " vendor.gpg",
            "# remark",
            "URIs: http://mirror.example/debian",
            "deb http://mirror.example/debian bookworm main",
            "deb [a=b] http://mirror.example/debian stable main # x",
            "deb",
            "deb [",
            "deb http://mirror.example/debian bookworm main non-free",
            "deb-src x bookworm main",
            "é: ß",
        ]);
        (proptest::collection::vec(line, 0..14), any::<bool>())
            .prop_map(|(lines, ends)| lines.join("\n") + if ends { "\n" } else { "" })
    }

    proptest! {
        #[test]
        fn asking_twice_changes_nothing_more(text in file(), deb822 in any::<bool>()) {
            let format = if deb822 { Format::Deb822 } else { Format::OneLine };
            let once = enabled(&text, format);
            prop_assert_eq!(enabled(&once, format), once.clone());
            if let Offer::With(_) = offer(&text, format, &bookworm(), "non-free") {
                prop_assert_eq!(offer(&once, format, &bookworm(), "non-free"), Offer::Enabled);
            }
        }

        #[test]
        fn at_most_one_line_gets_exactly_one_word_more(text in file(), deb822 in any::<bool>()) {
            let format = if deb822 { Format::Deb822 } else { Format::OneLine };
            let after = enabled(&text, format);
            let changed: Vec<(&str, &str)> =
                text.split('\n').zip(after.split('\n')).filter(|(a, b)| a != b).collect();
            prop_assert!(changed.len() <= 1);
            prop_assert_eq!(text.split('\n').count(), after.split('\n').count());
            for (before, after) in changed {
                let mut words: Vec<&str> = after.split_whitespace().collect();
                let at = words.iter().rposition(|word| *word == "non-free").unwrap();
                words.remove(at);
                prop_assert_eq!(words, before.split_whitespace().collect::<Vec<_>>());
            }
        }

        #[test]
        fn no_text_makes_it_fail(text in "(?s).{0,200}", deb822 in any::<bool>()) {
            let format = if deb822 { Format::Deb822 } else { Format::OneLine };
            let after = enabled(&text, format);
            prop_assert!(after.len() >= text.len());
        }
    }
}

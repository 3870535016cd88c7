//! Package sources of apt as text: finding the entry of the distribution itself and adding one component or
//! one suite to it. Pure; both formats of sources.list(5).

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

/// What is asked of an archive beyond its free part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Extra {
    /// A component of its base suite: `non-free`.
    Component(String),
    /// A suite beside its base suite: `bookworm-backports`.
    Suite(String),
}

impl Extra {
    /// What sources call it.
    pub(super) fn name(&self) -> &str {
        match self {
            Extra::Component(name) | Extra::Suite(name) => name,
        }
    }
}

impl std::fmt::Display for Extra {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Extra::Component(name) => write!(f, "the component {name}"),
            Extra::Suite(name) => write!(f, "the suite {name}"),
        }
    }
}

/// The change of one line that adds something; the line may become two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LineEdit {
    /// The line, counted from 0.
    pub(super) line: usize,
    /// What it is, without its line feed.
    pub(super) from: String,
    /// What it becomes.
    pub(super) to: String,
}

impl LineEdit {
    /// The edit that takes this one back.
    pub(super) fn back(&self) -> LineEdit {
        LineEdit { line: self.line, from: self.to.clone(), to: self.from.clone() }
    }
}

/// What a file has to do with something extra.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// An entry of the archive names it already.
    Enabled,
    /// An entry of the archive would name it after this edit.
    With(LineEdit),
    /// No entry of the archive is here.
    Elsewhere,
}

/// How `text` offers something extra of the archive.
pub(super) fn offer(text: &str, format: Format, archive: &Archive, extra: &Extra) -> Offer {
    let entries = match format {
        Format::Deb822 => stanzas(text),
        Format::OneLine => lines(text),
    };
    let ours = || entries.iter().filter(|entry| entry.is_of(archive));
    let is_base = |entry: &&Entry| entry.suites.iter().any(|suite| archive.suites.contains(suite));
    let is_enabled = match extra {
        Extra::Component(name) => {
            ours().filter(is_base).any(|entry| entry.components.contains(name))
        }
        Extra::Suite(name) => ours().any(|entry| entry.suites.contains(name)),
    };
    if is_enabled {
        return Offer::Enabled;
    }
    let Some(entry) = ours().find(is_base) else { return Offer::Elsewhere };
    let edit = |line: usize, change: &dyn Fn(&str) -> String| {
        let from = text.lines().nth(line).unwrap_or_default();
        LineEdit { line, from: from.to_owned(), to: change(from) }
    };
    Offer::With(match (extra, format) {
        (Extra::Component(name), _) => {
            edit(entry.components_line, &|line| append(line, format, name))
        }
        (Extra::Suite(name), Format::Deb822) => {
            edit(entry.suites_line, &|line| append(line, format, name))
        }
        (Extra::Suite(name), Format::OneLine) => {
            edit(entry.suites_line, &|line| format!("{line}\n{}", with_suite(line, entry, name)))
        }
    })
}

/// `text` after an edit; every other line stays as it is, byte for byte. `None` if what the edit starts from is not there.
pub(super) fn apply(text: &str, edit: &LineEdit) -> Option<String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let count = edit.from.lines().count().max(1);
    let (before, rest) = lines.split_at_checked(edit.line)?;
    let (old, after) = rest.split_at_checked(count)?;
    let bare = |line: &&str| line.trim_end_matches(['\r', '\n']).to_owned();
    if old.iter().map(bare).collect::<Vec<_>>().join("\n") != edit.from {
        return None;
    }
    let last = old.last()?;
    let last_end = &last[bare(last).len()..];
    // Between lines that become more or fewer, the end is the file's own.
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let new = edit.to.split('\n').collect::<Vec<_>>().join(end);
    Some([&before.concat(), &new, last_end, &after.concat()].concat())
}

/// An entry, as far as it matters here.
#[derive(Default)]
struct Entry {
    enabled: bool,
    suites: Vec<String>,
    components: Vec<String>,
    signed_by: Option<String>,
    /// The line that names the components.
    components_line: usize,
    /// The line that names the suites.
    suites_line: usize,
}

impl Entry {
    /// Whether this is an entry of the distribution's own archive. Other people's archives use the same suites and
    /// components, but bring a key of their own.
    fn is_of(&self, archive: &Archive) -> bool {
        let keyring = format!("{}-archive-keyring", archive.id);
        self.enabled
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
                match field.as_str() {
                    "components" => entry.components_line = at,
                    "suites" => entry.suites_line = at,
                    _ => {}
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
        components_line: at,
        suites_line: at,
    })
}

/// A line of one entry with another suite, without its remark.
fn with_suite(line: &str, entry: &Entry, suite: &str) -> String {
    let body = line.split('#').next().unwrap_or_default().trim_end();
    // What comes before the suite may contain its name; the first whole word after the options and the address is meant.
    let base = entry.suites.first().map_or("", String::as_str);
    let after_options = body.find(']').map_or(0, |at| at + 1);
    let (options, rest) = body.split_at(after_options);
    let of = format!(" {base} ");
    format!("{options}{}", format!("{rest} ").replacen(&of, &format!(" {suite} "), 1).trim_end())
}

/// A line with one more word: at its end, before white space and remarks.
fn append(line: &str, format: Format, word: &str) -> String {
    let body = match format {
        Format::Deb822 => line,
        Format::OneLine => line.split('#').next().unwrap_or_default(),
    };
    let body = body.trim_end();
    format!("{body} {word}{}", &line[body.len()..])
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

    fn non_free() -> Extra {
        Extra::Component("non-free".to_owned())
    }

    fn backports() -> Extra {
        Extra::Suite("bookworm-backports".to_owned())
    }

    /// The text after asking for something; the same text where nothing changes.
    fn with(text: &str, format: Format, extra: &Extra) -> String {
        match offer(text, format, &bookworm(), extra) {
            Offer::With(edit) => {
                let after = apply(text, &edit).unwrap();
                assert_eq!(apply(&after, &edit.back()).as_deref(), Some(text), "taken back");
                after
            }
            Offer::Enabled | Offer::Elsewhere => text.to_owned(),
        }
    }

    fn enabled(text: &str, format: Format) -> String {
        with(text, format, &non_free())
    }

    #[test]
    fn a_suite_is_one_more_word_or_one_more_line() {
        assert_eq!(
            with(STANZAS, Format::Deb822, &backports()),
            STANZAS.replace("bookworm-updates\n", "bookworm-updates bookworm-backports\n")
        );
        let text = "deb [arch=amd64] http://mirror.example/bookworm bookworm main # ours\r\n";
        assert_eq!(
            with(text, Format::OneLine, &backports()),
            "deb [arch=amd64] http://mirror.example/bookworm bookworm main # ours\r\n\
             deb [arch=amd64] http://mirror.example/bookworm bookworm-backports main\r\n"
        );
    }

    #[test]
    fn a_suite_that_has_an_entry_of_its_own_is_there() {
        let text = format!(
            "{STANZAS}\n{}",
            STANZAS.replace("bookworm bookworm-updates", "bookworm-backports")
        );
        assert_eq!(offer(&text, Format::Deb822, &bookworm(), &backports()), Offer::Enabled);
    }

    #[test]
    fn one_of_two_additions_to_a_line_can_be_taken_back() {
        let text = "deb http://mirror.example/debian bookworm main\n";
        let Offer::With(first) = offer(text, Format::OneLine, &bookworm(), &non_free()) else {
            panic!("not offered")
        };
        let one = apply(text, &first).unwrap();
        let both = with(&one, Format::OneLine, &backports());
        assert_eq!(
            apply(&both, &first.back()).unwrap(),
            "deb http://mirror.example/debian bookworm main\n\
             deb http://mirror.example/debian bookworm-backports main non-free\n"
        );
        assert_eq!(apply("deb x y z\n", &first.back()), None, "somebody else changed it");
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
        assert_eq!(offer(other, Format::OneLine, &bookworm(), &non_free()), Offer::Elsewhere);
        let other = STANZAS.replace("debian-archive-keyring", "vendor");
        assert_eq!(offer(&other, Format::Deb822, &bookworm(), &non_free()), Offer::Elsewhere);
        let disabled = format!("Enabled: no\n{STANZAS}");
        assert_eq!(offer(&disabled, Format::Deb822, &bookworm(), &non_free()), Offer::Elsewhere);
        let sources = STANZAS.replace("Types: deb\n", "Types: deb-src\n");
        assert_eq!(offer(&sources, Format::Deb822, &bookworm(), &non_free()), Offer::Elsewhere);
    }

    #[test]
    fn a_component_on_a_continued_line_counts() {
        let text = STANZAS.replacen("Components: main\n", "Components: main\n non-free\n", 1);
        assert_eq!(offer(&text, Format::Deb822, &bookworm(), &non_free()), Offer::Enabled);
        // A longer name is another component.
        let text = STANZAS.replacen("main\n", "main non-free-firmware\n", 1);
        assert!(matches!(offer(&text, Format::Deb822, &bookworm(), &non_free()), Offer::With(_)));
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
            if let Offer::With(_) = offer(&text, format, &bookworm(), &non_free()) {
                prop_assert_eq!(offer(&once, format, &bookworm(), &non_free()), Offer::Enabled);
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

//! The API of a forge, asked through curl, which every runner has. The token reaches it on its standard input: it is in no command line, no
//! environment of a child, no message.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, bail};
use evenkeel_agent::{command, wait};
use serde_json::Value;

use crate::matrix::printable;
use crate::wrong::wrong;

/// Whose API it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forge {
    /// GitHub.
    Github,
    /// GitLab.
    Gitlab,
}

impl Forge {
    /// Where the job says that it is, and where it is else.
    fn address(self) -> (&'static str, &'static str) {
        match self {
            Forge::Github => ("GITHUB_API_URL", "https://api.github.com"),
            Forge::Gitlab => ("CI_API_V4_URL", "https://gitlab.com/api/v4"),
        }
    }

    /// Variables that may hold the token, and how a job gets one.
    fn token(self) -> ([&'static str; 2], &'static str) {
        match self {
            Forge::Github => (
                ["GITHUB_TOKEN", "GH_TOKEN"],
                "give the step `GITHUB_TOKEN: ${{ github.token }}` in its env",
            ),
            Forge::Gitlab => (
                ["EVENKEEL_TOKEN", "GITLAB_TOKEN"],
                "make a project access token with the scope `api`, and a masked variable EVENKEEL_TOKEN of it",
            ),
        }
    }

    /// What is to be done where the job has no token; nothing where it has one.
    pub(in crate::publish) fn lacks_token(self) -> Option<String> {
        let (names, remedy) = self.token();
        let there = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let found = names.into_iter().any(there);
        (!found).then(|| format!("no token: {remedy}"))
    }

    /// Headers that every call has.
    fn headers(self, token: &str) -> String {
        match self {
            Forge::Github => format!(
                "header = \"Authorization: Bearer {token}\"\nheader = \"Accept: application/vnd.github+json\"\n\
                 header = \"X-GitHub-Api-Version: 2022-11-28\"\n"
            ),
            Forge::Gitlab => format!("header = \"PRIVATE-TOKEN: {token}\"\n"),
        }
    }

    /// What helps where the token may not.
    fn may_not(self) -> &'static str {
        match self {
            Forge::Github => {
                "; the token may not: grant the job `pull-requests: write` and `checks: write`; of a fork's pull request it never may, which is what the second stage is for"
            }
            Forge::Gitlab => {
                "; the token may not: its scope must be `api`, its role Reporter or more"
            }
        }
    }
}

/// The longest that one call may take.
const CALL: Duration = Duration::from_secs(30);

/// How often a call is made, at most.
const TRIES: u32 = 3;

/// The longest delay that is obeyed; a server that wants a longer one is asked no more.
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// Bytes of an answer.
const LARGEST: usize = 8 << 20;

/// Entries of a page of a list, and pages that are looked through.
pub(in crate::publish) const PAGE: usize = 30;
pub(in crate::publish) const PAGES: usize = 34;

/// A server and the right to ask it.
#[derive(Clone)]
pub struct Api {
    forge: Forge,
    base: String,
    token: String,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Api({})", self.base)
    }
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::publish) enum Verb {
    Get,
    /// Makes something anew.
    Post,
    Patch,
    Put,
    /// A PATCH that adds to what is there: a second time it would be there twice.
    Append,
    Delete,
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Post => "POST",
            Verb::Patch | Verb::Append => "PATCH",
            Verb::Put => "PUT",
            Verb::Delete => "DELETE",
        }
    }

    /// Whether a second time does no more than the first.
    fn can_be_again(self) -> bool {
        !matches!(self, Verb::Post | Verb::Append)
    }
}

/// What came back.
struct Answer {
    /// Nothing, where there was none.
    status: Option<u16>,
    body: Value,
    /// What the server wants to be left alone for.
    delay: Option<Duration>,
    /// Why there was none.
    words: String,
}

impl Api {
    /// Of the job: the address and the token that its variables hold. `dry`: nothing will be asked, so no token is needed.
    ///
    /// # Errors
    /// No token, one that is none, or an address without encryption that leaves this host.
    pub fn of_environment(forge: Forge, dry: bool) -> anyhow::Result<Api> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let (name, public) = forge.address();
        let base = variable(name).unwrap_or_else(|| public.to_owned());
        let token = forge.token().0.into_iter().find_map(variable).unwrap_or_default();
        Api::new(forge, base.trim_end_matches('/'), &token, dry)
    }

    fn new(forge: Forge, base: &str, token: &str, dry: bool) -> anyhow::Result<Api> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~:/[]".contains(c);
        let host = base.strip_prefix("http://").map(|rest| rest.split(['/', ':']).next());
        let here = matches!(host, Some(Some("127.0.0.1" | "localhost")));
        if !(base.starts_with("https://") || here) || !base.chars().all(plain) {
            let name = forge.address().0;
            return Err(wrong(format!("{name} is no address that begins with https://")));
        }
        if token.is_empty() && !dry {
            return Err(wrong(forge.lacks_token().unwrap_or_else(|| "no token".to_owned())));
        }
        // Nothing in it may end the line that it stands in.
        if !token.bytes().all(|c| c.is_ascii_graphic() && c != b'"' && c != b'\\') {
            return Err(wrong(format!("{} is no token", forge.token().0[0])));
        }
        Ok(Api { forge, base: base.to_owned(), token: token.to_owned() })
    }

    /// Calls until it is done, or the server says what will not change by calling again. What makes something anew is not called again
    /// where it is not known whether it was made.
    pub(in crate::publish) fn call(
        &self,
        verb: Verb,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let called = self.call_while(verb, path, body, &|| Ok(true))?;
        called.context("a call that nothing stops was made")
    }

    /// The same, as long as `still` says so, which is asked right before every try: a delay that the server asked for may be long. Answers
    /// nothing where the call was not made.
    pub(in crate::publish) fn call_while(
        &self,
        verb: Verb,
        path: &str,
        body: Option<&Value>,
        still: &dyn Fn() -> anyhow::Result<bool>,
    ) -> anyhow::Result<Option<Value>> {
        let mut last = None;
        for attempt in 1..=TRIES {
            if !still()? {
                return Ok(None);
            }
            let answer = self.once(verb, path, body)?;
            let delay = match (answer.status, answer.delay) {
                (Some(200..=299), _) => return Ok(Some(answer.body)),
                (Some(403 | 429), Some(delay)) => delay,
                (Some(429), None) => Duration::from_secs(u64::from(attempt)),
                (None | Some(500..=599), delay) if verb.can_be_again() => {
                    delay.unwrap_or(Duration::from_secs(u64::from(attempt)))
                }
                _ => bail!(told(self.forge, verb, path, &answer)),
            };
            if delay > LONGEST_DELAY {
                bail!(
                    "{}; it wants to be left alone for {} s",
                    told(self.forge, verb, path, &answer),
                    delay.as_secs()
                );
            }
            last = Some(told(self.forge, verb, path, &answer));
            if attempt < TRIES {
                pass(delay)?;
            }
        }
        bail!("{}, {TRIES} times", last.unwrap_or_default())
    }

    fn once(&self, verb: Verb, path: &str, body: Option<&Value>) -> anyhow::Result<Answer> {
        let headers = tempfile::NamedTempFile::new().context("failed to make a temporary file")?;
        let text = body.map(serde_json::to_string).transpose()?;
        let config = self.config(verb, path, text.as_deref(), &headers.path().to_string_lossy());
        let watch = command::Watch {
            input: config.as_bytes(),
            keep: LARGEST,
            ..command::Watch::within(CALL + Duration::from_secs(5))
        };
        let ended = command::watch(watch, &["curl", "-q", "--config", "-"])?;
        let said = String::from_utf8_lossy(&ended.stdout);
        let (text, status) = said.rsplit_once('\n').unwrap_or(("", &said));
        let status = status.trim().parse().ok().filter(|status| *status != 0);
        // A page that is cut off is no JSON, and is told by its status alone.
        let status = if ended.code == Some(0) { status } else { None };
        let headers = std::fs::read_to_string(headers.path()).unwrap_or_default();
        Ok(Answer {
            status,
            body: serde_json::from_str(text).unwrap_or(Value::Null),
            delay: delay(&headers, SystemTime::now()),
            words: ended.last_words(),
        })
    }

    /// What curl is told.
    fn config(&self, verb: Verb, path: &str, body: Option<&str>, headers: &str) -> String {
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let protocols = if self.base.starts_with("https://") { "=https" } else { "=http" };
        let mut config = format!(
            "silent\nshow-error\nmax-time = {}\nmax-filesize = {LARGEST}\nproto = \"{protocols}\"\nrequest = \"{}\"\nurl = \"{}{}\"\n\
             dump-header = \"{}\"\nwrite-out = \"\\n%{{http_code}}\"\n{}header = \"User-Agent: evenkeel\"\n",
            CALL.as_secs(),
            verb.name(),
            quoted(&self.base),
            quoted(path),
            quoted(headers),
            self.forge.headers(&self.token)
        );
        if let Some(body) = body {
            // JSON has no control characters but escaped ones: it stays in its line.
            config.push_str("header = \"Content-Type: application/json\"\ndata-raw = \"");
            config.push_str(&quoted(body));
            config.push_str("\"\n");
        }
        config
    }
}

/// Lets the time pass that a server asked for.
fn pass(delay: Duration) -> anyhow::Result<()> {
    let end = Instant::now() + delay;
    let over = || Ok((Instant::now() >= end).then_some(()));
    wait::until("the delay that the server asked for", delay + Duration::from_secs(60), over)
}

/// What the headers of the last answer ask for: seconds, or the second at which a limit ends.
fn delay(headers: &str, now: SystemTime) -> Option<Duration> {
    let value = |name: &str| {
        let lines = headers.lines().rev().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.next().and_then(|(_, value)| value.trim().parse::<u64>().ok())
    };
    if let Some(seconds) = value("retry-after") {
        return Some(Duration::from_secs(seconds));
    }
    if value("x-ratelimit-remaining") != Some(0) {
        return None;
    }
    let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    value("x-ratelimit-reset").map(|reset| Duration::from_secs(reset.saturating_sub(now)))
}

/// Why a call was of no use, and what helps.
fn told(forge: Forge, verb: Verb, path: &str, answer: &Answer) -> String {
    let what = format!("{} {}", verb.name(), path.split('?').next().unwrap_or(path));
    let Some(status) = answer.status else {
        return format!("{what}: no answer: {}", printable(&answer.words));
    };
    let message = answer.body.get("message").and_then(Value::as_str).unwrap_or_default();
    let message: String = printable(message).chars().take(200).collect();
    let help = match status {
        401 => "; the token is not valid any more",
        403 if answer.delay.is_some() => "; too many calls",
        403 => forge.may_not(),
        404 => "; there is no such thing, or the token does not see it",
        _ => "",
    };
    format!("{what}: {status} {message}{help}")
}

/// Text as a value in a query.
pub(in crate::publish) fn in_query(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_on_standard_input_alone_and_no_text_leaves_its_line() {
        let api = Api::new(Forge::Github, "https://api.example.org", "ghs_abc", false).unwrap();
        let body = serde_json::json!({ "body": "a\"\n-o /etc/passwd\nurl = \"http://x\" \\" });
        let config = api.config(Verb::Post, "/a", Some(&body.to_string()), "/tmp/h");
        assert_eq!(config.lines().filter(|line| line.starts_with("url")).count(), 1, "{config}");
        assert!(!config.lines().any(|line| line.starts_with("-o")), "{config}");
        assert!(config.contains("Bearer ghs_abc") && !format!("{api:?}").contains("ghs_abc"));
        for evil in ["a\"b", "a\nurl = \"http://x\"", "a b", ""] {
            let refused =
                Api::new(Forge::Github, "https://api.example.org", evil, false).unwrap_err();
            assert!(!refused.to_string().contains("url"), "{refused}");
        }
        for evil in [
            "http://example.org",
            "file:///etc/passwd",
            "http://localhost.example.org",
            "https://x\"\n",
            "http://localhost@x",
        ] {
            assert!(Api::new(Forge::Github, evil, "t", false).is_err(), "{evil}");
        }
    }

    #[test]
    fn delays_are_the_servers() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let of = |headers: &str| delay(headers, now).map(|delay| delay.as_secs());
        assert_eq!(of("HTTP/2 403\r\nRetry-After: 7\r\n"), Some(7));
        assert_eq!(of("x-ratelimit-remaining: 0\r\nx-ratelimit-reset: 1030\r\n"), Some(30));
        assert_eq!(of("x-ratelimit-remaining: 4\r\nx-ratelimit-reset: 1030\r\n"), None);
        assert_eq!(of("x-ratelimit-remaining: 0\r\nx-ratelimit-reset: 10\r\n"), Some(0));
        assert_eq!(of("retry-after: soon\r\n"), None);
    }

    #[test]
    fn branches_stay_in_their_place_of_the_query() {
        assert_eq!(in_query("feat/x&state=all #\n\"é"), "feat%2Fx%26state%3Dall%20%23%0A%22%C3%A9");
    }
}

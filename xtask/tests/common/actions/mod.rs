//! A runner of GitHub's workflows, as far as ours need one: their steps in order with what they ask for, `if` and `env` evaluated, checkouts from
//! repositories on this host, artifacts as folders. What it does not know fails the test, so that no step is silently another one than GitHub's.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod expression;
mod yaml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evenkeel_agent::command;
use serde_json::{Value, json};

use super::{PATIENCE, Said, run};
pub use yaml::parse;

/// The longest that a step may take: one builds the program from nothing.
const STEP: Duration = Duration::from_secs(1200);

/// Runs of a workflow that share repositories and artifacts.
pub struct Actions {
    /// Where everything lies; each job gets a folder of its own.
    pub place: PathBuf,
    /// `owner/name` of repositories, and where they are.
    pub repositories: BTreeMap<String, String>,
    /// What every step has in its environment.
    pub environment: BTreeMap<String, String>,
    /// Jobs so far.
    jobs: u32,
}

/// One run of a workflow.
pub struct Run<'a> {
    actions: &'a mut Actions,
    workflow: Value,
    context: Value,
    name: String,
}

/// How a job ended.
#[derive(Debug)]
pub struct Job {
    /// How its last step ended, where one ran.
    pub said: Option<Said>,
    /// What its steps set.
    pub outputs: Value,
}

impl Actions {
    /// In a folder.
    pub fn new(place: &Path) -> Actions {
        let (repositories, environment) = Default::default();
        Actions { place: place.to_owned(), repositories, environment, jobs: 0 }
    }

    /// A run of a reusable workflow that a caller's only job calls, for an event of this name.
    pub fn run(&mut self, workflow: &str, caller: &str, name: &str, event: &Value) -> Run<'_> {
        let (workflow, caller) = (parse(workflow), parse(caller));
        let call = caller["jobs"].as_object().unwrap().values().next().unwrap();
        let mut inputs = json!({});
        for (input, of) in workflow["on"]["workflow_call"]["inputs"].as_object().unwrap() {
            let told = call["with"].get(input).or(of.get("default"));
            inputs[input] = told.cloned().unwrap_or_default();
        }
        for told in call["with"].as_object().unwrap().keys() {
            assert!(inputs.get(told).is_some(), "`{told}` is no input of the workflow");
        }
        let sha = event.pointer("/pull_request/head/sha").or(event.get("after"));
        let context = json!({
            "github": {
                "event": event, "event_name": name, "sha": sha,
                "repository": event["repository"]["full_name"], "token": super::forge::TOKEN,
            },
            "inputs": inputs, "needs": {},
        });
        Run { actions: self, workflow, context, name: name.to_owned() }
    }
}

impl Run<'_> {
    /// Whether the condition of a job lets it run.
    pub fn runs(&self, job: &str) -> bool {
        let condition = self.workflow["jobs"][job].get("if").and_then(Value::as_str);
        condition.is_none_or(|of| expression::truth(&expression::value(of, &self.context)))
    }

    /// Jobs of a plan: the combinations of the matrix of one.
    pub fn matrix(&self, job: &str) -> Vec<Value> {
        let of = self.workflow["jobs"][job]["strategy"]["matrix"].as_str().unwrap();
        let of = of.trim_start_matches("${{ fromJSON(").trim_end_matches(") }}");
        let jobs = expression::value(of, &self.context);
        let jobs: Value = serde_json::from_str(jobs.as_str().unwrap()).unwrap();
        jobs["include"].as_array().unwrap().clone()
    }

    /// Performs the steps of a job, until one fails.
    pub fn perform(&mut self, job: &str, matrix: Value) -> Job {
        assert!(self.runs(job), "the condition of job {job} does not hold");
        let of = self.workflow["jobs"][job].clone();
        for needed in match &of["needs"] {
            Value::Array(all) => all.clone(),
            Value::Null => Vec::new(),
            one => vec![one.clone()],
        } {
            assert!(self.context["needs"].get(needed.as_str().unwrap()).is_some(), "{needed}");
        }
        self.actions.jobs += 1;
        let place = self.actions.place.join(format!("job-{}", self.actions.jobs));
        let (workspace, temp) = (place.join("work"), place.join("temp"));
        std::fs::create_dir_all(&workspace).unwrap();
        std::fs::create_dir_all(&temp).unwrap();
        self.context["runner"] = json!({ "temp": temp.to_str().unwrap() });
        (self.context["matrix"], self.context["steps"]) = (matrix, json!({}));
        let mut last = None;
        for step in of["steps"].as_array().unwrap() {
            let holds = |of: &str| expression::truth(&expression::value(of, &self.context));
            if !step.get("if").and_then(Value::as_str).is_none_or(holds) {
                continue;
            }
            match step.get("uses").and_then(Value::as_str) {
                Some(action) => self.action(action.split('@').next().unwrap(), step, &workspace),
                None => {
                    let said = self.step(step, &place);
                    let failed = said.code != Some(0);
                    last = Some(said);
                    if failed {
                        break;
                    }
                }
            }
        }
        let mut outputs = json!({});
        for (name, of) in of["outputs"].as_object().into_iter().flatten() {
            outputs[name] = self.filled(of).into();
        }
        let fine = last.as_ref().is_none_or(|said| said.code == Some(0));
        let result = if fine { "success" } else { "failure" };
        self.context["needs"][job] = json!({ "result": result, "outputs": outputs });
        Job { said: last, outputs }
    }

    /// A step with a script, as GitHub runs it.
    fn step(&mut self, step: &Value, place: &Path) -> Said {
        let output = place.join("output");
        std::fs::write(&output, "").unwrap();
        let script = place.join("step.sh");
        let text = step["run"].as_str().unwrap();
        assert!(!text.contains("${{"), "an expression in a script: {text}");
        std::fs::write(&script, text).unwrap();
        let event = place.join("event.json");
        let github = &self.context["github"];
        std::fs::write(&event, github["event"].to_string()).unwrap();
        let mut command = assert_cmd::Command::new("bash");
        command.arg("-e").arg(&script).current_dir(place.join("work")).timeout(STEP);
        command.env("GITHUB_ACTIONS", "true").env("GITHUB_EVENT_NAME", &self.name);
        command.env("GITHUB_EVENT_PATH", &event).env("GITHUB_OUTPUT", &output);
        command.env("GITHUB_STEP_SUMMARY", place.join("summary"));
        command.env("GITHUB_REPOSITORY", github["repository"].as_str().unwrap());
        command.env("GITHUB_SHA", github["sha"].as_str().unwrap());
        command.env("RUNNER_TEMP", place.join("temp")).env("RUNNER_NAME", "here");
        command.env("RUNNER_ENVIRONMENT", "self-hosted");
        command.envs(&self.actions.environment);
        for (name, value) in step["env"].as_object().into_iter().flatten() {
            command.env(name, self.filled(value));
        }
        let said = run(&mut command);
        if let Some(id) = step.get("id").and_then(Value::as_str) {
            let text = std::fs::read_to_string(&output).unwrap();
            let pairs = text.lines().map(|line| line.split_once('=').unwrap());
            let outputs: BTreeMap<&str, &str> = pairs.collect();
            self.context["steps"][id] = json!({ "outputs": outputs });
        }
        said
    }

    /// What an action of GitHub's own does.
    fn action(&self, action: &str, step: &Value, workspace: &Path) {
        let told = |name: &str| step["with"].get(name).map(|of| self.filled(of));
        let artifacts = self.actions.place.join("artifacts");
        match action {
            "actions/checkout" => {
                let own = || self.context["github"]["repository"].as_str().unwrap().to_owned();
                let from = &self.actions.repositories[&told("repository").unwrap_or_else(own)];
                let into = workspace.join(told("path").unwrap_or_default());
                let into = into.to_str().unwrap();
                let sha = || self.context["github"]["sha"].as_str().unwrap().to_owned();
                git(&["clone", "--quiet", "--no-checkout", from, into]);
                let commit = told("ref").filter(|of| !of.is_empty()).unwrap_or_else(sha);
                git(&["-C", into, "checkout", "--quiet", "--detach", &commit]);
            }
            "actions/upload-artifact" => {
                let into = artifacts.join(told("name").unwrap());
                std::fs::create_dir_all(&into).unwrap();
                let mut found = 0;
                for path in told("path").unwrap().lines().map(str::trim).filter(|p| !p.is_empty()) {
                    let path = Path::new(path);
                    if path.is_dir() {
                        command::output(
                            &["cp", "-r", &format!("{}/.", path.display()), into.to_str().unwrap()],
                            PATIENCE,
                        )
                        .unwrap();
                        found += 1;
                    } else if path.is_file() {
                        let file = into.join(path.file_name().unwrap());
                        std::fs::copy(path, &file).unwrap();
                        // An archive of GitHub's keeps no rights.
                        let plain = std::os::unix::fs::PermissionsExt::from_mode(0o644);
                        std::fs::set_permissions(&file, plain).unwrap();
                        found += 1;
                    }
                }
                assert!(found > 0 || told("if-no-files-found").as_deref() == Some("warn"));
            }
            "actions/download-artifact" => {
                let into = PathBuf::from(told("path").unwrap());
                let wanted: Vec<String> = match (told("name"), told("pattern")) {
                    (Some(name), None) => vec![name],
                    (None, Some(pattern)) => {
                        let start = pattern.strip_suffix('*').unwrap();
                        let names = artifacts.read_dir().unwrap().flatten();
                        let names = names.map(|of| of.file_name().into_string().unwrap());
                        names.filter(|name| name.starts_with(start)).collect()
                    }
                    other => panic!("neither a name nor a pattern: {other:?}"),
                };
                for name in &wanted {
                    let folder =
                        if told("pattern").is_some() { into.join(name) } else { into.clone() };
                    std::fs::create_dir_all(&folder).unwrap();
                    let from = format!("{}/.", artifacts.join(name).display());
                    command::output(&["cp", "-r", &from, folder.to_str().unwrap()], PATIENCE)
                        .unwrap();
                }
            }
            other => panic!("`{other}` is not known here"),
        }
    }

    /// A text with its expressions evaluated.
    fn filled(&self, text: &Value) -> String {
        let Value::String(text) = text else { return expression::text(text) };
        let (mut all, mut rest) = (String::new(), text.as_str());
        while let Some((before, after)) = rest.split_once("${{") {
            let (inside, after) = after.split_once("}}").unwrap();
            all += before;
            all += &expression::text(&expression::value(inside, &self.context));
            rest = after;
        }
        all + rest
    }

    /// Forgets what the jobs of this run shipped.
    pub fn end(self) {
        std::fs::remove_dir_all(self.actions.place.join("artifacts")).ok();
    }
}

/// Git, which must succeed.
pub fn git(words: &[&str]) -> String {
    let who = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"];
    let argv = [&who[..], &["-c", "advice.detachedHead=false"], words].concat();
    let ended = command::run(&argv, PATIENCE).unwrap();
    assert_eq!(ended.code, Some(0), "{words:?}: {}", ended.last_words());
    String::from_utf8(ended.stdout).unwrap()
}

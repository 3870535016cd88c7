//! The commands: each takes what the command line said and answers an exit code.

use std::collections::{BTreeMap, HashSet};
use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;
use evenkeel_agent::restore;
use evenkeel_agent::state::StateDir;

use crate::artifact::cache::Cache;
use crate::attribution::expand;
use crate::axis::tuning::{self, Profile};
use crate::axis::{Powers, kernel, virtualization};
use crate::cli;
use crate::doctor::provision::{self, For};
use crate::fleet::parts::Wanted;
use crate::fleet::{github, gitlab, slurm};
use crate::matrix::{self, Axis, Cell, Matrix};
use crate::plan::{GateBoots, Json, Options, Plan, Table};
use crate::publish;
use crate::record::{Base, PlannedCell, Record, Run, Status, store};
use crate::run::host::{self, Host};
use crate::run::judge::Judge;
use crate::run::progress::{Detail, display};
use crate::run::revision::Revision;
use crate::run::spec::BootSpec;
use crate::run::{self, End, Order, boot, lab, rootless};
use crate::streams::{print, print_by, say};
use crate::verdict::{self, Comparison, Verdicts, policy};
use crate::wrong::wrong;

/// Exit codes, which callers rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Fine.
    Fine = 0,
    /// A regression was flagged.
    Regressed = 1,
    /// The input was wrong.
    Input = 2,
    /// It cannot be told.
    Inconclusive = 3,
    /// The host failed us: nothing was measured, or a change was not undone.
    Host = 4,
    /// `git bisect run` shall skip this commit.
    Untestable = 125,
    /// Interrupted, and the host restored.
    Interrupted = 130,
}

/// `doctor`.
///
/// # Errors
/// Provisioning failed.
pub fn doctor(told: &cli::Doctor) -> anyhow::Result<Exit> {
    let cache = Cache::open()?;
    if told.provision {
        install(&cache, For::All)?;
    }
    let host = Host::look(&cache);
    print(format_args!("{}\n", host.survey.table(std::io::stdout().is_terminal())))?;
    Ok(Exit::Fine)
}

/// Installs what is missing for these cells, saying what on standard error.
///
/// # Errors
/// No root, or the package manager failed.
pub fn install(cache: &Cache, cells: For<'_>) -> anyhow::Result<()> {
    let kernels = provision::GuestKernels {
        planned: &|| match kernel::cached(cache) {
            Some(_) => Vec::new(),
            None => vec!["fetch and unpack, not install: a kernel for guests".to_owned()],
        },
        fetch: &|| kernel::running(cache).map(|found| vec![found.provenance]),
    };
    provision::provision(cells, &kernels, &mut |line| say(line)).map(drop)
}

/// `plan`.
///
/// # Errors
/// Wrong input.
pub fn plan(told: &cli::Plan) -> anyhow::Result<Exit> {
    let cache = Cache::open()?;
    // The host is asked by many small programs, and a large matrix takes as long to read: both at once.
    let (host, loaded) = std::thread::scope(|scope| {
        let host = scope.spawn(|| Host::look(&cache));
        let loaded = load(Path::new("."), &told.selection);
        (host.join(), loaded)
    });
    let (matrix, _) = loaded?;
    let host = host.map_err(|_| anyhow::anyhow!("looking at this host failed"))?;
    if told.update_kernels {
        update_kernels(&matrix)?;
    }
    let host = host.with_labs(told.lab);
    if told.shards.is_some() && told.format.runners().is_none() {
        return Err(wrong(
            "--shards is for `--format github`, `gitlab` or `slurm`: `--shard I/N` shows one of them",
        ));
    }
    if told.format.runners().is_some()
        && let Some(shard) = told.selection.shard
    {
        return Err(wrong(format!(
            "jobs are planned for the whole matrix, and --shard {shard} is a part of it: did you mean `--shards {}`?",
            shard.of()
        )));
    }
    if let Some(id) = &told.explain {
        print(run::explain(id, &matrix, &host).map_err(wrong)?)?;
        return Ok(Exit::Fine);
    }
    let judge = Judge::new(&host, &matrix);
    let plan = Plan::new(&matrix, options(&told.selection, told.lab), &judge).map_err(wrong)?;
    let mut plan = plan.with_labs(lab::STARTS);
    let policy = policy::find(None).map_err(wrong)?;
    // What `bench --against` takes of these arguments.
    let by_policy = told.selection.boots.is_none() && !told.selection.quick;
    let fixed = GateBoots::fixed(matrix.measure.boots);
    let boots = if by_policy { policy.gate_boots() } else { fixed };
    let gives_verdict = by_policy || boots.first >= policy.require.boots;
    if told.gate && !gives_verdict {
        return Err(wrong(too_few(boots.first, policy.require.boots)));
    }
    if let Some(budget) = told.budget {
        plan = plan.within_budget(budget, boots);
    }
    plan.gate = gives_verdict.then(|| plan.gate_cost(boots));
    // A budget is a gate's.
    plan.only_gate = told.gate || told.budget.is_some();
    match told.format {
        cli::PlanFormat::Table => print(Table(&plan))?,
        cli::PlanFormat::Json => print_by(|out| Json(&plan).write(out))?,
        cli::PlanFormat::Github => {
            let text = github::jobs(&plan, &wanted(told, boots)).and_then(|jobs| jobs.text());
            print(text.map_err(wrong)? + "\n")?;
        }
        cli::PlanFormat::Gitlab => {
            print(gitlab::pipeline(&plan, &wanted(told, boots)).map_err(wrong)?)?;
        }
        cli::PlanFormat::Slurm => {
            let script = slurm::script(&plan, &wanted(told, boots), &told.selection, told.lab);
            print(script.map_err(wrong)?)?;
        }
    }
    // The process ends here: giving back a million cells one by one would be a tenth of its time.
    std::mem::forget(plan);
    std::mem::forget(matrix);
    Ok(Exit::Fine)
}

/// Why a number of boots that the user chose is refused where it is to gate.
fn too_few(boots: u32, least: u32) -> String {
    format!(
        "{boots} boots of each cell cannot give a verdict: the policy asks for {least}: add `--boots {least}` or more"
    )
}

/// What is asked of the jobs that measure a plan.
fn wanted(told: &cli::Plan, boots: GateBoots) -> Wanted {
    let runner = told.runner.clone();
    let usual = || told.format.runners().unwrap_or_default().iter().map(|l| (*l).to_owned());
    Wanted {
        shards: told.shards,
        runner: runner.unwrap_or_else(|| usual().collect()),
        guests: told.guest_runner.clone(),
        gate: told.gate.then_some(boots),
    }
}

/// Pins the newest kernels, and says which.
fn update_kernels(matrix: &Matrix) -> anyhow::Result<()> {
    let lock = kernel::lock::Lock::of(std::path::Path::new("."), &StateDir::of_user()?);
    let named = |name: &str| matrix.cells.iter().any(|c| c.kernel == name || c.host_kernel == name);
    for (name, source) in matrix.kernels.iter().filter(|(name, _)| named(name)) {
        match kernel::update(&lock, source) {
            Ok(None) => {}
            Ok(Some(pinned)) => {
                say(format_args!("kernel {name}: {pinned}, pinned in {}", lock.path().display()));
            }
            // The others are pinned all the same; its cells say it again.
            Err(error) => say(format_args!("kernel {name}: not pinned: {error:#}")),
        }
    }
    Ok(())
}

/// `bench`.
///
/// # Errors
/// Wrong input, or the host failed us.
pub fn bench(told: &cli::Bench, detail: Detail) -> anyhow::Result<Exit> {
    match measure(told, detail) {
        Ok(Exit::Inconclusive | Exit::Host) if told.bisect => Ok(Exit::Untestable),
        // Also a commit whose matrix is wrong is neither good nor bad.
        Err(error) if told.bisect => {
            say(format_args!("error: {error:#}"));
            Ok(Exit::Untestable)
        }
        ended => ended,
    }
}

fn measure(told: &cli::Bench, detail: Detail) -> anyhow::Result<Exit> {
    if let Some(why) = publish::fork_on_own_runner() {
        return Err(wrong(why));
    }
    let state = StateDir::of_user()?;
    let (resume, out) = match (&told.resume, &told.out) {
        (Some(dir), _) => (true, dir.clone()),
        (None, Some(dir)) => (false, dir.clone()),
        (None, None) => (false, default_out(&told.selection.matrix)?),
    };
    let order = if resume {
        let (run, _, _) = run::as_owner(&out, || store::read(&out))?;
        if run.calibrates.is_some() {
            return Err(wrong(format!(
                "{} is a repetition of `calibrate`: one that was cut short does not count, so it does not go on",
                out.display()
            )));
        }
        if let (true, Some(base)) = (told.lab, &run.base) {
            let out = out.display();
            return Err(wrong(format!("{out} is measured against {}: not in labs", base.revision)));
        }
        let revision = run.base.as_ref().map(|base| Revision::unpack(&base.commit)).transpose()?;
        let mut options = Options { seed: run.seed, ..Options::default() };
        // A run of some cells only goes on with these.
        let known: HashSet<&Cell> = run.matrix.cells.iter().collect();
        // Those of a base alone were never to be measured.
        let ids = run.cells.iter().filter(|planned| known.contains(&planned.cell));
        let ids: Vec<String> = ids.map(|planned| planned.cell.id()).collect();
        if ids.len() < known.len() {
            options.only = Some(ids.join(",").parse().map_err(wrong)?);
        }
        // What was planned in labs goes on in labs.
        let in_lab = |planned: &PlannedCell| {
            planned.status == Status::Runnable && host::needs_lab(&planned.cell)
        };
        let lab = told.lab || run.cells.iter().any(in_lab);
        let (text, matrix, quick) = (run.matrix_text, run.matrix, run.quick);
        let by_policy = run.base.as_ref().is_some_and(|base| base.by_policy);
        if let (Some(_), false) = (told.budget, by_policy) {
            return Err(wrong(format!(
                "{} takes a number of boots that is fixed: `--budget` is for one that takes boots until its policy knows",
                out.display()
            )));
        }
        let base = run.base.zip(run.policy);
        let revision = revision.map(Arc::new);
        let (budget, calibrates) = (told.budget, None);
        Order { text, matrix, options, base, revision, out, resume, quick, lab, budget, calibrates }
    } else {
        let (mut matrix, text) = load(Path::new("."), &told.selection)?;
        let (quick, lab) = (told.selection.quick, told.lab);
        let revision = told.against.as_deref().map(Revision::unpack).transpose()?;
        let against = revision.as_ref().map(|of| base(of, &told.selection, &mut matrix));
        let (options, base) = (options(&told.selection, told.lab), against.transpose()?);
        let revision = revision.map(Arc::new);
        let (budget, calibrates) = (told.budget, None);
        Order { text, matrix, options, base, revision, out, resume, quick, lab, budget, calibrates }
    };
    if told.provision {
        install(&Cache::open()?, For::Named(&named(&order)))?;
    }
    let end = run::run(&order, &state, display(detail).as_mut())?;
    if end != End::Interrupted {
        print(format_args!("{}\n", order.out.join(run::PAGE).display()))?;
    }
    Ok(match end {
        End::Measured if order.base.is_some() => {
            let (run, records) = run::as_owner(&order.out, || read_run(&order.out))?;
            let verdicts = run::verdicts::of_run(&run, &records)?;
            let conclusive = told.require_conclusive || told.bisect;
            match verdicts {
                Some(found) => exit(found.end(conclusive)),
                None => {
                    say(
                        "error: no boot of the base was measured: there is nothing to compare with",
                    );
                    Exit::Host
                }
            }
        }
        End::Measured => Exit::Fine,
        End::Nothing => Exit::Host,
        End::Interrupted => Exit::Interrupted,
    })
}

fn exit(end: verdict::End) -> Exit {
    match end {
        verdict::End::Fine => Exit::Fine,
        verdict::End::Regressed => Exit::Regressed,
        verdict::End::Inconclusive => Exit::Inconclusive,
    }
}

/// What a revision says of the same selection, and its policy. How it measures is how both are measured: a change of `[measure]` is none of
/// what is measured. And the policy is the base's: a change is not its own judge.
fn base(
    of: &Revision,
    told: &cli::Selection,
    candidate: &mut Matrix,
) -> anyhow::Result<(Base, String)> {
    if Path::new(&told.matrix).is_absolute() {
        return Err(wrong(format!(
            "`--against` compares `{}` with itself: name the matrix, or its path from here",
            told.matrix
        )));
    }
    let there = of.directory();
    let in_base = |error: anyhow::Error| wrong(format!("in the base, `{}`: {error:#}", of.name));
    let (matrix, matrix_text) = load(&there, told).map_err(in_base)?;
    for name in matrix.profiles.keys() {
        Profile::of(&matrix, name).map_err(in_base)?;
    }
    if candidate.attribution.is_some() || matrix.attribution.is_some() {
        return Err(wrong(format!(
            "matrix `{}` attributes effects to knobs: it has no base",
            candidate.name
        )));
    }
    if candidate.measure != matrix.measure {
        say("note: `[measure]` differs from the base's: both sides are measured as the base says");
        candidate.measure = matrix.measure.clone();
    }
    let policy = policy::text_in(&there).map_err(|why| in_base(wrong(why)))?;
    let least = policy::find_in(&there, None).map_err(|why| in_base(wrong(why)))?.require.boots;
    // A number of boots that the user chose is taken as it is.
    let by_policy = told.boots.is_none() && !told.quick;
    if !by_policy && candidate.measure.boots < least {
        return Err(wrong(too_few(candidate.measure.boots, least)));
    }
    let (revision, commit) = (of.name.clone(), of.commit.clone());
    let cells = Vec::new();
    Ok((Base { revision, commit, matrix_text, matrix, cells, by_policy }, policy))
}

/// `report`. It tells what was found and judges nothing by its exit code, but of a run in which nothing was measured there is nothing to tell.
///
/// # Errors
/// The run cannot be read, or the report not written.
pub fn report(told: &cli::Report, detail: Detail) -> anyhow::Result<Exit> {
    let out = told.out.as_ref().unwrap_or(&told.run);
    let run::Reported { sentence, measured } =
        run::report_into(&told.run, out, display(detail).as_mut())?;
    if detail > Detail::Quiet {
        say(sentence);
    }
    print(format_args!("{}\n", out.join(run::PAGE).display()))?;
    Ok(if measured { Exit::Fine } else { Exit::Host })
}

/// `compare`.
///
/// # Errors
/// A run cannot be read, or is no comparison; the policy is wrong.
pub fn compare(told: &cli::Compare, detail: Detail) -> anyhow::Result<Exit> {
    let base = read_run(&told.base)?;
    let candidate = told.candidate.as_deref().map(read_run).transpose()?;
    let policy = match (&told.policy, &candidate) {
        // A run of two sides may hold the policy of its base.
        (None, None) => run::verdicts::policy_of(&base.0)?,
        (named, _) => policy::find(named.as_deref()).map_err(wrong)?,
    };
    let options = verdict::Options { allow_different_host: told.allow_different_host };
    let verdicts = match &candidate {
        Some(candidate) => {
            let runs = Comparison::of_runs((&base.0, &base.1), (&candidate.0, &candidate.1));
            Verdicts::new(&runs, &policy, options)
        }
        None => run::verdicts::of_sides(&base.0, &base.1, &policy, options)
            .map_err(|why| wrong(format!("`{}`: {why}", told.base.display())))?,
    };
    let extent = match detail {
        Detail::Quiet => verdict::Extent::Short,
        Detail::Normal => verdict::Extent::Usual,
        Detail::Verbose => verdict::Extent::Whole,
    };
    match told.format {
        cli::Shape::Table => print(verdict::Table(&verdicts, extent))?,
        cli::Shape::Markdown => print(verdict::Markdown(&verdicts))?,
        cli::Shape::Json => print(verdict::json(&verdicts)? + "\n")?,
    }
    Ok(exit(verdicts.end(told.require_conclusive)))
}

/// A run with its records. What of it cannot be read is said.
fn read_run(dir: &std::path::Path) -> anyhow::Result<(Run, Vec<Record>)> {
    let (run, records, warnings) = store::read(dir)?;
    warnings.iter().for_each(|warning| say(format_args!("warning: {warning}")));
    Ok((run, records))
}

/// `restore`.
///
/// # Errors
/// A run is under way, or something was not restored.
pub fn restore(told: &cli::Restore) -> anyhow::Result<Exit> {
    let restored = restore::restore(&StateDir::of_user()?, told.end_holder.as_ref())?;
    if let Some(pid) = restored.ended {
        say(format_args!("the run under way, process {pid}, was asked to end, and has ended"));
    }
    for left in &restored.undone.left_alone {
        say(format_args!("left alone: {left}"));
    }
    for failed in &restored.undone.failed {
        say(failed);
    }
    match &restored.tag {
        None => print("nothing to restore\n")?,
        Some(tag) => print(format_args!("run {tag}: {} states restored\n", restored.states))?,
    }
    Ok(if restored.undone.failed.is_empty() { Exit::Fine } else { Exit::Host })
}

/// `boot`: one boot, told on standard input.
///
/// # Errors
/// Nothing was built.
pub fn boot(told: &cli::Boot) -> anyhow::Result<Exit> {
    if told.enter_only {
        rootless::enter()?;
        return Ok(Exit::Fine);
    }
    let spec: BootSpec = serde_json::from_reader(std::io::stdin().lock())
        .context("failed to read the boot's order")?;
    let state = StateDir::of_user()?;
    if spec.powers == Powers::Namespaces {
        rootless::enter()?;
    }
    let report = boot::boot(&spec, &state, |phase| say(format_args!("{}{phase}", run::PHASE)))?;
    serde_json::to_writer(std::io::stdout().lock(), &report)?;
    Ok(Exit::Fine)
}

/// `lab`: the boots of a lab, asked for on standard input.
///
/// # Errors
/// The lab cannot be prepared, or a boot was not undone: it is of no use any more.
pub fn lab() -> anyhow::Result<Exit> {
    lab::serve(std::io::stdin(), std::io::stdout())?;
    Ok(Exit::Fine)
}

/// Names of the kinds and workloads that are to be measured.
fn named(order: &Order) -> Vec<&str> {
    let base = order.base.as_ref().map(|(base, _)| &base.matrix);
    let mut names = std::collections::BTreeSet::new();
    for matrix in std::iter::once(&order.matrix).chain(base) {
        let all = || (0..matrix.cells.len()).collect();
        // A filter that names nothing is told where the cells are planned.
        let only = order.options.only.as_ref();
        let cells: Vec<usize> =
            only.map_or_else(all, |only| only.select(&matrix.cells).unwrap_or_default());
        for cell in cells.into_iter().map(|at| &matrix.cells[at]) {
            names.extend([Axis::Virtualization, Axis::Network].map(|axis| cell.on(axis)));
        }
        names.extend(matrix.measure.workloads.iter().map(String::as_str));
    }
    if order.lab {
        // A machine, and in it an engine.
        names.extend(["qemu", "docker"]);
    }
    names.into_iter().collect()
}

fn options(told: &cli::Selection, lab: bool) -> Options {
    // In labs any host runs any kernel.
    let guests = (!lab).then(virtualization::guests);
    Options { seed: told.seed, only: told.only.clone(), shard: told.shard, guests }
}

/// The matrix that was named, as a directory has it, and its text.
///
/// # Errors
/// There is none, or it is wrong.
pub(crate) fn load(directory: &Path, told: &cli::Selection) -> anyhow::Result<(Matrix, String)> {
    let found = matrix::find_in(directory, &told.matrix).map_err(wrong)?;
    let words = host::vocabulary_in(directory);
    let mut matrix = matrix::parse_bytes(&found.bytes, &found.file, &words).map_err(wrong)?;
    if told.quick {
        matrix = matrix::quick(&matrix);
    }
    if let Some(boots) = told.boots {
        matrix.measure.boots = boots;
    }
    if let Some(asked) = &matrix.attribution {
        let [profile, base] =
            [&asked.profile, &asked.base].map(|name| Profile::find(name).map_err(wrong));
        matrix = expand(matrix, &profile?, &base?, &tuning::names())
            .map_err(|why| wrong(format!("{}: {why}", found.file)))?;
    }
    let derived = |name: &str| {
        let mut arms = matrix.study.iter().flat_map(|study| &study.arms);
        arms.any(|arm| arm.tuning == name && arm.is_derived())
    };
    let named = matrix.names_on(Axis::Tuning);
    let mut profiles = BTreeMap::new();
    for name in named.into_iter().filter(|name| !derived(name)) {
        let text = Profile::text(directory, name).map_err(wrong)?;
        profiles.insert(name.to_owned(), text);
    }
    // One that is wrong is the reason of its cells.
    matrix.profiles = profiles;
    Ok((matrix, String::from_utf8_lossy(&found.bytes).into_owned()))
}

/// `out/NAME-SECONDS`.
///
/// # Errors
/// The clock is before 1970.
pub(crate) fn default_out(name: &str) -> anyhow::Result<std::path::PathBuf> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let name = std::path::Path::new(name).file_stem().unwrap_or_default().to_string_lossy();
    Ok(std::path::Path::new("out").join(format!("{name}-{now}")))
}

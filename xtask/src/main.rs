//! Entry point: a table of contents.

use std::process::ExitCode;

use xtask::cli::{Cli, Command, History};
use xtask::command::{self, Exit};
use xtask::run::progress::Detail;
use xtask::wrong::WrongInput;
use xtask::{
    benchmark, calibrate, check, exchange, fleet, history, init, manual, publish, streams,
};

fn main() -> ExitCode {
    // An older kernel passes them on, which only concerns what outlives us.
    evenkeel_agent::command::keep_files_from_children().ok();
    let done = if evenkeel_agent::entry::is_agent() {
        evenkeel_agent::entry::main().map(|()| Exit::Fine)
    } else {
        run(&Cli::of_this_process())
    };
    match done {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(error) => {
            streams::say(format_args!("error: {error:#}"));
            let wrong = error.downcast_ref::<WrongInput>().is_some();
            ExitCode::from(if wrong { Exit::Input } else { Exit::Host } as u8)
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<Exit> {
    let detail = match (cli.quiet, cli.verbose) {
        (true, _) => Detail::Quiet,
        (_, true) => Detail::Verbose,
        _ => Detail::Normal,
    };
    match &cli.command {
        Command::Doctor(told) => command::doctor(told),
        Command::Plan(told) => command::plan(told),
        Command::Bench(told) => command::bench(told, detail),
        Command::Report(told) => command::report(told, detail),
        Command::Compare(told) => command::compare(told, detail),
        Command::Merge(told) => fleet::commands::merge_shards(told, detail),
        Command::Import(told) => exchange::import(told),
        Command::Export(told) => exchange::export(told),
        Command::History(History::Add(told)) => history::commands::add(told),
        Command::History(History::Check(told)) => history::commands::check_history(told),
        Command::History(History::Page(told)) => history::commands::page(told),
        Command::Calibrate(told) => calibrate::calibrate(told, detail),
        Command::Publish(told) => publish::publish(told),
        Command::Init(told) => init::init(told),
        Command::Restore(told) => command::restore(told),
        Command::Benchmark(told) => benchmark::benchmark(told, detail),
        Command::Completions(told) => manual::completions(told),
        Command::Man(told) => manual::man(told),
        Command::Test(told) => check::test(told),
        Command::Boot(told) => command::boot(told),
        Command::Lab => command::lab(),
        Command::Agent => evenkeel_agent::entry::main().map(|()| Exit::Fine),
    }
}

//! What a shell and a manual have of the command line: made from its own definition, so that they cannot differ from it.

use std::path::Path;

use anyhow::Context as _;

use crate::cli::{self, Cli};
use crate::command::Exit;
use crate::streams::{print_by, say};

/// What the program is called once it is installed.
const INSTALLED: &str = "evenkeel";

/// `completions`.
///
/// # Errors
/// They cannot be printed.
pub fn completions(told: &cli::Completions) -> anyhow::Result<Exit> {
    let name = name();
    let mut text = Vec::new();
    clap_complete::generate(told.shell, &mut definition(&name), name, &mut text);
    print_by(|out| out.write_all(&text))?;
    Ok(Exit::Fine)
}

/// `man`.
///
/// # Errors
/// A page cannot be printed or written.
pub fn man(told: &cli::Man) -> anyhow::Result<Exit> {
    let definition = definition(&name());
    match &told.out {
        Some(folder) => write_pages(definition, folder)?,
        None => {
            let mut text = Vec::new();
            clap_mangen::Man::new(definition)
                .render(&mut text)
                .context("failed to write a page")?;
            print_by(|out| out.write_all(&text))?;
        }
    }
    Ok(Exit::Fine)
}

fn write_pages(definition: clap::Command, folder: &Path) -> anyhow::Result<()> {
    let failed = || format!("failed to write manual pages into {}", folder.display());
    std::fs::create_dir_all(folder).with_context(failed)?;
    clap_mangen::generate_to(definition, folder).with_context(failed)?;
    say(format_args!("manual pages: {}", folder.display()));
    Ok(())
}

/// What the program is called, also while it lies in a checkout.
fn name() -> String {
    match cli::called(std::env::args_os().next().as_deref()) {
        checkout if checkout == cli::IN_CHECKOUT => INSTALLED.to_owned(),
        name => name,
    }
}

/// The command line, without what is no user's.
fn definition(name: &str) -> clap::Command {
    let whole = Cli::of_a_program(name);
    let shown: Vec<clap::Command> =
        whole.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
    let bare = clap::Command::new(name.to_owned());
    let bare = whole.get_about().map_or(bare.clone(), |about| bare.about(about.clone()));
    let bare = whole.get_after_help().map_or(bare.clone(), |help| bare.after_help(help.clone()));
    let bare = whole.get_version().map_or(bare.clone(), |version| bare.version(version.to_owned()));
    bare.disable_help_subcommand(true).args(whole.get_arguments().cloned()).subcommands(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_that_of_the_command_line_without_what_is_hidden() {
        let shown = definition("keel");
        let names: Vec<&str> = shown.get_subcommands().map(clap::Command::get_name).collect();
        assert!(names.contains(&"bench") && names.contains(&"completions"), "{names:?}");
        assert!(!names.contains(&"boot") && !names.contains(&"agent"), "{names:?}");
        let bench = shown.find_subcommand("bench").and_then(|bench| bench.get_after_help());
        let bench = bench.map(ToString::to_string).unwrap_or_default();
        assert!(bench.contains("keel bench smoke") && !bench.contains("cargo"), "{bench}");
        shown.debug_assert();
    }
}

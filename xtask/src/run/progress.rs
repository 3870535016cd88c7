//! Displays of a run's events, on standard error: a bar with cell, phase and time left on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::event::{Event, Watcher};
use crate::plan::human;
use crate::record::Outcome;
use crate::streams::{safe, say};
use crate::verdict::sequential::Step;

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// Only what went wrong, and the end.
    Quiet,
    /// Boots.
    Normal,
    /// Phases too.
    Verbose,
}

/// The display that fits standard error.
pub fn display(detail: Detail) -> Box<dyn Watcher> {
    if std::io::stderr().is_terminal() && detail != Detail::Quiet {
        Box::new(Bar { bar: None, detail, cell: String::new() })
    } else {
        Box::new(Lines { detail, boots: 0, done: 0 })
    }
}

/// One line a boot.
#[derive(Debug)]
struct Lines {
    detail: Detail,
    boots: u64,
    done: u64,
}

impl Watcher for Lines {
    fn see(&mut self, event: &Event) {
        let normal = self.detail >= Detail::Normal;
        match event {
            Event::Preparing(what) if normal => say(format_args!("preparing {what}")),
            Event::Begins { boots, .. } => {
                self.boots = *boots;
                if normal {
                    say(begins(event));
                }
            }
            Event::Round { boots, .. } => {
                self.boots += *boots;
                if normal {
                    say(round(event));
                }
            }
            Event::Lab { .. } | Event::LabUp { .. } if normal => say(lab(event)),
            Event::Phase(phase) if self.detail == Detail::Verbose => say(format_args!("  {phase}")),
            Event::Ended { .. } => {
                self.done += 1;
                if normal || failed(event) {
                    say(format_args!("[{}/{}] {}", self.done, self.boots, ended(event)));
                }
            }
            Event::Note(text) => say(format_args!("note: {text}")),
            Event::Stopping => say(STOPPING),
            Event::Interrupted { .. } => say(interrupted(event)),
            Event::Done { .. } if normal => say(done(event)),
            Event::Preparing(_)
            | Event::Lab { .. }
            | Event::LabUp { .. }
            | Event::Boot { .. }
            | Event::Phase(_)
            | Event::Done { .. } => {}
        }
    }
}

/// A bar that is redrawn.
#[derive(Debug)]
struct Bar {
    bar: Option<ProgressBar>,
    detail: Detail,
    cell: String,
}

impl Watcher for Bar {
    fn see(&mut self, event: &Event) {
        let above = |bar: &Option<ProgressBar>, text: String| match bar {
            Some(bar) => bar.println(safe(&text)),
            None => say(text),
        };
        match event {
            Event::Preparing(what) => say(format_args!("preparing {what}")),
            Event::Begins { boots, .. } => {
                say(begins(event));
                let bar = ProgressBar::with_draw_target(Some(*boots), ProgressDrawTarget::stderr());
                if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
                    bar.set_style(style);
                }
                bar.enable_steady_tick(Duration::from_millis(250));
                self.bar = Some(bar);
            }
            Event::Round { boots, .. } => {
                above(&self.bar, round(event));
                if let Some(bar) = &self.bar {
                    bar.inc_length(*boots);
                }
            }
            Event::Lab { .. } | Event::LabUp { .. } => {
                if self.detail == Detail::Verbose {
                    above(&self.bar, lab(event));
                }
                if let Some(bar) = &self.bar {
                    bar.set_message(lab(event));
                }
            }
            Event::Boot { cell, .. } => {
                self.cell.clone_from(cell);
                if let Some(bar) = &self.bar {
                    bar.set_message(cell.clone());
                }
            }
            Event::Phase(phase) => {
                if let Some(bar) = &self.bar {
                    bar.set_message(format!("{} {phase}", self.cell));
                }
            }
            Event::Ended { .. } => {
                if self.detail == Detail::Verbose || failed(event) {
                    above(&self.bar, ended(event));
                }
                if let Some(bar) = &self.bar {
                    bar.inc(1);
                }
            }
            Event::Note(text) => above(&self.bar, format!("note: {text}")),
            Event::Stopping => above(&self.bar, STOPPING.to_owned()),
            Event::Interrupted { .. } => {
                if let Some(bar) = self.bar.take() {
                    bar.finish_and_clear();
                }
                say(interrupted(event));
            }
            Event::Done { .. } => {
                if let Some(bar) = self.bar.take() {
                    bar.finish_and_clear();
                }
                say(done(event));
            }
        }
    }
}

const TEMPLATE: &str = "{bar:24} {pos}/{len} {eta} left  {wide_msg}";
const STOPPING: &str = "stopping: undoing the boot under way, please wait";

fn interrupted(event: &Event) -> String {
    match event {
        Event::Interrupted { out: Some(out) } => format!(
            "interrupted: the host is as it was; `cargo xtask bench --resume {}` goes on",
            out.display()
        ),
        _ => "interrupted: the host is as it was".to_owned(),
    }
}

fn begins(event: &Event) -> String {
    match event {
        Event::Begins { boots, made, cells, estimate, out, .. } => format!(
            "{boots} boots{} of {} of {} cells, about {}, into {}",
            if *made > 0 { format!(" left of {}", boots + made) } else { String::new() },
            cells.0,
            cells.1,
            human(*estimate),
            out.display()
        ),
        _ => String::new(),
    }
}

fn round(event: &Event) -> String {
    match event {
        Event::Round { boots, cells, step, estimate } => {
            let (cells, time) =
                (format!("{cells} cell{}", if *cells == 1 { "" } else { "s" }), human(*estimate));
            match step {
                Step::Screen => {
                    format!("screen: {cells} cannot be told yet: {boots} boots more, about {time}")
                }
                Step::Confirm => {
                    format!("confirmation: {cells} suspect: {boots} fresh boots, about {time}")
                }
            }
        }
        _ => String::new(),
    }
}

fn lab(event: &Event) -> String {
    match event {
        Event::Lab { kernel, block } => {
            format!("starting a lab with kernel `{kernel}` for block {}", block + 1)
        }
        Event::LabUp { kernel, says, took } => {
            format!("the lab with kernel `{kernel}` is up: {says}  {:.1} s", took.as_secs_f64())
        }
        _ => String::new(),
    }
}

fn failed(event: &Event) -> bool {
    match event {
        Event::Ended { outcome, failed, .. } => *outcome != Outcome::Measured || !failed.is_empty(),
        _ => false,
    }
}

fn ended(event: &Event) -> String {
    match event {
        Event::Ended { cell, outcome: Outcome::Measured, took, failed } => {
            let mut line = format!("{cell}  {:.1} s", took.as_secs_f64());
            failed.iter().for_each(|failed| line += &format!("; FAILED: {failed}"));
            line
        }
        Event::Ended { cell, outcome: Outcome::Failed { reason }, .. } => {
            format!("{cell}  FAILED: {reason}")
        }
        _ => String::new(),
    }
}

fn done(event: &Event) -> String {
    match event {
        Event::Done { sentence, page } => format!("{sentence}\nreport: {}", page.display()),
        _ => String::new(),
    }
}

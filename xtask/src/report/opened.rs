//! The pages, opened by the tools that know what is wrong with one.

use std::path::{Path, PathBuf};

use super::hostile::hostile;
use super::tests::{rendered, sided};
use super::{Rendered, site};
use crate::check::pages::check;
use crate::matrix::Form;

/// A page with every part that a report may have, one whose every text attacks, a history and a list of runs.
#[test]
fn pages_are_accessible_valid_and_ask_for_nothing() {
    let place = tempfile::tempdir().expect("a folder");
    let mut fixture = sided();
    fixture.run.matrix.form = Some(Form::Thesis);
    fixture.run.kernels = super::fixture::thesis().run.kernels;
    let row = &mut fixture.results.verdicts[0];
    row.verdict = "regressed".into();
    let Rendered { html, .. } = rendered(&fixture);
    let pages = [
        ("report.html", html),
        ("hostile.html", rendered(&hostile()).html),
        ("history.html", site::tests::rendered("")),
        ("index.html", site::tests::list("x")),
    ]
    .map(|(name, text)| {
        let path = place.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    });
    let pages: Vec<&Path> = pages.iter().map(PathBuf::as_path).collect();
    for skipped in check(&pages).unwrap_or_else(|error| panic!("{error:#}")) {
        eprintln!("skipped: {skipped}");
    }
}

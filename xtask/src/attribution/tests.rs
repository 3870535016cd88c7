//! Attributions of the profiles that are shipped.

use super::*;

fn profile(name: &str) -> Profile {
    Profile::find(name).unwrap()
}

fn matrix(profile: &str, base: &str, design: Option<Design>) -> Matrix {
    let run = crate::record::testing::run(&[
        crate::record::testing::cell("netns", "stock"),
        crate::record::testing::cell("docker", "stock"),
    ]);
    let (profile, base) = (profile.to_owned(), base.to_owned());
    let attribution = Some(Attribution { profile, base, design });
    Matrix { attribution, contrasts: Vec::new(), ..run.matrix }
}

fn expanded(name: &str, base: &str, design: Option<Design>) -> Result<Matrix, Indivisible> {
    let taken = tuning::names();
    expand(matrix(name, base, design), &profile(name), &profile(base), &taken)
}

fn study_of(name: &str, base: &str, design: Option<Design>) -> Study {
    expanded(name, base, design).unwrap().study.unwrap()
}

/// One line an arm: its name, what it asks, and why it is refused.
fn told(study: &Study) -> String {
    let arm = |arm: &Arm| {
        let knobs: Vec<String> = arm.knobs.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let refused = arm.refused.as_ref().map_or(String::new(), |why| format!(" REFUSED {why}"));
        format!("{}: {}{refused}", arm.tuning, knobs.join(" "))
    };
    study.arms.iter().map(arm).collect::<Vec<_>>().join("\n")
}

#[test]
fn each_knob_is_taken_out_and_put_in_and_what_means_nothing_is_refused() {
    let study = study_of("isolated", "stock", None);
    assert_eq!(study.design, Design::OneAtATime);
    insta::assert_snapshot!(told(&study), @r"
        isolated: placement=auto policy=fifo rt-throttle=off
        isolated-without-rt-throttle: placement=auto policy=fifo
        isolated-without-placement: policy=fifo rt-throttle=off
        isolated-without-policy: placement=auto rt-throttle=off
        stock-with-rt-throttle: rt-throttle=off REFUSED `rt-throttle` means nothing there: it lifts a limit on realtime threads, and no `policy` makes one of the system under test
        stock-with-placement: placement=auto
        stock-with-policy: policy=fifo
        stock:
        ");
    let notes = study.factors.iter().flat_map(|factor| {
        let at = |when: &str, is: &Circumstance| {
            let refused = is.refused.iter().map(|why| format!("not measured: {why}"));
            let all: Vec<String> = refused.chain(is.notes.iter().cloned()).collect();
            let told = format!("{} {when}: {}", factor.name, all.join("; "));
            (!all.is_empty()).then_some(told)
        };
        [at("beside the others", &factor.beside), at("alone", &factor.alone)]
    });
    let notes = notes.flatten();
    insta::assert_snapshot!(notes.collect::<Vec<_>>().join("\n"), @r"
        rt-throttle alone: not measured: `rt-throttle` means nothing there: it lifts a limit on realtime threads, and no `policy` makes one of the system under test
        placement beside the others: a realtime `policy` keeps its threads off the housekeeping CPUs without it, too
        policy beside the others: `rt-throttle` is left with no thread or page of the system under test to act on
        ");
}

#[test]
fn cells_are_measured_under_every_arm_once_and_ids_are_readable() {
    let matrix = expanded("isolated", "stock", None).unwrap();
    let ids: Vec<String> = matrix.cells.iter().map(Cell::id).collect();
    assert_eq!(ids.len(), 2 * 8);
    assert!(ids.contains(&"running/netns/bridge/isolated-without-rt-throttle/idle".to_owned()));
    let study = matrix.study.as_ref().unwrap();
    // All of a place are joined, and no two places.
    let pairs = study.pairs(&matrix.cells);
    assert_eq!(pairs.len(), 2 * 7);
    assert!(
        pairs
            .iter()
            .all(|(a, b)| { matrix.cells[*a].virtualization == matrix.cells[*b].virtualization })
    );
    let contrast = &matrix.contrasts[0];
    assert_eq!((&*contrast.from, &*contrast.to), ("stock", "isolated"));
    for arm in &study.arms {
        assert_eq!(Profile::of(&matrix, &arm.tuning).unwrap().knobs.len(), arm.knobs.len());
    }
}

#[test]
fn between_two_profiles_only_what_differs_is_turned() {
    let study = study_of("thesis-rt-fifo", "thesis-rt", None);
    let names: Vec<&str> = study.factors.iter().map(|factor| factor.name.as_str()).collect();
    assert_eq!(names, ["rt-throttle", "policy"]);
    // To leave one of two out is to put the other in.
    let arms: Vec<&str> = study.arms.iter().map(|arm| arm.tuning.as_str()).collect();
    assert_eq!(
        arms,
        [
            "thesis-rt-fifo",
            "thesis-rt-fifo-without-rt-throttle",
            "thesis-rt-fifo-without-policy",
            "thesis-rt"
        ]
    );
    assert!(study.arms.iter().all(|arm| arm.knobs["placement"] == "auto"));
    assert!(study.factors[0].alone.refused.is_some(), "{:?}", study.factors[0]);
}

#[test]
fn many_knobs_are_turned_in_a_fraction_of_all_combinations() {
    let study = study_of("realtime", "stock", None);
    assert_eq!(study.design, Design::Factorial);
    let fixed: Vec<&str> = study.fixed.iter().map(|(knob, _)| knob.as_str()).collect();
    assert_eq!(fixed, ["host-cmdline"]);
    assert_eq!((study.factors.len(), study.arms.len()), (22, 48));
    let last = study.arms.last().unwrap();
    assert_eq!((&*study.arms[0].tuning, &*last.tuning), ("realtime", "stock"));
    for (at, factor) in study.factors.iter().enumerate() {
        assert_eq!(study.arms.iter().filter(|arm| arm.on[at]).count(), 24, "{}", factor.name);
    }
    for arm in &study.arms {
        // A group is never parted.
        assert_eq!(arm.knobs.contains_key("policy"), arm.knobs.contains_key("rt-throttle"));
    }
}

#[test]
fn what_cannot_be_told_apart_is_refused_with_the_remedy() {
    let said = |name, base, design| expanded(name, base, design).unwrap_err().to_string();
    let mut lines =
        vec![said("isolated", "stock", Some(Design::Factorial)), said("stock", "stock", None)];
    let isolated = profile("isolated");
    let taken = ["stock-with-policy".to_owned()];
    let matrix = matrix("isolated", "stock", None);
    lines.push(expand(matrix, &isolated, &profile("stock"), &taken).unwrap_err().to_string());
    insta::assert_snapshot!(lines.join("\n"), @r#"
        a factorial fraction of profile `isolated` would turn knobs apart that mean something only together: `rt-throttle` means nothing there: it lifts a limit on realtime threads, and no `policy` makes one of the system under test; name both in one of the profile's [groups], or write design = "one-at-a-time"
        profiles `stock` and `stock` differ in no knob that a boot can turn: name two that do in [attribution]
        [attribution] derives a profile `stock-with-policy`, and there is one of that name: rename matrices/tuning/stock-with-policy.toml
        "#);
}

#[test]
fn more_cells_than_can_be_planned_are_refused_before_they_are_made() {
    let to = |most| {
        let matrix = matrix("isolated", "stock", None);
        within(matrix, &profile("isolated"), &profile("stock"), &tuning::names(), most)
    };
    assert_eq!(to(16).unwrap().cells.len(), 16);
    insta::assert_snapshot!(to(15).unwrap_err(), @"the attribution of profile `isolated` makes 16 cells under its 8 profiles, at most 15 can be planned: name fewer values on the axes, or put knobs of `isolated` into [groups]");
}

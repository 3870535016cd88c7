//! `summary.md`: one sentence, then what changed, then the cells, within a budget of bytes.

use minijinja::{Environment, context, value::Value};

/// Room in bytes: below the limits of every sink (a check's summary holds 65,535).
const BUDGET: usize = 60_000;
/// Rows of each table to try, the most that fits wins.
const ROWS: [usize; 6] = [60, 30, 15, 8, 3, 0];

/// Renders the summary, with fewer rows until it fits.
pub(super) fn render(env: &Environment<'_>, view: &Value) -> anyhow::Result<String> {
    let template = env.get_template("summary.md")?;
    for rows in ROWS {
        let text = template.render(context! { view, rows })?;
        if text.len() <= BUDGET {
            return Ok(text);
        }
    }
    anyhow::bail!(
        "the summary without any row is larger than {BUDGET} bytes: shorten the run's sentence and warnings"
    )
}

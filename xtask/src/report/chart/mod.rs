//! Charts as text: plotters lays marks out on a canvas, and what it writes is rewritten so that the page's
//! style decides colours, fonts and widths (light, dark and print alike).
//!
//! plotters knows colours, the page knows meanings: marks are drawn in stand-in colours, one for each [`Ink`],
//! and [`restyle`] turns them into classes.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use self::scale::Scale;

mod figures;
mod scale;
mod shape;
mod time;

pub(crate) use figures::{BoxRow, ForestRow, Series, boxes, ecdf, forest, percentiles, windows};
pub(crate) use shape::density;
pub(crate) use time::{Side, Start, run_order, trend};

/// Canvas units in one CSS pixel at the intended size: plotters rounds to whole units.
const FINE: i32 = 2;
/// Width of every chart, canvas units.
const WIDTH: i32 = 460 * FINE;
/// Size of plotters' text, canvas units; the page's style overrides it.
const TEXT: i32 = 12 * FINE;

/// What a mark means; the page's style gives it colour, width and dashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ink {
    /// Text.
    Text,
    /// Grid lines.
    Grid,
    /// Borders between boots.
    Rule,
    /// The series in the centre of interest.
    First,
    /// What it is compared with.
    Second,
    /// A further one.
    Third,
}

impl Ink {
    const ALL: [Ink; 6] = [Ink::Text, Ink::Grid, Ink::Rule, Ink::First, Ink::Second, Ink::Third];

    /// The suffix of the classes: `k-first` for lines, `f-first` for areas.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Ink::Text => "text",
            Ink::Grid => "grid",
            Ink::Rule => "rule",
            Ink::First => "first",
            Ink::Second => "second",
            Ink::Third => "third",
        }
    }

    /// The stand-in colour on plotters' canvas: the ink's index.
    fn stand_in(self) -> RGBColor {
        RGBColor(0, 0, self as u8)
    }

    fn behind(colour: &str) -> Option<Ink> {
        let index = usize::from_str_radix(colour.strip_prefix("#0000")?, 16).ok()?;
        Ink::ALL.get(index).copied()
    }
}

/// Something drawn between the axes. Points are (x, y) in the values of the axes.
#[derive(Clone, Debug)]
pub(crate) enum Mark {
    /// A line through points.
    Line { ink: Ink, points: Vec<(f64, f64)> },
    /// A vertical line over the whole height.
    Rule { at: f64 },
    /// A horizontal box plot in row `row`: minimum, quartiles, maximum.
    Box { ink: Ink, row: usize, five: [f64; 5] },
    /// A point with an interval in row `row`: low, point, high. `lane` moves it down inside the row, 0 of 1 is its middle.
    Interval { ink: Ink, row: usize, lane: (usize, usize), ends: [f64; 3] },
}

/// What the vertical axis is.
#[derive(Clone, Debug)]
pub(crate) enum Rows {
    /// A scale.
    Scale(Scale),
    /// One label a row, from the top.
    Names(Vec<String>),
}

/// A finished chart.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Chart {
    /// What it shows, in a few words.
    pub(crate) title: String,
    /// What is seen and how to read it: for the caption and for those who hear the page.
    pub(crate) text: String,
    /// Legend: class of the ink, and label.
    pub(crate) keys: Vec<(&'static str, String)>,
    /// The element's size: `0 0 width height`.
    pub(crate) view_box: String,
    /// The marks, as the inside of an `svg` element; escaped.
    pub(crate) marks: String,
}

/// Draws marks between two axes.
pub(crate) fn draw(x: &Scale, y: &Rows, marks: &[Mark]) -> anyhow::Result<(String, String)> {
    let plot = Plot::new(x, y);
    let mut svg = String::new();
    {
        let size = (WIDTH as u32, plot.height as u32);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        plot.axes(&area)?;
        for mark in marks {
            plot.mark(&area, mark)?;
        }
        area.present()?;
    }
    Ok((format!("0 0 {WIDTH} {}", plot.height), restyle(&svg)))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Where things lie on the canvas.
struct Plot<'a> {
    x: &'a Scale,
    y: &'a Rows,
    left: i32,
    right: i32,
    top: i32,
    bottom: i32,
    height: i32,
}

impl<'a> Plot<'a> {
    fn new(x: &'a Scale, y: &'a Rows) -> Plot<'a> {
        // Nothing measures text here: a glyph is taken for 6.5 pixels wide.
        let room = |labels: &mut dyn Iterator<Item = &String>| {
            let widest = labels.map(|label| label.chars().count()).max().unwrap_or(0);
            (widest as i32 * 13 / 2 + 14).clamp(50, 215) * FINE
        };
        let (left, inner) = match y {
            Rows::Scale(scale) => {
                (room(&mut scale.ticks.iter().map(|(_, label)| label)), 190 * FINE)
            }
            Rows::Names(names) => (room(&mut names.iter()), names.len().max(1) as i32 * 24 * FINE),
        };
        let (top, below) = (10 * FINE, 40 * FINE);
        let bottom = top + inner;
        Plot { x, y, left, right: WIDTH - 26 * FINE, top, bottom, height: bottom + below }
    }

    fn across(&self, value: f64) -> i32 {
        self.left + (self.x.place(value) * f64::from(self.right - self.left)).round() as i32
    }

    fn up(&self, place: f64) -> i32 {
        self.bottom - (place * f64::from(self.bottom - self.top)).round() as i32
    }

    fn axes(&self, area: &Area<'_>) -> anyhow::Result<()> {
        let foot = self.bottom + 6 * FINE;
        let mut free_from = 0;
        for (value, label) in &self.x.ticks {
            let x = self.across(*value);
            line(area, Ink::Grid, vec![(x, self.top), (x, self.bottom)])?;
            // Labels that would run into one another are left out; the grid line stays.
            let half = label.chars().count() as i32 * 13 * FINE / 4;
            let x = x.min(WIDTH - half);
            if x - half >= free_from {
                text(area, label, (x, foot), HPos::Center, VPos::Top)?;
                free_from = x + half + 4 * FINE;
            }
        }
        let middle = (self.left + self.right) / 2;
        text(area, &self.x.name, (middle, self.height - 4 * FINE), HPos::Center, VPos::Bottom)?;
        match self.y {
            Rows::Scale(scale) => {
                for (value, label) in &scale.ticks {
                    let y = self.up(scale.place(*value));
                    line(area, Ink::Grid, vec![(self.left, y), (self.right, y)])?;
                    text(area, label, (self.left - 8 * FINE, y), HPos::Right, VPos::Center)?;
                }
            }
            Rows::Names(names) => {
                for (row, name) in names.iter().enumerate() {
                    let place = (self.left - 8 * FINE, self.row(row));
                    text(area, name, place, HPos::Right, VPos::Center)?;
                }
            }
        }
        Ok(())
    }

    fn row(&self, row: usize) -> i32 {
        self.top + row as i32 * 24 * FINE + 12 * FINE
    }

    fn mark(&self, area: &Area<'_>, mark: &Mark) -> anyhow::Result<()> {
        match mark {
            Mark::Line { ink, points } => {
                let Rows::Scale(scale) = self.y else {
                    anyhow::bail!("a line needs a vertical scale");
                };
                let place = |&(x, y): &(f64, f64)| (self.across(x), self.up(scale.place(y)));
                let mut points: Vec<_> = points.iter().map(place).collect();
                points.dedup();
                line(area, *ink, points)
            }
            Mark::Rule { at } => {
                let x = self.across(*at);
                line(area, Ink::Rule, vec![(x, self.top), (x, self.bottom)])
            }
            Mark::Box { ink, row, five } => {
                let [min, low, median, high, max] = five.map(|value| self.across(value));
                let (y, half) = (self.row(*row), 7 * FINE);
                for (from, to) in [(min, low), (high, max)] {
                    line(area, *ink, vec![(from, y), (to, y)])?;
                }
                for end in [min, max] {
                    line(area, *ink, vec![(end, y - half / 2), (end, y + half / 2)])?;
                }
                let corners = [(low, y - half), (high.max(low + 2), y + half)];
                area.draw(&Rectangle::new(corners, ink.stand_in().filled()))?;
                line(area, *ink, vec![(median, y - half), (median, y + half)])
            }
            Mark::Interval { ink, row, lane: (lane, lanes), ends } => {
                let [low, point, high] = ends.map(|value| self.across(value));
                let apart = 10 * FINE;
                let shift = (2 * *lane as i32 + 1 - *lanes as i32) * apart / 2;
                let (y, half) = (self.row(*row) + shift, 3 * FINE);
                line(area, *ink, vec![(low, y), (high.max(low + 1), y)])?;
                for end in [low, high] {
                    line(area, *ink, vec![(end, y - half), (end, y + half)])?;
                }
                let corners = [(point - half, y - half), (point + half, y + half)];
                Ok(area.draw(&Rectangle::new(corners, ink.stand_in().filled()))?)
            }
        }
    }
}

fn line(area: &Area<'_>, ink: Ink, points: Vec<(i32, i32)>) -> anyhow::Result<()> {
    Ok(area.draw(&PathElement::new(points, ink.stand_in()))?)
}

fn text(area: &Area<'_>, text: &str, at: (i32, i32), h: HPos, v: VPos) -> anyhow::Result<()> {
    let style = ("sans-serif", TEXT).into_font().color(&Ink::Text.stand_in()).pos(Pos::new(h, v));
    Ok(area.draw(&Text::new(text.to_owned(), at, style))?)
}

/// plotters' SVG without its outer element, colours turned into classes, and what the page's style decides left out.
fn restyle(svg: &str) -> String {
    let inside = svg.split_once('>').map_or("", |(_, rest)| rest);
    let inside = inside.trim_end().strip_suffix("</svg>").unwrap_or(inside);
    let mut out = String::with_capacity(inside.len() / 2);
    for (n, piece) in inside.split('<').enumerate() {
        // Text is escaped by plotters: a bracket is always a tag's.
        match piece.split_once('>') {
            Some((tag, after)) if n > 0 => {
                rewrite_tag(&mut out, tag);
                out.push_str(after.trim_matches('\n'));
            }
            _ => out.push_str(piece.trim_matches('\n')),
        }
    }
    out
}

fn rewrite_tag(out: &mut String, tag: &str) {
    let closes = tag.ends_with('/');
    let mut attributes = tag.trim_end_matches('/').split('"');
    let first = attributes.next().unwrap_or_default();
    let (name, mut key) = first.split_once(' ').unwrap_or((first, ""));
    out.push('<');
    out.push_str(name);
    while let Some(value) = attributes.next() {
        match (key.trim().trim_end_matches('='), value) {
            ("opacity" | "font-family" | "font-size" | "stroke-width", _) | (_, "none") => {}
            (paint @ ("fill" | "stroke"), colour) => {
                let class = Ink::behind(colour).unwrap_or(Ink::Text).class();
                let prefix = if paint == "fill" { 'f' } else { 'k' };
                out.push_str(&format!(" class=\"{prefix}-{class}\""));
            }
            (key, value) => out.push_str(&format!(" {key}=\"{}\"", value.trim())),
        }
        key = attributes.next().unwrap_or_default();
    }
    out.push_str(if closes { "/>" } else { ">" });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::format::Quantity;

    #[test]
    fn the_page_decides_colours() {
        let svg = concat!(
            "<svg width=\"4\" height=\"4\" viewBox=\"0 0 4 4\" xmlns=\"x\">\n",
            "<polyline fill=\"none\" opacity=\"1\" stroke=\"#000003\" stroke-width=\"1\" points=\"1,2 3,4 \"/>\n",
            "<text x=\"1\" y=\"2\" font-family=\"sans-serif\" font-size=\"9\" opacity=\"1\" fill=\"#000000\">\na &lt;b&gt;\n</text>\n",
            "</svg>\n"
        );
        assert_eq!(
            restyle(svg),
            "<polyline class=\"k-first\" points=\"1,2 3,4\"/><text x=\"1\" y=\"2\" class=\"f-text\">a &lt;b&gt;</text>"
        );
    }

    #[test]
    fn stand_ins_are_found_again() {
        for ink in Ink::ALL {
            let RGBColor(r, g, b) = ink.stand_in();
            assert_eq!(Ink::behind(&format!("#{r:02X}{g:02X}{b:02X}")), Some(ink));
        }
    }

    #[test]
    fn a_name_cannot_leave_its_chart() {
        let x = Scale::fit("x", Quantity::Time, [1.0, 5.0].into_iter()).expect("values");
        let rows = Rows::Names(vec!["<script>alert(1)</script>\"'&".to_owned()]);
        let mark = Mark::Box { ink: Ink::First, row: 0, five: [1.0, 2.0, 3.0, 4.0, 5.0] };
        let (_, marks) = draw(&x, &rows, &[mark]).expect("drawn");
        assert!(marks.contains("&lt;script&gt;") && !marks.contains("<script"));
        assert!(!marks.contains('#'), "no colour is left: {marks}");
    }
}

//! An SVG chart: each workload a group of bars, relative to nutcracker (the dashed line), with the
//! absolute figure on each bar.

use std::fmt::Write as _;

use super::figures::{Figures, Row, Sample};
use super::plan::Plan;
use super::scene::Kind;

const WIDTH: f64 = 1200.0;
const LEFT: f64 = 20.0;
/// Height of the bars' area in one panel, and of the panel with its heading and labels.
const PLOT: f64 = 190.0;
const PANEL: f64 = 280.0;
const TOP: f64 = 60.0;
/// Bars end here, in times nutcracker's figure.
const RATIO_MAX: f64 = 2.0;

struct Panel {
    heading: &'static str,
    figure: fn(&Sample) -> f64,
    decimals: fn(f64) -> String,
    is_shown: fn(Kind) -> bool,
}

const PANELS: &[Panel] = &[
    Panel {
        heading: "CPU time of the proxy per request, microseconds (lower is better)",
        figure: Sample::cpu_us,
        decimals: |value| format!("{value:.1}"),
        is_shown: Kind::is_proxy,
    },
    Panel {
        heading: "requests per second, thousands (higher is better)",
        figure: |sample| sample.requests_per_second,
        decimals: |value| format!("{:.0}", value / 1000.0),
        is_shown: |_| true,
    },
    Panel {
        heading: "99th percentile of latency, milliseconds (lower is better)",
        figure: |sample| sample.p99_ms,
        decimals: |value| format!("{value:.2}"),
        is_shown: |_| true,
    },
];

fn color(kind: Kind) -> &'static str {
    match kind {
        Kind::Direct => "#c9c9c9",
        Kind::Nutcracker => "#8da0b6",
        Kind::Haproxy => "#b9a88f",
        Kind::Alone => "#e8a3ad",
        Kind::Baseline => "#e6a56b",
        Kind::Keyway => "#d1495b",
    }
}

/// The whole picture.
pub fn draw(plan: &Plan, figures: &Figures, machine: &str) -> String {
    let height = TOP + PANELS.len() as f64 * PANEL;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"14\">{machine}; rounds: {}, \
         medians; the dashed line is nutcracker, bars end at twice its figure</text>\n",
        plan.rounds,
    );
    let mut x = LEFT;
    for kind in plan.subjects() {
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"35\" width=\"12\" height=\"12\" fill=\"{}\"/>\
             <text x=\"{}\" y=\"46\">{}</text>",
            color(kind),
            x + 17.0,
            kind.name(),
        );
        x += 140.0;
    }
    for (index, panel) in PANELS.iter().enumerate() {
        svg.push_str(&draw_panel(
            panel,
            TOP + index as f64 * PANEL,
            plan,
            figures,
        ));
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw_panel(panel: &Panel, top: f64, plan: &Plan, figures: &Figures) -> String {
    let base = top + 42.0 + PLOT;
    let one = base - PLOT / RATIO_MAX;
    let mut svg = format!(
        "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{}</text>\n\
         <line x1=\"{LEFT}\" x2=\"{}\" y1=\"{base}\" y2=\"{base}\" stroke=\"#444\"/>\n",
        top + 18.0,
        panel.heading,
        WIDTH - LEFT,
    );
    let group = (WIDTH - 2.0 * LEFT) / figures.rows.len() as f64;
    for (index, row) in figures.rows.iter().enumerate() {
        let left = LEFT + index as f64 * group;
        let kinds = plan.subjects().filter(|kind| (panel.is_shown)(*kind));
        svg.push_str(&draw_group(panel, row, kinds.collect(), left, group, base));
    }
    let _ = writeln!(
        svg,
        "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{one}\" y2=\"{one}\" stroke=\"#444\" \
         stroke-dasharray=\"4 4\" opacity=\"0.6\"/>",
        WIDTH - LEFT,
    );
    svg
}

fn draw_group(
    panel: &Panel,
    row: &Row,
    kinds: Vec<Kind>,
    left: f64,
    group: f64,
    base: f64,
) -> String {
    let bar = (group - 24.0) / kinds.len() as f64;
    let mut svg = String::new();
    for (index, kind) in kinds.into_iter().enumerate() {
        let ratio = row.ratio(kind, Kind::Nutcracker, panel.figure);
        // No figure (a run too short to use a tick of CPU time) is no bar.
        let ratio = if ratio.is_finite() {
            ratio.min(RATIO_MAX)
        } else {
            0.0
        };
        let (x, height) = (left + 12.0 + index as f64 * bar, ratio / RATIO_MAX * PLOT);
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\" fill=\"{}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" font-size=\"9\" text-anchor=\"middle\">{}</text>",
            base - height,
            bar - 2.0,
            color(kind),
            x + bar / 2.0,
            base - height - 3.0,
            (panel.decimals)(row.median(kind, panel.figure)),
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"11\">{}</text>",
        left + group / 2.0,
        base + 16.0,
        row.workload.name,
    );
    svg
}

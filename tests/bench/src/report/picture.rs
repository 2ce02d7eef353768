//! The picture: for every figure that has a bar, how much of what the bar allows is used up.

use crate::row::Row;

const ROW_HEIGHT: usize = 22;
const LABELS: f64 = 430.0;
/// How long a figure that just holds its bar is.
const BAR: f64 = 300.0;
/// Longer ones are cut; the number says how long they would be.
const LONGEST: f64 = 1.6;

/// Draws it as SVG.
pub(super) fn draw(rows: &[Row]) -> String {
    let barred: Vec<(&Row, f64)> = rows
        .iter()
        .filter_map(|row| row.used().map(|used| (row, used)))
        .collect();
    let width = LABELS + BAR * LONGEST + 130.0;
    let height = ROW_HEIGHT * (barred.len() + 2);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"16\">Each figure as a share of what its bar allows; shorter is better, the line is the bar.</text>\n"
    );
    for (number, (row, used)) in barred.iter().enumerate() {
        let top = ROW_HEIGHT * (number + 1) + 6;
        let colour = if *used <= 1.0 { "#3a7d44" } else { "#b3261e" };
        let length = BAR * used.min(LONGEST);
        let ratio = row
            .ratio()
            .map(|ratio| format!(", {ratio:.2} ×"))
            .unwrap_or_default();
        svg.push_str(&format!(
            "<text x=\"8\" y=\"{}\">{}</text>\
             <rect x=\"{LABELS}\" y=\"{top}\" width=\"{length:.1}\" height=\"14\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{}\">{}{ratio}</text>\n",
            top + 11,
            escaped(&row.what),
            LABELS + length + 6.0,
            top + 11,
            row.unit.show(row.value),
        ));
    }
    let bar = LABELS + BAR;
    svg.push_str(&format!(
        "<line x1=\"{bar}\" y1=\"{ROW_HEIGHT}\" x2=\"{bar}\" y2=\"{height}\" stroke=\"black\" stroke-dasharray=\"3 3\"/>\n</svg>\n"
    ));
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

//! The order of calls as a timeline.

use std::time::Duration;

use ipamd_core::pace::Effect;

use crate::fleet::Done;

const ROW: usize = 22;
const LABELS: f64 = 330.0;
const SECOND: f64 = 36.0;

/// Draws what was done since `begin`, a row for each action, and a line where everybody was served.
pub(crate) fn draw<'a>(
    title: &str,
    log: impl Iterator<Item = &'a Done>,
    begin: Duration,
    served: Duration,
) -> String {
    let mut log: Vec<&Done> = log.filter(|done| done.begun <= begin + served).collect();
    log.sort_by_key(|done| (done.begun, done.ended));
    let since = |time: Duration| time.saturating_sub(begin).as_secs_f64() * SECOND;
    let end = log
        .iter()
        .map(|done| since(done.ended))
        .fold(served.as_secs_f64() * SECOND, f64::max);
    let (width, height) = (LABELS + end + 90.0, ROW * (log.len() + 2));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"8\" y=\"16\">{title}</text>\n"
    );
    for (row, done) in log.iter().enumerate() {
        let top = ROW * (row + 1) + 6;
        let colour = match done.action.effect() {
            Effect::Changes => "#2b5d8a",
            Effect::Reads => "#b9c7d4",
        };
        let (from, to) = (since(done.begun), since(done.ended));
        svg.push_str(&format!(
            "<text x=\"8\" y=\"{text}\">{operation}</text>\
             <rect x=\"{left:.1}\" y=\"{top}\" width=\"{length:.1}\" height=\"14\" fill=\"{colour}\"/>\
             <text x=\"{after:.1}\" y=\"{text}\">{seconds:.1}</text>\n",
            text = top + 11,
            operation = label(done),
            left = LABELS + from,
            length = to - from,
            after = LABELS + to + 4.0,
            seconds = done.ended.saturating_sub(begin).as_secs_f64(),
        ));
    }
    let line = LABELS + served.as_secs_f64() * SECOND;
    svg.push_str(&format!(
        "<line x1=\"{line:.1}\" y1=\"{ROW}\" x2=\"{line:.1}\" y2=\"{height}\" stroke=\"#3a7d44\" \
         stroke-dasharray=\"3 3\"/>\n</svg>\n"
    ));
    svg
}

/// The operation, and how much is asked for; ids say nothing here.
fn label(done: &Done) -> String {
    use ipamd_core::action::Action;
    let operation = done.action.operation();
    match &done.action {
        Action::CreateEni(new) => format!("{operation}: {}", new.ask),
        Action::Assign { ask, .. } => format!("{operation}: {ask}"),
        _ => operation.to_owned(),
    }
}

//! One figure of the bench: what was measured, beside what, and whether it holds its bar.

use serde::Serialize;

/// A figure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: String,
    /// In which unit, as printed.
    pub(crate) unit: Unit,
    /// What was found.
    pub(crate) value: f64,
    /// What it is held against, of the same run and in the same unit.
    pub(crate) beside: Option<Beside>,
    /// What it should be.
    pub(crate) bar: Option<Bar>,
}

/// Something measured in the same run for comparison.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Beside {
    /// What.
    pub(crate) what: &'static str,
    /// How much.
    pub(crate) value: f64,
    /// The ratio, where it was taken in pairs, a moment apart, and not from two medians.
    pub(crate) paired: Option<f64>,
}

/// A bar, of the value itself or of its ratio to what is beside it.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bar {
    /// The value may be this at most.
    AtMost(f64),
    /// The ratio may be this at most.
    RatioAtMost(f64),
    /// The ratio must be this at least.
    RatioAtLeast(f64),
}

/// How a value is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Unit {
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Packets a second.
    #[serde(rename = "packets/s")]
    PacketsPerSecond,
    /// Mebibytes.
    #[serde(rename = "MiB")]
    Mebibytes,
    /// Thousandths of a CPU.
    #[serde(rename = "mCPU")]
    MilliCpu,
    /// How often something happened.
    #[serde(rename = "count")]
    Count,
}

impl Row {
    pub(crate) fn new(what: impl Into<String>, unit: Unit, value: f64) -> Self {
        Self {
            what: what.into(),
            unit,
            value,
            beside: None,
            bar: None,
        }
    }

    /// A time that was measured in microseconds.
    pub(crate) fn time(what: impl Into<String>, micros: f64) -> Self {
        Self::new(what, Unit::Milliseconds, micros / 1000.0)
    }

    pub(crate) fn at_most(mut self, limit: f64) -> Self {
        self.bar = Some(Bar::AtMost(limit));
        self
    }

    /// Beside something in the row's unit.
    pub(crate) fn beside(mut self, what: &'static str, value: f64) -> Self {
        self.beside = Some(Beside {
            what,
            value,
            paired: None,
        });
        self
    }

    /// Beside something that was measured a moment apart each time, with the ratio of those pairs.
    pub(crate) fn paired(mut self, what: &'static str, value: f64, ratio: f64) -> Self {
        self.beside = Some(Beside {
            what,
            value,
            paired: Some(ratio),
        });
        self
    }

    pub(crate) fn bar(mut self, bar: Bar) -> Self {
        self.bar = Some(bar);
        self
    }

    /// How many times what is beside it.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let beside = self.beside.as_ref()?;
        Some(beside.paired.unwrap_or(self.value / beside.value))
    }

    /// How much of what the bar allows is used up: at most 1 where the bar is held.
    pub(crate) fn used(&self) -> Option<f64> {
        match self.bar? {
            Bar::AtMost(0.0) => Some(if self.value == 0.0 { 0.0 } else { f64::INFINITY }),
            Bar::AtMost(limit) => Some(self.value / limit),
            Bar::RatioAtMost(limit) => Some(self.ratio()? / limit),
            Bar::RatioAtLeast(limit) => Some(limit / self.ratio()?),
        }
    }

    /// Whether the bar is held; `None` without a bar.
    pub(crate) fn holds(&self) -> Option<bool> {
        self.used().map(|used| used <= 1.0)
    }

    pub(crate) fn bar_text(&self) -> String {
        match self.bar {
            None => String::new(),
            Some(Bar::AtMost(limit)) => format!("≤ {}", self.unit.show(limit)),
            Some(Bar::RatioAtMost(limit)) => format!("≤ {limit} ×"),
            Some(Bar::RatioAtLeast(limit)) => format!("≥ {limit} ×"),
        }
    }
}

impl Unit {
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Milliseconds if value < 10.0 => format!("{value:.2} ms"),
            Self::Milliseconds => format!("{value:.0} ms"),
            Self::PacketsPerSecond => format!("{:.0} k/s", value / 1000.0),
            Self::Mebibytes => format!("{value:.1} MiB"),
            Self::MilliCpu => format!("{value:.1} mCPU"),
            Self::Count => format!("{value:.0}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_held_or_missed_on_the_right_side() {
        let row = |value: f64| Row::new("x", Unit::Count, value);
        for (row, expected) in [
            (row(1.0), None),
            (row(3.0).at_most(3.0), Some(true)),
            (row(3.1).at_most(3.0), Some(false)),
            (row(0.0).at_most(0.0), Some(true)),
            (row(1.0).at_most(0.0), Some(false)),
            (
                row(1.3).beside("floor", 1.0).bar(Bar::RatioAtMost(1.3)),
                Some(true),
            ),
            (
                row(1.4).beside("floor", 1.0).bar(Bar::RatioAtMost(1.3)),
                Some(false),
            ),
            (
                row(0.96).beside("one", 1.0).bar(Bar::RatioAtLeast(0.95)),
                Some(true),
            ),
            (
                row(0.94).beside("one", 1.0).bar(Bar::RatioAtLeast(0.95)),
                Some(false),
            ),
        ] {
            assert_eq!(row.holds(), expected, "{row:?}");
        }
    }
}

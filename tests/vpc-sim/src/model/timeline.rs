//! A value as one viewer sees it over time: what it was, what it is and what it is already known to become.
//!
//! Changes are seen in the order in which they were made: a later change never becomes visible before an earlier one.

use std::time::Duration;

/// A value with its history and its scheduled future. Never empty.
#[derive(Clone, Debug)]
pub(crate) struct Timeline<T> {
    first: T,
    later: Vec<(Duration, T)>,
}

impl<T> Timeline<T> {
    /// A value that always was.
    pub(crate) fn new(first: T) -> Self {
        Self {
            first,
            later: Vec::new(),
        }
    }

    /// What is seen at `now`.
    pub(crate) fn at(&self, now: Duration) -> &T {
        self.later
            .iter()
            .rev()
            .find(|(at, _)| *at <= now)
            .map_or(&self.first, |(_, value)| value)
    }

    /// What will be seen when everything scheduled has happened.
    pub(crate) fn last(&self) -> &T {
        self.later.last().map_or(&self.first, |(_, value)| value)
    }

    /// Schedule a change after all others.
    pub(crate) fn push(&mut self, at: Duration, value: T) {
        let at = self.later.last().map_or(at, |(last, _)| at.max(*last));
        self.later.push((at, value));
    }

    /// Change at `at`, and drop whatever was scheduled after it.
    pub(crate) fn cut(&mut self, at: Duration, value: T) {
        self.later.retain(|(scheduled, _)| *scheduled <= at);
        self.later.push((at, value));
    }

    /// The next moment after `now` at which something changes.
    pub(crate) fn next_after(&self, now: Duration) -> Option<Duration> {
        self.later.iter().map(|(at, _)| *at).find(|at| *at > now)
    }

    /// Forget what nobody asks for any more: values replaced at or before `horizon`.
    pub(crate) fn forget_before(&mut self, horizon: Duration) {
        let past = self.later.iter().take_while(|(at, _)| *at <= horizon).count();
        if let Some((_, value)) = self.later.drain(..past).last() {
            self.first = value;
        }
    }
}

/// One value and the three who see it, each late in their own way.
#[derive(Clone, Debug)]
pub(crate) struct Facet<T> {
    /// What is true.
    pub(crate) truth: Timeline<T>,
    /// What describe calls say.
    pub(crate) api: Timeline<T>,
    /// What instance metadata says.
    pub(crate) metadata: Timeline<T>,
    /// What packets meet.
    pub(crate) kernel: Timeline<T>,
}

/// Whose view of a value is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Viewer {
    /// Nobody's: what is true.
    Truth,
    /// Describe calls.
    Api,
    /// Instance metadata.
    Metadata,
    /// Packets.
    Kernel,
}

impl<T: Clone> Facet<T> {
    /// The value as one viewer sees it.
    pub(crate) fn seen_by(&self, viewer: Viewer, now: Duration) -> &T {
        match viewer {
            Viewer::Truth => self.truth.at(now),
            Viewer::Api => self.api.at(now),
            Viewer::Metadata => self.metadata.at(now),
            Viewer::Kernel => self.kernel.at(now),
        }
    }

    /// Seen by everybody from the start.
    pub(crate) fn new(value: T) -> Self {
        Self {
            truth: Timeline::new(value.clone()),
            api: Timeline::new(value.clone()),
            metadata: Timeline::new(value.clone()),
            kernel: Timeline::new(value),
        }
    }

    /// Change the truth now and schedule when each viewer learns of it.
    pub(crate) fn set(&mut self, value: T, seen: Seen) {
        self.truth.cut(seen.now, value.clone());
        self.api.push(seen.api, value.clone());
        self.metadata.push(seen.metadata, value.clone());
        self.kernel.push(seen.kernel, value);
    }

    pub(crate) fn next_after(&self, now: Duration) -> Option<Duration> {
        [&self.truth, &self.api, &self.metadata, &self.kernel]
            .into_iter()
            .filter_map(|lane| lane.next_after(now))
            .min()
    }

    pub(crate) fn forget_before(&mut self, horizon: Duration) {
        for lane in [
            &mut self.truth,
            &mut self.api,
            &mut self.metadata,
            &mut self.kernel,
        ] {
            lane.forget_before(horizon);
        }
    }
}

/// When a change happens and when each viewer learns of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) now: Duration,
    pub(crate) api: Duration,
    pub(crate) metadata: Duration,
    pub(crate) kernel: Duration,
}

impl Seen {
    /// By everybody at once.
    pub(crate) fn at_once(now: Duration) -> Self {
        Self {
            now,
            api: now,
            metadata: now,
            kernel: now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_later_change_is_never_seen_before_an_earlier_one() {
        let mut line = Timeline::new('a');
        line.push(s(10), 'b');
        line.push(s(5), 'c');
        assert_eq!((*line.at(s(9)), *line.at(s(10)), *line.last()), ('a', 'c', 'c'));
    }

    #[test]
    fn a_cut_drops_what_was_scheduled() {
        let mut line = Timeline::new('a');
        line.push(s(5), 'b');
        line.push(s(10), 'c');
        line.cut(s(7), 'd');
        assert_eq!(*line.at(s(20)), 'd');
        assert_eq!(line.next_after(s(5)), Some(s(7)));
        assert_eq!(line.next_after(s(7)), None);
    }

    #[test]
    fn forgetting_keeps_what_is_seen_now() {
        let mut line = Timeline::new('a');
        line.push(s(5), 'b');
        line.push(s(10), 'c');
        line.forget_before(s(6));
        assert_eq!((*line.at(s(6)), *line.at(s(10))), ('b', 'c'));
    }
}

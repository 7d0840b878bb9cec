//! Closing in on changes of anything that can be looked at.

use stackvm_machine::Instant;
use stackvm_machine::instant::Ticks;

/// A place on a branch's whole path: an instant, and how many inputs were put in by then.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Point {
    pub(super) at: Instant,
    pub(super) entries: usize,
}

/// What can be looked at.
#[derive(Debug)]
pub(super) struct Schedule {
    pub(super) begin: Instant,
    pub(super) end: Instant,
    /// Instants of the inputs, ascending.
    pub(super) entries: Vec<Instant>,
    /// Two points without an input between are not told apart when they are this near.
    pub(super) resolution: Ticks,
}

/// A change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Found<S> {
    /// The first point at which it is seen.
    pub(super) at: Point,
    /// The input between that point and the last one at which it is not.
    pub(super) cause: Option<usize>,
    pub(super) before: S,
    pub(super) after: S,
}

/// The changes that at least `looks` looks show. A look may be impossible (`None`).
pub(super) fn changes<S: PartialEq + Clone, E>(
    schedule: &Schedule,
    looks: u32,
    look: &mut dyn FnMut(Point) -> Result<Option<S>, E>,
) -> Result<Vec<Found<S>>, E> {
    let mut seen: Vec<(Point, S)> = Vec::new();
    let mut found = Vec::new();
    for point in schedule.points(looks) {
        let Some(state) = look(point)? else { continue };
        if let Some((before, old)) = seen.pop() {
            close_in(schedule, (before, old), (point, state.clone()), look, &mut found)?;
        }
        seen.push((point, state));
    }
    Ok(found)
}

/// Finds the changes between two points.
fn close_in<S: PartialEq + Clone, E>(
    schedule: &Schedule,
    (mut low, mut old): (Point, S),
    (end, last): (Point, S),
    look: &mut dyn FnMut(Point) -> Result<Option<S>, E>,
    found: &mut Vec<Found<S>>,
) -> Result<(), E> {
    while old != last {
        let (mut high, mut new) = (end, last.clone());
        while let Some(middle) = schedule.between(low, high) {
            // What cannot be seen has not changed yet.
            match look(middle)? {
                Some(state) if state != old => (high, new) = (middle, state),
                _ => low = middle,
            }
        }
        let cause = (high.entries > low.entries).then_some(low.entries);
        found.push(Found { at: high, cause, before: old, after: new.clone() });
        (low, old) = (high, new);
    }
    Ok(())
}

impl Schedule {
    /// Points to look at first: spread over the time, and over the inputs.
    fn points(&self, looks: u32) -> Vec<Point> {
        let looks = u64::from(looks.max(2));
        let span = u128::from(self.end.since(self.begin).get());
        let part = |n: u64| (span * u128::from(n) / u128::from(looks)) as u64;
        let times = (0..=looks).map(|n| self.at(self.begin + Ticks::new(part(n))));
        // Before an input, what earlier ones caused has had the most time to happen.
        let count = self.entries.len() as u64;
        let inputs = (1..looks).map(|n| (n * count / looks) as usize).filter(|n| *n > 0);
        let before = inputs.map(|n| Point { at: self.entries[n], entries: n });
        let mut points: Vec<Point> = times.chain(before).collect();
        points.sort_unstable();
        points.dedup();
        points
    }

    /// The point after all inputs up to an instant.
    fn at(&self, at: Instant) -> Point {
        Point { at, entries: self.entries.partition_point(|entry| *entry <= at) }
    }

    /// A point between two others, or `None` when they are as near as can be.
    fn between(&self, low: Point, high: Point) -> Option<Point> {
        let inputs = high.entries - low.entries;
        let middle = match inputs {
            0 => {
                let gap = high.at.since(low.at);
                if gap <= self.resolution {
                    return None;
                }
                Point { at: low.at + Ticks::new(gap.get() / 2), entries: low.entries }
            }
            1 => {
                // Right before the input, then right after it.
                let at = self.entries[low.entries];
                let before = Point { at, entries: low.entries };
                let after = Point { at, entries: high.entries };
                if low < before { before } else { after }
            }
            _ => {
                let entries = low.entries + inputs / 2;
                // Right before the next one.
                Point { at: self.entries[entries], entries }
            }
        };
        (low < middle && middle < high).then_some(middle)
    }
}

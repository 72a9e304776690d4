//! Which lines of two texts are the same: E. W. Myers, "An O(ND) Difference Algorithm and Its Variations" (1986), in its
//! linear space form. Where several answers are as short, the one that `diff` of the GNU diffutils gives most often: of
//! lines that repeat, the later ones count as the changed ones.

use std::collections::{HashMap, HashSet};
use std::ops::{Range, RangeInclusive};

use super::rare::hopeless;
use super::{CONTEXT, Change};

/// Steps of the search after which lines are compared by their numbers instead, which formatting does not change.
const MAX_STEPS: usize = 20_000_000;

/// The lines that differ, in order.
pub(super) fn changes(old: &[&str], new: &[&str]) -> Vec<Change> {
    let mut known = HashMap::new();
    let mut number = |line: &&str| {
        let next = known.len();
        *known.entry((*line).to_owned()).or_insert(next)
    };
    let old: Vec<usize> = old.iter().map(&mut number).collect();
    let new: Vec<usize> = new.iter().map(&mut number).collect();
    let (start, end) = same_ends(&old, &new);
    let mut search = Search::new(&old[start..old.len() - end], &new[start..new.len() - end]);
    if !search.run() {
        return by_number(&old, &new);
    }
    let whole = |changed: Vec<bool>| [vec![false; start], changed, vec![false; end]].concat();
    let (mut old_changed, mut new_changed) = (whole(search.old_changed), whole(search.new_changed));
    slide(&old, &mut old_changed, &new_changed);
    slide(&new, &mut new_changed, &old_changed);
    runs(&old_changed, &new_changed)
}

/// How many lines at the start and at the end are the same in both, but for the ones that are shown as context.
fn same_ends(old: &[usize], new: &[usize]) -> (usize, usize) {
    let start = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let ends = old[start..].iter().rev().zip(new[start..].iter().rev());
    let end = ends.take_while(|(old, new)| old == new).count();
    (start.saturating_sub(CONTEXT), end.saturating_sub(CONTEXT))
}

fn by_number(old: &[usize], new: &[usize]) -> Vec<Change> {
    let length = old.len().max(new.len());
    let differs: Vec<bool> = (0..length).map(|at| old.get(at) != new.get(at)).collect();
    runs(&differs[..old.len()], &differs[..new.len()])
}

/// Changed lines → changes. The lines between them are the same in both.
fn runs(old_changed: &[bool], new_changed: &[bool]) -> Vec<Change> {
    let mut changes = Vec::new();
    let (mut old, mut new) = (0, 0);
    while old < old_changed.len() || new < new_changed.len() {
        let change = Change { old: old..run_end(old_changed, old), new: new..run_end(new_changed, new) };
        (old, new) = (change.old.end + 1, change.new.end + 1);
        if !(change.old.is_empty() && change.new.is_empty()) {
            changes.push(change);
        }
    }
    changes
}

fn run_end(changed: &[bool], start: usize) -> usize {
    let start = start.min(changed.len());
    start + changed[start..].iter().take_while(|changed| **changed).count()
}

/// Lines that are in both texts, by their numbers, and where they are in their text.
struct Kept {
    lines: Vec<usize>,
    places: Vec<usize>,
}

struct Search {
    old: Kept,
    new: Kept,
    old_changed: Vec<bool>,
    new_changed: Vec<bool>,
    /// How far each diagonal has been followed, from the start and from the end.
    forward: Vec<isize>,
    backward: Vec<isize>,
    steps: usize,
}

/// A part of both texts.
#[derive(Clone)]
struct Part {
    old: Range<usize>,
    new: Range<usize>,
}

impl Search {
    /// Lines that the other text does not have at all are changed, whatever the search finds; so are frequent ones among
    /// many of them.
    fn new(old: &[usize], new: &[usize]) -> Self {
        let (old_changed, new_changed) = (hopeless(old, new), hopeless(new, old));
        let keep = |lines: &[usize], changed: &[bool]| {
            let places: Vec<usize> = (0..lines.len()).filter(|at| !changed[*at]).collect();
            Kept { lines: places.iter().map(|at| lines[*at]).collect(), places }
        };
        let (kept_old, kept_new) = (keep(old, &old_changed), keep(new, &new_changed));
        let diagonals = kept_old.lines.len() + kept_new.lines.len() + 3;
        Self {
            old: kept_old,
            new: kept_new,
            old_changed,
            new_changed,
            forward: vec![0; diagonals],
            backward: vec![0; diagonals],
            steps: 0,
        }
    }

    /// Finds the changed lines; false when that takes too long.
    fn run(&mut self) -> bool {
        let whole = Part { old: 0..self.old.lines.len(), new: 0..self.new.lines.len() };
        let mut parts = vec![whole];
        while let Some(mut part) = parts.pop() {
            self.trim(&mut part);
            if part.old.is_empty() || part.new.is_empty() {
                for at in part.old {
                    self.old_changed[self.old.places[at]] = true;
                }
                for at in part.new {
                    self.new_changed[self.new.places[at]] = true;
                }
                continue;
            }
            let Some((old, new)) = self.middle(&part) else { return false };
            parts.push(Part { old: old..part.old.end, new: new..part.new.end });
            parts.push(Part { old: part.old.start..old, new: part.new.start..new });
        }
        true
    }

    /// Leaves out what is the same at both ends.
    fn trim(&self, part: &mut Part) {
        let (old, new) = (&self.old.lines, &self.new.lines);
        let shorter = part.old.len().min(part.new.len());
        let starts = old[part.old.clone()].iter().zip(&new[part.new.clone()]);
        let same = starts.take_while(|(old, new)| old == new).count();
        part.old.start += same;
        part.new.start += same;
        let ends = old[part.old.clone()].iter().rev().zip(new[part.new.clone()].iter().rev());
        let same = ends.take(shorter - same).take_while(|(old, new)| old == new).count();
        part.old.end -= same;
        part.new.end -= same;
    }

    /// A point on a shortest way from start to end: where the searches from both ends meet. Diagonals are numbered by old
    /// minus new.
    fn middle(&mut self, part: &Part) -> Option<(usize, usize)> {
        let signed = |at: usize| isize::try_from(at).unwrap_or(isize::MAX);
        let (old_start, old_end) = (signed(part.old.start), signed(part.old.end));
        let (new_start, new_end) = (signed(part.new.start), signed(part.new.end));
        let (lowest, highest) = (old_start - new_end, old_end - new_start);
        let (first, last) = (old_start - new_start, old_end - new_end);
        let odd = (first - last) % 2 != 0;
        let offset = signed(self.new.lines.len()) + 1;
        let slot = |diagonal: isize| usize::try_from(diagonal + offset).unwrap_or(0);
        let unsigned = |at: isize| usize::try_from(at).unwrap_or(0);
        let (mut ahead, mut back) = (first..=first, last..=last);
        self.forward[slot(first)] = old_start;
        self.backward[slot(last)] = old_end;
        loop {
            ahead = widened(&ahead, lowest, highest, |outside| self.forward[slot(outside)] = -1);
            for diagonal in ahead.clone().rev().step_by(2) {
                let (below, above) = (self.forward[slot(diagonal - 1)], self.forward[slot(diagonal + 1)]);
                let mut old = if below < above { above } else { below + 1 };
                let mut new = old - diagonal;
                while old < old_end && new < new_end && self.old.lines[unsigned(old)] == self.new.lines[unsigned(new)] {
                    (old, new) = (old + 1, new + 1);
                    self.steps += 1;
                }
                self.forward[slot(diagonal)] = old;
                if odd && back.contains(&diagonal) && self.backward[slot(diagonal)] <= old {
                    return Some((unsigned(old), unsigned(new)));
                }
                self.steps += 1;
            }
            back = widened(&back, lowest, highest, |outside| self.backward[slot(outside)] = isize::MAX);
            for diagonal in back.clone().rev().step_by(2) {
                let (below, above) = (self.backward[slot(diagonal - 1)], self.backward[slot(diagonal + 1)]);
                let mut old = if below < above { below } else { above - 1 };
                let mut new = old - diagonal;
                while old > old_start
                    && new > new_start
                    && self.old.lines[unsigned(old - 1)] == self.new.lines[unsigned(new - 1)]
                {
                    (old, new) = (old - 1, new - 1);
                    self.steps += 1;
                }
                self.backward[slot(diagonal)] = old;
                if !odd && ahead.contains(&diagonal) && old <= self.forward[slot(diagonal)] {
                    return Some((unsigned(old), unsigned(new)));
                }
                self.steps += 1;
            }
            if self.steps > MAX_STEPS {
                return None;
            }
        }
    }
}

/// The diagonals of the next step: one more on each side, or one less where the texts end. The diagonal outside of a new
/// one has not been followed; `outside` notes that.
fn widened(
    range: &RangeInclusive<isize>,
    lowest: isize,
    highest: isize,
    mut outside: impl FnMut(isize),
) -> RangeInclusive<isize> {
    let (mut low, mut high) = (*range.start(), *range.end());
    if low > lowest {
        low -= 1;
        outside(low - 1);
    } else {
        low += 1;
    }
    if high < highest {
        high += 1;
        outside(high + 1);
    } else {
        high -= 1;
    }
    low..=high
}

/// Moves runs of changed lines over lines that repeat: backwards to join the run before, then forwards as far as it goes,
/// and back to where the other text has a change too.
fn slide(lines: &[usize], changed: &mut [bool], other: &[bool]) {
    let mut at = 0;
    // How many unchanged lines are before the run: the same number is before its place in the other text.
    let changes_there = unchanged_before_changes(other);
    let mut unchanged = 0;
    while at < lines.len() {
        if !changed[at] {
            unchanged += 1;
            at += 1;
            continue;
        }
        let mut start = at;
        let mut end = run_end(changed, at);
        let mut aligned;
        loop {
            let length = end - start;
            while start > 0 && lines[start - 1] == lines[end - 1] {
                (start, end, unchanged) = (start - 1, end - 1, unchanged - 1);
                changed[start] = true;
                changed[end] = false;
                while start > 0 && changed[start - 1] {
                    start -= 1;
                }
            }
            aligned = changes_there.contains(&unchanged).then_some(end);
            while end < lines.len() && lines[start] == lines[end] {
                changed[start] = false;
                changed[end] = true;
                (start, unchanged) = (start + 1, unchanged + 1);
                end = run_end(changed, end);
                if changes_there.contains(&unchanged) {
                    aligned = Some(end);
                }
            }
            if end - start == length {
                break;
            }
        }
        while aligned.is_some_and(|aligned| aligned < end) {
            (start, end, unchanged) = (start - 1, end - 1, unchanged - 1);
            changed[start] = true;
            changed[end] = false;
        }
        at = end;
    }
}

/// For each run of changed lines, how many unchanged lines are before it.
fn unchanged_before_changes(changed: &[bool]) -> HashSet<usize> {
    let mut unchanged = 0;
    let mut before = HashSet::new();
    for changed in changed {
        if *changed {
            before.insert(unchanged);
        } else {
            unchanged += 1;
        }
    }
    before
}

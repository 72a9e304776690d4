//! Lines that are not worth comparing: those the other text does not have, and among many of them also those that it has
//! often, such as an empty line. A change of many lines is easier to read when an empty line in it does not cut it in two.

use std::collections::HashMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Worth {
    Compared,
    /// The other text has it often.
    Frequent,
    /// The other text does not have it.
    Missing,
}

/// For each line, whether it is not compared.
pub(super) fn hopeless(lines: &[usize], other: &[usize]) -> Vec<bool> {
    let mut counts: HashMap<usize, usize> = HashMap::new();
    for line in other {
        *counts.entry(*line).or_default() += 1;
    }
    let many = 5 << magnitude(lines.len() / 64);
    let worth = |line| match counts.get(line) {
        None => Worth::Missing,
        Some(count) if *count > many => Worth::Frequent,
        Some(_) => Worth::Compared,
    };
    let mut worths: Vec<Worth> = lines.iter().map(worth).collect();
    for stretch in worths.chunk_by_mut(|one, next| (*one == Worth::Compared) == (*next == Worth::Compared)) {
        compare_frequent(stretch);
    }
    worths.iter().map(|worth| *worth != Worth::Compared).collect()
}

/// How often a number can be divided by four before it is below one, after the first time.
fn magnitude(mut number: usize) -> u32 {
    let mut times = 0;
    while number >= 4 {
        number /= 4;
        times += 1;
    }
    times
}

/// Lets the frequent lines of a stretch be compared, but those that are few and well inside.
fn compare_frequent(stretch: &mut [Worth]) {
    let missing = |worth: &Worth| *worth == Worth::Missing;
    let (Some(first), Some(last)) = (stretch.iter().position(missing), stretch.iter().rposition(missing)) else {
        stretch.fill(Worth::Compared);
        return;
    };
    stretch[..first].fill(Worth::Compared);
    stretch[last + 1..].fill(Worth::Compared);
    let inside = &mut stretch[first..=last];
    let frequent = inside.iter().filter(|worth| **worth == Worth::Frequent).count();
    if frequent * 4 > inside.len() {
        inside.iter_mut().filter(|worth| **worth == Worth::Frequent).for_each(|worth| *worth = Worth::Compared);
        return;
    }
    let long = (1 << magnitude(inside.len() / 4)) + 1;
    for run in inside.chunk_by_mut(|one, next| one == next) {
        if run[0] == Worth::Frequent && run.len() >= long {
            run.fill(Worth::Compared);
        }
    }
    compare_near_edge(inside.iter_mut());
    compare_near_edge(inside.iter_mut().rev());
}

/// Lets frequent lines be compared up to three missing ones in a row, or the first missing one behind eight lines.
fn compare_near_edge<'w>(worths: impl Iterator<Item = &'w mut Worth>) {
    let mut in_a_row = 0;
    for (distance, worth) in worths.enumerate() {
        if *worth == Worth::Missing {
            in_a_row += 1;
            if distance >= 8 || in_a_row == 3 {
                return;
            }
        } else {
            in_a_row = 0;
            *worth = Worth::Compared;
        }
    }
}

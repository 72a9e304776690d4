//! Tables for people: columns as wide as they need to be, two spaces between, nothing after the last. Facts about one
//! thing are lines of a name and a value.

use super::wire::Copy;

/// Rows of equal length under their headings.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    #[must_use]
    pub fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|heading| (*heading).to_owned()).collect()] }
    }

    /// Adds a row; control characters in it are replaced, since it may hold what others wrote.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(|cell| clean(&cell.into())).collect());
    }

    /// The table with a newline after each row.
    #[must_use]
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Lines of a name and its value, the values below each other. What has none is left out.
#[must_use]
pub fn facts(facts: &[(&str, Option<String>)]) -> String {
    let width = facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let given =
        facts.iter().filter_map(|(name, value)| Some((name, value.as_ref().filter(|value| !value.is_empty())?)));
    given.map(|(name, value)| format!("{name:<width$}  {}\n", clean(value))).collect::<Vec<_>>().concat()
}

/// A number that may be missing, as a cell.
#[must_use]
pub fn number(number: Option<i64>) -> String {
    number.map_or_else(String::new, |number| number.to_string())
}

/// `eu-west-1:ami-1 us-east-1:ami-2`.
#[must_use]
pub fn places(copies: &[Copy]) -> String {
    copies.iter().map(|copy| format!("{}:{}", copy.region, copy.ami_id)).collect::<Vec<_>>().join(" ")
}

/// Text of others on one line, without what would move a terminal's cursor.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["ID", "STATE", "FAMILY"]);
        table.row(["018f", "succeeded", "web"]);
        table.row(["018f3333", "", "größer\u{1b}[2J"]);
        table.row(["1", "queued", ""]);
        insta::assert_snapshot!(table.render(), @r"
        ID        STATE      FAMILY
        018f      succeeded  web
        018f3333             größer [2J
        1         queued
        ");
    }

    #[test]
    fn facts_without_a_value_are_left_out() {
        let text = |value: &str| Some(value.to_owned());
        let all =
            [("id", text("i1")), ("git sha", None), ("account", text("")), ("comment", text("two\nlines\u{1b}[2J"))];
        insta::assert_snapshot!(facts(&all), @"
        id       i1
        comment  two lines [2J
        ");
    }
}

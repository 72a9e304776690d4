//! Tables for people: columns as wide as they need to be, two spaces between, nothing after the last.

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
        let clean = |cell: String| cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.rows.push(cells.into_iter().map(|cell| clean(cell.into())).collect());
    }

    /// Whether there is nothing but the headings.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.len() == 1
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
}

//! Lines and their cells: indentation, and the alignment of `=` and of comments.

use std::ops::Range;

use super::Piece;
use super::spaces::space_between;
use crate::template::hcl::syntax::token::TokenKind;

/// The tokens of a line, by cell. A cell without tokens is one the line does not have.
#[derive(Debug, Clone)]
struct Line {
    /// Everything before the other two. Only a last line without line break can lack it.
    lead: Range<usize>,
    /// From the `=`, when the brackets after it are all closed on the line.
    assign: Range<usize>,
    /// A comment after something else.
    comment: Range<usize>,
}

pub(super) struct Lines<'p, 't> {
    pieces: &'p mut [Piece<'t>],
    lines: Vec<Line>,
}

impl<'p, 't> Lines<'p, 't> {
    /// The lines of a file's tokens, of which the last is the end of the file.
    pub(super) fn new(pieces: &'p mut [Piece<'t>]) -> Self {
        let end = pieces.len().saturating_sub(1);
        let mut lines = Vec::new();
        let mut start = 0;
        for index in 0..end {
            if pieces[index].ends_line() {
                lines.push(cells(pieces, start..index + 1));
                start = index + 1;
            }
        }
        lines.push(cells(pieces, start..end));
        Self { pieces, lines }
    }

    pub(super) fn lay_out(&mut self) {
        self.indent();
        self.space();
        self.align(|line| &line.assign, |line| line.lead.clone());
        self.align(|line| &line.comment, |line| line.lead.start..line.assign.end);
    }

    /// Two spaces for each earlier line that has opened more brackets than it closed. How many a line has opened does not
    /// matter, but its level ends only when as many are closed.
    fn indent(&mut self) {
        let mut levels: Vec<usize> = Vec::new();
        for line in &self.lines {
            let Some(first) = self.pieces[line.lead.clone()].first() else { continue };
            if first.kind == TokenKind::Newline {
                self.pieces[line.lead.start].spaces = 0;
                continue;
            }
            let net = self.net_brackets(line);
            if net < 0 {
                close(&mut levels, net.unsigned_abs());
            }
            self.pieces[line.lead.start].spaces = 2 * levels.len();
            if net > 0 {
                levels.push(net.unsigned_abs());
            }
        }
    }

    /// Open brackets that the line adds. What a heredoc holds does not count, unless it is the value of an `=` cell, which
    /// adds nothing.
    fn net_brackets(&self, line: &Line) -> isize {
        let mut net = 0;
        for piece in &self.pieces[line.lead.clone()] {
            net += piece.bracket_change();
            if piece.kind == TokenKind::OpenHeredoc {
                break;
            }
        }
        net + self.pieces[line.assign.clone()].iter().map(Piece::bracket_change).sum::<isize>()
    }

    /// The spaces between the tokens of a cell.
    fn space(&mut self) {
        for line in &self.lines {
            for cell in [&line.lead, &line.assign] {
                for index in cell.clone().skip(1) {
                    let before = (index - 1 > cell.start).then(|| self.pieces[index - 2].kind);
                    let space = space_between(before, &self.pieces[index - 1], &self.pieces[index]);
                    self.pieces[index].spaces = usize::from(space);
                }
            }
        }
    }

    /// Puts a cell of consecutive lines into one column, one space behind the longest of what is before it.
    fn align(&mut self, cell: impl Fn(&Line) -> &Range<usize>, before: impl Fn(&Line) -> Range<usize>) {
        let width = |pieces: &[Piece<'_>], line: &Line| -> usize {
            pieces[before(line)].iter().map(|piece| piece.spaces + piece.width()).sum()
        };
        for chain in self.lines.chunk_by(|one, next| cell(one).is_empty() == cell(next).is_empty()) {
            if cell(&chain[0]).is_empty() {
                continue;
            }
            let widths: Vec<usize> = chain.iter().map(|line| width(self.pieces, line)).collect();
            let longest = widths.iter().copied().max().unwrap_or(0);
            for (line, width) in chain.iter().zip(widths) {
                self.pieces[cell(line).start].spaces = longest - width + 1;
            }
        }
    }
}

/// Closes that many brackets of the levels.
fn close(levels: &mut Vec<usize>, mut closed: usize) {
    while closed > 0
        && let Some(last) = levels.last_mut()
    {
        if closed < *last {
            *last -= closed;
            return;
        }
        closed -= *last;
        levels.pop();
    }
}

fn cells(pieces: &[Piece<'_>], line: Range<usize>) -> Line {
    let mut lead = line.clone();
    let has_comment = lead.len() > 1 && pieces[lead.end - 1].kind == TokenKind::Comment;
    if has_comment {
        lead.end -= 1;
    }
    let comment = lead.end..line.end;
    let assign = lead.clone().skip(1).find(|index| pieces[*index].kind == TokenKind::Assign);
    let assign = assign.filter(|assign| {
        let net: isize = pieces[*assign..lead.end].iter().map(Piece::bracket_change).sum();
        net == 0
    });
    let assign = assign.unwrap_or(lead.end)..lead.end;
    lead.end = assign.start;
    let comment = if has_comment { comment } else { line.end..line.end };
    Line { lead, assign, comment }
}

//! Which tokens have a space between them.

use super::Piece;
use crate::template::hcl::syntax::token::TokenKind as Kind;

/// Whether there is a space between `left` and `right`, of one cell. `before` is what comes before `left` in the cell. The
/// first rule that fits decides.
pub(super) fn space_between(before: Option<Kind>, left: &Piece<'_>, right: &Piece<'_>) -> bool {
    let text = |kind: Kind| matches!(kind, Kind::QuotedText | Kind::Text);
    match (left.kind, right.kind) {
        (_, Kind::Newline | Kind::Comma | Kind::Ellipsis | Kind::Dot)
        | (Kind::Identifier, Kind::OpenParen | Kind::DoubleColon)
        | (Kind::DoubleColon, Kind::Identifier)
        | (Kind::Dot, _) => false,
        (Kind::Comma, _) => true,
        (one, _) if text(one) || matches!(one, Kind::OpenQuote | Kind::OpenHeredoc) => false,
        (_, other) if text(other) || matches!(other, Kind::CloseQuote | Kind::CloseHeredoc) => false,
        // The word in of a for, before a list: not an index.
        (Kind::Identifier, _) if left.text == "in" && before == Some(Kind::Identifier) => true,
        // An index, an empty block or object, and ${ } next to each other.
        (Kind::Identifier | Kind::Number, Kind::OpenBracket)
        | (Kind::OpenBrace, Kind::CloseBrace)
        | (Kind::SequenceEnd, Kind::Interpolation | Kind::Directive) => false,
        (_, Kind::OpenBracket) if left.bracket_change() < 0 => false,
        (Kind::Bang, _) => false,
        (Kind::Minus, _) => subtracts(before),
        (Kind::OpenBrace, _)
        | (_, Kind::CloseBrace)
        // An object alone in ${ }.
        | (Kind::Interpolation | Kind::Directive, Kind::OpenBrace)
        | (Kind::CloseBrace, Kind::SequenceEnd) => true,
        _ => left.bracket_change() <= 0 && right.bracket_change() >= 0,
    }
}

/// Whether a minus takes away, by what is before it. Otherwise it negates what follows.
fn subtracts(before: Option<Kind>) -> bool {
    !matches!(
        before,
        None | Some(
            Kind::OpenParen
                | Kind::OpenBrace
                | Kind::OpenBracket
                | Kind::Assign
                | Kind::Colon
                | Kind::Comma
                | Kind::Question
                | Kind::Plus
                | Kind::Star
                | Kind::Slash
                | Kind::Percent
                | Kind::Minus
                | Kind::Equal
                | Kind::NotEqual
                | Kind::Greater
                | Kind::GreaterOrEqual
                | Kind::Less
                | Kind::LessOrEqual
                | Kind::And
                | Kind::Or
                | Kind::Bang
        )
    )
}

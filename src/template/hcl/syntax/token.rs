//! The tokens of HCL2's native syntax. Every byte of a file but spaces, tabs and a byte order mark lies in a token, so
//! that the formatter can write a file back from them.

use super::ast::Span;

/// What a token is. Names are those of the characters, but where a character has several meanings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    OpenBrace,
    CloseBrace,
    OpenBracket,
    CloseBracket,
    OpenParen,
    CloseParen,
    /// `"` that begins a string.
    OpenQuote,
    CloseQuote,
    /// `<<EOT` or `<<-EOT` with the line break after it.
    OpenHeredoc,
    /// The closing marker with the spaces before it, without the line break after it.
    CloseHeredoc,
    Star,
    Slash,
    Plus,
    Minus,
    Percent,
    /// `=`
    Assign,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    And,
    Or,
    Bang,
    Question,
    Colon,
    DoubleColon,
    Dot,
    Comma,
    Ellipsis,
    /// `=>`
    FatArrow,
    Identifier,
    Number,
    /// Text of a quoted string, escapes as they are written.
    QuotedText,
    /// Text of a heredoc or a bare template.
    Text,
    /// `${` or `${~`.
    Interpolation,
    /// `%{` or `%{~`.
    Directive,
    /// The `}` or `~}` that ends one of the two.
    SequenceEnd,
    /// With its line break, if it has one: `#` and `//` do.
    Comment,
    Newline,
    /// A character that has no meaning in HCL2, or has none where it is.
    Invalid,
    EndOfFile,
}

impl TokenKind {
    /// The kind that closes what this one opens.
    #[must_use]
    pub fn closer(self) -> Option<Self> {
        Some(match self {
            Self::OpenBrace => Self::CloseBrace,
            Self::OpenBracket => Self::CloseBracket,
            Self::OpenParen => Self::CloseParen,
            Self::OpenQuote => Self::CloseQuote,
            Self::OpenHeredoc => Self::CloseHeredoc,
            Self::Interpolation | Self::Directive => Self::SequenceEnd,
            _ => return None,
        })
    }

    /// Whether it closes something.
    #[must_use]
    pub fn closes(self) -> bool {
        matches!(
            self,
            Self::CloseBrace
                | Self::CloseBracket
                | Self::CloseParen
                | Self::CloseQuote
                | Self::CloseHeredoc
                | Self::SequenceEnd
        )
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    pub kind: TokenKind,
    pub span: Span,
}

impl Token {
    /// What is written.
    #[must_use]
    pub fn text(self, file: &str) -> &str {
        self.span.text(file)
    }
}

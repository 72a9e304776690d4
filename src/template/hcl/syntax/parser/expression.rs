//! Operators and the simple terms.

use super::{Faulty, Parsed, Parser};
use crate::template::hcl::syntax::ast::{Binary, BinaryOperator, Conditional, Expr, ExprKind, Spanned, UnaryOperator};
use crate::template::hcl::syntax::token::TokenKind;

impl Parser<'_> {
    /// The only expression of its text.
    pub fn only_expression(&mut self) -> Expr {
        self.newlines = false;
        let start = self.peek().span;
        let Ok(expr) = self.expression() else { return Self::invalid(start) };
        let next = self.peek();
        if next.kind != TokenKind::EndOfFile {
            self.unexpected(next, "the end of the expression");
        }
        expr
    }

    pub(super) fn expression(&mut self) -> Parsed<Expr> {
        self.deeper(Self::conditional)
    }

    fn conditional(&mut self) -> Parsed<Expr> {
        let condition = self.binary(0)?;
        if self.read_if(TokenKind::Question).is_none() {
            return Ok(condition);
        }
        let mut height = self.height;
        let yes = self.expression()?;
        height = height.max(self.height);
        let next = self.peek();
        if self.read_if(TokenKind::Colon).is_none() {
            self.unexpected(next, "the : of a condition ? yes : no");
            return Err(Faulty);
        }
        let no = self.expression()?;
        self.raise(height.max(self.height))?;
        let span = condition.span().to(no.span());
        Ok(Expr { kind: ExprKind::Conditional(Box::new(Conditional { condition, yes, no })), span })
    }

    /// Operators that bind at least that tightly; all of them group to the left.
    fn binary(&mut self, minimum: u8) -> Parsed<Expr> {
        let mut left = self.operand()?;
        let mut height = self.height;
        while let Some((operator, precedence)) = binary_operator(self.peek_kind())
            && precedence >= minimum
        {
            self.read();
            let right = self.binary(precedence + 1)?;
            self.raise(height.max(self.height))?;
            height = self.height;
            let span = left.span().to(right.span());
            left = Expr { kind: ExprKind::Binary(Box::new(Binary { operator, left, right })), span };
        }
        self.height = height;
        Ok(left)
    }

    /// A term with what follows it: `.name`, `[key]`.
    pub(super) fn operand(&mut self) -> Parsed<Expr> {
        let term = self.term()?;
        self.traversals(term)
    }

    fn term(&mut self) -> Parsed<Expr> {
        let token = self.peek();
        self.height = 1;
        match token.kind {
            TokenKind::OpenParen => self.parenthesis(),
            TokenKind::Number => {
                self.read();
                Ok(self.number(token))
            }
            TokenKind::Identifier => {
                self.read();
                if matches!(self.peek_kind(), TokenKind::OpenParen | TokenKind::DoubleColon) {
                    return self.call(token);
                }
                let kind = match token.text(self.text) {
                    "true" => ExprKind::Bool(true),
                    "false" => ExprKind::Bool(false),
                    "null" => ExprKind::Null,
                    _ => ExprKind::Variable(self.ident(token)),
                };
                Ok(Expr { kind, span: token.span })
            }
            TokenKind::OpenQuote | TokenKind::OpenHeredoc => self.deeper(Self::string),
            TokenKind::Minus | TokenKind::Bang => {
                self.read();
                let operand = self.deeper(Self::operand)?;
                self.raise(self.height)?;
                let operator = if token.kind == TokenKind::Minus { UnaryOperator::Negate } else { UnaryOperator::Not };
                let span = token.span.to(operand.span());
                Ok(Expr { kind: ExprKind::Unary(operator, Box::new(operand)), span })
            }
            TokenKind::OpenBracket => self.tuple(),
            TokenKind::OpenBrace => self.object(),
            _ => {
                self.unexpected(token, "a value");
                Err(Faulty)
            }
        }
    }

    fn parenthesis(&mut self) -> Parsed<Expr> {
        let (open, closer) = self.read_opener();
        let inner = self.with_newlines(false, |parser| {
            let inner = parser.expression()?;
            if parser.read_if(TokenKind::CloseParen).is_none() {
                parser.after_element(open, closer, "the parenthesis", "an operator or a )");
                return Err(Faulty);
            }
            Ok(inner)
        });
        let Ok(inner) = inner else {
            self.skip_past(closer)?;
            return Ok(Self::invalid(self.since(open.span)));
        };
        self.raise(self.height)?;
        Ok(Expr { kind: ExprKind::Parenthesis(Box::new(inner)), span: self.since(open.span) })
    }
}

/// The operator, and how tightly it binds.
fn binary_operator(kind: TokenKind) -> Option<(BinaryOperator, u8)> {
    Some(match kind {
        TokenKind::Or => (BinaryOperator::Or, 0),
        TokenKind::And => (BinaryOperator::And, 1),
        TokenKind::Equal => (BinaryOperator::Equal, 2),
        TokenKind::NotEqual => (BinaryOperator::NotEqual, 2),
        TokenKind::Less => (BinaryOperator::Less, 3),
        TokenKind::LessOrEqual => (BinaryOperator::LessOrEqual, 3),
        TokenKind::Greater => (BinaryOperator::Greater, 3),
        TokenKind::GreaterOrEqual => (BinaryOperator::GreaterOrEqual, 3),
        TokenKind::Plus => (BinaryOperator::Add, 4),
        TokenKind::Minus => (BinaryOperator::Subtract, 4),
        TokenKind::Star => (BinaryOperator::Multiply, 5),
        TokenKind::Slash => (BinaryOperator::Divide, 5),
        TokenKind::Percent => (BinaryOperator::Modulo, 5),
        _ => return None,
    })
}

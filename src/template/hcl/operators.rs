//! Arithmetic, comparison and logic.

use super::eval::{EvalResult, Evaluator, Scope};
use super::syntax::ast::{Binary, BinaryOperator, Expr, Spanned, UnaryOperator};
use crate::domain::diagnostic::Diagnostic;
use crate::template::number::Number;
use crate::template::types::{Type, convert};
use crate::template::unify::equals;
use crate::template::value::{Kind, Value};

impl Evaluator<'_> {
    pub(super) fn unary(&self, operator: UnaryOperator, operand: &Expr, scope: &Scope<'_>) -> EvalResult {
        let value = self.eval(operand, scope)?;
        if value.is_unknown() || self.runtime.late.look_into(&value) {
            return Ok(Value::UNKNOWN.marked(value.is_sensitive()));
        }
        let result = match operator {
            UnaryOperator::Not => Value::bool(!self.boolean(&value, operand, "the operand of !")?),
            UnaryOperator::Negate => Value::number(-self.operand(&value, operand, "-")?),
        };
        Ok(result.marked(value.is_sensitive()))
    }

    pub(super) fn operand(&self, value: &Value, at: &impl Spanned, operator: &str) -> Result<Number, Box<Diagnostic>> {
        match convert(value, &Type::Number).map(|value| value.kind().clone()) {
            Ok(Kind::Number(number)) => Ok(number),
            _ => Err(self.fault(at, format!("{operator} needs a number, this is {}", value.type_name()))),
        }
    }

    pub(super) fn binary(&self, binary: &Binary, scope: &Scope<'_>) -> EvalResult {
        let operator = binary.operator;
        let left = match self.eval(&binary.left, scope) {
            Ok(left) => left,
            Err(fault) => {
                let mut first = Some(fault);
                self.unless_faulty(self.eval(&binary.right, scope), &mut first)?;
                return first.map_or(Ok(Value::UNKNOWN), Err);
            }
        };
        let logic = matches!(operator, BinaryOperator::And | BinaryOperator::Or);
        if logic && !left.is_unknown() && !left.is_late() {
            let decided = self.boolean(&left, &binary.left, "an operand of && or ||")?;
            if decided == (operator == BinaryOperator::Or) {
                return Ok(Value::bool(decided).marked(left.is_sensitive()));
            }
        }
        let right = if logic && left.is_late() {
            // Whether the right side counts is known only when the left one is: a fault of it waits for the step, too.
            self.attempt(&binary.right, scope).unwrap_or(Value::UNKNOWN)
        } else {
            self.eval(&binary.right, scope)?
        };
        let sensitive = left.is_sensitive() || right.is_sensitive();
        if self.runtime.late.look_into(&left) || self.runtime.late.look_into(&right) {
            return Ok(Value::UNKNOWN.marked(sensitive));
        }
        if matches!(operator, BinaryOperator::Equal | BinaryOperator::NotEqual) {
            self.spend(left.weight().min(right.weight()) / 16, &binary.left)?;
            let result = match equals(&left, &right) {
                Some(equal) => Value::bool(equal == (operator == BinaryOperator::Equal)),
                None => Value::UNKNOWN,
            };
            return Ok(result.marked(sensitive));
        }
        if left.is_unknown() || right.is_unknown() {
            return Ok(Value::UNKNOWN.marked(sensitive));
        }
        let result = if logic {
            Value::bool(self.boolean(&right, &binary.right, "an operand of && or ||")?)
        } else {
            let a = self.operand(&left, &binary.left, operator.symbol())?;
            let b = self.operand(&right, &binary.right, operator.symbol())?;
            self.arithmetic(binary, a, b)?
        };
        Ok(result.marked(sensitive))
    }

    fn arithmetic(&self, binary: &Binary, a: Number, b: Number) -> EvalResult {
        if !(a.is_small() && b.is_small()) {
            self.spend(8, &binary.left)?;
        }
        let number = match binary.operator {
            BinaryOperator::Less => return Ok(Value::bool(a < b)),
            BinaryOperator::LessOrEqual => return Ok(Value::bool(a <= b)),
            BinaryOperator::Greater => return Ok(Value::bool(a > b)),
            BinaryOperator::GreaterOrEqual => return Ok(Value::bool(a >= b)),
            BinaryOperator::Add => a.checked_add(b),
            BinaryOperator::Subtract => a.checked_sub(b),
            BinaryOperator::Multiply => a.checked_mul(b),
            _ if b.is_zero() => return Err(self.fault(&binary.right, "division by zero")),
            BinaryOperator::Divide => a.checked_div(b),
            _ => a.checked_rem(b),
        };
        number.map(Value::number).ok_or_else(|| self.fault(&binary.left, "the result is out of range"))
    }
}

//! Runs a text's actions, within bounds: a text is data from a user.

use super::ast::{Block, BlockKind, Command, Node, Operand, Pipeline, Span};
use super::parse::Fault;
use super::value::Value;
use super::{Names, Obstacle, Trouble, builtins};

/// Commands and pieces of text that one text may run.
const MAX_STEPS: u32 = 100_000;
/// Bytes that one text may become.
pub const MAX_OUTPUT: usize = 4 * 1024 * 1024;

/// Why a text could not be rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Something is only known while the build runs.
    Late,
    Fault(Fault),
}

/// What `.` is.
#[derive(Debug, Clone)]
enum Dot {
    /// All data there is: fields come from [`Names::field`].
    Root,
    Value(Value),
}

enum Flow {
    Next,
    Break,
    Continue,
}

/// Runs texts against what `names` knows.
pub struct Machine<'n> {
    names: &'n dyn Names,
    variables: Vec<(String, Value)>,
    output: String,
    steps: u32,
    /// What is being worked on, for faults.
    span: Span,
}

/// Renders a text.
///
/// # Errors
/// With the first fault, or when something is only known later.
pub fn render(nodes: &[Node], names: &dyn Names) -> Result<String, Stop> {
    render_counted(nodes, names).0
}

/// [`render`], and how many steps it took.
pub fn render_counted(nodes: &[Node], names: &dyn Names) -> (Result<String, Stop>, u32) {
    let mut machine = Machine { names, variables: Vec::new(), output: String::new(), steps: 0, span: Span::default() };
    let result = match machine.nodes(nodes, &Dot::Root) {
        Ok(_) => Ok(std::mem::take(&mut machine.output)),
        Err(obstacle) => Err(machine.stop(obstacle)),
    };
    (result, machine.steps)
}

/// Works one command out, with what is piped into it.
///
/// # Errors
/// With its fault, or when something is only known later.
pub fn command(command: &Command, piped: Option<Value>, names: &dyn Names) -> Result<Value, Stop> {
    let mut machine = Machine { names, variables: Vec::new(), output: String::new(), steps: 0, span: Span::default() };
    machine.command(command, piped, &Dot::Root).map_err(|obstacle| machine.stop(obstacle))
}

impl Machine<'_> {
    fn stop(&self, obstacle: Obstacle) -> Stop {
        match obstacle {
            Obstacle::Late => Stop::Late,
            Obstacle::Fault(trouble) => Stop::Fault(Fault::new(self.span, trouble.message).with_hint(trouble.hint)),
        }
    }

    fn step(&mut self, span: Span) -> Result<(), Obstacle> {
        self.span = span;
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(Obstacle::fault("the text needs too much work to render: more than 100,000 steps"));
        }
        Ok(())
    }

    fn write(&mut self, text: &str) -> Result<(), Obstacle> {
        if self.output.len() + text.len() > MAX_OUTPUT {
            return Err(Obstacle::fault("the text becomes too long: more than 4 MiB"));
        }
        self.output.push_str(text);
        Ok(())
    }

    fn nodes(&mut self, nodes: &[Node], dot: &Dot) -> Result<Flow, Obstacle> {
        for node in nodes {
            match node {
                Node::Text(text) => {
                    self.step(self.span)?;
                    self.write(text)?;
                }
                Node::Action { span, pipeline } => {
                    self.step(*span)?;
                    let value = self.pipeline(pipeline, dot)?;
                    if pipeline.variables.is_empty() {
                        self.write(&value.print())?;
                    }
                }
                Node::Block(block) => {
                    let outer = self.variables.len();
                    let flow = self.block(block, dot);
                    self.variables.truncate(outer);
                    match flow? {
                        Flow::Next => {}
                        other => return Ok(other),
                    }
                }
                Node::Break(_) => return Ok(Flow::Break),
                Node::Continue(_) => return Ok(Flow::Continue),
            }
        }
        Ok(Flow::Next)
    }

    fn block(&mut self, block: &Block, dot: &Dot) -> Result<Flow, Obstacle> {
        self.step(block.span)?;
        match block.kind {
            BlockKind::If | BlockKind::With => {
                let value = self.pipeline(&block.pipeline, dot)?;
                if !value.is_true() {
                    return self.nodes(&block.otherwise, dot);
                }
                let inner = if block.kind == BlockKind::With { Dot::Value(value) } else { dot.clone() };
                self.nodes(&block.body, &inner)
            }
            BlockKind::Range => self.range(block, dot),
        }
    }

    fn range(&mut self, block: &Block, dot: &Dot) -> Result<Flow, Obstacle> {
        let mut silent = block.pipeline.clone();
        let names = std::mem::take(&mut silent.variables);
        let elements: Vec<(Value, Value)> = match self.pipeline(&silent, dot)? {
            Value::Map(map) => map.into_iter().map(|(key, value)| (Value::Text(key), Value::Text(value))).collect(),
            Value::Integer(count) if count > i64::from(MAX_STEPS) => {
                return Err(Obstacle::fault("{{ range }} goes over too much: more than 100,000 times"));
            }
            Value::Integer(count) => (0..count).map(|index| (Value::Integer(index), Value::Integer(index))).collect(),
            Value::Nil => Vec::new(),
            other => return Err(Obstacle::fault(format!("{{{{ range }}}} can't go over {}", other.kind()))),
        };
        if elements.is_empty() {
            return self.nodes(&block.otherwise, dot);
        }
        let outer = self.variables.len();
        for (key, value) in elements {
            self.step(block.span)?;
            let values = match names.as_slice() {
                [] => vec![],
                [one] => vec![(one, value.clone())],
                [first, second, ..] => vec![(first, key), (second, value.clone())],
            };
            for (name, value) in values {
                self.set(name, value, block.pipeline.assigns);
            }
            let flow = self.nodes(&block.body, &Dot::Value(value));
            self.variables.truncate(outer);
            if let Flow::Break = flow? {
                break;
            }
        }
        Ok(Flow::Next)
    }

    fn set(&mut self, name: &str, value: Value, assigns: bool) {
        if assigns {
            if let Some(known) = self.variables.iter_mut().rev().find(|(known, _)| known == name) {
                known.1 = value;
            }
        } else {
            self.variables.push((name.to_owned(), value));
        }
    }

    /// Each command's result is the last argument of the next.
    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Dot) -> Result<Value, Obstacle> {
        let mut result: Option<Value> = None;
        for command in &pipeline.commands {
            result = Some(self.command(command, result.take(), dot)?);
        }
        let value = result.unwrap_or(Value::Nil);
        for name in &pipeline.variables {
            self.set(name, value.clone(), pipeline.assigns);
        }
        Ok(value)
    }

    fn command(&mut self, command: &Command, piped: Option<Value>, dot: &Dot) -> Result<Value, Obstacle> {
        self.step(command.span)?;
        let Some((first, rest)) = command.operands.split_first() else { return Ok(Value::Nil) };
        let Operand::Function(name) = first else {
            if !rest.is_empty() || piped.is_some() {
                return Err(Obstacle::fault("only a function takes arguments"));
            }
            return self.operand(first, dot);
        };
        if name == "and" || name == "or" {
            return self.logic(name == "or", rest, piped, dot);
        }
        let mut arguments = Vec::with_capacity(rest.len() + 1);
        for operand in rest {
            arguments.push(self.operand(operand, dot)?);
            self.span = command.span;
        }
        arguments.extend(piped);
        self.call(name, &arguments)
    }

    fn call(&self, name: &str, arguments: &[Value]) -> Result<Value, Obstacle> {
        let value = match builtins::call(name, arguments) {
            Some(result) => result.map_err(Obstacle::Fault)?,
            None => self.names.call(name, arguments)?,
        };
        match value {
            Value::Text(text) if text.len() > MAX_OUTPUT => {
                Err(Obstacle::fault(format!("{name}: the text becomes too long: more than 4 MiB")))
            }
            value => Ok(value),
        }
    }

    /// `and` and `or` stop at the argument that settles it, and give it.
    fn logic(&mut self, or: bool, rest: &[Operand], piped: Option<Value>, dot: &Dot) -> Result<Value, Obstacle> {
        let mut last = None;
        for operand in rest {
            let value = self.operand(operand, dot)?;
            if value.is_true() == or {
                return Ok(value);
            }
            last = Some(value);
        }
        let name = if or { "or" } else { "and" };
        piped.or(last).ok_or_else(|| Obstacle::fault(format!("{name} needs arguments")))
    }

    fn operand(&mut self, operand: &Operand, dot: &Dot) -> Result<Value, Obstacle> {
        match operand {
            Operand::Constant(value) => Ok(value.clone()),
            Operand::Function(name) => self.call(name, &[]),
            Operand::Group(pipeline, path) => {
                let value = self.pipeline(pipeline, dot)?;
                fields(value, path)
            }
            Operand::Dot => match dot {
                Dot::Root => self.names.root(),
                Dot::Value(value) => Ok(value.clone()),
            },
            Operand::Field(path) => match dot {
                Dot::Root => self.names.field(path),
                Dot::Value(value) => fields(value.clone(), path),
            },
            Operand::Variable(name, path) if name.is_empty() => {
                if path.is_empty() {
                    self.names.root()
                } else {
                    self.names.field(path)
                }
            }
            Operand::Variable(name, path) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                let value = found.map(|(_, value)| value.clone());
                fields(value.ok_or_else(|| Obstacle::fault(format!("${name} has no value")))?, path)
            }
        }
    }
}

/// `value.A.B`. A map's missing entry is empty text.
fn fields(mut value: Value, path: &[String]) -> Result<Value, Obstacle> {
    for name in path {
        value = match value {
            Value::Map(map) => Value::Text(map.get(name).cloned().unwrap_or_default()),
            other => return Err(Obstacle::Fault(Trouble::new(format!("{} has no field .{name}", other.kind())))),
        };
    }
    Ok(value)
}

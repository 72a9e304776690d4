//! What stays of a text whose actions can only be rendered while the build runs: everything known is put in as constants,
//! and the rest is written as actions again.

use std::fmt::Write;

use super::ast::{Block, Command, Node, Operand, Pipeline};
use super::execute::{self, Stop};
use super::parse::Fault;
use super::value::Value;
use super::{Names, builtins, functions};
use crate::template::print::quoted;

/// Replaces what `names` knows by constants.
///
/// # Errors
/// With the first call that fails.
pub fn nodes(nodes: &[Node], names: &dyn Names) -> Result<Vec<Node>, Fault> {
    nodes.iter().map(|node| self::node(node, names)).collect()
}

/// [`nodes`] for one of them.
///
/// # Errors
/// With the first call that fails.
pub fn node(node: &Node, names: &dyn Names) -> Result<Node, Fault> {
    Ok(match node {
        Node::Action { span, pipeline } => {
            let folded = self::pipeline(pipeline, names)?;
            match folded.commands.as_slice() {
                [Command { operands, .. }] if folded.variables.is_empty() && folded != *pipeline => {
                    match operands.as_slice() {
                        [Operand::Constant(value)] => return Ok(Node::Text(value.print())),
                        _ => Node::Action { span: *span, pipeline: folded },
                    }
                }
                _ => Node::Action { span: *span, pipeline: folded },
            }
        }
        Node::Block(block) => Node::Block(Box::new(Block {
            kind: block.kind,
            span: block.span,
            pipeline: pipeline(&block.pipeline, names)?,
            body: nodes(&block.body, names)?,
            otherwise: nodes(&block.otherwise, names)?,
        })),
        other => other.clone(),
    })
}

fn pipeline(pipeline: &Pipeline, names: &dyn Names) -> Result<Pipeline, Fault> {
    let mut commands: Vec<Command> = Vec::new();
    for command in &pipeline.commands {
        let operands: Result<Vec<Operand>, Fault> = command
            .operands
            .iter()
            .enumerate()
            .map(|(at, operand)| self::operand(operand, at, command, names))
            .collect();
        let folded = Command { span: command.span, operands: operands? };
        let piped = match commands.last().map(|command| command.operands.as_slice()) {
            None => Some(None),
            Some([Operand::Constant(value)]) if commands.len() == 1 => Some(Some(value.clone())),
            Some(_) => None,
        };
        let value = match piped {
            Some(piped) if is_constant_call(&folded) => call(&folded, piped, names)?,
            _ => None,
        };
        match value {
            Some(value) => {
                let operands = vec![Operand::Constant(value)];
                commands = vec![Command { span: command.span, operands }];
            }
            None => commands.push(folded),
        }
    }
    Ok(Pipeline { variables: pipeline.variables.clone(), assigns: pipeline.assigns, commands })
}

fn is_constant_call(command: &Command) -> bool {
    let arguments = command.operands.iter().skip(1);
    matches!(command.operands.first(), Some(Operand::Function(_)))
        && arguments.into_iter().all(|operand| matches!(operand, Operand::Constant(_)))
}

/// The value of a call, unless it is only known later.
fn call(command: &Command, piped: Option<Value>, names: &dyn Names) -> Result<Option<Value>, Fault> {
    match execute::command(command, piped, names) {
        // A map can't be written as a constant.
        Ok(Value::Map(_)) | Err(Stop::Late) => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(Stop::Fault(fault)) => Err(fault),
    }
}

fn operand(operand: &Operand, at: usize, command: &Command, names: &dyn Names) -> Result<Operand, Fault> {
    match operand {
        Operand::Function(_) if at > 0 => {
            let alone = Command { span: command.span, operands: vec![operand.clone()] };
            Ok(call(&alone, None, names)?.map_or_else(|| operand.clone(), Operand::Constant))
        }
        Operand::Group(inner, path) => {
            let inner = pipeline(inner, names)?;
            match inner.commands.as_slice() {
                [Command { operands, .. }]
                    if path.is_empty() && matches!(operands.as_slice(), [Operand::Constant(_)]) =>
                {
                    Ok(operands[0].clone())
                }
                _ => Ok(Operand::Group(Box::new(inner), path.clone())),
            }
        }
        other => Ok(other.clone()),
    }
}

/// Whether a function can run while the build runs.
#[must_use]
pub fn runs_late(name: &str) -> bool {
    functions::PURE.contains(&name) || builtins::NAMES.contains(&name)
}

/// Writes nodes as text with actions. Reading it back gives the same nodes, since texts are already trimmed.
#[must_use]
pub fn write(nodes: &[Node]) -> String {
    let mut text = String::new();
    for (at, node) in nodes.iter().enumerate() {
        match node {
            Node::Text(literal) => {
                let before_action = nodes.get(at + 1).is_some_and(|node| !matches!(node, Node::Text(_)));
                text.push_str(&literal_text(literal, before_action));
            }
            Node::Action { pipeline, .. } => {
                let _ = write!(text, "{{{{ {} }}}}", write_pipeline(pipeline));
            }
            Node::Break(_) => text.push_str("{{ break }}"),
            Node::Continue(_) => text.push_str("{{ continue }}"),
            Node::Block(block) => {
                let word = block.kind.word();
                let _ = write!(text, "{{{{ {word} {} }}}}", write_pipeline(&block.pipeline));
                text.push_str(&write(&block.body));
                if !block.otherwise.is_empty() {
                    text.push_str("{{ else }}");
                    text.push_str(&write(&block.otherwise));
                }
                text.push_str("{{ end }}");
            }
        }
    }
    text
}

/// Literal text, written so that nothing in it is taken for an action.
#[must_use]
pub fn literal_text(text: &str, before_action: bool) -> String {
    let escaped = text.replace("{{", "{{`{{`}}");
    match escaped.strip_suffix('{') {
        Some(start) if before_action => format!("{start}{{{{`{{`}}}}"),
        _ => escaped,
    }
}

/// A pipeline as it stands between `{{` and `}}`.
#[must_use]
pub fn write_pipeline(pipeline: &Pipeline) -> String {
    let names: Vec<String> = pipeline.variables.iter().map(|name| format!("${name}")).collect();
    let commands: Vec<String> = pipeline
        .commands
        .iter()
        .map(|command| command.operands.iter().map(write_operand).collect::<Vec<_>>().join(" "))
        .collect();
    let commands = commands.join(" | ");
    if names.is_empty() {
        return commands;
    }
    format!("{} {} {commands}", names.join(", "), if pipeline.assigns { "=" } else { ":=" })
}

/// An operand as it stands in an action.
#[must_use]
pub fn write_operand(operand: &Operand) -> String {
    let path = |path: &[String]| path.iter().flat_map(|name| [".", name]).collect::<String>();
    match operand {
        Operand::Constant(Value::Text(text)) => quoted(text),
        Operand::Constant(Value::Nil) => "nil".to_owned(),
        // A whole number with a point stays one with a point.
        Operand::Constant(Value::Float(number)) => format!("{number:?}"),
        Operand::Constant(value) => value.print(),
        Operand::Dot => ".".to_owned(),
        Operand::Field(names) => path(names),
        Operand::Variable(name, names) => format!("${name}{}", path(names)),
        Operand::Function(name) => name.clone(),
        Operand::Group(pipeline, names) => format!("({}){}", write_pipeline(pipeline), path(names)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    fn bare(nodes: &[Node]) -> String {
        // Without places, which differ.
        let text = format!("{nodes:?}");
        let spans = regex::Regex::new(r"Span \{ start: \d+, end: \d+ \}").unwrap();
        spans.replace_all(&text, "").into_owned()
    }

    #[test]
    fn what_is_written_reads_the_same() {
        for text in [
            "a {{- .X -}} b",
            "{{ if eq .A \"x\\ty\" }}{{ range $k, $v := .M }}{{ $k }}{{ continue }}{{ end }}{{ else }}{{ (.B | len).C }}{{ end }}",
            "{{ $x := 1.0 }}{{ $x = -2 }}{{ with $x }}{{ . }}{{ $.A.B }}{{ end }}",
            "{{ if 1 }}a{{ else if 2 }}b{{ else }}c{{ end }}",
            "a{{`{{`}}b{{ print true nil 1.5 'c' }}",
        ] {
            let nodes = parse(text).unwrap();
            assert_eq!(bare(&parse(&write(&nodes)).unwrap()), bare(&nodes), "{text}");
        }
        assert_eq!(write(&[Node::Text("{".into()), parse("{{ .X }}").unwrap().remove(0)]), "{{`{`}}{{ .X }}");
    }
}

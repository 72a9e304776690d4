//! The older `{{ … }}` language of Packer's options, a subset of Go's text/template. All option strings of both languages
//! pass through it after evaluation: [`early::render`] does what is known when a run is accepted and leaves the rest
//! verbatim; [`render_late`] does that rest while the build runs.

pub mod early;
pub mod functions;
pub mod layout;
pub mod parse;

use std::collections::BTreeMap;

use parse::{Part, Pipeline};

/// What is only known while a build runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LateData {
    /// `.SourceAMI`, `.Vars`, … without the dot.
    pub fields: BTreeMap<String, String>,
    /// `.SourceAMITags.Name` by `SourceAMITags`, then `Name`. A missing entry is empty text, as in Packer.
    pub maps: BTreeMap<String, BTreeMap<String, String>>,
    /// ``build `Host` ``.
    pub build: BTreeMap<String, String>,
}

/// Why an action could not be rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// It needs what is only known while the build runs.
    Late,
    Fault(String),
}

/// The names an action can use.
pub trait Names {
    /// The value of `.A.B`.
    ///
    /// # Errors
    /// When there is none, or none yet.
    fn field(&self, path: &[String]) -> Result<String, Obstacle>;
    /// The value of a function call.
    ///
    /// # Errors
    /// When the function does not exist, fails, or can't run yet.
    fn call(&self, name: &str, args: &[String]) -> Result<String, Obstacle>;
}

/// Evaluates a pipeline: each command's result is the last argument of the next.
///
/// # Errors
/// With the first obstacle.
pub fn evaluate(pipeline: &Pipeline, names: &dyn Names) -> Result<String, Obstacle> {
    let mut result: Option<String> = None;
    for command in &pipeline.0 {
        let mut args = Vec::new();
        for operand in command.operands.iter().skip(1) {
            args.push(operand_value(operand, names)?);
        }
        args.extend(result.take());
        result = Some(match command.operands.first() {
            Some(parse::Operand::Name(name)) => names.call(name, &args)?,
            Some(operand) if args.is_empty() => operand_value(operand, names)?,
            _ => return Err(Obstacle::Fault("only a function takes arguments".to_owned())),
        });
    }
    result.ok_or_else(|| Obstacle::Fault("the action is empty".to_owned()))
}

fn operand_value(operand: &parse::Operand, names: &dyn Names) -> Result<String, Obstacle> {
    match operand {
        parse::Operand::Text(text) => Ok(text.clone()),
        parse::Operand::Field(path) => names.field(path),
        parse::Operand::Name(name) => names.call(name, &[]),
        parse::Operand::Group(pipeline) => evaluate(pipeline, names),
    }
}

/// Renders what evaluation left of a text.
///
/// # Errors
/// When an action names something that `data` does not have.
pub fn render_late(text: &str, data: &LateData) -> Result<String, String> {
    let mut result = String::new();
    for part in parse::parse(text).map_err(|error| error.message)? {
        match part {
            Part::Text(text) => result.push_str(&text),
            Part::Action { pipeline, .. } => match evaluate(&pipeline, data) {
                Ok(text) => result.push_str(&text),
                Err(Obstacle::Fault(message)) => return Err(message),
                Err(Obstacle::Late) => return Err("a value is not known".to_owned()),
            },
        }
    }
    Ok(result)
}

impl Names for LateData {
    fn field(&self, path: &[String]) -> Result<String, Obstacle> {
        let missing = || Obstacle::Fault(format!("{{{{ .{} }}}} has no value here", path.join(".")));
        match path {
            [name] => self.fields.get(name).cloned().ok_or_else(missing),
            [map, key] => self.maps.get(map).map(|map| map.get(key).cloned().unwrap_or_default()).ok_or_else(missing),
            _ => Err(missing()),
        }
    }

    fn call(&self, name: &str, args: &[String]) -> Result<String, Obstacle> {
        if let ("build", [key]) = (name, args) {
            let found = self.build.get(key).cloned();
            return found.ok_or_else(|| Obstacle::Fault(format!("{{{{ build `{key}` }}}} has no value here")));
        }
        functions::pure(name, args).unwrap_or_else(|| Err(Obstacle::Fault(format!("there is no function {name:?}"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_rendering() {
        let mut data = LateData::default();
        data.fields.insert("Vars".to_owned(), "A='1' ".to_owned());
        data.fields.insert("Path".to_owned(), "/tmp/x.sh".to_owned());
        data.maps.insert("SourceAMITags".to_owned(), BTreeMap::from([("Name".to_owned(), "base".to_owned())]));
        data.build.insert("Host".to_owned(), "10.0.0.1".to_owned());
        let render = |text: &str| render_late(text, &data);
        assert_eq!(
            render("chmod +x {{.Path}}; {{ .Vars }}{{ .Path }}").unwrap(),
            "chmod +x /tmp/x.sh; A='1' /tmp/x.sh"
        );
        assert_eq!(
            render("{{ build `Host` | upper }} {{.SourceAMITags.Name}}{{.SourceAMITags.X}}").unwrap(),
            "10.0.0.1 base"
        );
        assert_eq!(render("{{`{{`}} stays").unwrap(), "{{ stays");
        assert_eq!(render("a {{- .Path -}} b").unwrap(), "a/tmp/x.shb");
        insta::assert_snapshot!(render("{{ .Nope }}").unwrap_err(), @"{{ .Nope }} has no value here");
    }
}

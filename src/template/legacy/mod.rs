//! Packer's older interpolation, `{{ … }}`, in option strings of both languages: Go's text/template with Packer's
//! functions. [`parse`] reads a text into its [`ast`], [`execute`] runs it with the functions of [`builtins`],
//! [`functions`] and whatever [`Names`] knows. [`early`] renders what is known when a run is accepted and leaves the rest
//! in the text; [`render_late`] does that rest while the build runs, in the same language.

pub mod ast;
mod builtins;
pub mod early;
pub mod escape;
mod execute;
pub mod fold;
pub mod functions;
pub mod layout;
mod operands;
pub mod parse;
mod printf;
pub mod value;

use std::collections::BTreeMap;

use crate::domain::diagnostic::Hint;
use crate::template::hcl::late_run::{self, Expressions};
use crate::template::source::did_you_mean;
use execute::Stop;
use value::Value;

/// What is only known while a build runs.
#[derive(Debug, Clone, Default)]
pub struct LateData {
    /// `.SourceAMI`, `.Vars`, … without the dot.
    pub fields: BTreeMap<String, String>,
    /// `.SourceAMITags.Name` by `SourceAMITags`, then `Name`. A missing entry is empty text.
    pub maps: BTreeMap<String, BTreeMap<String, String>>,
    /// ``build `Host` ``.
    pub build: BTreeMap<String, String>,
    /// ``expression `3` ``.
    pub expressions: Option<Expressions>,
}

/// What is wrong with a call, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub message: String,
    pub hint: Hint,
}

impl Trouble {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Hint::default() }
    }

    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Hint>) -> Self {
        self.hint = hint.into();
        self
    }
}

/// Why an action could not be rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// It needs what is only known while the build runs.
    Late,
    Fault(Trouble),
}

impl Obstacle {
    /// A fault.
    pub fn fault(message: impl Into<String>) -> Self {
        Self::Fault(Trouble::new(message))
    }
}

/// The names an action can use.
pub trait Names {
    /// The value of `.` where no `with` or `range` says otherwise.
    ///
    /// # Errors
    /// When there is none, or none yet.
    fn root(&self) -> Result<Value, Obstacle>;
    /// The value of `.A.B`; the path has one name at least.
    ///
    /// # Errors
    /// When there is none, or none yet.
    fn field(&self, path: &[String]) -> Result<Value, Obstacle>;
    /// The value of a call of a function that is none of Go's own.
    ///
    /// # Errors
    /// When the function does not exist, fails, or can't run yet.
    fn call(&self, name: &str, arguments: &[Value]) -> Result<Value, Obstacle>;
}

/// Renders what evaluation left of a text.
///
/// # Errors
/// When an action names something that `data` does not have, or the text becomes too much.
pub fn render_late(text: &str, data: &LateData) -> Result<String, String> {
    render_with(text, data)
}

/// [`render_late`] with other names.
///
/// # Errors
/// As there.
pub fn render_with(text: &str, names: &dyn Names) -> Result<String, String> {
    if !text.contains("{{") {
        return Ok(text.to_owned());
    }
    let nodes = parse::parse(text).map_err(|fault| fault.line())?;
    execute::render(&nodes, names).map_err(|stop| match stop {
        Stop::Late => "a value is not known".to_owned(),
        Stop::Fault(fault) => fault.line(),
    })
}

impl Names for LateData {
    fn root(&self) -> Result<Value, Obstacle> {
        Err(Obstacle::fault("{{ . }} is all data there is, which can't be printed"))
    }

    fn field(&self, path: &[String]) -> Result<Value, Obstacle> {
        let name = path.first().map(String::as_str).unwrap_or_default();
        if let Some(value) = self.fields.get(name) {
            return match path {
                [_] => Ok(Value::text(value.as_str())),
                _ => Err(Obstacle::fault(format!("{{{{ .{name} }}}} is a string and has no fields"))),
            };
        }
        match (self.maps.get(name), path) {
            (Some(map), [_]) => Ok(Value::Map(map.clone())),
            (Some(map), [_, key]) => Ok(Value::text(map.get(key).cloned().unwrap_or_default())),
            _ => {
                let names = self.fields.keys().chain(self.maps.keys()).map(String::as_str);
                let trouble = Trouble::new(format!("{{{{ .{} }}}} has no value here", path.join(".")));
                Err(Obstacle::Fault(trouble.with_hint(did_you_mean(name, names))))
            }
        }
    }

    fn call(&self, name: &str, arguments: &[Value]) -> Result<Value, Obstacle> {
        if name == "build" {
            let [key] = functions::texts::<1>(name, arguments).map_err(Obstacle::Fault)?;
            let found = self.build.get(key).map(|value| Value::text(value.as_str()));
            return found.ok_or_else(|| {
                let trouble = Trouble::new(format!("{{{{ build `{key}` }}}} has no value here"));
                Obstacle::Fault(trouble.with_hint(did_you_mean(key, self.build.keys().map(String::as_str))))
            });
        }
        if let ("expression", Some(all)) = (name, &self.expressions) {
            let [number] = functions::texts::<1>(name, arguments).map_err(Obstacle::Fault)?;
            let number = number.parse().map_err(|_| Obstacle::fault("expression takes a number"))?;
            return late_run::text(number, all, self).map(Value::Text).map_err(Obstacle::fault);
        }
        match functions::pure(name, arguments) {
            Some(result) => result.map_err(Obstacle::Fault),
            None => Err(Obstacle::fault(format!("there is no function {name:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> LateData {
        let mut data = LateData::default();
        data.fields.insert("Vars".to_owned(), "A='1' ".to_owned());
        data.fields.insert("Path".to_owned(), "/tmp/x.sh".to_owned());
        let tags = [("Name", "base"), ("os", "linux")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        data.maps.insert("SourceAMITags".to_owned(), BTreeMap::from(tags));
        data.build.insert("Host".to_owned(), "10.0.0.1".to_owned());
        data
    }

    #[test]
    fn late_rendering() {
        let data = data();
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
        insta::assert_snapshot!(render("{{ .Pathe }}").unwrap_err(), @r#"{{ .Pathe }} has no value here: did you mean "Path"?"#);
        insta::assert_snapshot!(render("{{ build `host` }}").unwrap_err(), @r#"{{ build `host` }} has no value here: did you mean "Host"?"#);
        insta::assert_snapshot!(render("{{ . }}").unwrap_err(), @"{{ . }} is all data there is, which can't be printed");
    }

    #[test]
    fn the_language_is_gos() {
        let data = data();
        let render = |text: &str| render_late(text, &data).unwrap();
        assert_eq!(render("{{ if eq .SourceAMITags.os `linux` }}L{{ else }}W{{ end }}"), "L");
        assert_eq!(render("{{ if .SourceAMITags.X }}a{{ else if .Path }}b{{ else }}c{{ end }}"), "b");
        assert_eq!(render("{{ range $k, $v := .SourceAMITags }}{{ $k }}={{ $v }};{{ end }}"), "Name=base;os=linux;");
        assert_eq!(render("{{ range .SourceAMITags }}{{ . }},{{ end }}"), "base,linux,");
        assert_eq!(render("{{ range $i := 3 }}{{ if eq $i 1 }}{{ continue }}{{ end }}{{ $i }}{{ end }}"), "02");
        assert_eq!(render("{{ range 5 }}{{ if eq . 2 }}{{ break }}{{ end }}{{ . }}{{ end }}"), "01");
        assert_eq!(render("{{ with .SourceAMITags.Name }}[{{ . }} {{ $.Path }}]{{ end }}"), "[base /tmp/x.sh]");
        assert_eq!(render("{{ with .SourceAMITags.X }}a{{ else with .Path }}{{ . }}{{ end }}"), "/tmp/x.sh");
        assert_eq!(render("{{ $x := .Path }}{{ if true }}{{ $x = `y` }}{{ end }}{{ $x | upper }}"), "Y");
        assert_eq!(render("{{ index .SourceAMITags `os` }} {{ len .Path }} {{ slice .Path 1 4 }}"), "linux 9 tmp");
        assert_eq!(render("{{ (index .SourceAMITags `os`) | printf `%s-%d` | len }}"), "18");
        assert_eq!(render("{{ and `` (index .SourceAMITags 1) }}{{ or `a` (len 1) }}{{ not `` }}"), "atrue");
        assert_eq!(render("{{ print `a` 1 2 `b` 3 }}{{ println `x` 1 }}"), "a1 2b3x 1\n");
        assert_eq!(
            render("{{ html `<a href=\"x\">` }} {{ js `it's` }} {{ urlquery `a b&c` }}"),
            "&lt;a href=&#34;x&#34;&gt; it\\'s a+b%26c"
        );
        assert_eq!(
            render("{{ eq 1 2 3 1 }} {{ lt 1.5 2.0 }} {{ ge `b` `a` }} {{ ne nil nil }}"),
            "true true true false"
        );
        assert_eq!(
            render("{{ split `a-b-c` `-` 1 }} {{ replace `a` `b` 1 `aaa` }} {{ `aaa` | replace_all `a` `b` }}"),
            "b baa bbb"
        );
        assert_eq!(
            render("{{ .SourceAMITags }} {{ 1e21 }} {{ 0.000001 }} {{ 2.50 }} {{ 1234567.0 }} {{ -0x10 }}"),
            "map[Name:base os:linux] 1e+21 1e-06 2.5 1.234567e+06 -16"
        );
    }

    #[test]
    fn faults_say_what_is_wrong() {
        let data = data();
        let fault = |text: &str| render_late(text, &data).unwrap_err();
        insta::assert_snapshot!(fault("{{ eq .Path 1 }}"), @"a string and a whole number can't be compared: put the number in quotes");
        insta::assert_snapshot!(fault("{{ split `a-b` `-` `1` }}"), @"split needs a whole number here, this is a string: write the number without quotes");
        insta::assert_snapshot!(fault("{{ split `a-b` `-` 2 }}"), @r#"split: "a-b" has no part 2 by "-"; it has 2 parts"#);
        insta::assert_snapshot!(fault("{{ upper 1 }}"), @"upper needs a string here, this is a whole number: put it in quotes or backquotes");
        insta::assert_snapshot!(fault("{{ upper `a` `b` }}"), @"upper takes 1 argument, not 2");
        insta::assert_snapshot!(fault("{{ range .Path }}{{ end }}"), @"{{ range }} can't go over a string");
        insta::assert_snapshot!(fault("{{ (.Path).X }}"), @"a string has no field .X");
        insta::assert_snapshot!(fault("{{ .Path `x` }}"), @"only a function takes arguments");
    }

    #[test]
    fn work_and_size_are_bounded() {
        let data = LateData::default();
        let fault = |text: &str| render_late(text, &data).unwrap_err();
        insta::assert_snapshot!(fault("{{ range 100000 }}{{ range 100000 }}{{ end }}{{ end }}"), @"the text needs too much work to render: more than 100,000 steps");
        insta::assert_snapshot!(fault("{{ range 999999999999 }}{{ end }}"), @"{{ range }} goes over too much: more than 100,000 times");
        insta::assert_snapshot!(fault("{{ range 60000 }}{{ printf `%1000d` 1 }}{{ end }}"), @"the text becomes too long: more than 4 MiB");
        let doubling = "| replace_all `a` `aaaaaaaaaa` ".repeat(12);
        insta::assert_snapshot!(fault(&format!("{{{{ `a` {doubling} }}}}")), @"replace_all: the text becomes too long: more than 4 MiB");
    }

    proptest::proptest! {
        #[test]
        fn rendering_never_panics(
            text in "(\\{\\{|\\}\\}|if |else |end|range |with |\\$x|:=| = |\\| |print|printf |len |index |slice |`%5.2d`|\\.Path|\\.SourceAMITags|\\(|\\)|[-. `'\"ä0-9]){0,40}"
        ) {
            let _ = render_late(&text, &data());
        }
    }
}

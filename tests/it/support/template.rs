//! Small templates.

/// A source on the sandbox's Debian 12, and a `build` of it.
#[derive(Debug, Clone)]
pub struct Template {
    pub region: String,
    pub ami_name: String,
    /// Further options of the source.
    pub options: String,
    /// What stands in `build` besides `sources`.
    pub steps: String,
    /// What stands before the source.
    pub preamble: String,
}

/// The commonest kind: Debian in one region, with these provisioners.
pub fn debian(region: &str, ami_name: &str, steps: &str) -> Template {
    Template {
        region: region.to_owned(),
        ami_name: ami_name.to_owned(),
        options: String::new(),
        steps: steps.to_owned(),
        preamble: String::new(),
    }
}

/// A shell provisioner with these lines.
pub fn shell(lines: &[&str]) -> String {
    let quoted: Vec<String> = lines.iter().map(|line| format!("{line:?}")).collect();
    format!("  provisioner \"shell\" {{\n    inline = [{}]\n  }}\n", quoted.join(", "))
}

/// A shell provisioner that goes on until a file `/tmp/go` is on the machine.
pub fn waits_for_go() -> String {
    shell(&["echo waiting", "while [ ! -e /tmp/go ]; do sleep 0.2; done", "echo gone on"])
}

/// The same, printing `tick 1`, `tick 2` … the while, five a second.
pub fn ticks_until_go() -> String {
    shell(&["i=0; while [ ! -e /tmp/go ]; do i=$((i + 1)); echo tick $i; sleep 0.2; done", "echo gone on"])
}

impl Template {
    pub fn with_options(mut self, options: &str) -> Self {
        options.clone_into(&mut self.options);
        self
    }

    pub fn with_preamble(mut self, preamble: &str) -> Self {
        preamble.clone_into(&mut self.preamble);
        self
    }

    /// The source alone, under this name.
    pub fn source(&self, name: &str) -> String {
        let Self { region, ami_name, options, .. } = self;
        format!(
            "source \"amazon-ebs\" \"{name}\" {{
  ami_name      = \"{ami_name}\"
  instance_type = \"t3.micro\"
  region        = \"{region}\"
  ssh_username  = \"admin\"
  source_ami_filter {{
    filters     = {{ name = \"debian-12-amd64-*\" }}
    owners      = [\"136693071363\"]
    most_recent = true
  }}
{options}
}}
"
        )
    }

    /// All of it, with one source named `test`.
    pub fn text(&self) -> String {
        let Self { preamble, steps, .. } = self;
        format!("{preamble}\n{}\nbuild {{\n  sources = [\"source.amazon-ebs.test\"]\n{steps}}}\n", self.source("test"))
    }
}

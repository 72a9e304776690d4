//! Legacy JSON templates, and `{{ … }}` in them.

use super::{Given, ebs, lines};
use crate::domain::config::ProvisionerConfig;
use crate::template::outline;

/// A template with one amazon-ebs builder that has these options too, and these root keys.
fn template(options: &str, root: &str) -> Given {
    let text = format!(
        "{{\n  \"builders\": [{{\"type\": \"amazon-ebs\", \"region\": \"us-east-1\", \"instance_type\": \"t3.micro\",\n  \
         \"source_ami\": \"ami-1\", \"ssh_username\": \"u\", \"ami_name\": \"abc\"{options}}}]{root}\n}}"
    );
    Given::default().file("t.json", &text)
}

fn ami_name(text: &str, variables: &str) -> String {
    let given = Given::default().file(
        "t.json",
        &format!(
            "{{\"variables\": {{{variables}}}, \"builders\": [{{\"type\": \"amazon-ebs\", \"region\": \"us-east-1\", \
             \"instance_type\": \"t3.micro\", \"source_ami\": \"ami-1\", \"ssh_username\": \"u\", \"ami_name\": {text:?}}}]}}"
        ),
    );
    ebs(&given.env("A", "from-env").good().builds[0]).ami_name.clone()
}

#[test]
fn the_root_takes_what_packer_takes() {
    let root = ", \"_comment\": \"x\", \"push\": {\"name\": \"a/b\"}, \"Description\": \"d\", \"min_packer_version\": \"1.5.0\",\n  \
                \"comments\": [{\"a\": \"b\"}], \"provisioners\": [], \"post-processors\": null";
    let evaluated = template("", root).good();
    assert_eq!(evaluated.description.as_deref(), Some("d"));
    let root = ",\n  \"_comment\": [\"x\"],\n  \"push\": 1,\n  \"provisoners\": [],\n  \"variables\": {\"a\": 5, \"b\": true, \"c\": [1]},\n  \
                \"description\": 1, \"min_packer_version\": \"99.0.0\",\n  \"sensitive-variables\": \"x\",\n  \"a\": 1, \"a\": 2";
    insta::assert_snapshot!(template("", root).bad(), @r#"
    t.json:4:15: _comment must be a string: a comment at the root is one string
    t.json:5:11: push must be an object: take it out; Packer makes no use of it any more
    t.json:6:3: a template has no key "provisoners": did you mean "provisioners"?
    t.json:7:22: the variable "a" must be a string, this is a number: write "5"; options take numbers and bools from strings
    t.json:7:30: the variable "b" must be a string, this is a bool: write "true"; options take numbers and bools from strings
    t.json:7:41: the variable "c" must be a string, this is a list: a list is a string with commas, such as "a,b"
    t.json:8:18: description must be a string, this is a number: write "1"
    t.json:8:43: min_packer_version: it needs Packer >= 99.0.0; templates are read here as Packer 1.16.0 does
    t.json:9:26: sensitive-variables must be a list: write "sensitive-variables": [ … ]
    t.json:10:3: a template has no key "a"
    t.json:10:11: the key "a" is there twice in one object: the first is at t.json:10:3; take one of the two out
    "#);
}

#[test]
fn an_unreadable_template_is_shown_where_it_can_not_be_read() {
    let given = Given::default().file("t.json", "{\n  \"builders\": [oops}\n");
    for complaints in [given.run().unwrap_err(), outline(&given.bundle()).unwrap_err()] {
        assert!(!complaints.is_empty());
        for complaint in complaints {
            assert_eq!(complaint.source_line.as_deref(), Some("  \"builders\": [oops}"), "{complaint}");
            assert!(complaint.end.is_some(), "{complaint}");
        }
    }
}

#[test]
fn components_are_checked_as_packer_does() {
    let root = ",\n  \"provisioners\": [{\"type\": \"shell\", \"inline\": \"x\", \"_comment\": \"x\", \"name\": \"n\"},\n  \
                {\"inline\": \"x\"}, \"shell\", {\"type\": \"shell\", \"inline\": \"x\", \"only\": 1, \"override\": {\"amazon-esb\": {}}}],\n  \
                \"post-processors\": [\"manifest\", [\"manifest\", [\"manifest\"]], {\"type\": \"manifest\", \"filename\": \"x\"}]";
    let options = ",\n  \"enhanced_networking\": true, \"ssh_private_ip\": true, \"_comment\": \"x\", \"only\": []";
    insta::assert_snapshot!(template(options, root).bad(), @r#"
    t.json:4:3: enhanced_networking is called ena_support now: write "ena_support"
    t.json:4:32: ssh_private_ip is called ssh_interface now: write "ssh_interface": "private_ip" for true
    t.json:4:56: a builder has no comments such as "_comment": move it to the root, beside "builders", or take it out
    t.json:4:73: a builder has no only: choose builders with only and except of the run
    t.json:5:53: a provisioner has no comments such as "_comment": move it to the root, beside "builders", or take it out
    t.json:5:70: a provisioner of a JSON template has no name: take it out, or move to HCL2
    t.json:6:3: a provisioner needs a type: add "type": "…"
    t.json:6:20: a provisioner must be an object: write { "type": "…", … }
    t.json:6:70: only must be a list of builders' names: write "only": ["name"]
    t.json:6:86: override names "amazon-esb", and there is no such builder: did you mean "amazon-ebs"?
    t.json:7:48: a sequence of post-processors holds no further sequence: put its post-processors into the outer list
    t.json:7:84: filename is called output now: write "output"
    "#);
}

#[test]
fn names_in_only_may_be_the_builders_as_written() {
    let builder = |name: &str| {
        format!(
            "{{\"type\": \"amazon-ebs\", \"name\": \"{name}\", \"region\": \"us-east-1\", \"instance_type\": \"t3.micro\", \
             \"source_ami\": \"ami-1\", \"ssh_username\": \"u\", \"ami_name\": \"abc-{{{{ build_name }}}}-{{{{ build_type }}}}\"}}"
        )
    };
    let text = format!(
        "{{\"variables\": {{\"v\": \"web\"}}, \"builders\": [{}, {}], \"provisioners\": [\
         {{\"type\": \"shell\", \"inline\": \"a\", \"only\": [\"{{{{user `v`}}}}\"]}}, {{\"type\": \"shell\", \"inline\": \"b\", \"except\": \"web\", \
         \"pause_before\": \"10s\", \"max_retries\": 3, \"timeout\": \"1m\", \"override\": {{\"db\": {{\"inline\": [\"c\"]}}}}}}]}}",
        builder("{{user `v`}}"),
        builder("db")
    );
    let evaluated = Given::default().file("t.json", &text).good();
    let [web, db] = evaluated.builds.as_slice() else { panic!("two builds") };
    assert_eq!((web.name.as_str(), ebs(web).ami_name.as_str()), ("web", "abc-web-amazon-ebs"));
    let inline = |block: &crate::domain::config::ProvisionerBlock| {
        let ProvisionerConfig::Shell(shell) = &block.config else { panic!("a shell") };
        shell.inline[0].0.clone()
    };
    assert_eq!(web.provisioners.iter().map(inline).collect::<Vec<_>>(), ["a"]);
    assert_eq!(db.provisioners.iter().map(inline).collect::<Vec<_>>(), ["c"]);
    let block = &db.provisioners[0];
    assert_eq!((block.pause_before.as_secs(), block.max_retries, block.timeout.as_secs()), (10, 3, 60));
}

#[test]
fn interpolation_knows_packers_functions() {
    let variables = r#""v": "a-b-c", "w": "{{ user `v` | upper }}.{{ env `A` }}", "empty": """#;
    for (text, wanted) in [
        ("{{ user `w` }}", "A-B-C.from-env"),
        ("xyz{{ if eq (user `v`) `a-b-c` }}1{{ else }}2{{ end }}", "xyz1"),
        ("abc{{ if user `empty` }}-{{ user `empty` }}{{ end }}", "abc"),
        (
            "{{ split (user `v`) `-` 2 }}-{{ user `v` | replace `-` `_` 1 }}-{{ replace_all `-` `.` `x-y-z` }}",
            "c-a_b-c-x.y.z",
        ),
        ("{{ clean_resource_name `a:b!c` }}-{{ lower `ABC` }}", "a-b-c-abc"),
        ("{{ isotime }}", "2024-03-05T14-07-09Z"),
        ("{{ isotime `2006-01-02` | printf `%s-x` }}{{ timestamp }}", "2024-03-05-x1709647629"),
        ("{{ strftime `%Y-%m` }} {{ packer_version }} {{ template_dir }}{{ pwd }}", "2024-03 1.16.0 .."),
        ("{{ $x := user `v` }}{{ range $i := 2 }}{{ $x }}/{{ $i }}{{ end }}", "a-b-c/0a-b-c/1"),
        ("abc{{- /* why */ -}}   d", "abcd"),
    ] {
        let text = if text == "{{ isotime }}" { "{{ isotime | clean_resource_name }}" } else { text };
        assert_eq!(ami_name(text, variables), wanted, "{text}");
    }
}

#[test]
fn faults_are_placed_in_the_string() {
    let given =
        template(",\n  \"ami_description\": \"\\u00e4 {{ uper `x` }} b\", \"vpc_id\": \"a\\n{{ env `X` }}\"", "");
    let complaints = given.run().unwrap_err();
    insta::assert_snapshot!(lines(&complaints), @r#"
    t.json:4:33: there is no function "uper" for {{ }}: did you mean "upper"?
    t.json:4:66: {{ env `X` }} has no value in this option: declare a variable with the default "{{ env `X` }}", and use {{ user }} here
    "#);
    assert_eq!(complaints[0].end.map(|end| end.column), Some(41));
    assert_eq!(complaints[0].suggestion.as_deref(), Some("upper"));
    let bad = |text: &str| template(&format!(",\n  \"ami_description\": {text:?}"), "").bad();
    insta::assert_snapshot!(bad("{{ vault `a` `b` }}"), @"t.json:4:26: {{ vault … }} can't be used here: the server reads no Vault; give the value as a sensitive variable of the run");
    insta::assert_snapshot!(bad("{{ clean_ami_name `a` }}"), @r#"t.json:4:26: there is no function "clean_ami_name" for {{ }}: it is clean_resource_name now"#);
    insta::assert_snapshot!(bad("{{ .CreateTime }}"), @"t.json:4:26: {{ .CreateTime }} has no value in this option: write {{ timestamp }}");
    insta::assert_snapshot!(bad("{{ if .SourceAMI }}{{ .SourceAMIx }}{{ end }}"), @r#"t.json:4:45: {{ .SourceAMIx }} has no value in this option: did you mean "SourceAMI"?"#);
    insta::assert_snapshot!(bad("{{ isotime .SourceAMI }}"), @"t.json:4:26: isotime can't be combined with a value that is only known while the build runs");
}

#[test]
fn what_is_known_is_put_into_what_stays() {
    let description = |text: &str| {
        let variables = ", \"variables\": {\"v\": \"x{{ .BuildRegion }}\", \"q\": \"say \\\"hi\\\"\"}";
        let given = template(&format!(", \"ami_description\": {text:?}"), variables);
        ebs(&given.good().builds[0]).ami_description.0.clone()
    };
    assert_eq!(description("{{.SourceAMI}} {{ timestamp }}"), "{{.SourceAMI}} 1709647629");
    assert_eq!(description("{{ user `v` }}"), "x{{ .BuildRegion }}");
    assert_eq!(description("{{ print .SourceAMI (user `q`) }}"), "{{ print .SourceAMI \"say \\\"hi\\\"\" }}");
    assert_eq!(
        description(
            "{{ if eq .SourceAMITags.os (user `q` | upper) }}{{ timestamp }}{{ else }}{{ build `ID` }}{{ end }}"
        ),
        "{{ if eq .SourceAMITags.os \"SAY \\\"HI\\\"\" }}1709647629{{ else }}{{ build \"ID\" }}{{ end }}"
    );
    assert_eq!(description("a {{- .SourceAMI -}} {{ user `q` }}"), "a{{ .SourceAMI }}say \"hi\"");
    assert_eq!(description("{{ `{{` }} stays"), "{{`{{`}} stays");
    assert_eq!(
        description("{{ $x := timestamp }}{{ $x }}-{{ .SourceAMI }}"),
        "{{ $x := \"1709647629\" }}{{ $x }}-{{ .SourceAMI }}"
    );
}

#[test]
fn a_variables_fault_is_placed() {
    let text = "{\n  \"variables\": {\n    \"a\": \"x{{ usr `b` }}\",\n    \"b\": \"{{ user `c` }}\", \"d\": \"{{ vault `x` `y` }}\"\n  },\n  \"builders\": [{\"type\": \"amazon-ebs\", \"region\": \"us-east-1\", \"instance_type\": \"t3.micro\", \"source_ami\": \"ami-1\", \"ssh_username\": \"u\", \"ami_name\": \"abc\"}]\n}";
    insta::assert_snapshot!(Given::default().file("t.json", text).bad(), @r#"
    t.json:3:15: the variable "a" can't be evaluated: there is no function "usr" for {{ }}; did you mean "user"?
    t.json:4:10: the variable "b" can't be evaluated: it uses the variable "c", which is not declared; did you mean "a"?
    t.json:4:37: the variable "d" can't be evaluated: {{ vault … }} can't be used here; the server reads no Vault; give the value as a sensitive variable of the run
    "#);
}

#[test]
fn hcl2_in_json_syntax_is_evaluated() {
    let sources = r#"{"variable": {"name": {"type": "string", "default": "web"}, "n": {"type": "list(string)"}},
      "locals": {"upper": "${upper(var.name)}"},
      "source": {"amazon-ebs": {"a": {"ami_name": "${local.upper}-{{timestamp}}", "region": "us-east-1", "instance_type": "t3.micro",
        "source_ami": "ami-1", "ssh_username": "u", "metadata_options": {"http_tokens": "required"}, "ami_regions": "${var.n}",
        "dynamic": {"tag": {"for_each": {"k": "v"}, "content": {"key": "${tag.key}", "value": "${tag.value}"}}}}}}}"#;
    let build = "build {\n  sources = [\"amazon-ebs.a\"]\n  provisioner \"shell\" {\n    inline = [\"x\"]\n  }\n}\n";
    let given = Given::default().file("a.pkr.json", sources).file("b.pkr.hcl", build);
    let evaluated = given.file("x.auto.pkrvars.json", r#"{"//": "a comment", "n": ["eu-west-1"]}"#).good();
    let ebs = ebs(&evaluated.builds[0]);
    assert_eq!((ebs.ami_name.as_str(), ebs.ami_regions.as_slice()), ("WEB-1709647629", &["eu-west-1".to_owned()][..]));
    let bad = r#"{"source": {"amazon-ebs": {"a": {"ami_name": "${local.nope}", "regoin": "x"}}}, "build": {"sources": ["amazon-ebs.a"]}, "buidl": {}}"#;
    insta::assert_snapshot!(Given::default().file("a.pkr.json", bad).bad(), @r#"
    a.pkr.json:1:28: region is missing: name the region to build in, such as us-east-1, or set AWS_REGION in the run's env
    a.pkr.json:1:28: source_ami or source_ami_filter is missing: name the image to start from
    a.pkr.json:1:28: instance_type is missing: name the machine to build on, such as t3.micro
    a.pkr.json:1:28: ssh_username is missing: name the image's user, such as ubuntu, ec2-user or admin
    a.pkr.json:1:55: there is no local "nope": declare it: locals { nope = … }
    a.pkr.json:1:63: amazon-ebs has no option "regoin": did you mean "region"?
    a.pkr.json:1:121: there is no block "buidl": did you mean "build"?
    "#);
}

#[test]
fn variables_that_are_given_and_not_declared_can_be_used() {
    let json = r#"{
      "variables": { "a": "1" },
      "sensitive-variables": ["x"],
      "builders": [{"type": "null", "ssh_host": "h", "ssh_username": "{{user `x`}}", "ssh_password": "{{user `a`}}"}]
    }"#;
    let evaluated = Given::default().file("t.json", json).var("x", "hunter22").var("unused", "1").good();
    assert_eq!(evaluated.builds[0].builder.communicator().unwrap().username, "hunter22");
    // Packer says nothing of these, used or not.
    assert_eq!(super::lines(&evaluated.warnings), "");
    assert_eq!(evaluated.sensitive_values, ["hunter22"]);
    let names: Vec<&str> = evaluated.variables.iter().map(|variable| variable.name.as_str()).collect();
    assert_eq!(names, ["a", "x", "unused"]);
}

#[test]
fn a_text_with_commas_is_a_list() {
    let shell = r#", "provisioners": [{"type": "shell", "inline": "echo a,echo b", "environment_vars": "A=1,B={{ build `ID` }}", "valid_exit_codes": "0,2"}]"#;
    let evaluated = template(", \"ami_users\": \"1,2\", \"ami_groups\": \"\"", shell).good();
    assert_eq!(ebs(&evaluated.builds[0]).ami_users, ["1", "2"]);
    let ProvisionerConfig::Shell(shell) = &evaluated.builds[0].provisioners[0].config else { panic!("a shell") };
    let texts = |list: &[crate::domain::config::LateString]| list.iter().map(|text| text.0.clone()).collect::<Vec<_>>();
    assert_eq!(texts(&shell.inline), ["echo a", "echo b"]);
    assert_eq!(texts(&shell.environment_vars), ["A=1", "B={{ build `ID` }}"]);
    assert_eq!(shell.valid_exit_codes, [0, 2]);
}

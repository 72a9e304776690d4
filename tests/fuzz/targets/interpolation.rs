//! The text of an option with `{{ }}` in it: what is worked out before the build, and what is left for later.
#![no_main]

use indexmap::IndexMap;
use ingot_fuzz::template::legacy::{LateData, render_late};

const TEMPLATE: &[u8] = br#"
variable "text" { type = string }
source "amazon-ebs" "a" {
  ami_name        = "a-${var.text}"
  ami_description = var.text
  tags            = { (var.text) = var.text }
  instance_type   = "t3.micro"
  region          = "us-east-1"
  source_ami      = "ami-12345678"
  ssh_username    = "u"
}
build {
  sources = ["source.amazon-ebs.a"]
  provisioner "shell" {
    inline          = [var.text]
    execute_command = var.text
  }
}
"#;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let variables = IndexMap::from([("text".to_owned(), serde_json::Value::from(text))]);
    ingot_fuzz::evaluate("t.pkr.hcl", TEMPLATE, &variables);
    let mut data = LateData::default();
    data.fields.insert("Vars".to_owned(), "A='1'".to_owned());
    data.build.insert("ID".to_owned(), "i-1".to_owned());
    let _ = render_late(text, &data);
});

//! The comments of `-with-annotations`, and those that are always written.

pub const FILE: &str = "\
# Written from a JSON template. Read it through before you use it. Its blocks may be moved to other files of the same
# folder, as long as their names end in .pkr.hcl.

# HCL2's own ${ … } is worked out first, and what is left in {{ … }} after it, in the options that use it.
";
pub const PACKER: &str = "
# The version of the language and the plugins that the template needs.
";
pub const VARIABLES: &str = "
# All variables of a JSON template are strings. Give them other types where that suits.";
pub const SECRETS: &str = "
# From {{ aws_secretsmanager }}: sources and locals use data.amazon-secretsmanager.NAME.value.";
pub const AMIS: &str = "
# From the builders' source_ami_filter: sources use data.amazon-ami.NAME.id.";
pub const TIMESTAMP: &str = "# In place of {{ timestamp }}: year to second in digits, not Unix seconds.\n";
pub const ISOTIME: &str = "# legacy_isotime is there for old templates; formatdate() with timestamp() says the same.\n";
pub const STRFTIME: &str =
    "# legacy_strftime is there for old templates; formatdate() with timestamp() says the same.\n";
pub const LOCALS: &str = "
# Variables whose values need functions or other variables: nobody can set these from outside.";
pub const SOURCES: &str = "
# Each builder is a source. Build blocks use it by its type and name.";
pub const BUILD: &str = "
# What runs on the sources, and what is done with the images.";

//! What a template mentions: paths, and variables of the environment. Packer reads files wherever they are; a server gets what is sent to it. So a template
//! that is named as a single file takes along what its strings name. The strings are looked for without a parser: a
//! template with a mistake is sent, too, and a path too many does no harm.

/// What can stand before a path: the template's folder, and the working folder.
const PREFIXES: [&str; 6] =
    ["${path.root}/", "${path.cwd}/", "{{template_dir}}/", "{{ template_dir }}/", "{{pwd}}/", "{{ pwd }}/"];
/// Where the known part of a path ends.
const INTERPOLATIONS: [&str; 3] = ["${", "{{", "%{"];
/// The longest path of Linux.
const LONGEST: usize = 4096;

/// Relative paths that may be meant by the text's strings. Of `scripts/${var.name}.sh` it is `scripts`. They may begin with
/// `..`, but what they name is never a folder above as a whole.
pub fn paths(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('"')).filter_map(path)
}

fn path(string: &str) -> Option<&str> {
    let string = PREFIXES.iter().find_map(|prefix| string.strip_prefix(prefix)).unwrap_or(string);
    let string = string.strip_prefix("./").unwrap_or(string);
    let cut = INTERPOLATIONS.iter().filter_map(|mark| string.find(mark)).min();
    let known = match cut {
        // The last part is not known.
        Some(cut) => string[..cut].rsplit_once('/')?.0,
        None => string.trim_end_matches('/'),
    };
    let part = |part: &str| !part.is_empty() && part != "." && part != "..";
    let below = known.trim_start_matches("../");
    let fits =
        known.len() <= LONGEST && below.split('/').all(part) && !known.chars().any(|c| c.is_control() || c == '\\');
    fits.then_some(known)
}

/// Names that the text asks the environment for: `env("NAME")`, and ``{{env `NAME`}}``.
pub fn environment(text: &str) -> impl Iterator<Item = &str> {
    let asks = text.match_indices("env").filter(|(at, _)| {
        let before = text[..*at].chars().next_back();
        before.is_none_or(|c| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.')))
    });
    asks.filter_map(|(at, word)| {
        let rest = text[at + word.len()..].trim_start();
        let rest = rest.strip_prefix('(').unwrap_or(rest).trim_start();
        // In JSON the quotes within a string have backslashes.
        let rest = rest.strip_prefix('\\').unwrap_or(rest).strip_prefix(['"', '`'])?;
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|end| *end > 0)?;
        rest[end..].starts_with(['"', '`', '\\']).then(|| &rest[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_that_may_be_paths() {
        let text = r#"
            script  = "scripts/setup.sh"
            scripts = ["./a.sh", "${path.root}/b/", "dir/${var.x}/c.sh", "{{template_dir}}/d.sh"]
            content = templatefile("${path.cwd}/t.tpl", { x = "up/../down" })
            above   = ["../shared/e.sh", "${path.root}/../../files/${var.x}", "../${var.x}/f.sh", "a/../../g.sh"]
            other   = ["/etc/passwd", "${var.all}", "x${var.y}", "..", "../", "../..", ""]
        "#;
        let found: Vec<&str> = paths(text).filter(|path| !path.contains([' ', '=', ',', ']'])).collect();
        assert_eq!(found, ["scripts/setup.sh", "a.sh", "b", "dir", "d.sh", "t.tpl", "../shared/e.sh", "../../files"]);
    }

    #[test]
    fn variables_of_the_environment() {
        let text = r#"
            default = env("HCL")
            tag     = "{{env `GO`}} {{ env "GO2" }}"
            "json": "{{env \"JSON\"}}",
            no      = [my_env("A"), "env", env(var.x), "environment `B`", env("a-b")]
        "#;
        assert_eq!(environment(text).collect::<Vec<_>>(), ["HCL", "GO", "GO2", "JSON"]);
    }
}

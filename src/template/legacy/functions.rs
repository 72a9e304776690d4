//! The functions of `{{ … }}` that depend on nothing but their arguments.

use super::Obstacle;

/// Names of the functions here, for suggestions and to check what a late action may call.
pub const PURE: &[&str] =
    &["upper", "lower", "split", "replace", "replace_all", "clean_resource_name", "print", "println"];

/// Calls a function by name; `None` when it is not one of [`PURE`].
#[must_use]
pub fn pure(name: &str, args: &[String]) -> Option<Result<String, Obstacle>> {
    if !PURE.contains(&name) {
        return None;
    }
    let result = match (name, args) {
        ("upper", [text]) => Ok(text.to_uppercase()),
        ("lower", [text]) => Ok(text.to_lowercase()),
        ("clean_resource_name", [text]) => Ok(clean_resource_name(text)),
        ("replace_all", [old, new, text]) => Ok(text.replace(old.as_str(), new)),
        ("replace", [old, new, count, text]) => match count.parse::<i64>() {
            Ok(count) => Ok(usize::try_from(count)
                .map_or_else(|_| text.replace(old.as_str(), new), |n| text.replacen(old.as_str(), new, n))),
            Err(_) => Err(format!("replace: {count:?} is no number")),
        },
        ("split", [text, separator, index]) => {
            let parts: Vec<&str> = text.split(separator.as_str()).collect();
            index
                .parse::<usize>()
                .ok()
                .and_then(|index| parts.get(index))
                .map(|part| (*part).to_owned())
                .ok_or_else(|| format!("split: there is no part {index}"))
        }
        ("print" | "println", args) => Ok(args.join(" ")),
        _ => Err(format!("{name} does not take {} arguments", args.len())),
    };
    Some(result.map_err(Obstacle::Fault))
}

/// What AMI names may hold; everything else becomes `-`.
#[must_use]
pub fn clean_resource_name(text: &str) -> String {
    text.chars().map(|c| if is_ami_name_character(c) { c } else { '-' }).collect()
}

/// The characters EC2 takes in an AMI's name.
#[must_use]
pub fn is_ami_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "()[] ./-'@_".contains(c)
}

//! Packer's `-machine-readable`: one line for each thing said, `seconds,target,type,data…`.

use chrono::{DateTime, Utc};

/// One line without its newline. `target` is a build's name, or empty. Packer separates by commas without quoting, so a
/// comma within is written `%!(PACKER_COMMA)`, and line breaks as `\n` and `\r`.
#[must_use]
pub fn line(at: DateTime<Utc>, target: &str, kind: &str, data: &[&str]) -> String {
    let fields = [target, kind].into_iter().chain(data.iter().copied()).map(escape);
    let seconds = at.timestamp().to_string();
    std::iter::once(seconds).chain(fields).collect::<Vec<_>>().join(",")
}

fn escape(field: &str) -> String {
    field.replace(',', "%!(PACKER_COMMA)").replace('\r', "\\r").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_packers() {
        let at = DateTime::from_timestamp(1_795_248_941, 0).unwrap();
        assert_eq!(
            line(at, "", "ui", &["say", "\n==> Builds finished, at last"]),
            "1795248941,,ui,say,\\n==> Builds finished%!(PACKER_COMMA) at last"
        );
        assert_eq!(line(at, "null.a", "artifact", &["0", "end"]), "1795248941,null.a,artifact,0,end");
    }
}

//! `[log]`: the server's own log.

use super::section::Section;
use super::{Lines, line};
use crate::domain::diagnostic::Diagnostic;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone)]
pub struct Log {
    pub format: LogFormat,
    /// A level or tracing directives, such as `info,ingot=debug`.
    pub level: String,
}

impl Log {
    pub(super) fn read(root: &mut Section, found: &mut Vec<Diagnostic>) -> Self {
        let mut section = root.section("log", found);
        let format = section.parsed("format", found, |text| match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            other => Err(format!("{other:?} is neither \"text\" nor \"json\"")),
        });
        let level = section.parsed("level", found, |text| {
            tracing_subscriber::EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|_| {
                format!("{text:?} is neither a level (error, warn, info, debug, trace) nor a list of target=level")
            })
        });
        section.finish(found);
        Self { format: format.unwrap_or(LogFormat::Text), level: level.unwrap_or_else(|| "info".to_owned()) }
    }

    pub(super) fn describe(&self, lines: &mut Lines) {
        line(lines, "log.format", if self.format == LogFormat::Json { "json" } else { "text" });
        line(lines, "log.level", &self.level);
    }
}

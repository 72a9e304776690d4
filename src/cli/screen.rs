//! What a build looks like in a terminal: Packer's lines (`==> name: text` for what Ingot says, `    name: text` for a
//! machine's output), a colour for each build, and on a terminal one line at the bottom that tells what is waited for.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write};
use std::sync::Arc;
use std::time::Duration;

use super::error::{CliError, CliResult};
use super::machine;
use super::wire::{BuildProgress, LogEvent};
use crate::domain::clock::Clock;

/// Green, cyan, magenta, yellow, blue: Packer's order.
const PALETTE: [u8; 5] = [32, 36, 35, 33, 34];
const RED: u8 = 31;
/// The status line must fit: a line that wraps can't be rewritten.
const STATUS_WIDTH: usize = 79;

/// `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ColorChoice {
    /// When the output is a terminal and `NO_COLOR` and `PACKER_NO_COLOR` are not set.
    #[default]
    Auto,
    #[value(alias = "true", alias = "1")]
    Always,
    #[value(alias = "false", alias = "0")]
    Never,
}

/// How a screen looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Look {
    pub color: bool,
    /// Whether a line can be rewritten.
    pub status_line: bool,
    /// `-timestamp-ui`.
    pub timestamps: bool,
}

impl Look {
    /// The look of standard output (or of standard error) under the user's choice.
    #[must_use]
    pub fn of_terminal(choice: ColorChoice, timestamps: bool, stderr: bool) -> Self {
        let terminal = if stderr { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
        Self { color: wants_color(choice, terminal), status_line: terminal && !is_dumb(), timestamps }
    }
}

/// Whether to write colours to a stream under the user's choice; without one, the environment's.
#[must_use]
pub fn wants_color(choice: ColorChoice, terminal: bool) -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match choice {
        ColorChoice::Auto => terminal && !is_dumb() && !is_set("NO_COLOR") && !is_set("PACKER_NO_COLOR"),
        ColorChoice::Always => true,
        ColorChoice::Never => false,
    }
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// One build's place on the status line.
#[derive(Debug)]
struct Doing {
    state: String,
    step: Option<String>,
    since: Duration,
}

/// Writes lines, and keeps the status line below them.
pub struct Screen {
    out: Box<dyn Write + Send>,
    look: Look,
    colors: BTreeMap<String, u8>,
    doing: BTreeMap<String, Doing>,
    /// The AMI that each build's log named last.
    amis: BTreeMap<String, String>,
    shown: String,
    /// For the time of machine-readable lines; `None`: for people.
    machine: Option<Arc<dyn Clock>>,
}

impl Screen {
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>, look: Look) -> Self {
        Self {
            out,
            look,
            colors: BTreeMap::new(),
            doing: BTreeMap::new(),
            amis: BTreeMap::new(),
            shown: String::new(),
            machine: None,
        }
    }

    /// Writes Packer's machine-readable lines from now on, when there is a clock for them.
    #[must_use]
    pub fn for_programs(self, clock: Option<Arc<dyn Clock>>) -> Self {
        Self { machine: clock, ..self }
    }

    /// A line for programs only; `target` is a build's name, or empty.
    ///
    /// # Errors
    /// When the output is closed or full.
    pub fn machine(&mut self, target: &str, kind: &str, data: &[&str]) -> CliResult<()> {
        let Some(clock) = &self.machine else { return Ok(()) };
        let line = machine::line(clock.now(), target, kind, data);
        self.line(&line)
    }

    /// What a person reads: a line, or Packer's `ui` line of that kind around it.
    fn emit(&mut self, kind: &str, line: &str) -> CliResult<()> {
        if self.machine.is_some() { self.machine("", "ui", &[kind, line]) } else { self.line(line) }
    }

    /// Ingot's own words, about no build in particular. An empty text is an empty line.
    ///
    /// # Errors
    /// When the output is closed or full.
    pub fn say(&mut self, text: &str) -> CliResult<()> {
        let line = if text.is_empty() { String::new() } else { format!("==> {}", sanitize(text, false)) };
        self.emit("say", &line)
    }

    /// A line as it is.
    ///
    /// # Errors
    /// When the output is closed or full.
    pub fn plain(&mut self, text: &str) -> CliResult<()> {
        let line = sanitize(text, false);
        self.emit("say", &line)
    }

    /// A line that the caller has made fit for a terminal, or that goes to none.
    ///
    /// # Errors
    /// When the output is closed or full.
    pub fn raw(&mut self, line: &str) -> CliResult<()> {
        self.line(line)
    }

    /// `--> name: text`, in the build's colour or in red.
    ///
    /// # Errors
    /// When the output is closed or full.
    pub fn result(&mut self, build: &str, text: &str, failed: bool) -> CliResult<()> {
        let color = if failed { RED } else { self.color_of(build) };
        let line = self.painted(color, false, &format!("--> {build}: {}", sanitize(text, false)));
        self.emit(if failed { "error" } else { "say" }, &line)
    }

    /// A line of the log.
    ///
    /// # Errors
    /// When the output is closed or full.
    pub fn log(&mut self, event: &LogEvent) -> CliResult<()> {
        let build = event.build.as_deref().unwrap_or_default();
        let stream = event.stream.as_deref().unwrap_or("stdout");
        if stream == "say"
            && let Some(ami) = last_ami(&event.text)
        {
            self.amis.insert(build.to_owned(), ami.to_owned());
        }
        let color = if stream == "error" { RED } else { self.color_of(build) };
        let text = sanitize(&event.text, self.look.color);
        let stamp = match &event.at {
            Some(at) if self.look.timestamps => format!("{}: ", sanitize(at, false)),
            _ => String::new(),
        };
        let line = if matches!(stream, "say" | "error") {
            format!("{stamp}{}", self.painted(color, true, &format!("==> {build}: {text}")))
        } else {
            // The output keeps its own colours.
            format!("{stamp}{} {text}", self.painted(color, false, &format!("    {build}:")))
        };
        let kind = if matches!(stream, "say" | "error") { stream } else { "message" };
        self.emit(kind, line.trim_end())
    }

    /// Takes note of what the builds are doing; `now` is a steady clock.
    pub fn progress(&mut self, builds: &[BuildProgress], now: Duration) {
        for build in builds {
            self.color_of(&build.name);
            let same = |doing: &Doing| doing.state == build.state && doing.step == build.step;
            if !self.doing.get(&build.name).is_some_and(same) {
                let doing = Doing { state: build.state.clone(), step: build.step.clone(), since: now };
                self.doing.insert(build.name.clone(), doing);
            }
        }
    }

    /// Draws the status line anew; without a terminal it does nothing.
    ///
    /// # Errors
    /// When the output is closed or full.
    pub fn tick(&mut self, now: Duration) -> CliResult<()> {
        if !self.look.status_line {
            return Ok(());
        }
        let mut parts = Vec::new();
        for (name, doing) in &self.doing {
            let ami = self.amis.get(name);
            if let Some(words) = in_words(&doing.state, doing.step.as_deref(), ami.map(String::as_str)) {
                parts.push(format!("{name}: {words} {} s", now.saturating_sub(doing.since).as_secs()));
            }
        }
        let text: String = sanitize(&parts.join(" · "), false).chars().take(STATUS_WIDTH).collect();
        if text != self.shown {
            self.erase()?;
            self.write(&text)?;
            self.shown = text;
            self.flush()?;
        }
        Ok(())
    }

    /// Takes the status line away for good.
    ///
    /// # Errors
    /// When the output is closed or full.
    pub fn finish(&mut self) -> CliResult<()> {
        self.doing.clear();
        self.erase()?;
        self.flush()
    }

    fn line(&mut self, line: &str) -> CliResult<()> {
        let status = self.shown.clone();
        self.erase()?;
        self.write(line)?;
        self.write("\n")?;
        if !status.is_empty() {
            self.write(&status)?;
            self.shown = status;
        }
        self.flush()
    }

    fn erase(&mut self) -> CliResult<()> {
        if std::mem::take(&mut self.shown).is_empty() { Ok(()) } else { self.write("\r\u{1b}[K") }
    }

    fn write(&mut self, text: &str) -> CliResult<()> {
        self.out.write_all(text.as_bytes()).map_err(|error| CliError::output(&error))
    }

    fn flush(&mut self) -> CliResult<()> {
        self.out.flush().map_err(|error| CliError::output(&error))
    }

    fn color_of(&mut self, build: &str) -> u8 {
        let next = PALETTE[self.colors.len() % PALETTE.len()];
        *self.colors.entry(build.to_owned()).or_insert(next)
    }

    fn painted(&self, color: u8, bold: bool, text: &str) -> String {
        if self.look.color { format!("\u{1b}[{};{color}m{text}\u{1b}[0m", u8::from(bold)) } else { text.to_owned() }
    }
}

/// What a build is doing, for the status line; `None` when there is nothing to wait for.
fn in_words(state: &str, step: Option<&str>, ami: Option<&str>) -> Option<String> {
    let image = || ami.map_or_else(|| "the image".to_owned(), |ami| format!("image {ami}"));
    match state {
        "queued" => return Some("queued".into()),
        "unwinding" => return Some("removing what was made".into()),
        "running" => {}
        _ => return None,
    }
    let step = step?;
    let (kind, what) = step.split_once(':').unwrap_or((step, ""));
    Some(match kind {
        "check" => "looking at the account".into(),
        "key_pair" => "importing the key pair".into(),
        "security_group" => "making the security group".into(),
        "launch" => "launching the instance".into(),
        "wait_running" => "waiting for the instance to run".into(),
        "connect" => "waiting for SSH".into(),
        "provision" => format!("provisioner {what}"),
        "clean" => "cleaning the machine".into(),
        "stop" => "stopping the instance".into(),
        "wait_stopped" => "waiting for the instance to stop".into(),
        "create_image" => "making the image".into(),
        "wait_image" => format!("waiting for {}", image()),
        "copy" => format!("copying {} to {what}", image()),
        "wait_copy" => format!("waiting for the copy in {what}"),
        "share" => format!("sharing in {what}"),
        _ => step.to_owned(),
    })
}

/// The last AMI id in a text.
fn last_ami(text: &str) -> Option<&str> {
    let start = text.rfind("ami-")?;
    let digits = text[start + 4..].bytes().take_while(u8::is_ascii_hexdigit).count();
    (digits >= 8).then(|| &text[start..start + 4 + digits])
}

/// A log line without what would move the cursor: a progress bar's earlier states (what a `\r` overwrote) and all control
/// sequences but, when they are wanted, colours.
pub(super) fn sanitize(text: &str, keep_colors: bool) -> String {
    let text = text.trim_end_matches('\r');
    let text = text.rsplit('\r').next().unwrap_or(text);
    let mut out = String::with_capacity(text.len());
    let mut colored = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\t' => out.push(c),
            '\u{1b}' if chars.peek() == Some(&'[') => {
                chars.next();
                let mut sequence = String::new();
                let mut end = None;
                for c in chars.by_ref() {
                    if matches!(c, '\u{40}'..='\u{7e}') {
                        end = Some(c);
                        break;
                    }
                    sequence.push(c);
                }
                let is_color = end == Some('m') && sequence.bytes().all(|byte| byte.is_ascii_digit() || byte == b';');
                if keep_colors && is_color {
                    out.push_str("\u{1b}[");
                    out.push_str(&sequence);
                    out.push('m');
                    colored = true;
                }
            }
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    if colored {
        out.push_str("\u{1b}[0m");
    }
    out
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// An output that a test can read while the screen holds it.
    #[derive(Clone, Default)]
    pub struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Paper {
        pub fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }

        pub fn screen(&self, look: Look) -> Screen {
            Screen::new(Box::new(self.clone()), look)
        }
    }

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn event(build: &str, stream: &str, text: &str) -> LogEvent {
        LogEvent {
            build: Some(build.into()),
            at: Some("2026-07-29T10:00:00Z".into()),
            stream: Some(stream.into()),
            text: text.into(),
        }
    }

    #[test]
    fn lines_are_packers() {
        let paper = Paper::default();
        let mut screen = paper.screen(Look { timestamps: true, ..Look::default() });
        screen.log(&event("amazon-ebs.a", "say", "Creating the image")).unwrap();
        screen.log(&event("amazon-ebs.b", "stdout", "hello\u{1b}[31m red\u{1b}[2J")).unwrap();
        screen.log(&event("amazon-ebs.b", "error", "it broke")).unwrap();
        screen.log(&event("amazon-ebs.b", "stderr", "")).unwrap();
        insta::assert_snapshot!(paper.text(), @"
        2026-07-29T10:00:00Z: ==> amazon-ebs.a: Creating the image
        2026-07-29T10:00:00Z:     amazon-ebs.b: hello red
        2026-07-29T10:00:00Z: ==> amazon-ebs.b: it broke
        2026-07-29T10:00:00Z:     amazon-ebs.b:
        ");
    }

    #[test]
    fn each_build_has_its_colour_and_output_keeps_its_own() {
        let paper = Paper::default();
        let mut screen = paper.screen(Look { color: true, ..Look::default() });
        screen.log(&event("a", "say", "one")).unwrap();
        screen.log(&event("b", "stdout", "\u{1b}[1;31mred\u{1b}[H")).unwrap();
        assert_eq!(
            paper.text(),
            "\u{1b}[1;32m==> a: one\u{1b}[0m\n\u{1b}[0;36m    b:\u{1b}[0m \u{1b}[1;31mred\u{1b}[0m\n"
        );
    }

    #[test]
    fn the_status_line_is_rewritten_below_the_log() {
        let paper = Paper::default();
        let mut screen = paper.screen(Look { status_line: true, ..Look::default() });
        let doing = |step: &str| [BuildProgress { name: "a".into(), state: "running".into(), step: Some(step.into()) }];
        screen.progress(&doing("create_image"), Duration::from_secs(10));
        screen.tick(Duration::from_secs(12)).unwrap();
        screen.log(&event("a", "say", "AMI: ami-0123456789abcdef0")).unwrap();
        screen.progress(&doing("wait_image"), Duration::from_secs(13));
        screen.tick(Duration::from_secs(25)).unwrap();
        screen.finish().unwrap();
        let text = paper.text().replace("\r\u{1b}[K", "<erase>");
        insta::assert_snapshot!(text, @"
        a: making the image 2 s<erase>==> a: AMI: ami-0123456789abcdef0
        a: making the image 2 s<erase>a: waiting for image ami-0123456789abcdef0 12 s<erase>
        ");
    }

    #[test]
    fn a_progress_bar_shows_its_last_state() {
        assert_eq!(sanitize("10%\r50%\r100%\r", false), "100%");
        assert_eq!(sanitize("a\u{7}b\u{1b}[", true), "ab");
        assert_eq!(last_ami("ami-1 then ami-0123456789abcdef0: done"), Some("ami-0123456789abcdef0"));
        assert_eq!(last_ami("ami-nothing"), None);
    }

    #[test]
    fn only_what_goes_on_is_on_the_status_line() {
        assert_eq!(in_words("succeeded", Some("launch"), None), None);
        assert_eq!(in_words("running", Some("provision:2"), None).unwrap(), "provisioner 2");
        assert_eq!(
            in_words("running", Some("copy:eu-west-1"), Some("ami-1")).unwrap(),
            "copying image ami-1 to eu-west-1"
        );
        assert_eq!(in_words("running", Some("new_step"), None).unwrap(), "new_step");
    }
}

//! What a person or a script sees.
//!
//! Results go to standard output, progress and errors to standard error. With `--json`, standard output is exactly one
//! JSON document, whatever happens. Colour is used on a terminal only, and never when `NO_COLOR` is set.

use std::io::{self, IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use crate::error::ClientError;

/// Accepted, passed.
pub const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Rejected, failed.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Simulated, skipped: to be noticed.
pub const NOTICE: Style = AnsiColor::Yellow.on_default().bold();
/// Headings.
pub const STRONG: Style = Style::new().bold();
/// Less important.
pub const FAINT: Style = Style::new().dimmed();

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Where results, progress and errors go.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// One JSON document instead of text.
    pub json: bool,
    /// No progress lines.
    pub quiet: bool,
    /// When to colour.
    pub color: Color,
}

impl Output {
    /// Standard output, with styles removed where they do not belong.
    pub fn stdout(&self) -> AutoStream<io::Stdout> {
        AutoStream::new(io::stdout(), self.choice(&io::stdout()))
    }

    /// Standard error, with styles removed where they do not belong.
    pub fn stderr(&self) -> AutoStream<io::Stderr> {
        AutoStream::new(io::stderr(), self.choice(&io::stderr()))
    }

    /// The result: `text` for a person or `document` for a script.
    pub fn result(&self, text: &str, document: &Value) -> Result<(), ClientError> {
        let written = if self.json {
            writeln!(self.stdout(), "{}", pretty(document))
        } else {
            writeln!(self.stdout(), "{}", text.trim_end())
        };
        tolerate_closed_pipe(written)
    }

    /// Columns that a result may take; `None` where no terminal sets a bound.
    pub fn columns(&self) -> Option<usize> {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
    }

    /// A line about what is being done.
    pub fn progress(&self, line: &str) {
        if !self.quiet {
            let _ = writeln!(self.stderr(), "{line}");
        }
    }

    /// A line that is said even when progress is not wanted.
    pub fn notice(&self, line: &str) {
        let _ = writeln!(self.stderr(), "{line}");
    }

    /// Whether progress may redraw lines.
    pub fn redraws(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// A line that the next one replaces; only where [`Output::redraws`].
    pub fn redraw(&self, line: &str) {
        let _ = write!(self.stderr(), "\r\x1b[2K{line}");
    }

    /// The failure of a command.
    pub fn failure(&self, error: &ClientError) {
        if self.json {
            let _ = writeln!(self.stdout(), "{}", pretty(&failure_document(error)));
            return;
        }
        let mut stderr = self.stderr();
        let _ = writeln!(
            stderr,
            "{BAD}error{BAD:#}: {error} {FAINT}[{}]{FAINT:#}",
            error.code()
        );
        if let Some(hint) = error.hint() {
            let _ = writeln!(stderr, "{STRONG}hint{STRONG:#}: {hint}");
        }
    }

    fn choice(&self, stream: &impl anstream::stream::RawStream) -> ColorChoice {
        match self.color {
            Color::Auto => AutoStream::choice(stream),
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        }
    }
}

/// `{"error": {...}}` of a failure.
pub fn failure_document(error: &ClientError) -> Value {
    json!({ "error": {
        "code": error.code(),
        "message": error.to_string(),
        "hint": error.hint(),
        "exit_code": error.exit_code(),
    }})
}

/// Text that somebody else wrote, without what would command the terminal.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// A reader that goes away (`| head`) is not a failure of this command.
pub fn tolerate_closed_pipe(written: io::Result<()>) -> Result<(), ClientError> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(ClientError::Write {
            path: "standard output".into(),
            source: error,
        }),
        _ => Ok(()),
    }
}

fn pretty(document: &Value) -> String {
    serde_json::to_string_pretty(document).expect("a JSON value has text keys only")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_document_has_code_message_hint_and_exit_code() {
        let document = failure_document(&ClientError::PolicyMissing);
        let error = &document["error"];
        assert_eq!(error["code"], "policy-missing");
        assert_eq!(error["exit_code"], 1);
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()));
        assert!(
            error["hint"]
                .as_str()
                .is_some_and(|text| text.contains("--policy"))
        );
    }

    #[test]
    fn foreign_text_cannot_command_the_terminal() {
        assert_eq!(printable("a\u{1b}[2J\nb"), "a\u{fffd}[2J\u{fffd}b");
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        assert!(tolerate_closed_pipe(Err(io::ErrorKind::BrokenPipe.into())).is_ok());
        assert!(tolerate_closed_pipe(Err(io::ErrorKind::StorageFull.into())).is_err());
    }
}

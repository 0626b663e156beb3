//! What a person or a script sees: results on standard output, progress and errors on standard error. With `--json`,
//! standard output is exactly one JSON document, whatever happens. Colour on a terminal only, never under `NO_COLOR`.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sealed_model::Progressed;
use serde_json::{Value, json};

use crate::error::SealError;

pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const STRONG: Style = Style::new().bold();
pub(crate) const FAINT: Style = Style::new().dimmed();

/// How often a line is printed where nothing can be redrawn.
const LINE_INTERVAL: Duration = Duration::from_secs(2);

/// Where results, progress and errors go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
}

impl Output {
    /// The result of a command: lines for a person, or a document for a script.
    pub(crate) fn result(&self, lines: &[(&str, String)], document: &Value) {
        let mut stdout = anstream::stdout();
        // A reader that went away (`| head`) is not a failure of this command.
        let _ = if self.json {
            writeln!(stdout, "{}", pretty(document))
        } else {
            let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
            lines
                .iter()
                .try_for_each(|(name, value)| writeln!(stdout, "{STRONG}{name:width$}{STRONG:#}  {value}"))
        };
    }

    /// A list: columns for a person, a document for a script.
    pub(crate) fn table(&self, header: &[&str], rows: &[Vec<String>], document: &Value) {
        let mut stdout = anstream::stdout();
        if self.json {
            let _ = writeln!(stdout, "{}", pretty(document));
            return;
        }
        if rows.is_empty() {
            return;
        }
        let width = |column: usize| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.chain([header[column].len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..header.len()).map(width).collect();
        let line = |cells: Vec<&str>| {
            let padded = cells
                .iter()
                .zip(&widths)
                .map(|(cell, &width)| format!("{cell:width$}"));
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let _ = writeln!(stdout, "{STRONG}{}{STRONG:#}", line(header.to_vec()));
        for row in rows {
            let _ = writeln!(stdout, "{}", line(row.iter().map(String::as_str).collect()));
        }
    }

    /// A question, whose answer is typed behind it.
    pub(crate) fn ask(&self, question: &str) {
        let mut stderr = anstream::stderr();
        let _ = write!(stderr, "{question}");
        let _ = stderr.flush();
    }

    /// A line about what is being done.
    pub(crate) fn step(&self, line: &str) {
        if !self.quiet {
            let _ = writeln!(anstream::stderr(), "{line}");
        }
    }

    /// The failure of a command.
    pub(crate) fn failure(&self, error: &SealError) {
        if self.json {
            let document = json!({ "error": {
                "code": error.code(),
                "message": error.to_string(),
                "hint": error.hint(),
                "exit_code": error.exit_code(),
            }});
            let _ = writeln!(anstream::stdout(), "{}", pretty(&document));
            return;
        }
        let mut stderr = anstream::stderr();
        let _ = writeln!(
            stderr,
            "{BAD}error{BAD:#}: {error} {FAINT}[{}]{FAINT:#}",
            error.code()
        );
        let _ = writeln!(stderr, "{STRONG}hint{STRONG:#}: {}", error.hint());
    }

    /// A bar on a terminal, a line now and then elsewhere, nothing when progress is not wanted.
    pub(crate) fn progress(&self, what: &'static str) -> Meter {
        let bar = (!self.quiet && io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let template =
                "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";
            bar.set_style(ProgressStyle::with_template(template).expect("the template is well-formed"));
            bar.set_message(what);
            bar
        });
        Meter {
            what,
            quiet: self.quiet,
            bar,
            printed: Mutex::new(Instant::now()),
        }
    }
}

/// Shows how far an operation has come.
pub(crate) struct Meter {
    what: &'static str,
    quiet: bool,
    bar: Option<ProgressBar>,
    printed: Mutex<Instant>,
}

impl Meter {
    /// Takes a step; called from any thread.
    pub(crate) fn show(&self, progressed: Progressed) {
        let Progressed {
            bytes_done,
            bytes_total,
        } = progressed;
        if let Some(bar) = &self.bar {
            bar.set_length(bytes_total);
            bar.set_position(bytes_done);
        } else if !self.quiet
            && let Ok(mut printed) = self.printed.try_lock()
            && printed.elapsed() >= LINE_INTERVAL
        {
            *printed = Instant::now();
            let percent = 100 * bytes_done / bytes_total.max(1);
            let _ = writeln!(
                anstream::stderr(),
                "{} {percent} % ({bytes_done} of {bytes_total} bytes)",
                self.what
            );
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn pretty(document: &Value) -> String {
    serde_json::to_string_pretty(document).expect("a JSON value has text keys only")
}

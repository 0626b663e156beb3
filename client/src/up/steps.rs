//! Progress of a start: one line a step, redrawn where there is a terminal.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::{BAD, FAINT, GOOD, Output};

/// Width of a step's name.
const NAME_CHARS: usize = 22;
/// Width of what is said about it.
const DETAIL_CHARS: usize = 42;

/// The step that is under way.
pub struct Steps {
    output: Output,
    current: Option<(String, Instant, Option<ProgressBar>)>,
}

impl Steps {
    /// No step yet.
    pub fn new(output: Output) -> Self {
        Self {
            output,
            current: None,
        }
    }

    /// Begins a step; the one before must have ended.
    pub fn begin(&mut self, name: &str) {
        let bar = self.output.redraws().then(|| {
            let style = ProgressStyle::with_template("  {spinner} {msg}").expect("a literal template");
            let bar = ProgressBar::new_spinner()
                .with_style(style.tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ "))
                .with_message(name.to_owned());
            bar.enable_steady_tick(Duration::from_millis(80));
            bar
        });
        self.current = Some((name.to_owned(), Instant::now(), bar));
    }

    /// Ends it well; `detail` follows the name.
    pub fn done(&mut self, detail: impl Display) {
        self.end(&format!("{GOOD}✓{GOOD:#}"), &detail.to_string());
    }

    fn end(&mut self, mark: &str, detail: &str) {
        let Some((name, began, bar)) = self.current.take() else {
            return;
        };
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        let seconds = began.elapsed().as_secs_f64();
        self.output.progress(&format!(
            "  {mark} {name:NAME_CHARS$} {detail:DETAIL_CHARS$} {FAINT}{seconds:5.2} s{FAINT:#}"
        ));
    }
}

impl Drop for Steps {
    /// A step that did not end is the one that failed.
    fn drop(&mut self) {
        self.end(&format!("{BAD}✗{BAD:#}"), "");
    }
}

//! scripts/azure and scripts/gcp: what they would run is what the golden files say, is what they do run, and is what the
//! clouds' own tools read; wrong arguments are refused by name. No test here reaches a cloud.

#![allow(clippy::print_stderr, reason = "tests say what they did not run")]

mod arguments;
mod cases;
mod command_lines;
mod real_tools;
mod recorder;

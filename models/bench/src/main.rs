//! `adyton-bench`: what the engine makes of this machine, each figure beside what bounds it.

#![forbid(unsafe_code)]

#[cfg(feature = "cuda")]
mod card;
mod machine;
mod random;
mod report;
mod speed;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anstyle::{AnsiColor, Style};
use clap::Parser;
use inference::{InferenceError, Model, ModelFiles, Place};
use kernels::Isa;
use serde_json::json;

use crate::machine::Machine;
use crate::random::{Mix, Shape};
use crate::report::{Limits, Report};
use crate::speed::Load;

const STRONG: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// Files of one checkpoint.
const FILES_MAX: usize = 4096;

/// Measure the engine on this machine.
#[derive(Debug, Parser)]
#[command(
    name = "adyton-bench",
    version,
    about = "Measure the engine on this machine",
    max_term_width = 110,
    after_help = "\
Examples:
  adyton bench                                     (a random model of 1.1 billion parameters, Q4_K_M)
  adyton bench ./my-model --streams 1,4,16
  adyton bench --random bf16 --prompt-tokens 2048
  adyton bench --random q8_0 --write random.gguf   (keep it, for another engine to read)
  adyton bench --instructions avx2                 (as on a CPU that has no more)
  adyton bench --random bf16 --device cuda         (the first GPU; needs a build with the feature cuda)

Run it on an otherwise idle machine. Nothing is asserted: figures are for reading.

Exit status: 0 done, 20 a model that is refused, 1 anything else."
)]
struct Arguments {
    /// Folder of a plain checkpoint, or a GGUF file [default: random weights]
    #[arg(value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Which random weights: q4_k_m, q8_0 or bf16
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Mix::Q4KM, hide_possible_values = true, conflicts_with = "model")]
    random: Mix,
    /// A random model of a few hundred thousand parameters: a look at the output, not at the machine
    #[arg(long, conflicts_with = "model")]
    tiny: bool,
    /// Write the random model to this new file, and do nothing else
    #[arg(long, value_name = "FILE", conflicts_with = "model")]
    write: Option<PathBuf>,
    /// Tokens of each prompt
    #[arg(long, value_name = "N", default_value_t = 512)]
    prompt_tokens: usize,
    /// Tokens of each answer
    #[arg(long, value_name = "N", default_value_t = 128)]
    completion_tokens: usize,
    /// How many requests at a time, each measured
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [1, 4])]
    streams: Vec<usize>,
    /// Do without faster instructions than these [default: the fastest of this CPU]
    #[arg(long, value_name = "NAME", value_parser = instructions)]
    instructions: Option<Isa>,
    /// What computes: cpu, or cuda for the first NVIDIA GPU
    #[arg(long, value_name = "DEVICE", value_enum, default_value_t = Computes::Cpu, hide_possible_values = true)]
    device: Computes,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

fn instructions(name: &str) -> Result<Isa, String> {
    let available = || {
        let names: Vec<_> = Isa::all_available().iter().map(|isa| isa.name()).collect();
        format!("this CPU has {}", names.join(", "))
    };
    Isa::named(name).ok_or_else(available)
}

/// What the model is given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Computes {
    Cpu,
    Cuda,
}

#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error("cannot {action} {}: {source}", .path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[cfg(not(feature = "cuda"))]
    #[error("this adyton-bench was built without the feature cuda")]
    BuiltWithoutCuda,
    #[error(transparent)]
    Engine(#[from] InferenceError),
}

impl BenchError {
    fn code(&self) -> &'static str {
        match self {
            Self::File { .. } => "io",
            #[cfg(not(feature = "cuda"))]
            Self::BuiltWithoutCuda => "built-without-cuda",
            Self::Engine(error) => error.code(),
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::File { .. } => {
                "check that the path exists and may be read and written; --write never overwrites"
            }
            #[cfg(not(feature = "cuda"))]
            Self::BuiltWithoutCuda => {
                "build it where CUDA's toolkit is: cargo build --release -p adyton-bench --features cuda"
            }
            Self::Engine(
                error @ (InferenceError::DeviceMissing { .. } | InferenceError::DeviceRefused { .. }),
            ) => error.hint(),
            Self::Engine(_) => {
                "name a folder with config.json, tokenizer.json and safetensors, or one GGUF file"
            }
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::File { .. } => 1,
            #[cfg(not(feature = "cuda"))]
            Self::BuiltWithoutCuda => 1,
            Self::Engine(InferenceError::DeviceMissing { .. } | InferenceError::DeviceRefused { .. }) => 1,
            Self::Engine(_) => 20,
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if arguments.json {
                let document = json!({ "error": {
                    "code": error.code(), "message": error.to_string(), "hint": error.hint(),
                    "exit_code": error.exit_code(),
                }});
                let _ = writeln!(anstream::stdout(), "{document:#}");
            } else {
                let mut stderr = anstream::stderr();
                let _ = writeln!(
                    stderr,
                    "{BAD}error{BAD:#}: {error} {FAINT}[{}]{FAINT:#}",
                    error.code()
                );
                let _ = writeln!(stderr, "{STRONG}hint{STRONG:#}: {}", error.hint());
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), BenchError> {
    if let Some(instructions) = arguments.instructions {
        instructions.make_best(); // nothing has been computed yet
    }
    // First: without the device there is nothing to make weights for.
    let place = place(arguments.device)?;
    let shape = if arguments.tiny {
        Shape::TINY
    } else {
        Shape::LLAMA_1B
    };
    let say = |line: &str| {
        if !arguments.json {
            let _ = writeln!(anstream::stderr(), "{FAINT}{line}{FAINT:#}");
        }
    };
    let (name, files) = match &arguments.model {
        Some(path) => (path.display().to_string(), read(path)?),
        None => {
            say(&format!("making random weights, {} …", arguments.random));
            let bytes = random::gguf(shape, arguments.random);
            (
                format!("random, {}", arguments.random),
                vec![("random.gguf".to_owned(), bytes)],
            )
        }
    };
    if let Some(path) = &arguments.write {
        return write(path, &files[0].1);
    }
    let weight_bytes = weight_bytes(&files);
    say("loading …");
    let start = Instant::now();
    let model = Model::load_at(
        &files
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
            .collect::<ModelFiles<'_>>(),
        &place,
    )?;
    let load_seconds = start.elapsed().as_secs_f64();
    drop(files);
    say("measuring the machine …");
    let load = |streams: usize| Load {
        streams: streams.max(1),
        prompt_tokens: arguments.prompt_tokens,
        completion_tokens: arguments.completion_tokens,
    };
    let limits = limits(arguments.device)?;
    if arguments.device != Computes::Cpu {
        // A GPU's driver compiles each kernel when it is first used: that is no part of a speed.
        say("warming up …");
        speed::measure(&model, load(1))?;
    }
    let mut speeds = Vec::new();
    for &streams in &arguments.streams {
        say(&format!("{streams} at a time …"));
        speeds.push(speed::measure(&model, load(streams))?);
    }
    let report = Report {
        name,
        weight_bytes,
        load_seconds,
        limits,
        speeds,
    };
    let mut stdout = anstream::stdout();
    let _ = if arguments.json {
        writeln!(stdout, "{:#}", report.document())
    } else {
        report.print(&mut stdout)
    };
    Ok(())
}

#[cfg(not(feature = "cuda"))]
fn place(device: Computes) -> Result<Place, BenchError> {
    match device {
        Computes::Cpu => Ok(Place::cpu()),
        Computes::Cuda => Err(BenchError::BuiltWithoutCuda),
    }
}

#[cfg(feature = "cuda")]
fn place(device: Computes) -> Result<Place, BenchError> {
    match device {
        Computes::Cpu => Ok(Place::cpu()),
        Computes::Cuda => Ok(Place::cuda(0)?),
    }
}

/// What bounds the figures of that device.
fn limits(device: Computes) -> Result<Limits, BenchError> {
    match device {
        Computes::Cpu => {
            let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
            Ok(Limits::Cpu(Machine::measure(threads)))
        }
        #[cfg(not(feature = "cuda"))]
        Computes::Cuda => Err(BenchError::BuiltWithoutCuda),
        #[cfg(feature = "cuda")]
        Computes::Cuda => Ok(Limits::Cuda(card::measure(0)?)),
    }
}

/// A checkpoint's files by name.
type Files = Vec<(String, Vec<u8>)>;

fn read(path: &Path) -> Result<Files, BenchError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| BenchError::File {
            action: "read",
            path,
            source,
        }
    };
    let name = |path: &Path| {
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    if path.is_file() {
        return Ok(vec![(name(path), fs::read(path).map_err(failed(path))?)]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(failed(path))?.take(FILES_MAX) {
        let path = entry.map_err(failed(path))?.path();
        if path.is_file() {
            files.push((name(&path), fs::read(&path).map_err(failed(&path))?));
        }
    }
    Ok(files)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), BenchError> {
    let written = fs::File::create_new(path).and_then(|mut file| file.write_all(bytes));
    written.map_err(|source| BenchError::File {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

/// Bytes that every token reads: all weights but the table of embeddings, of which it reads one row, unless the output
/// uses it too. The files' headers are too short to matter.
fn weight_bytes(files: &Files) -> u64 {
    let is_weights = |name: &str| name.ends_with(".gguf") || name.ends_with(".safetensors");
    let weights = files.iter().filter(|(name, _)| is_weights(name));
    weights.map(|(_, bytes)| bytes.len() as u64).sum()
}

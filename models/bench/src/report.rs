//! What was measured, beside what bounds it: for a person, and as one JSON document.

use std::io;

use kernels::Format;
use serde_json::{Value, json};

use crate::STRONG;
use crate::machine::Machine;
use crate::speed::{Load, Speed};

/// What bounds the figures.
pub(crate) enum Limits {
    /// This machine's processor and memory.
    Cpu(Machine),
    /// A GPU and its memory.
    #[cfg_attr(
        not(any(test, feature = "cuda")),
        allow(dead_code, reason = "without the feature only tests make one")
    )]
    Cuda(Card),
}

/// A GPU as it was measured.
pub(crate) struct Card {
    pub(crate) name: String,
    /// GB/s of a copy within its memory, what is read and what is written together.
    pub(crate) copying: f64,
}

impl Limits {
    /// GB/s at which weights can be read at most.
    fn reading(&self) -> f64 {
        match self {
            Self::Cpu(machine) => machine.reading,
            Self::Cuda(card) => card.copying,
        }
    }

    fn print(&self, out: &mut impl io::Write) -> io::Result<()> {
        match self {
            Self::Cpu(machine) => {
                writeln!(
                    out,
                    "{STRONG}machine{STRONG:#}  {}, {} threads, {}",
                    machine.processor,
                    machine.threads,
                    machine.isa.name()
                )?;
                writeln!(
                    out,
                    "         reads {:.1} GB/s; computes {:.0} Gop/s on bytes, {:.0} on bf16, {:.0} on f32",
                    machine.reading,
                    machine.peak(Format::Q8_0),
                    machine.peak(Format::Bf16),
                    machine.peak(Format::F32)
                )
            }
            Self::Cuda(card) => {
                writeln!(out, "{STRONG}machine{STRONG:#}  {}, cuda", card.name)?;
                writeln!(
                    out,
                    "         moves {:.0} GB/s in copies within its memory, read and written together",
                    card.copying
                )
            }
        }
    }

    fn document(&self) -> Value {
        match self {
            Self::Cpu(machine) => json!({
                "processor": machine.processor, "threads": machine.threads, "isa": machine.isa.name(),
                "reading_gb_per_second": machine.reading,
                "peak_gop_per_second": {
                    "bytes": machine.peak(Format::Q8_0),
                    "bf16": machine.peak(Format::Bf16),
                    "f32": machine.peak(Format::F32),
                },
            }),
            Self::Cuda(card) => json!({
                "processor": card.name, "device": "cuda", "reading_gb_per_second": card.copying,
            }),
        }
    }
}

/// What was measured.
pub(crate) struct Report {
    pub(crate) name: String,
    pub(crate) weight_bytes: u64,
    pub(crate) load_seconds: f64,
    pub(crate) limits: Limits,
    pub(crate) speeds: Vec<Speed>,
}

impl Report {
    /// GB/s that decoding one stream read, at most: a table of embeddings is counted, of which one row is read.
    fn read_per_second(&self, speed: &Speed) -> f64 {
        self.weight_bytes as f64 * speed.decode / speed.load.streams as f64 / 1e9
    }

    pub(crate) fn print(&self, out: &mut impl io::Write) -> io::Result<()> {
        self.limits.print(out)?;
        writeln!(
            out,
            "{STRONG}model{STRONG:#}    {}, {:.2} GB, loaded in {:.2} s",
            self.name,
            self.weight_bytes as f64 / 1e9,
            self.load_seconds
        )?;
        writeln!(
            out,
            "{STRONG}streams  prompt  prefill tok/s  answer  decode tok/s  each   weights read GB/s{STRONG:#}"
        )?;
        for speed in &self.speeds {
            let Load {
                streams,
                prompt_tokens,
                completion_tokens,
            } = speed.load;
            let read = self.read_per_second(speed);
            writeln!(
                out,
                "{streams:7}  {prompt_tokens:6}  {:13.1}  {completion_tokens:6}  {:12.1}  {:5.1}  {read:6.1} ({:.0} % of reading)",
                speed.prefill,
                speed.decode,
                speed.decode / streams as f64,
                100.0 * read / self.limits.reading(),
            )?;
        }
        Ok(())
    }

    pub(crate) fn document(&self) -> Value {
        json!({
            "machine": self.limits.document(),
            "model": { "name": self.name, "weight_bytes": self.weight_bytes, "load_seconds": self.load_seconds },
            "speeds": self.speeds.iter().map(|speed| json!({
                "streams": speed.load.streams,
                "prompt_tokens": speed.load.prompt_tokens,
                "completion_tokens": speed.load.completion_tokens,
                "prefill_tokens_per_second": speed.prefill,
                "decode_tokens_per_second": speed.decode,
                "weights_gb_per_second": self.read_per_second(speed),
            })).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_stands_beside_what_the_card_moves() {
        let report = Report {
            name: "random, BF16".to_owned(),
            weight_bytes: 2_000_000_000,
            load_seconds: 1.0,
            limits: Limits::Cuda(Card {
                name: "a card".to_owned(),
                copying: 4000.0,
            }),
            speeds: vec![Speed {
                load: Load {
                    streams: 2,
                    prompt_tokens: 512,
                    completion_tokens: 128,
                },
                prefill: 1.0,
                decode: 1000.0,
            }],
        };
        let mut printed = Vec::new();
        report.print(&mut printed).expect("memory takes it");
        let printed = String::from_utf8(printed).expect("text");
        // 2 GB read by each of 500 passes.
        assert!(printed.contains("1000.0 (25 % of reading)"), "{printed}");
        assert!(printed.contains("moves 4000 GB/s"), "{printed}");
        let document = report.document();
        assert_eq!(document["machine"]["device"], "cuda");
        assert_eq!(document["speeds"][0]["weights_gb_per_second"], 1000.0);
    }
}

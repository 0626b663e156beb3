//! Weight matrices, packed once for the instructions that will multiply with them.
//!
//! 1. [`Matrix::pack`] cuts the rows of the file into panels of sixteen outputs (`panels`)
//! 2. [`Matrix::multiply`] brings activations into the form that the formats need (`activations`), once
//! 3. each thread computes its own outputs, always all inputs of them (`quantised`, `dense`, `mxfp4`)
//!
//! The result of a row does not depend on the rows beside it or on the number of threads, and but for bf16, which some CPUs
//! multiply themselves, not on the instructions.

mod activations;
mod dense;
mod layouts;
mod mxfp4;
mod narrow;
mod panels;
mod quantised;

use std::ops::Range;

use self::activations::{Activations, Dense, Quantised};
use self::narrow::Narrow;
use crate::aligned::Aligned;
use crate::blocks::{Codes, decode_mxfp4, widen};
use crate::error::{ShapeError, check_length, checked_product};
use crate::format::Format;
use crate::isa::{Isa, Kernel};
use crate::pool::Pool;
use crate::simd::{LANES, Simd};
use crate::tiles::TileSource;
#[cfg(target_arch = "x86_64")]
use crate::tiles::hardware::Hardware;
use crate::tiles::model::Model;

/// Rows for which weights are unpacked and activations are prepared together; bounds the memory of a product.
const ROWS_TOGETHER: usize = 256;

/// How far ahead of what is read memory is asked for: the CPU by itself does not look beyond a page, and with few rows
/// a panel is read once.
const PREFETCH_BYTES: usize = 4096;

/// Inputs that are packed for all sixteen outputs before the next: what they touch stays in the nearest cache.
const INPUTS_PACKED: usize = 128;

/// Rows of weights as a file has them: one of several that share their inputs, as query, key and value do.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    /// How they are stored.
    pub format: Format,
    /// `outputs` rows without padding. Any bytes of the right length are weights.
    pub bytes: &'a [u8],
    /// Rows of weights, which become columns of the product.
    pub outputs: usize,
}

/// Weights of a linear layer, `outputs` by `inputs`.
pub struct Matrix {
    isa: Isa,
    inputs: usize,
    outputs: usize,
    segments: Vec<Segment>,
}

/// The panels of one part.
struct Segment {
    format: Format,
    first_output: usize,
    outputs: usize,
    memory: Memory,
}

enum Memory {
    Blocks(Aligned<u8>),
    Mxfp4(Aligned<u8>),
    F32(Aligned<f32>),
    Halves(Aligned<u16>),
}

impl Matrix {
    /// Joins `parts`, which may differ in format, into one matrix whose outputs follow each other in their order.
    ///
    /// # Errors
    /// There is no part, a part has no output, `inputs` is zero or not whole blocks, or a length differs.
    pub fn pack(parts: &[Part<'_>], inputs: usize, isa: Isa, pool: &Pool) -> Result<Self, ShapeError> {
        let mut segments = Vec::with_capacity(parts.len());
        let mut outputs = 0_usize;
        for part in parts {
            let segment = Segment::pack(part, inputs, outputs, pool)?;
            outputs = outputs
                .checked_add(part.outputs)
                .ok_or(ShapeError::Size { what: "outputs" })?;
            segments.push(segment);
        }
        if segments.is_empty() {
            return Err(ShapeError::Size { what: "outputs" });
        }
        Ok(Self {
            isa,
            inputs,
            outputs,
            segments,
        })
    }

    /// Columns of what it is multiplied with.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Columns of the product.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Memory that the weights take.
    pub fn bytes(&self) -> usize {
        self.segments.iter().map(Segment::bytes).sum()
    }

    /// The weights of output `index` in f32, exactly as [`decode_row`](crate::blocks::decode_row) gives them: a
    /// row of an embedding.
    ///
    /// # Errors
    /// There is no such output, or `row` does not have [`Self::inputs`] elements.
    pub fn row(&self, index: usize, row: &mut [f32]) -> Result<(), ShapeError> {
        check_length("a row", row.len(), self.inputs)?;
        let within = |segment: &&Segment| {
            (segment.first_output..segment.first_output + segment.outputs).contains(&index)
        };
        let Some(segment) = self.segments.iter().find(within) else {
            return Err(ShapeError::Index {
                what: "output",
                index,
                count: self.outputs,
            });
        };
        segment.row(index - segment.first_output, row);
        Ok(())
    }

    /// `out = x W^T` for `rows` rows: `x` has `rows * inputs` elements, `out` `rows * outputs`.
    ///
    /// Weights of Q formats are multiplied with activations that are rounded to 8 bits for the purpose (see
    /// `activations`), weights of bf16 on AMX and with AVX512_BF16 with activations rounded to bf16; otherwise products and
    /// sums are f32.
    ///
    /// # Errors
    /// A length differs from that.
    pub fn multiply(&self, x: &[f32], rows: usize, out: &mut [f32], pool: &Pool) -> Result<(), ShapeError> {
        check_length("x", x.len(), checked_product("x", rows, self.inputs)?)?;
        check_length("out", out.len(), checked_product("out", rows, self.outputs)?)?;
        let shares = self.split(pool.threads());
        let x = x.chunks(ROWS_TOGETHER * self.inputs);
        let out = out.chunks_mut(ROWS_TOGETHER * self.outputs);
        for (x, out) in x.zip(out) {
            let activations = self.prepare(x, pool);
            let columns = Columns::split(out, self.outputs, &shares);
            pool.run_each(columns, |part, mut columns| {
                for (segment, panels) in &shares[part].segments {
                    self.segments[*segment].multiply(self.isa, panels.clone(), &activations, &mut columns);
                }
            });
        }
        Ok(())
    }

    fn prepare(&self, x: &[f32], pool: &Pool) -> Activations {
        let mut activations = Activations::default();
        for format in self.segments.iter().map(|segment| segment.format) {
            match Form::of(format, self.isa) {
                Form::Per32 if activations.per_32.groups.is_empty() => {
                    activations.per_32 = Quantised::new(x, self.inputs, 32, self.isa, pool);
                }
                Form::Per256 if activations.per_256.groups.is_empty() => {
                    activations.per_256 = Quantised::new(x, self.inputs, 256, self.isa, pool);
                }
                Form::Dense if activations.dense.groups.is_empty() => {
                    activations.dense = Dense::new(x, self.inputs, self.isa.dispatch(RowsDense), pool);
                }
                Form::Pairs if activations.pairs.groups.is_empty() => {
                    activations.pairs = Dense::new(x, self.inputs, self.isa.dispatch(RowsDense), pool);
                }
                Form::Narrow if activations.narrow.is_empty() => {
                    activations.narrow = Narrow::new(x, self.inputs, self.isa, pool);
                }
                _ => {}
            }
        }
        activations
    }

    /// Panels for each of `parts` threads, so that each reads about as many bytes.
    fn split(&self, parts: usize) -> Vec<Share> {
        let total = self.bytes();
        let mut shares = Vec::with_capacity(parts);
        let (mut segment, mut panel, mut read) = (0, 0, 0);
        for part in 0..parts {
            let end = (total as u128 * (part as u128 + 1) / parts as u128) as usize;
            let mut share = Share::default();
            while let Some(current) = self.segments.get(segment) {
                let each = current.bytes() / current.panels();
                // Rounded, so that whole panels are split evenly.
                let wanted = ((end.saturating_sub(read) + each / 2) / each).min(current.panels() - panel);
                if wanted > 0 {
                    share.add(segment, current, panel..panel + wanted);
                }
                panel += wanted;
                read += wanted * each;
                if panel < current.panels() {
                    break;
                }
                (segment, panel) = (segment + 1, 0);
            }
            shares.push(share);
        }
        shares
    }
}

impl Segment {
    fn pack(part: &Part<'_>, inputs: usize, first_output: usize, pool: &Pool) -> Result<Self, ShapeError> {
        let Part {
            format,
            bytes,
            outputs,
        } = *part;
        let row_bytes = format.row_bytes(inputs)?;
        if outputs == 0 {
            return Err(ShapeError::Size { what: "outputs" });
        }
        check_length(
            "weights",
            bytes.len(),
            checked_product("weights", outputs, row_bytes)?,
        )?;
        let panels = outputs.div_ceil(LANES);
        // Inputs of dense panels are made even.
        let dense = inputs.next_multiple_of(2) * LANES;
        let size = |elements: usize| checked_product("weights", panels, elements);
        let rows = bytes.chunks(row_bytes * LANES);
        let memory = match format {
            Format::F32 => {
                let mut memory = Aligned::zeroed(size(dense)?);
                let work = memory.chunks_exact_mut(dense).zip(rows).collect();
                pool.run_each(work, |_, (panel, rows)| pack_f32(rows, row_bytes, panel));
                Memory::F32(memory)
            }
            Format::F16 | Format::Bf16 => {
                let mut memory = Aligned::zeroed(size(dense)?);
                let work = memory.chunks_exact_mut(dense).zip(rows).collect();
                pool.run_each(work, |_, (panel, rows)| {
                    pack_halves(format, rows, row_bytes, panel)
                });
                Memory::Halves(memory)
            }
            Format::Mxfp4 => {
                let panel_bytes = inputs / mxfp4::INPUTS * mxfp4::PANEL_BLOCK_BYTES;
                let mut memory = Aligned::zeroed(size(panel_bytes)?);
                let work = memory.chunks_exact_mut(panel_bytes).zip(rows).collect();
                pool.run_each(work, |_, (panel, rows)| pack_mxfp4(rows, row_bytes, panel));
                Memory::Mxfp4(memory)
            }
            _ => {
                let panel_bytes = inputs / format.block_elements() * panels::block_bytes(format);
                let mut memory = Aligned::zeroed(size(panel_bytes)?);
                let work = memory.chunks_exact_mut(panel_bytes).zip(rows).collect();
                pool.run_each(work, |_, (panel, rows)| {
                    pack_blocks(format, rows, row_bytes, panel)
                });
                Memory::Blocks(memory)
            }
        };
        Ok(Self {
            format,
            first_output,
            outputs,
            memory,
        })
    }

    fn panels(&self) -> usize {
        self.outputs.div_ceil(LANES)
    }

    fn bytes(&self) -> usize {
        match &self.memory {
            Memory::Blocks(memory) | Memory::Mxfp4(memory) => memory.len(),
            Memory::F32(memory) => 4 * memory.len(),
            Memory::Halves(memory) => 2 * memory.len(),
        }
    }

    fn row(&self, output: usize, row: &mut [f32]) {
        let (panel, lane) = (output / LANES, output % LANES);
        match &self.memory {
            Memory::Blocks(memory) => {
                let panel_bytes = memory.len() / self.panels();
                let blocks = memory[panel * panel_bytes..][..panel_bytes]
                    .chunks_exact(panels::block_bytes(self.format));
                for (block, row) in blocks.zip(row.chunks_mut(self.format.block_elements())) {
                    panels::read(self.format, block, lane).dequantise(self.format, row);
                }
            }
            Memory::Mxfp4(memory) => {
                let panel = &memory[panel * (memory.len() / self.panels())..];
                for (block, row) in panel.as_chunks().0.iter().zip(row.as_chunks_mut().0) {
                    decode_mxfp4(&mxfp4::read(block, lane), row);
                }
            }
            Memory::F32(memory) => {
                let panel = &memory[panel * (memory.len() / self.panels())..];
                for (value, weights) in row.iter_mut().zip(panel.as_chunks::<LANES>().0) {
                    *value = weights[lane];
                }
            }
            Memory::Halves(memory) => {
                let panel = &memory[panel * (memory.len() / self.panels())..];
                for (k, value) in row.iter_mut().enumerate() {
                    let bits = panel[half_index(self.format, k, lane)];
                    *value = match self.format {
                        Format::F16 => half::f16::from_bits(bits).to_f32(),
                        _ => widen(half::bf16::from_bits(bits)),
                    };
                }
            }
        }
    }

    fn multiply(&self, isa: Isa, range: Range<usize>, x: &Activations, out: &mut Columns<'_>) {
        match &self.memory {
            Memory::Blocks(memory) => isa.dispatch(quantised::Product {
                format: self.format,
                panels: Panels::new(memory, self, range),
                x: match Form::of(self.format, isa) {
                    Form::Per32 => &x.per_32,
                    _ => &x.per_256,
                },
                tiles: isa.tiles(),
                out,
            }),
            Memory::Mxfp4(memory) => isa.dispatch(mxfp4::Product {
                panels: Panels::new(memory, self, range),
                x: &x.dense,
                out,
            }),
            Memory::F32(memory) => isa.dispatch(dense::Product::<dense::F32> {
                panels: Panels::new(memory, self, range),
                x: &x.dense,
                out,
            }),
            Memory::Halves(memory) if self.format == Format::F16 => {
                isa.dispatch(dense::Product::<dense::F16> {
                    panels: Panels::new(memory, self, range),
                    x: &x.dense,
                    out,
                })
            }
            Memory::Halves(memory) => {
                let panels = Panels::new(memory, self, range);
                match isa.tiles() {
                    TileSource::None if isa.pairs() => isa.dispatch(dense::Product::<dense::Bf16Pairs> {
                        panels,
                        x: &x.pairs,
                        out,
                    }),
                    TileSource::None => isa.dispatch(dense::Product::<dense::Bf16> {
                        panels,
                        x: &x.dense,
                        out,
                    }),
                    TileSource::Model => narrow::product::<Model>(&panels, &x.narrow, out),
                    #[cfg(target_arch = "x86_64")]
                    TileSource::Hardware => narrow::product::<Hardware>(&panels, &x.narrow, out),
                }
            }
        }
    }
}

/// The form in which activations are multiplied.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Per32,
    Per256,
    Dense,
    Pairs,
    Narrow,
}

impl Form {
    fn of(format: Format, isa: Isa) -> Self {
        match format {
            Format::Q8_0 | Format::Q4_0 => Self::Per32,
            Format::Q4K | Format::Q5K | Format::Q6K => Self::Per256,
            Format::Bf16 if isa.tiles() != TileSource::None => Self::Narrow,
            Format::Bf16 if isa.pairs() => Self::Pairs,
            Format::F32 | Format::F16 | Format::Bf16 | Format::Mxfp4 => Self::Dense,
        }
    }
}

fn pack_f32(rows: &[u8], row_bytes: usize, panel: &mut [f32]) {
    let weights = panel.chunks_mut(LANES * INPUTS_PACKED);
    for (index, panel) in weights.enumerate() {
        for (lane, row) in rows.chunks_exact(row_bytes).enumerate() {
            let row = row.chunks(4 * INPUTS_PACKED).nth(index).unwrap_or_default();
            for (weights, bytes) in panel.as_chunks_mut::<LANES>().0.iter_mut().zip(row.as_chunks().0) {
                weights[lane] = f32::from_le_bytes(*bytes);
            }
        }
    }
}

fn pack_halves(format: Format, rows: &[u8], row_bytes: usize, panel: &mut [u16]) {
    let weights = panel.chunks_mut(LANES * INPUTS_PACKED);
    for (index, panel) in weights.enumerate() {
        for (lane, row) in rows.chunks_exact(row_bytes).enumerate() {
            let row = row.chunks(2 * INPUTS_PACKED).nth(index).unwrap_or_default();
            for (k, bytes) in row.as_chunks().0.iter().enumerate() {
                panel[half_index(format, k, lane)] = u16::from_le_bytes(*bytes);
            }
        }
    }
}

/// Where input `k` of an output is in a panel: bf16 comes in pairs, as its instructions take it.
fn half_index(format: Format, k: usize, lane: usize) -> usize {
    if format == Format::F16 {
        k * LANES + lane
    } else {
        k / 2 * 2 * LANES + 2 * lane + k % 2
    }
}

fn pack_mxfp4(rows: &[u8], row_bytes: usize, panel: &mut [u8]) {
    for (lane, row) in rows.chunks_exact(row_bytes).enumerate() {
        for (panel, block) in panel.as_chunks_mut().0.iter_mut().zip(row.as_chunks().0) {
            mxfp4::write(block, lane, panel);
        }
    }
}

fn pack_blocks(format: Format, rows: &[u8], row_bytes: usize, panel: &mut [u8]) {
    for (lane, row) in rows.chunks_exact(row_bytes).enumerate() {
        let blocks = row.chunks_exact(format.block_bytes());
        for (panel, block) in panel.chunks_exact_mut(panels::block_bytes(format)).zip(blocks) {
            panels::write(format, &Codes::read(format, block), lane, panel);
        }
    }
}

/// Some panels of a segment, and the columns of the product that they make.
struct Panels<'a, T> {
    memory: &'a [T],
    /// Elements of one.
    each: usize,
    range: Range<usize>,
    first_output: usize,
    outputs: usize,
}

impl<'a, T> Panels<'a, T> {
    fn new(memory: &'a [T], segment: &Segment, range: Range<usize>) -> Self {
        Self {
            memory,
            each: memory.len() / segment.panels(),
            range,
            first_output: segment.first_output,
            outputs: segment.outputs,
        }
    }

    #[inline(always)]
    fn count(&self) -> usize {
        self.range.len()
    }

    #[inline(always)]
    fn get(&self, index: usize) -> &'a [T] {
        &self.memory[(self.range.start + index) * self.each..][..self.each]
    }

    /// Fewer than sixteen for the last panel of a part.
    #[inline(always)]
    fn columns(&self, index: usize) -> Range<usize> {
        let first = (self.range.start + index) * LANES;
        let last = self.outputs.min(first + LANES);
        self.first_output + first..self.first_output + last
    }
}

/// What one thread computes.
#[derive(Default)]
struct Share {
    /// Segments and their panels.
    segments: Vec<(usize, Range<usize>)>,
    columns: Option<Range<usize>>,
}

impl Share {
    fn add(&mut self, index: usize, segment: &Segment, panels: Range<usize>) {
        let first = segment.first_output + panels.start * LANES;
        let last = segment.first_output + segment.outputs.min(panels.end * LANES);
        let start = self.columns.as_ref().map_or(first, |columns| columns.start);
        self.columns = Some(start..last);
        self.segments.push((index, panels));
    }
}

/// The piece of every output row that one thread writes.
struct Columns<'a> {
    first: usize,
    rows: Vec<&'a mut [f32]>,
}

impl<'a> Columns<'a> {
    fn split(out: &'a mut [f32], outputs: usize, shares: &[Share]) -> Vec<Self> {
        let rows = out.len() / outputs;
        let mut columns: Vec<_> = shares
            .iter()
            .map(|share| Self {
                first: share.columns.as_ref().map_or(0, |columns| columns.start),
                rows: Vec::with_capacity(rows),
            })
            .collect();
        for mut row in out.chunks_exact_mut(outputs) {
            for (share, columns) in shares.iter().zip(&mut columns) {
                let count = share.columns.as_ref().map_or(0, ExactSizeIterator::len);
                let (piece, rest) = row.split_at_mut(count);
                columns.rows.push(piece);
                row = rest;
            }
        }
        columns
    }

    #[inline(always)]
    fn write(&mut self, row: usize, columns: Range<usize>, lanes: &[f32; LANES]) {
        let to = &mut self.rows[row][columns.start - self.first..columns.end - self.first];
        to.copy_from_slice(&lanes[..to.len()]);
    }
}

struct RowsDense;

impl Kernel for RowsDense {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> usize {
        S::ROWS_DENSE
    }
}

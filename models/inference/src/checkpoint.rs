//! The tensors of a checkpoint, one file or sharded, each taken once under its expected name and shape.

mod experts;
mod header;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use candle_core::{Device, Tensor};
use kernels::{Format, Part, blocks};
use serde::Deserialize;

use self::header::Stored;
use crate::architecture::from_json;
use crate::decoder::ops::{Weights, device};
use crate::error::InferenceError;
use crate::model::ModelFiles;
use crate::place::Place;

const SINGLE_FILE: &str = "model.safetensors";
const INDEX_FILE: &str = "model.safetensors.index.json";

/// Tensors by name that have not been taken yet.
pub(crate) struct Checkpoint<'a> {
    tensors: BTreeMap<String, RawTensor<'a>>,
    /// Where weights go that are taken.
    place: Place,
}

struct RawTensor<'a> {
    stored: Stored,
    shape: Vec<usize>,
    bytes: Cow<'a, [u8]>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl<'a> Checkpoint<'a> {
    /// Without tensors yet.
    pub(crate) fn empty() -> Self {
        Self {
            tensors: BTreeMap::new(),
            place: Place::cpu(),
        }
    }

    /// Gives the weights to another place than the CPU.
    pub(crate) fn at(mut self, place: &Place) -> Self {
        self.place = place.clone();
        self
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Adds weights whose bytes fit their shape.
    pub(crate) fn insert(&mut self, name: String, format: Format, shape: Vec<usize>, bytes: Cow<'a, [u8]>) {
        let tensor = RawTensor {
            stored: Stored::Weights(format),
            shape,
            bytes,
        };
        self.tensors.insert(name, tensor);
    }

    /// Opens `model.safetensors`, or the shards that `model.safetensors.index.json` names.
    pub(crate) fn open(files: &ModelFiles<'a>) -> Result<Self, InferenceError> {
        let Some(index) = files.optional(INDEX_FILE) else {
            return Ok(Self {
                tensors: open_file(SINGLE_FILE, files.required(SINGLE_FILE)?)?,
                place: Place::cpu(),
            });
        };
        let index: Index = from_json(INDEX_FILE, index)?;
        let mut tensors = BTreeMap::new();
        for shard in index.weight_map.values().collect::<BTreeSet<_>>() {
            for (name, tensor) in open_file(shard, files.required(shard)?)? {
                if index.weight_map.get(&name) != Some(shard) {
                    return Err(mismatch(
                        &name,
                        "lies in a shard that the index does not give for it",
                    ));
                }
                tensors.insert(name, tensor);
            }
        }
        if let Some(name) = index.weight_map.keys().find(|name| !tensors.contains_key(*name)) {
            return Err(mismatch(name, "is in the index and in no shard"));
        }
        Ok(Self {
            tensors,
            place: Place::cpu(),
        })
    }

    /// Numbers of any shape, in f32.
    pub(crate) fn floats(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, InferenceError> {
        let (format, bytes) = self.take(name, shape)?;
        let mut values = vec![0.0; shape.iter().product()];
        blocks::decode_row(format, &bytes, &mut values)
            .map_err(|error| mismatch(name, &error.to_string()))?;
        Ok(values)
    }

    /// Vectors one after the other, in f32.
    pub(crate) fn vectors(&mut self, parts: &[(&str, usize)]) -> Result<Tensor, InferenceError> {
        let total: usize = parts.iter().map(|(_, length)| length).sum();
        let mut values = Vec::with_capacity(total);
        for (name, length) in parts {
            values.extend(self.floats(name, &[*length])?);
        }
        match self.place.device() {
            None => Tensor::from_vec(values, total, &Device::Cpu).map_err(|_| unloadable(parts)),
            Some(device) => device::upload(values, total, device),
        }
    }

    /// Matrices of `(rows, columns)` stacked by rows, so that one product computes all.
    pub(crate) fn weights(
        &mut self,
        parts: &[(&str, usize)],
        columns: usize,
    ) -> Result<Weights, InferenceError> {
        let taken = parts
            .iter()
            .map(|(name, rows)| Ok((*rows, self.take(name, &[*rows, columns])?)))
            .collect::<Result<Vec<_>, InferenceError>>()?;
        let packed: Vec<Part<'_>> = taken
            .iter()
            .map(|(rows, (format, bytes))| Part {
                format: *format,
                bytes,
                outputs: *rows,
            })
            .collect();
        let name = parts.first().map_or("", |(name, _)| name);
        Weights::load(&packed, columns, &self.place, |reason| mismatch(name, reason))
    }

    /// Whether a tensor is there and was not taken yet.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Adds `prefix` to every name where none has it: a model saved without its head lacks it.
    pub(crate) fn add_missing_prefix(&mut self, prefix: &str) {
        if !self.tensors.keys().any(|name| name.starts_with(prefix)) {
            let tensors = std::mem::take(&mut self.tensors);
            let renamed = tensors
                .into_iter()
                .map(|(name, tensor)| (format!("{prefix}{name}"), tensor));
            self.tensors = renamed.collect();
        }
    }

    /// The same weights in f32.
    #[cfg(test)]
    pub(crate) fn widened(mut self) -> Checkpoint<'static> {
        let mut wide = Checkpoint::empty();
        let shapes: Vec<(String, Vec<usize>)> = self
            .tensors
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor.shape.clone()))
            .collect();
        for (name, shape) in shapes {
            let values = self.floats(&name, &shape).expect("weights");
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            wide.insert(name, Format::F32, shape, Cow::Owned(bytes));
        }
        wide
    }

    /// Changes names to those that the architecture expects.
    pub(crate) fn rename(&mut self, rename: impl Fn(&str) -> Option<String>) {
        let tensors = std::mem::take(&mut self.tensors);
        let renamed = tensors
            .into_iter()
            .map(|(name, tensor)| (rename(&name).unwrap_or(name), tensor));
        self.tensors = renamed.collect();
    }

    /// Leaves a tensor out that older checkpoints carry and nothing reads.
    pub(crate) fn ignore(&mut self, name: &str) {
        self.tensors.remove(name);
    }

    /// As [`Self::ignore`], every tensor whose name begins so.
    pub(crate) fn ignore_prefix(&mut self, prefix: &str) {
        self.tensors.retain(|name, _| !name.starts_with(prefix));
    }

    /// What was not taken would silently change the result: refused.
    pub(crate) fn finish(self) -> Result<(), InferenceError> {
        match self.tensors.keys().next() {
            None => Ok(()),
            Some(name) => Err(mismatch(name, "is not part of the architecture")),
        }
    }

    /// The weights of exactly that name and shape; each can be taken once.
    fn take(&mut self, name: &str, shape: &[usize]) -> Result<(Format, Cow<'a, [u8]>), InferenceError> {
        let tensor = self.take_any(name, shape)?;
        match tensor.stored {
            Stored::Weights(format) => Ok((format, tensor.bytes)),
            Stored::Bytes | Stored::Other => Err(mismatch(name, "is of a type that no weights have")),
        }
    }

    /// The bytes of exactly that name and shape.
    fn take_bytes(&mut self, name: &str, shape: &[usize]) -> Result<Cow<'a, [u8]>, InferenceError> {
        let tensor = self.take_any(name, shape)?;
        match tensor.stored {
            Stored::Bytes => Ok(tensor.bytes),
            Stored::Weights(_) | Stored::Other => Err(mismatch(name, "is not of bytes")),
        }
    }

    fn take_any(&mut self, name: &str, shape: &[usize]) -> Result<RawTensor<'a>, InferenceError> {
        let tensor = self
            .tensors
            .remove(name)
            .ok_or_else(|| mismatch(name, "is missing"))?;
        if tensor.shape != shape {
            return Err(mismatch(
                name,
                &format!("has shape {:?}, expected {shape:?}", tensor.shape),
            ));
        }
        Ok(tensor)
    }
}

fn open_file<'a>(name: &str, file: &'a [u8]) -> Result<BTreeMap<String, RawTensor<'a>>, InferenceError> {
    let entries = header::parse(file).map_err(|reason| InferenceError::FileMalformed {
        file: bounded(name),
        reason,
    })?;
    let tensors = entries.into_iter().map(|(tensor, entry)| {
        (
            tensor,
            RawTensor {
                stored: entry.stored,
                shape: entry.shape,
                bytes: Cow::Borrowed(&file[entry.range]),
            },
        )
    });
    Ok(tensors.collect())
}

fn mismatch(tensor: &str, reason: &str) -> InferenceError {
    InferenceError::TensorMismatch {
        tensor: bounded(tensor),
        reason: reason.to_owned(),
    }
}

fn unloadable(parts: &[(&str, usize)]) -> InferenceError {
    mismatch(parts.first().map_or("", |(name, _)| name), "cannot be loaded")
}

/// Names come from the file: bounded in messages.
fn bounded(name: &str) -> String {
    name.chars().take(200).collect()
}

//! The tensors of a checkpoint, one file or sharded, each taken once under its expected name and shape.

mod convert;
mod header;

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{Device, Tensor};
use serde::Deserialize;

use self::header::WeightType;
use crate::architecture::from_json;
use crate::error::InferenceError;
use crate::model::ModelFiles;

const SINGLE_FILE: &str = "model.safetensors";
const INDEX_FILE: &str = "model.safetensors.index.json";

/// Tensors by name that have not been taken yet.
pub(crate) struct Checkpoint<'a> {
    tensors: BTreeMap<String, RawTensor<'a>>,
}

struct RawTensor<'a> {
    weight_type: Option<WeightType>,
    shape: Vec<usize>,
    bytes: &'a [u8],
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl<'a> Checkpoint<'a> {
    /// Opens `model.safetensors`, or the shards that `model.safetensors.index.json` names.
    pub(crate) fn open(files: &ModelFiles<'a>) -> Result<Self, InferenceError> {
        let Some(index) = files.optional(INDEX_FILE) else {
            return Ok(Self {
                tensors: open_file(SINGLE_FILE, files.required(SINGLE_FILE)?)?,
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
        Ok(Self { tensors })
    }

    /// A vector of `length`, in f32.
    pub(crate) fn vector(&mut self, name: &str, length: usize) -> Result<Tensor, InferenceError> {
        self.fused(&[(name, vec![length])], vec![length])
    }

    /// Vectors one after the other, in f32.
    pub(crate) fn vectors(&mut self, parts: &[(&str, usize)]) -> Result<Tensor, InferenceError> {
        let total = parts.iter().map(|(_, length)| length).sum();
        let parts: Vec<_> = parts
            .iter()
            .map(|(name, length)| (*name, vec![*length]))
            .collect();
        self.fused(&parts, vec![total])
    }

    /// Matrices of `(rows, columns)` stacked by rows, in f32: one product instead of several.
    pub(crate) fn matrices(
        &mut self,
        parts: &[(&str, usize)],
        columns: usize,
    ) -> Result<Tensor, InferenceError> {
        let total = parts.iter().map(|(_, rows)| rows).sum();
        let parts: Vec<_> = parts
            .iter()
            .map(|(name, rows)| (*name, vec![*rows, columns]))
            .collect();
        self.fused(&parts, vec![total, columns])
    }

    /// Leaves a tensor out that older checkpoints carry and nothing reads.
    pub(crate) fn ignore(&mut self, name: &str) {
        self.tensors.remove(name);
    }

    /// What was not taken would silently change the result: refused.
    pub(crate) fn finish(self) -> Result<(), InferenceError> {
        match self.tensors.keys().next() {
            None => Ok(()),
            Some(name) => Err(mismatch(name, "is not part of the architecture")),
        }
    }

    fn fused(&mut self, parts: &[(&str, Vec<usize>)], shape: Vec<usize>) -> Result<Tensor, InferenceError> {
        let mut raw = Vec::with_capacity(parts.len());
        for (name, expected) in parts {
            let tensor = self
                .tensors
                .remove(*name)
                .ok_or_else(|| mismatch(name, "is missing"))?;
            if tensor.shape != *expected {
                let found = &tensor.shape;
                return Err(mismatch(
                    name,
                    &format!("has shape {found:?}, expected {expected:?}"),
                ));
            }
            let weight_type = tensor
                .weight_type
                .ok_or_else(|| mismatch(name, "has a type other than F32, F16, BF16"))?;
            raw.push((weight_type, tensor.bytes));
        }
        let values = convert::to_f32(&raw);
        Tensor::from_vec(values, shape, &Device::Cpu).map_err(|_| mismatch(parts[0].0, "cannot be loaded"))
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
                weight_type: entry.weight_type,
                shape: entry.shape,
                bytes: &file[entry.range],
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

/// Names come from the file: bounded in messages.
fn bounded(name: &str) -> String {
    name.chars().take(200).collect()
}

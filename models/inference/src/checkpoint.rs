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
        self.vectors(&[(name, length)])
    }

    /// Vectors one after the other, in f32.
    pub(crate) fn vectors(&mut self, parts: &[(&str, usize)]) -> Result<Tensor, InferenceError> {
        let total: usize = parts.iter().map(|(_, length)| length).sum();
        let raw = parts
            .iter()
            .map(|(name, length)| self.take(name, &[*length]))
            .collect::<Result<Vec<_>, _>>()?;
        Tensor::from_vec(convert::to_f32(&raw), total, &Device::Cpu).map_err(|_| unloadable(parts))
    }

    /// Matrices of `(rows, columns)` stacked by rows, so that one product computes all. In bf16 when all of
    /// them are, else in f32.
    pub(crate) fn matrices(
        &mut self,
        parts: &[(&str, usize)],
        columns: usize,
    ) -> Result<Tensor, InferenceError> {
        let shape = (parts.iter().map(|(_, rows)| rows).sum::<usize>(), columns);
        let raw = parts
            .iter()
            .map(|(name, rows)| self.take(name, &[*rows, columns]))
            .collect::<Result<Vec<_>, _>>()?;
        let tensor = if raw
            .iter()
            .all(|(weight_type, _)| *weight_type == WeightType::Bf16)
        {
            Tensor::from_vec(convert::to_bf16(&raw), shape, &Device::Cpu)
        } else {
            Tensor::from_vec(convert::to_f32(&raw), shape, &Device::Cpu)
        };
        tensor.map_err(|_| unloadable(parts))
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

    /// A tensor of exactly that name and shape; each can be taken once.
    fn take(&mut self, name: &str, shape: &[usize]) -> Result<(WeightType, &'a [u8]), InferenceError> {
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
        let weight_type = tensor.weight_type;
        let weight_type =
            weight_type.ok_or_else(|| mismatch(name, "has a type other than F32, F16, BF16"))?;
        Ok((weight_type, tensor.bytes))
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

fn unloadable(parts: &[(&str, usize)]) -> InferenceError {
    mismatch(parts.first().map_or("", |(name, _)| name), "cannot be loaded")
}

/// Names come from the file: bounded in messages.
fn bounded(name: &str) -> String {
    name.chars().take(200).collect()
}

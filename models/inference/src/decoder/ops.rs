//! The operations that the decoder is made of, and where they are computed.

pub(crate) mod cpu;

pub(crate) use self::cpu::{
    HeadNorm, RmsNorm, RotaryTable, Rotation, Weights, for_each_row, gated, kernel_ops, softcap, values_of,
};

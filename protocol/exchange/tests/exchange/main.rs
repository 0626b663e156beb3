//! Client and gateway together, over evidence from the simulated security processor, and everything that a host can do
//! in between.

mod attacks;
mod conversation;
mod shape;
mod support;

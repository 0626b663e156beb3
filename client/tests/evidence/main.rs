//! The commands on evidence in files, run as a person would, on real evidence where it is at hand.

mod conformance;
mod corpus;
mod policy;
mod raw;
mod support;

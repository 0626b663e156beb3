//! What the tests stand on: a sealed model, a host with two sockets, a broker, a client.

mod broker;
mod client;
mod deployment;
mod host;

pub(crate) use broker::{Behaviour, Release};
pub(crate) use client::{Client, chat_body, open as open_stream, whole as read_whole};
pub(crate) use deployment::{Deployment, MODEL, Settings, System, model_files, now as deployment_now};
pub(crate) use host::FakeHost;

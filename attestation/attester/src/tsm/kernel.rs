//! A kernel for tests: entries in memory, by the rules of the documentation.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::files::Files;

/// Shared by the test and the collector under test.
#[derive(Clone)]
pub(super) struct Kernel(Arc<Mutex<State>>);

/// What the kernel holds and how it misbehaves.
pub(super) struct State {
    pub(super) provider: &'static str,
    pub(super) auxblob: Option<Vec<u8>>,
    /// How many reads of `outblob` another process still disturbs.
    pub(super) races: usize,
    /// How many names are taken already.
    pub(super) taken: usize,
    pub(super) busy: bool,
    pub(super) short_write: bool,
    pub(super) outblob_bytes: Option<usize>,
    entries: HashMap<PathBuf, Entry>,
}

#[derive(Default)]
struct Entry {
    inblob: Vec<u8>,
    generation: u64,
}

impl Kernel {
    pub(super) fn new(provider: &'static str) -> Self {
        Self(Arc::new(Mutex::new(State {
            provider,
            auxblob: None,
            races: 0,
            taken: 0,
            busy: false,
            short_write: false,
            outblob_bytes: None,
            entries: HashMap::new(),
        })))
    }

    /// What this kernel signs.
    pub(super) fn evidence(report_data: &[u8]) -> Vec<u8> {
        [b"evidence of ", report_data].concat()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
    }

    pub(super) fn entries(&self) -> usize {
        self.state().entries.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds the kernel")
    }
}

fn parts(file: &Path) -> (PathBuf, String) {
    let name = file.file_name().expect("a name").to_string_lossy().into_owned();
    (file.parent().expect("a folder").to_owned(), name)
}

impl Files for Kernel {
    fn create(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.state();
        if state.taken > 0 {
            state.taken -= 1;
            return Err(ErrorKind::AlreadyExists.into());
        }
        match state.entries.insert(folder.to_owned(), Entry::default()) {
            None => Ok(()),
            Some(_) => Err(ErrorKind::AlreadyExists.into()),
        }
    }

    fn remove(&self, folder: &Path) -> io::Result<()> {
        self.state()
            .entries
            .remove(folder)
            .map(drop)
            .ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn read(&self, file: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
        let mut guard = self.state();
        let state = &mut *guard;
        let (folder, name) = parts(file);
        let entry = state.entries.get_mut(&folder).ok_or(ErrorKind::NotFound)?;
        let bytes = match name.as_str() {
            "provider" => state.provider.as_bytes().to_vec(),
            "generation" => format!("{}\n", entry.generation).into_bytes(),
            // Without report data there is nothing to sign.
            "outblob" if entry.inblob.is_empty() => return Err(ErrorKind::InvalidInput.into()),
            "outblob" => {
                if state.races > 0 {
                    state.races -= 1;
                    entry.generation += 1;
                    entry.inblob = vec![0xee; 64];
                }
                match state.outblob_bytes {
                    Some(bytes) => vec![0; bytes],
                    None => Kernel::evidence(&entry.inblob),
                }
            }
            "auxblob" => state.auxblob.clone().ok_or(ErrorKind::NotFound)?,
            _ => return Err(ErrorKind::NotFound.into()),
        };
        Ok(bytes.into_iter().take(bytes_max).collect())
    }

    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<usize> {
        let mut guard = self.state();
        let state = &mut *guard;
        let (folder, name) = parts(file);
        let entry = state.entries.get_mut(&folder).ok_or(ErrorKind::NotFound)?;
        if state.busy {
            return Err(ErrorKind::ResourceBusy.into());
        }
        if name != "inblob" || bytes.len() > 64 {
            return Err(ErrorKind::InvalidInput.into());
        }
        entry.inblob = bytes.to_vec();
        entry.generation += 1;
        Ok(if state.short_write {
            bytes.len() / 2
        } else {
            bytes.len()
        })
    }
}

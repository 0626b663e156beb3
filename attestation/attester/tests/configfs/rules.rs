//! The kernel's rules for configfs-tsm: drivers/virt/coco/tsm.c and fs/configfs/file.c, as of Linux 6.10.
//!
//! 1. Without a provider no entry is made (ENXIO), and a report that was not made yet is not (ENOTTY).
//! 2. `privlevel` and `inblob` each add one to the write generation when they take effect.
//! 3. A text attribute takes effect at each write. A binary one is collected while the file is open and
//!    takes effect when it is closed, where its error goes nowhere; beyond its size it is EFBIG.
//! 4. `outblob` without `inblob` is EINVAL. It is made when it is first read after a write, and kept.
//! 5. What is read of a binary attribute is what it was at the first read of that open file.
//! 6. Attributes that the provider does not have are not visible. What is not readable, or not writable,
//!    is EACCES at opening.

use std::collections::BTreeMap;

pub(crate) const EIO: i32 = 5;
const ENXIO: i32 = 6;
pub(crate) const EACCES: i32 = 13;
pub(crate) const EBUSY: i32 = 16;
pub(crate) const EINVAL: i32 = 22;
const ENOTTY: i32 = 25;
pub(crate) const EFBIG: i32 = 27;
const ENOENT: i32 = 2;
const EEXIST: i32 = 17;

const INBLOB_BYTES_MAX: usize = 64;
const PRIVLEVEL_MAX: u32 = 3;

/// A file of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Attribute {
    Generation,
    Provider,
    Privlevel,
    PrivlevelFloor,
    Inblob,
    Outblob,
    Auxblob,
}

impl Attribute {
    pub(crate) const ALL: [(Attribute, &'static str); 7] = [
        (Attribute::Generation, "generation"),
        (Attribute::Provider, "provider"),
        (Attribute::Privlevel, "privlevel"),
        (Attribute::PrivlevelFloor, "privlevel_floor"),
        (Attribute::Inblob, "inblob"),
        (Attribute::Outblob, "outblob"),
        (Attribute::Auxblob, "auxblob"),
    ];

    pub(crate) fn is_writable(self) -> bool {
        matches!(self, Attribute::Privlevel | Attribute::Inblob)
    }
}

/// The driver that makes reports.
#[derive(Clone, Debug)]
pub(crate) struct Provider {
    pub(crate) name: &'static str,
    /// Only SNP has levels and a certificate table.
    pub(crate) floor: Option<u32>,
    pub(crate) table: Option<Vec<u8>>,
}

impl Provider {
    pub(crate) fn snp() -> Self {
        Self {
            name: "sev_guest",
            floor: Some(0),
            table: Some(Vec::new()),
        }
    }

    pub(crate) fn tdx() -> Self {
        Self {
            name: "tdx_guest",
            floor: None,
            table: None,
        }
    }
}

#[derive(Debug, Default)]
struct Entry {
    name: String,
    write_generation: u64,
    read_generation: u64,
    privlevel: u32,
    inblob: Vec<u8>,
    outblob: Option<Vec<u8>>,
}

/// The kernel.
#[derive(Debug, Default)]
pub(crate) struct Kernel {
    pub(crate) provider: Option<Provider>,
    /// Reports that are still refused with this error.
    pub(crate) refusals: (usize, i32),
    /// Writes of `inblob` that are still dropped when the file is closed.
    pub(crate) dropped: usize,
    /// The most that one read gives.
    pub(crate) piece_bytes: usize,
    /// How many reports were made.
    pub(crate) reports: usize,
    entries: BTreeMap<u64, Entry>,
    next: u64,
}

impl Kernel {
    pub(crate) fn new(provider: Option<Provider>) -> Self {
        Self {
            provider,
            piece_bytes: usize::MAX,
            ..Self::default()
        }
    }

    /// What the security processor makes of report data.
    pub(crate) fn report(privlevel: u32, inblob: &[u8]) -> Vec<u8> {
        let mut report = format!("level {privlevel}, data ").into_bytes();
        report.extend(inblob);
        report.resize(1184, 0xa5);
        report
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = (u64, &str)> {
        self.entries.iter().map(|(id, entry)| (*id, entry.name.as_str()))
    }

    pub(crate) fn find(&self, name: &str) -> Option<u64> {
        self.names().find(|(_, found)| *found == name).map(|(id, _)| id)
    }

    pub(crate) fn has(&self, entry: u64, attribute: Attribute) -> bool {
        let provider = self.provider.as_ref();
        self.entries.contains_key(&entry)
            && match attribute {
                Attribute::Privlevel | Attribute::PrivlevelFloor => {
                    provider.is_some_and(|has| has.floor.is_some())
                }
                Attribute::Auxblob => provider.is_some_and(|has| has.table.is_some()),
                _ => true,
            }
    }

    pub(crate) fn make(&mut self, name: &str) -> Result<u64, i32> {
        if self.find(name).is_some() {
            return Err(EEXIST);
        }
        if self.provider.is_none() {
            return Err(ENXIO);
        }
        self.next += 1;
        let entry = Entry {
            name: name.to_owned(),
            ..Entry::default()
        };
        self.entries.insert(self.next, entry);
        Ok(self.next)
    }

    pub(crate) fn remove(&mut self, name: &str) -> Result<(), i32> {
        let id = self.find(name).ok_or(ENOENT)?;
        self.entries.remove(&id);
        Ok(())
    }

    /// What an open file shows of an attribute from now on.
    pub(crate) fn show(&mut self, id: u64, attribute: Attribute) -> Result<Vec<u8>, i32> {
        let provider = self.provider.clone();
        let entry = self.entries.get_mut(&id).ok_or(ENOENT)?;
        let line = |text: String| Ok(format!("{text}\n").into_bytes());
        match attribute {
            Attribute::Generation => line(entry.write_generation.to_string()),
            Attribute::Provider => line(provider.ok_or(ENXIO)?.name.to_owned()),
            Attribute::PrivlevelFloor => line(provider.and_then(|has| has.floor).ok_or(ENXIO)?.to_string()),
            Attribute::Outblob | Attribute::Auxblob => {
                if entry.inblob.is_empty() {
                    return Err(EINVAL);
                }
                if entry.outblob.is_none() || entry.read_generation != entry.write_generation {
                    if provider.is_none() {
                        return Err(ENOTTY);
                    }
                    if self.refusals.0 > 0 {
                        self.refusals.0 -= 1;
                        return Err(self.refusals.1);
                    }
                    entry.outblob = Some(Self::report(entry.privlevel, &entry.inblob));
                    entry.read_generation = entry.write_generation;
                    self.reports += 1;
                }
                match attribute {
                    Attribute::Outblob => Ok(entry.outblob.clone().unwrap_or_default()),
                    _ => Ok(provider.and_then(|has| has.table).unwrap_or_default()),
                }
            }
            Attribute::Privlevel | Attribute::Inblob => Err(EACCES),
        }
    }

    /// A write to an open file that collected `before` so far; what it collects now.
    pub(crate) fn write(
        &mut self,
        id: u64,
        attribute: Attribute,
        before: &[u8],
        data: &[u8],
    ) -> Result<Vec<u8>, i32> {
        let floor = self.provider.as_ref().and_then(|has| has.floor);
        let entry = self.entries.get_mut(&id).ok_or(ENOENT)?;
        match attribute {
            Attribute::Inblob if before.len() + data.len() > INBLOB_BYTES_MAX => Err(EFBIG),
            Attribute::Inblob => Ok([before, data].concat()),
            Attribute::Privlevel => {
                let level = std::str::from_utf8(data)
                    .ok()
                    .and_then(|text| text.trim_end().parse().ok());
                let level = level.ok_or(EINVAL)?;
                if floor.ok_or(ENXIO)? > level || level > PRIVLEVEL_MAX {
                    return Err(EINVAL);
                }
                entry.write_generation += 1;
                entry.privlevel = level;
                Ok(before.to_vec())
            }
            _ => Err(EIO),
        }
    }

    /// A file that collected `data` is closed.
    pub(crate) fn close(&mut self, id: u64, attribute: Attribute, data: Vec<u8>) {
        let Some(entry) = self
            .entries
            .get_mut(&id)
            .filter(|_| attribute == Attribute::Inblob)
        else {
            return;
        };
        if self.dropped > 0 {
            self.dropped -= 1;
            return;
        }
        entry.write_generation += 1;
        entry.inblob = data;
    }
}

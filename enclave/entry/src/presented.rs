//! What the host's tables say, within bounds: the processors, the chipset, where PCI Express is configured, and how a TPM is
//! spoken to. Nothing else of them is used. On q35, whose tables are known, one more is refused.

use crate::{Memory, Refusal, machine::Machine};

/// How many processors a machine may have.
pub const PROCESSORS_MAX: usize = 512;
/// QEMU has ten.
const TABLES_MAX: u64 = 32;
/// A MADT of [`PROCESSORS_MAX`] processors has under 12 KiB.
const TABLE_BYTES_MAX: u32 = 32 << 10;
const HEADER_BYTES: u64 = 36;
/// Data that QEMU and OVMF present beside what is read here. Each is left behind.
const IGNORED: [[u8; 4]; 6] = [*b"HPET", *b"WAET", *b"BGRT", *b"SRAT", *b"SLIT", *b"HMAT"];
/// Tables with bytecode (ACPI 6.5, section 5.2.11). The FADT names the first, which is left behind with it.
const CODE: [[u8; 4]; 3] = [*b"DSDT", *b"SSDT", *b"PSDT"];
/// Where QEMU's q35 has the window of PCI Express: OVMF's choice, by its version.
const WINDOWS: [u64; 2] = [0xe000_0000, 0xb000_0000];

/// How a TPM is spoken to (TCG ACPI Specification 1.3, section 8, start methods), at the one address that PCs have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tpm {
    /// Through a FIFO: 6.
    Fifo,
    /// Through a command and response buffer: 7.
    Buffer,
}

/// Where a buffer's registers stand (TCG PC Client Platform TPM Profile 1.05, section 6.5.3.8). A FIFO has no such address.
pub(crate) const TPM_BUFFER: u64 = 0xfed4_0040;

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Presented<'a> {
    ids: &'a mut [u32],
    processors: usize,
    /// The chipset.
    pub machine: Machine,
    /// Where the configuration of PCI Express stands, if the host has it: 256 MiB.
    pub express: Option<u32>,
    /// The TPM, if the host has one.
    pub tpm: Option<Tpm>,
}

impl<'a> Presented<'a> {
    /// The APIC ids of the processors, in the host's order: each once, at least one.
    pub fn processors(&self) -> &[u32] {
        self.ids.get(..self.processors).unwrap_or_default()
    }

    /// Reads the tables behind a root pointer (ACPI 6.5, section 5.2.5.3). `ids` takes the processors, as many as it can
    /// hold.
    ///
    /// # Errors
    /// What does not say what a machine's tables do; on q35 a table with code beside the DSDT, and an unknown one.
    pub fn read(memory: &impl Memory, root: u64, ids: &'a mut [u32]) -> Result<Self, Refusal> {
        let cut = Refusal("the ACPI tables are cut");
        let mut presented = Self {
            ids,
            processors: 0,
            machine: Machine::Q35,
            express: None,
            tpm: None,
        };
        let (mut powered, mut unknown) = (false, None);
        let list = number(memory, root, 24, 8).ok_or(cut)?;
        let length = number(memory, list, 4, 4).ok_or(cut)?;
        let entries = length.checked_sub(HEADER_BYTES).ok_or(cut)? >> 3;
        if entries > TABLES_MAX {
            return Err(Refusal("more ACPI tables than a machine has"));
        }
        for entry in 0..entries {
            let at = HEADER_BYTES.saturating_add(entry << 3);
            let table = number(memory, list, at, 8).ok_or(cut)?;
            let mut signature = [0; 4];
            memory.read(table, &mut signature).ok_or(cut)?;
            match &signature {
                b"APIC" => presented.read_processors(memory, table)?,
                b"FACP" => {
                    presented.read_power(memory, table)?;
                    powered = true;
                }
                b"MCFG" => presented.read_express(memory, table)?,
                b"TPM2" => presented.read_tpm(memory, table)?,
                _ if IGNORED.contains(&signature) => {}
                _ if CODE.contains(&signature) => {
                    unknown = Some(Refusal("the host adds an ACPI table with code"));
                }
                _ => {
                    unknown = unknown.or(Some(Refusal(
                        "the host presents an ACPI table that the image does not know",
                    )));
                }
            }
        }
        if presented.processors == 0 {
            return Err(Refusal("the host presents no processor"));
        }
        if !powered {
            return Err(Refusal("the host presents no power management"));
        }
        // All are left behind. But nobody has a reason to add one to q35's, and whoever tries should not go on unnoticed;
        // Compute Engine's machines have one with code.
        match unknown {
            Some(refusal) if presented.machine == Machine::Q35 => Err(refusal),
            _ => Ok(presented),
        }
    }

    /// The MADT (section 5.2.12): entries of a type, a length, and what the type says.
    fn read_processors(&mut self, memory: &impl Memory, table: u64) -> Result<(), Refusal> {
        let cut = Refusal("the ACPI table of processors is cut");
        let length = number(memory, table, 4, 4).ok_or(cut)?;
        if length > u64::from(TABLE_BYTES_MAX) {
            return Err(Refusal("the ACPI table of processors is longer than any"));
        }
        let mut at = HEADER_BYTES.saturating_add(8);
        while at < length {
            let field = |offset: u64, width| number(memory, table, at.checked_add(offset)?, width);
            let (kind, bytes) = (field(0, 1).ok_or(cut)?, field(1, 1).ok_or(cut)?);
            let next = at.saturating_add(bytes);
            if bytes < 2 || next > length {
                return Err(cut);
            }
            // Local APIC (5.2.12.2) and local x2APIC (5.2.12.12): identity and, where bit 0 of the flags is set, usable.
            let processor = match (kind, bytes) {
                (0, 8) => Some((3, 1, 4)),
                (9, 16) => Some((4, 4, 8)),
                (0 | 9, _) => return Err(cut),
                _ => None,
            };
            if let Some((identity, width, flags)) = processor
                && field(flags, 4).ok_or(cut)? & 1 == 1
            {
                let id = field(identity, width).ok_or(cut)?;
                self.add(u32::try_from(id).map_err(|_| cut)?)?;
            }
            at = next;
        }
        Ok(())
    }

    fn add(&mut self, id: u32) -> Result<(), Refusal> {
        if self.processors().contains(&id) {
            return Err(Refusal("the host presents a processor twice"));
        }
        let place = self.ids.get_mut(self.processors);
        *place.ok_or(Refusal("the host presents more processors than the image knows"))? = id;
        self.processors = self.processors.saturating_add(1);
        Ok(())
    }

    /// The FADT (section 5.2.9): of it only which chipset it is, by the port of the timer.
    fn read_power(&mut self, memory: &impl Memory, table: u64) -> Result<(), Refusal> {
        let timer = number(memory, table, 76, 4).and_then(Machine::with_timer);
        self.machine = timer.ok_or(Refusal(
            "power management is where no machine that the image knows has it",
        ))?;
        Ok(())
    }

    /// The TPM2 (TCG ACPI Specification 1.3, section 8): where its registers stand, and the start method.
    fn read_tpm(&mut self, memory: &impl Memory, table: u64) -> Result<(), Refusal> {
        let registers = number(memory, table, 40, 8);
        self.tpm = match (registers, number(memory, table, 48, 4)) {
            (Some(_), Some(6)) => Some(Tpm::Fifo),
            (Some(TPM_BUFFER), Some(7)) => Some(Tpm::Buffer),
            _ => return Err(Refusal("a TPM is where no machine that the image knows has it")),
        };
        Ok(())
    }

    /// The MCFG (PCI Firmware 3.3, section 4.1.2): one window, of all 256 buses of segment 0.
    fn read_express(&mut self, memory: &impl Memory, table: u64) -> Result<(), Refusal> {
        let unlike = Refusal("PCI Express is configured where no q35 machine has it");
        let field = |at, width| number(memory, table, at, width).ok_or(unlike);
        let base = field(44, 8)?;
        let one_of_all_buses = field(4, 4)? == 60 && field(52, 4)? == 0xff00_0000;
        if !(one_of_all_buses && WINDOWS.contains(&base) && self.express.is_none()) {
            return Err(unlike);
        }
        self.express = Some(u32::try_from(base).map_err(|_| unlike)?);
        Ok(())
    }
}

/// A little-endian number of at most eight bytes, `at` bytes behind `base`.
fn number(memory: &impl Memory, base: u64, at: u64, width: usize) -> Option<u64> {
    let mut bytes = [0; 8];
    memory.read(base.checked_add(at)?, bytes.get_mut(..width)?)?;
    Some(u64::from_le_bytes(bytes))
}

//! `adyton-host measure tdx`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use measurement::{
    FIRMWARE_BYTES_MAX, INITRD_BYTES_MAX, KERNEL_BYTES_MAX,
    tdx::{
        AcpiBlobs, Firmware, Kernel, PageOrder, PlatformEvents, SecureBoot, command_line_events,
        kernel_events,
    },
    uki::{UnifiedKernelImage, register},
};
use serde_json::{Value, json};
use sha2::Sha384;

use super::{References, of, read, references::hex};
use crate::error::HostError;

const ACPI_BYTES_MAX: usize = 4 << 20;

#[derive(Args)]
pub(super) struct Arguments {
    /// OVMF image with TDX metadata.
    #[arg(long, value_name = "FILE")]
    firmware: PathBuf,
    /// Memory of the machine, as in 16G or 2048M: the hand-off block in RTMR 0 describes it.
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    memory: u64,
    /// Unified kernel image that QEMU gets as its kernel.
    #[arg(long, value_name = "FILE", conflicts_with = "kernel")]
    uki: Option<PathBuf>,
    /// Kernel that is booted directly.
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Initrd of that kernel.
    #[arg(long, value_name = "FILE", requires = "kernel")]
    initrd: Option<PathBuf>,
    /// Its command line, without the initrd's name that firmware adds.
    #[arg(long, value_name = "TEXT", requires = "kernel", default_value = "")]
    append: String,
    /// QEMU patches the kernel's setup header: before QEMU 10.1, or firmware that does not know etc/boot/kernel.
    #[arg(long, requires = "kernel")]
    patched_kernel: bool,
    /// Folder with table-loader, rsdp and tables of a machine of this shape, from
    /// /sys/firmware/qemu_fw_cfg/by_name/etc/{table-loader,acpi/rsdp,acpi/tables}/raw.
    #[arg(long, value_name = "FOLDER")]
    acpi: Option<PathBuf>,
    /// Order in which pages are added and measured.
    #[arg(long, value_enum, default_value_t = Order::SinglePass)]
    page_order: Order,
}

#[derive(Clone, Copy, ValueEnum)]
enum Order {
    /// QEMU 9 and later, upstream Linux.
    SinglePass,
    /// QEMU 8 with Intel's patches.
    TwoPass,
}

/// Bytes of a size like `16G`.
pub(crate) fn memory(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.chars().last() {
        Some('G') => (text.trim_end_matches('G'), 1 << 30),
        Some('M') => (text.trim_end_matches('M'), 1 << 20),
        _ => return Err("a size like 16G or 2048M".to_owned()),
    };
    let count: u64 = digits
        .parse()
        .map_err(|_| "a size like 16G or 2048M".to_owned())?;
    count
        .checked_mul(unit)
        .filter(|bytes| (1..=measurement::tdx::MEMORY_BYTES_MAX).contains(bytes))
        .ok_or_else(|| "up to 64 TiB".to_owned())
}

pub(super) fn run(arguments: &Arguments) -> Result<References, HostError> {
    let image = read(&arguments.firmware, FIRMWARE_BYTES_MAX)?;
    let at_fault = || of(&arguments.firmware);
    let firmware = Firmware::parse(&image).map_err(at_fault())?;
    let mut references = References::new("tdx");
    references.comment(format!("firmware {}", arguments.firmware.display()));
    references.comment(format!("memory {} MiB", arguments.memory >> 20));
    let order = match arguments.page_order {
        Order::SinglePass => PageOrder::SinglePass,
        Order::TwoPass => PageOrder::TwoPass,
    };
    references.accept("mrtd", &firmware.mrtd(order));
    platform(arguments, &firmware, &mut references)?;
    boot(arguments, &mut references)?;
    references.accept("rtmr3", &[0; 48]);
    Ok(references)
}

fn platform(
    arguments: &Arguments,
    firmware: &Firmware<'_>,
    references: &mut References,
) -> Result<(), HostError> {
    let at_fault = || of(&arguments.firmware);
    let unset = SecureBoot::default();
    let events = match &arguments.acpi {
        None => {
            references.not_predicted("rtmr0", "the ACPI blobs of a machine of this shape: --acpi");
            PlatformEvents::known(firmware, arguments.memory, &unset).map_err(at_fault())?
        }
        Some(folder) => {
            let blob = |name| read(&folder.join(name), ACPI_BYTES_MAX);
            let (loader, rsdp, tables) = (blob("table-loader")?, blob("rsdp")?, blob("tables")?);
            let acpi = AcpiBlobs {
                loader: &loader,
                rsdp: &rsdp,
                tables: &tables,
            };
            let events =
                PlatformEvents::predict(firmware, arguments.memory, &unset, acpi).map_err(at_fault())?;
            references.accept("rtmr0", &events.rtmr0());
            events
        }
    };
    let events = events
        .0
        .iter()
        .map(|(name, digest)| json!({"event": name, "digest": hex(digest)}));
    references.detail("rtmr0_events", events.collect::<Vec<_>>());
    Ok(())
}

fn boot(arguments: &Arguments, references: &mut References) -> Result<(), HostError> {
    let (rtmr1, rtmr2) = match (&arguments.uki, &arguments.kernel) {
        (Some(path), _) => {
            let bytes = read(path, KERNEL_BYTES_MAX)?;
            references.comment(format!("unified kernel image {}", path.display()));
            UnifiedKernelImage::parse(&bytes)
                .and_then(|image| image.rtmrs())
                .map_err(of(path))?
        }
        (None, Some(path)) => {
            let file = read(path, KERNEL_BYTES_MAX)?;
            let initrd = match &arguments.initrd {
                Some(initrd) => Some(read(initrd, INITRD_BYTES_MAX)?),
                None => None,
            };
            references.comment(format!(
                "kernel {}, command line {:?}",
                path.display(),
                arguments.append
            ));
            let kernel = if arguments.patched_kernel {
                Kernel::Patched {
                    file: &file,
                    initrd_bytes: initrd.as_ref().map_or(0, Vec::len) as u64,
                    memory_bytes: arguments.memory,
                }
            } else {
                Kernel::Unpatched(&file)
            };
            let rtmr1 = kernel_events(kernel).map_err(of(path))?;
            let rtmr2 = command_line_events(&arguments.append, initrd.as_deref()).map_err(of(path))?;
            (rtmr1, rtmr2)
        }
        (None, None) => {
            references.not_predicted("rtmr1", "--kernel or --uki");
            references.not_predicted("rtmr2", "--kernel or --uki");
            return Ok(());
        }
    };
    for (key, events) in [("rtmr1", rtmr1), ("rtmr2", rtmr2)] {
        references.accept(key, &register::<Sha384>(&events));
        let events: Vec<Value> = events.iter().map(|digest| json!(hex(digest))).collect();
        references.detail(&format!("{key}_events"), events);
    }
    Ok(())
}

//! NVIDIA's management library, loaded when it is asked for, as far as evidence takes it.
// UNSAFETY: a library in C is loaded and called. Symbols and structures are those of the bindings that
// are generated from NVIDIA's header; the outside of this module is safe.
#![allow(unsafe_code, reason = "calls into a library in C")]

use std::ffi::{OsStr, c_uint};
use std::mem;

use nvml_wrapper_sys::bindings as sys;

use crate::AttesterError;

/// nvmlReturn_t.
const SUCCESS: c_uint = 0;
const NOT_SUPPORTED: c_uint = 3;

/// The library, initialized; shut down when it is dropped.
pub(super) struct Nvml(sys::NvmlLib);

/// A GPU that the library named.
#[derive(Clone, Copy)]
pub(super) struct Gpu<'a> {
    device: sys::nvmlDevice_t,
    nvml: &'a Nvml,
}

fn failed(call: &'static str, reason: impl Into<String>) -> AttesterError {
    AttesterError::Nvml {
        call,
        reason: reason.into(),
    }
}

fn checked(call: &'static str, outcome: c_uint) -> Result<(), AttesterError> {
    let known = match outcome {
        SUCCESS => return Ok(()),
        1 => "not initialized",
        2 => "invalid argument",
        NOT_SUPPORTED => "not supported: is confidential computing on?",
        4 => "no permission",
        6 => "not found",
        9 => "driver not loaded",
        15 => "the GPU has fallen off the bus or is otherwise inaccessible",
        27 => "not ready",
        _ => "",
    };
    Err(failed(call, format!("code {outcome} {known}").trim_end()))
}

/// The symbol of a call, or the error that this library does not have it.
macro_rules! symbol {
    ($nvml:expr, $name:ident) => {
        match &$nvml.$name {
            Ok(symbol) => (stringify!($name), *symbol),
            Err(_) => return Err(failed(stringify!($name), "this library does not have the call")),
        }
    };
}

impl Nvml {
    /// Loads the library at `path`, a name being looked for where the system's linker looks.
    pub(super) fn load(path: &OsStr) -> Result<Self, AttesterError> {
        // SAFETY: loading runs the library's initializers. The path is the operator's choice or NVIDIA's
        // name for it; in an enclave the file is part of the measured image.
        let library = unsafe { sys::NvmlLib::new(path) };
        let library = library.map_err(|error| failed("loading the library", error.to_string()))?;
        let (call, init) = symbol!(library, nvmlInit_v2);
        // SAFETY: the call takes nothing and may be made at any time.
        checked(call, unsafe { init() })?;
        Ok(Self(library))
    }

    /// Whether confidential computing is on, for each GPU alone or for those of a board together.
    pub(super) fn is_confidential(&self) -> Result<bool, AttesterError> {
        let (call, get) = symbol!(self.0, nvmlSystemGetConfComputeState);
        let mut state = sys::nvmlConfComputeSystemState_t {
            environment: 0,
            ccFeature: 0,
            devToolsMode: 0,
        };
        // SAFETY: the library is initialized, and writes the structure, which is its own.
        checked(call, unsafe { get(&raw mut state) })?;
        Ok(state.ccFeature != 0 || self.is_multi_gpu_confidential()?)
    }

    /// Whether the GPUs of a board are protected together (protected PCIe, encrypted NVLink). Libraries
    /// before that have no such call.
    fn is_multi_gpu_confidential(&self) -> Result<bool, AttesterError> {
        let Ok(get) = &self.0.nvmlSystemGetConfComputeSettings else {
            return Ok(false);
        };
        let mut settings = sys::nvmlSystemConfComputeSettings_t {
            // NVML_STRUCT_VERSION: the structure's size and its version, 1.
            version: size_of::<sys::nvmlSystemConfComputeSettings_t>() as c_uint | 1 << 24,
            environment: 0,
            ccFeature: 0,
            devToolsMode: 0,
            multiGpuMode: 0,
        };
        // SAFETY: the library is initialized, and writes the structure, whose version and size it is told.
        let outcome = unsafe { get(&raw mut settings) };
        if outcome == NOT_SUPPORTED {
            return Ok(false);
        }
        checked("nvmlSystemGetConfComputeSettings", outcome)?;
        Ok(settings.multiGpuMode != 0)
    }

    pub(super) fn count(&self) -> Result<u32, AttesterError> {
        let (call, get) = symbol!(self.0, nvmlDeviceGetCount_v2);
        let mut count = 0;
        // SAFETY: the library is initialized, and writes one integer.
        checked(call, unsafe { get(&raw mut count) })?;
        Ok(count)
    }

    pub(super) fn gpu(&self, index: u32) -> Result<Gpu<'_>, AttesterError> {
        let (call, get) = symbol!(self.0, nvmlDeviceGetHandleByIndex_v2);
        let mut device: sys::nvmlDevice_t = std::ptr::null_mut();
        // SAFETY: the library is initialized, checks the index, and writes one pointer.
        checked(call, unsafe { get(index, &raw mut device) })?;
        Ok(Gpu { device, nvml: self })
    }
}

impl Drop for Nvml {
    fn drop(&mut self) {
        if let Ok(shutdown) = &self.0.nvmlShutdown {
            // SAFETY: pairs with the initialization in `load`; no handle outlives `self`.
            let _ = unsafe { shutdown() };
        }
    }
}

impl Gpu<'_> {
    /// The certificates of the key that signs reports, PEM.
    pub(super) fn certificates(self) -> Result<Vec<u8>, AttesterError> {
        let (call, get) = symbol!(self.nvml.0, nvmlDeviceGetConfComputeGpuCertificate);
        // SAFETY: the structure is of integers and bytes, for which zeros are values.
        let mut found: Box<sys::nvmlConfComputeGpuCertificate_t> = Box::new(unsafe { mem::zeroed() });
        // SAFETY: the handle is the library's and alive, and the library writes the structure, its own.
        checked(call, unsafe { get(self.device, &raw mut *found) })?;
        filled(call, &found.attestationCertChain, found.attestationCertChainSize)
    }

    /// An SPDM measurement report, request and response, that carries `nonce`.
    pub(super) fn report(self, nonce: &[u8; 32]) -> Result<Vec<u8>, AttesterError> {
        let (call, get) = symbol!(self.nvml.0, nvmlDeviceGetConfComputeGpuAttestationReport);
        // SAFETY: the structure is of integers and bytes, for which zeros are values.
        let mut found: Box<sys::nvmlConfComputeGpuAttestationReport_t> = Box::new(unsafe { mem::zeroed() });
        found.nonce = *nonce;
        // SAFETY: the handle is the library's and alive, and the library reads the nonce and writes the
        // rest of the structure, its own.
        checked(call, unsafe { get(self.device, &raw mut *found) })?;
        filled(call, &found.attestationReport, found.attestationReportSize)
    }
}

/// The part of a buffer that the library says it filled.
fn filled(call: &'static str, buffer: &[u8], bytes: c_uint) -> Result<Vec<u8>, AttesterError> {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    match buffer.get(..bytes) {
        Some(filled) if !filled.is_empty() => Ok(filled.to_vec()),
        _ => Err(failed(call, "a size that is none or beyond the buffer")),
    }
}

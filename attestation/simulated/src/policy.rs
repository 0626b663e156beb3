//! The part of a policy that accepts a simulated platform.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::platform::{Flavor, Platform};
use crate::tdx;

const WARNING: &str = "# SIMULATED: this evidence is signed by software and protects nothing.";

/// One table, `[danger.simulated.snp]` or `[danger.simulated.tdx]`.
pub(crate) fn fragment(platform: &Platform, flavor: Flavor, launch_measurement: &[u8; 48]) -> String {
    let measurement = hex::encode(launch_measurement);
    let zero = "00".repeat(48);
    match flavor {
        Flavor::Snp => format!(
            r#"{WARNING}
[danger.simulated.snp]
root_certificate = "{root}"
launch_measurements = ["{measurement}"]
guest_svn_minimum = 0
guest_abi_minimum = "1.55"
guest_policy_required = []
platform_required = ["tsme", "ecc", "alias-check-complete"]
enrolled_machines = ["{machine}"]

[[danger.simulated.snp.minimum_tcb]]
generation = "genoa"
models = [0x11]
steppings = [1]
boot_loader = 10
tee = 0
snp = 23
microcode = 84
firmware = "1.55.49"
mitigations = 0x3f
"#,
            root = STANDARD.encode(&platform.snp.ark_certificate),
            machine = hex::encode(platform.snp.hardware_id()),
        ),
        Flavor::Tdx => format!(
            r#"{WARNING}
[danger.simulated.tdx]
root_certificate = "{root}"
mrtd = ["{measurement}"]
rtmr0 = ["{zero}"]
rtmr1 = ["{zero}"]
rtmr2 = ["{zero}"]
rtmr3 = ["{zero}"]
xfam = [{xfam:#x}]
enrolled_machines = ["{machine}"]
evaluation_number_minimum = {evaluation_number}
"#,
            root = STANDARD.encode(&platform.tdx.root_certificate),
            xfam = tdx::XFAM,
            machine = hex::encode(platform.tdx.ppid()),
            evaluation_number = tdx::EVALUATION_NUMBER,
        ),
    }
}

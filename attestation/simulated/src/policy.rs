//! The part of a policy that accepts a simulated platform.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::azure::{self, VtpmAuthority};
use crate::platform::{Flavor, Platform};
use crate::snp::{Product, TURIN};
use crate::tdx;

const WARNING: &str = "# SIMULATED: this evidence is signed by software and protects nothing.";

/// One table, `[danger.simulated.snp]` or `[danger.simulated.tdx]`.
pub(crate) fn fragment(platform: &Platform, flavor: Flavor, launch_measurement: &[u8; 48]) -> String {
    let measurement = hex::encode(launch_measurement);
    let zero = "00".repeat(48);
    match flavor {
        Flavor::Snp => format!(
            "{WARNING}\n{}",
            snp(platform, "danger.simulated.snp", launch_measurement)
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

/// `[danger.simulated.azure]` without its PCRs, which are the guest's, and the table of its processor.
pub(crate) fn azure_fragment(
    platform: &Platform,
    authority: &VtpmAuthority,
    launch_measurement: &[u8; 48],
) -> String {
    format!(
        r#"{WARNING}
[danger.simulated.azure]
vtpm_root_certificate = "{root}"
vm_ids = ["{vm_id}"]
exceptions = ["secure-boot-disabled", "console-enabled", "interactive-console"]

{snp}"#,
        root = STANDARD.encode(authority.root_certificate()),
        vm_id = azure::vm_id(&platform.snp),
        snp = snp(platform, "danger.simulated.azure.snp", launch_measurement),
    )
}

fn snp(platform: &Platform, table: &str, launch_measurement: &[u8; 48]) -> String {
    format!(
        r#"[{table}]
root_certificate = "{root}"
launch_measurements = ["{measurement}"]
guest_svn_minimum = 0
guest_abi_minimum = "1.55"
guest_policy_required = []
platform_required = ["tsme", "ecc", "alias-check-complete"]
enrolled_machines = ["{machine}"]

[[{table}.minimum_tcb]]
{minimum}
firmware = "1.55.49"
mitigations = 0x3f
"#,
        root = STANDARD.encode(&platform.snp.ark_certificate),
        measurement = hex::encode(launch_measurement),
        machine = hex::encode(platform.snp.hardware_id()),
        minimum = minimum_tcb(platform.snp.product),
    )
}

/// The TCB version that the machine is made with, as the lowest that is accepted.
fn minimum_tcb(product: &Product) -> String {
    let [_, model, stepping] = product.processor;
    let components = match product.tcb {
        [fmc, boot_loader, tee, snp, .., microcode] if product.name == TURIN.name => format!(
            "fmc = {fmc}\nboot_loader = {boot_loader}\ntee = {tee}\nsnp = {snp}\nmicrocode = {microcode}"
        ),
        [boot_loader, tee, .., snp, microcode] => {
            format!("boot_loader = {boot_loader}\ntee = {tee}\nsnp = {snp}\nmicrocode = {microcode}")
        }
    };
    format!(
        "generation = \"{}\"\nmodels = [{model:#x}]\nsteppings = [{stepping}]\n{components}",
        product.name.to_lowercase()
    )
}

//! Every script, once for each family of machines that it knows.

use std::process::{Command, Output};

use harness::deployment::workspace;

/// A run of a script: the golden file's name, the script, and its arguments as one line.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) script: &'static str,
    arguments: &'static str,
}

impl Case {
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &'static str> {
        self.arguments.split_whitespace()
    }
}

const fn case(name: &'static str, script: &'static str, arguments: &'static str) -> Case {
    Case {
        name,
        script,
        arguments,
    }
}

#[rustfmt::skip]
pub(crate) const CASES: &[Case] = &[
    case("azure-image", "azure/image", "--name adyton --region westeurope --storage adytonimages"),
    case("azure-supply", "azure/supply", "--name adyton --region westeurope --storage adytonimages --supply supply.img"),
    case("azure-vm-dcasv5", "azure/vm", "--name adyton --region westeurope --size Standard_DC4as_v5"),
    case("azure-vm-ecasv5", "azure/vm", "--name adyton --region westeurope --size Standard_EC20as_v5"),
    case("azure-vm-dcadsv6", "azure/vm", "--name adyton --region westeurope --size Standard_DC8ads_v6 --version 2.0.1"),
    case("azure-vm-dcesv6", "azure/vm", "--name adyton --region westeurope --size Standard_DC4es_v6"),
    case("azure-relay", "azure/relay", "--name adyton --region westeurope --clients 198.51.100.0/24 --admin 203.0.113.7/32 --ssh-key id_ed25519.pub --broker broker.example.org:7443 --certificate relay.pem --private-key relay.key"),
    case("azure-policy", "azure/policy", "--url https://relay.example.org:8443 --ca relay-ca.pem"),
    case("azure-verify", "azure/verify", "--url https://relay.example.org:8443 --ca relay-ca.pem"),
    case("azure-down", "azure/down", "--name adyton"),
    case("gcp-image", "gcp/image", "--name adyton --project my-project --region europe-west4 --bucket my-images"),
    case("gcp-supply", "gcp/supply", "--name adyton --project my-project --zone europe-west4-a --bucket my-images --supply supply.img"),
    case("gcp-vm-n2d", "gcp/vm", "--name adyton --project my-project --zone europe-west4-a --type n2d-standard-4"),
    case("gcp-vm-c3d", "gcp/vm", "--name adyton --project my-project --zone us-central1-b --type c3d-standard-8 --version 2.0.1"),
    case("gcp-vm-c3", "gcp/vm", "--name adyton --project my-project --zone europe-west4-a --type c3-standard-4"),
    case("gcp-relay", "gcp/relay", "--name adyton --project my-project --zone europe-west4-a --clients 198.51.100.0/24 --admin 203.0.113.7/32 --broker broker.example.org:7443 --certificate relay.pem --private-key relay.key"),
    case("gcp-policy-tdx", "gcp/policy", "--url https://relay.example.org:8443 --ca relay-ca.pem --tee tdx"),
    case("gcp-policy-snp", "gcp/policy", "--url https://relay.example.org:8443 --ca relay-ca.pem --tee snp"),
    case("gcp-verify", "gcp/verify", "--url https://relay.example.org:8443 --ca relay-ca.pem"),
    case("gcp-down", "gcp/down", "--name adyton --project my-project --zone europe-west4-a"),
];

/// A script, with nothing of this process's environment that would change what it prints.
pub(crate) fn script(name: &str) -> Command {
    let mut command = Command::new(workspace().join("scripts").join(name));
    command.current_dir(workspace()).env_remove("CARGO_TARGET_DIR");
    command
}

/// What a script prints with `--dry-run`.
pub(crate) fn dry_run(case: &Case) -> String {
    let output = script(case.script)
        .args(case.arguments())
        .arg("--dry-run")
        .output()
        .expect("bash is there");
    assert!(output.status.success(), "{}: {}", case.name, text(&output.stderr));
    text(&output.stdout)
}

pub(crate) fn run(command: &mut Command) -> Output {
    command.output().expect("the program is there")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

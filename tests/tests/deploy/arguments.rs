//! Wrong arguments are refused by a stable code, with a hint, before anything runs.

use std::fs;

use harness::deployment::workspace;

use crate::{
    cases::{CASES, run, script, text},
    recorder::Recorder,
};

/// Script, arguments, code.
#[rustfmt::skip]
const REFUSED: &[(&str, &[&str], &str)] = &[
    ("azure/image", &["--name", "adyton; reboot", "--region", "westeurope", "--storage", "images"], "azure-name"),
    ("azure/image", &["--name", "$(reboot)", "--region", "westeurope", "--storage", "images"], "azure-name"),
    ("azure/image", &["--name", "a'b", "--region", "westeurope", "--storage", "images"], "azure-name"),
    ("azure/image", &["--name", "Adyton", "--region", "westeurope", "--storage", "images"], "azure-name"),
    ("azure/image", &["--name", "-adyton", "--region", "westeurope", "--storage", "images"], "azure-name"),
    ("azure/image", &["--name", "adyton\nx", "--region", "westeurope", "--storage", "images"], "control-character"),
    ("azure/image", &["--name", "adyton", "--region", "west europe", "--storage", "images"], "azure-region"),
    ("azure/image", &["--name", "adyton", "--region", "atlantis", "--storage", "images"], "azure-region"),
    ("azure/image", &["--name", "adyton", "--region", "", "--storage", "images"], "azure-region"),
    ("azure/image", &["--name", "adyton", "--region", "*", "--storage", "images"], "azure-region"),
    ("azure/image", &["--name", "adyton", "--region", "westeurope", "--storage", "my-images"], "azure-storage"),
    ("azure/image", &["--name", "adyton", "--region", "westeurope", "--storage", "images", "--version", "1.0"], "version"),
    ("azure/image", &["--name", "adyton", "--region", "westeurope", "--storage", "images", "--uki", "--help"], "usage"),
    ("azure/image", &["--name", "adyton", "--region", "westeurope", "--storage", "images", "--uki", "-image"], "file"),
    ("azure/image", &["--name", "adyton", "--region", "westeurope"], "usage"),
    ("azure/image", &["--name", "adyton", "--region", "westeurope", "--storage"], "usage"),
    ("azure/image", &["--name", "adyton", "--region", "westeurope", "--storage", "images", "--force", "1"], "usage"),
    ("azure/image", &["adyton"], "usage"),
    ("azure/vm", &["--name", "adyton", "--region", "westeurope", "--size", "Standard_D4s_v5"], "azure-size"),
    ("azure/vm", &["--name", "adyton", "--region", "westeurope", "--size", "Standard_DC3as_v5"], "azure-size"),
    ("azure/vm", &["--name", "adyton", "--region", "westeurope", "--size", "Standard_DC20as_v6"], "azure-size"),
    ("azure/vm", &["--name", "adyton", "--region", "westeurope", "--size", "Standard_EC128es_v6"], "azure-size"),
    ("azure/vm", &["--name", "adyton", "--region", "westeurope", "--size", "Standard_DC4as_v5 --yes"], "azure-size"),
    ("azure/relay", &["--name", "adyton", "--region", "westeurope", "--clients", "0.0.0.0/0", "--admin", "203.0.113.7/32", "--ssh-key", "id.pub", "--broker", "broker:7443", "--certificate", "c.pem", "--private-key", "c.key"], "network"),
    ("azure/relay", &["--name", "adyton", "--region", "westeurope", "--clients", "10.0.0.0/8", "--admin", "Internet", "--ssh-key", "id.pub", "--broker", "broker:7443", "--certificate", "c.pem", "--private-key", "c.key"], "network"),
    ("azure/relay", &["--name", "adyton", "--region", "westeurope", "--clients", "10.0.0.0/8", "--admin", "203.0.113.777/32", "--ssh-key", "id.pub", "--broker", "broker:7443", "--certificate", "c.pem", "--private-key", "c.key"], "network"),
    ("azure/relay", &["--name", "adyton", "--region", "westeurope", "--clients", "10.0.0.0/8", "--admin", "203.0.113.7/32", "--ssh-key", "id_ed25519", "--broker", "broker:7443", "--certificate", "c.pem", "--private-key", "c.key"], "ssh-key"),
    ("azure/relay", &["--name", "adyton", "--region", "westeurope", "--clients", "10.0.0.0/8", "--admin", "203.0.113.7/32", "--ssh-key", "id.pub", "--broker", "b/;w /etc/passwd:1", "--certificate", "c.pem", "--private-key", "c.key"], "broker"),
    ("azure/relay", &["--name", "adyton", "--region", "westeurope", "--clients", "10.0.0.0/8", "--admin", "203.0.113.7/32", "--ssh-key", "id.pub", "--broker", "broker:7443", "--certificate", "c.pem", "--private-key", "-key"], "file"),
    ("azure/supply", &["--name", "adyton", "--region", "westeurope", "--storage", "my-images", "--supply", "supply.img"], "azure-storage"),
    ("azure/supply", &["--name", "adyton", "--region", "westeurope", "--storage", "images"], "usage"),
    ("azure/policy", &["--url", "http://relay.example.org:8443", "--ca", "ca.pem"], "url"),
    ("azure/policy", &["--url", "https://relay.example.org:8443/$(id)", "--ca", "ca.pem"], "url"),
    ("azure/policy", &["--url", "https://relay.example.org", "--ca", "ca.pem", "--out", "a;b"], "file"),
    ("azure/down", &["--name", "ad"], "azure-name"),
    ("gcp/image", &["--name", "adyton`id`", "--project", "my-project", "--region", "europe-west4", "--bucket", "images"], "gcp-name"),
    ("gcp/image", &["--name", "adyton", "--project", "my project", "--region", "europe-west4", "--bucket", "images"], "gcp-project"),
    ("gcp/image", &["--name", "adyton", "--project", "my-project", "--region", "mars-west1", "--bucket", "images"], "gcp-region"),
    ("gcp/image", &["--name", "adyton", "--project", "my-project", "--region", "europe-west4", "--bucket", "gs://images"], "gcp-bucket"),
    ("gcp/vm", &["--name", "adyton", "--project", "my-project", "--zone", "europe-west4", "--type", "c3-standard-4"], "gcp-zone"),
    ("gcp/vm", &["--name", "adyton", "--project", "my-project", "--zone", "mars-west1-a", "--type", "c3-standard-4"], "gcp-zone"),
    ("gcp/vm", &["--name", "adyton", "--project", "my-project", "--zone", "europe-west4-a", "--type", "c3-highmem-4"], "gcp-type"),
    ("gcp/vm", &["--name", "adyton", "--project", "my-project", "--zone", "europe-west4-a", "--type", "e2-standard-4"], "gcp-type"),
    ("gcp/vm", &["--name", "adyton", "--project", "my-project", "--zone", "europe-west4-a", "--type", "n2d-standard-3"], "gcp-type"),
    ("gcp/relay", &["--name", "adyton", "--project", "my-project", "--zone", "europe-west4-a", "--clients", "0.0.0.0/0", "--admin", "203.0.113.7/32", "--broker", "broker:7443", "--certificate", "c.pem", "--private-key", "c.key"], "network"),
    ("gcp/relay", &["--name", "adyton", "--project", "my-project", "--zone", "europe-west4-a", "--clients", "10.0.0.0/8", "--admin", "203.0.113.7/32", "--broker", "broker", "--certificate", "c.pem", "--private-key", "c.key"], "broker"),
    ("gcp/supply", &["--name", "adyton", "--project", "my-project", "--zone", "europe-west4-a", "--bucket", "gs://images", "--supply", "supply.img"], "gcp-bucket"),
    ("gcp/policy", &["--url", "https://relay.example.org", "--ca", "ca.pem", "--tee", "sev"], "tee"),
    ("gcp/down", &["--name", "adyton", "--project", "my-project", "--zone", "europe-west4-z"], "gcp-zone"),
];

#[test]
fn wrong_arguments_are_refused_by_name() {
    for (name, arguments, code) in REFUSED {
        let recorder = Recorder::new();
        for dry in [true, false] {
            let mut command = script(name);
            recorder.apply(&mut command).args(*arguments);
            if dry {
                command.arg("--dry-run");
            }
            let output = run(&mut command);
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{name} {arguments:?}: {said}");
            assert!(output.stdout.is_empty(), "{name} {arguments:?}");
            // A file that a real run needs may be what is missed first.
            assert!(
                said.starts_with(&format!("error[{code}]: ")) || (!dry && said.starts_with("error[file]")),
                "{name} {arguments:?}: {said}"
            );
            assert!(said.contains("\n  hint: "), "{said}");
        }
        assert_eq!(recorder.take(), Vec::<Vec<String>>::new(), "{name} {arguments:?}");
    }
}

#[test]
fn help_has_every_option_and_an_example_that_works() {
    for case in CASES {
        let help = text(&run(script(case.script).arg("--help")).stdout);
        let source = fs::read_to_string(workspace().join("scripts").join(case.script)).expect("the script");
        let options = source
            .lines()
            .find_map(|line| line.strip_prefix("parse_options \""))
            .expect("a script has options");
        let options = options.split('"').next().unwrap_or_default();
        for option in options.split_whitespace() {
            let (name, default) = option.split_once('=').unwrap_or((option, ""));
            let line = help
                .lines()
                .find(|line| line.starts_with(&format!("  --{name} ")))
                .unwrap_or_else(|| panic!("{}: --{name}", case.script));
            assert!(
                default.is_empty() || help.contains(&format!("[default: {default}]")),
                "{line}"
            );
        }
        let example = help
            .replace("\\\n", " ")
            .lines()
            .find(|line| {
                line.starts_with(&format!("  scripts/{}", case.script)) && line.ends_with("--dry-run")
            })
            .map(str::to_owned);
        // scripts/*/verify has no dry-run example: it changes nothing.
        let Some(example) = example else {
            assert!(case.script.ends_with("verify"), "{}", case.script);
            continue;
        };
        let output = run(std::process::Command::new("bash")
            .current_dir(workspace())
            .args(["-c", example.trim()]));
        assert!(output.status.success(), "{example}: {}", text(&output.stderr));
    }
}

/// One table for both: the scripts' plan of addresses is that of the modules, and the families are read from one file.
#[test]
fn scripts_and_modules_have_one_plan_and_one_table() {
    let read = |path: &str| fs::read_to_string(workspace().join(path)).expect("the file");
    let scripts = read("scripts/lib/cloud.sh");
    for cloud in ["azure", "gcp"] {
        let module = read(&format!("deploy/{cloud}/machine/main.tf"));
        for key in [
            "guest_network",
            "guest_address",
            "relay_network",
            "relay_address",
            "enclave_port",
            "client_port",
        ] {
            let of_scripts = scripts
                .split_whitespace()
                .find_map(|word| word.strip_prefix(&format!("{key}=")))
                .expect("the scripts' plan");
            let of_module = module
                .lines()
                .filter_map(|line| line.trim().split_once('='))
                .find_map(|(name, value)| (name.trim() == key).then(|| value.trim().trim_matches('"')))
                .expect("the module's plan");
            assert_eq!(of_scripts, of_module, "{cloud}: {key}");
        }
        assert!(module.contains("file(\"${path.module}/../${table}\")"));
        assert!(read(&format!("scripts/lib/{cloud}.sh")).contains(&format!("deploy/{cloud}/families")));
    }
}

/// The port that rules let the relay reach is the one that the guest listens on, the host connects to, and the policy of
/// the image allows.
#[test]
fn scripts_open_the_port_that_the_guest_has() {
    for (file, line) in [
        ("scripts/lib/cloud.sh", "enclave_port=7001 "),
        ("enclave/src/init/network/mod.rs", "const PORT: u16 = 7001;"),
        ("enclave/image/policy.toml", "listening_tcp_port = 7001 "),
        ("host/src/remote/mod.rs", "const GUEST_PORT: u16 = 7001;"),
        ("host/examples/remote.toml", "address = \"10.42.0.4:7001\""),
    ] {
        let contents = fs::read_to_string(workspace().join(file)).expect("the file");
        assert!(contents.contains(line), "{file}: {line}");
    }
}

/// What docs/deploy tells people to run is run here, as far as it changes nothing: every script with `--dry-run`.
#[test]
fn documented_commands_run() {
    for (page, scripts) in [("azure", 7), ("gcp", 7)] {
        let contents =
            fs::read_to_string(workspace().join(format!("docs/deploy/{page}.md"))).expect("the page");
        let block = contents
            .split("```sh\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next());
        let commands = block.expect("a block of commands").replace("\\\n", " ");
        let commands: Vec<&str> = commands.lines().collect();
        assert_eq!(commands.len(), scripts, "{page}");
        for command in commands {
            assert!(
                command.starts_with(&format!("scripts/{page}/")) && command.ends_with("--dry-run"),
                "{command}"
            );
            let output = run(std::process::Command::new("bash")
                .current_dir(workspace())
                .args(["-c", command]));
            assert!(output.status.success(), "{command}: {}", text(&output.stderr));
            assert!(
                text(&output.stdout).starts_with("#!/usr/bin/env bash\n"),
                "{command}"
            );
        }
    }
}

//! The configuration files of a local deployment, as the other binaries read them.
//!
//! Paths are absolute and quoted by the TOML writer. No secret is in any of them.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use super::machine::{CPU_MODEL, Image, VCPUS};
use crate::{cli::Flavor, error::ClientError};

/// What starts every generated file.
const HEADING: &str =
    "# Written by `adyton up` for a SIMULATED deployment; changes are overwritten at the next start.\n\n";
/// A new request key each hour.
const KEY_EPOCH_SECONDS: i64 = 3600;
/// An emulated machine may take minutes on a busy computer.
const MACHINE_START_SECONDS_MAX: i64 = 280;

/// `config/broker.toml`.
pub struct BrokerConfig<'a> {
    /// The state directory.
    pub root: &'a Path,
}

impl BrokerConfig<'_> {
    /// The file's text.
    pub fn text(&self) -> Result<String, ClientError> {
        let below = |path: &str| self.root.join(path);
        let pki = |name: &str| below("pki").join(name);
        render(&[
            ("store", vec![("file", path(&below("broker/broker.sqlite"))?)]),
            ("kek", vec![("file", path(&below("broker/kek.key"))?)]),
            (
                "audit",
                vec![
                    ("origin", text("adyton.local/broker")),
                    ("log_key", path(&below("broker/log.key"))?),
                ],
            ),
            (
                "release",
                vec![
                    ("listen", text("127.0.0.1:0")),
                    ("certificate", path(&pki("broker.pem"))?),
                    ("private_key", path(&pki("broker.key"))?),
                ],
            ),
            (
                "admin",
                vec![
                    ("listen", text("127.0.0.1:0")),
                    ("certificate", path(&pki("broker.pem"))?),
                    ("private_key", path(&pki("broker.key"))?),
                    ("client_ca", path(&pki("ca.pem"))?),
                ],
            ),
            ("ops", vec![("listen", text("127.0.0.1:0"))]),
        ])
    }
}

/// `config/enclave.toml`: measured, so the same inputs give the same bytes.
pub struct EnclaveConfig<'a> {
    /// The model's id.
    pub model_id: &'a str,
    /// The sealed model.
    pub sealed_model: &'a Path,
    /// Who signs its manifest, in hexadecimal.
    pub owner_key: &'a str,
    /// The broker's pinned key.
    pub broker_spki_sha256: &'a [u8; 32],
}

impl EnclaveConfig<'_> {
    /// The file's text.
    pub fn text(&self) -> Result<String, ClientError> {
        let mut top = Table::new();
        top.insert("owner_key".to_owned(), text(self.owner_key));
        top.insert("key_epoch_seconds".to_owned(), Value::Integer(KEY_EPOCH_SECONDS));
        let tables = render(&[
            (
                "model",
                vec![("id", text(self.model_id)), ("path", path(self.sealed_model)?)],
            ),
            (
                "broker",
                vec![("spki_sha256", text(&hex::encode(self.broker_spki_sha256)))],
            ),
        ])?;
        Ok(tables.replacen(HEADING, &format!("{HEADING}{top}\n"), 1))
    }
}

/// `config/host.toml`.
pub struct HostConfig<'a> {
    /// The state directory.
    pub root: &'a Path,
    /// The broker's release listener.
    pub broker_address: &'a str,
    /// The enclave's binary.
    pub enclave_binary: &'a Path,
    /// Vendor format of the evidence.
    pub flavor: Flavor,
    /// The machine that is launched instead of the binary.
    pub machine: Option<Machine<'a>>,
}

/// A machine.
pub struct Machine<'a> {
    /// What it boots.
    pub image: &'a Image,
    /// The disk from which firmware boots it, in a machine like Azure's.
    pub disk: Option<&'a Path>,
    /// The disk that it is supplied with.
    pub supply: &'a Path,
    /// Where its network's port is forwarded from, if it has one.
    pub network: Option<SocketAddr>,
}

impl HostConfig<'_> {
    /// The file's text.
    pub fn text(&self) -> Result<String, ClientError> {
        let below = |path: &str| self.root.join(path);
        let mut tables = vec![
            (
                "relay",
                vec![
                    ("listen", text("127.0.0.1:0")),
                    ("certificate", path(&below("pki/host.pem"))?),
                    ("private_key", path(&below("pki/host.key"))?),
                ],
            ),
            ("ops", vec![("listen", text("127.0.0.1:0"))]),
            ("broker", vec![("address", text(self.broker_address))]),
            ("channel", vec![("directory", path(&below("channel"))?)]),
            ("endorsements", vec![("directory", path(&below("endorsements"))?)]),
            (
                "log",
                vec![
                    ("directory", path(&below("log"))?),
                    ("audit_directory", path(&below("audit"))?),
                ],
            ),
        ];
        tables.push(match &self.machine {
            None => (
                "enclave",
                vec![
                    ("binary", path(self.enclave_binary)?),
                    ("config", path(&below("config/enclave.toml"))?),
                    ("platform", path(&below("platform"))?),
                    ("flavor", text(self.flavor.as_str())),
                ],
            ),
            Some(Machine {
                image,
                disk,
                supply,
                network,
            }) => (
                "simulated_vm",
                network
                    .map(|address| ("network", text(&address.to_string())))
                    .into_iter()
                    .chain(match disk {
                        Some(disk) => vec![("disk", path(disk)?)],
                        None => vec![
                            ("kernel", path(&image.kernel)?),
                            ("initrd", path(&image.initrd)?),
                            ("command_line", text(&image.command_line)),
                        ],
                    })
                    .chain([
                        ("firmware", path(&image.firmware)?),
                        ("vcpus", Value::Integer(VCPUS.into())),
                        ("cpu_model", text(CPU_MODEL)),
                        ("supply", path(supply)?),
                        ("processor", path(self.enclave_binary)?),
                        ("platform", path(&below("platform"))?),
                        ("run_directory", path(&below("log"))?),
                        ("start_seconds_max", Value::Integer(MACHINE_START_SECONDS_MAX)),
                    ])
                    .collect(),
            ),
        });
        render(&tables)
    }
}

/// `config/client.toml`: what `adyton verify | chat | proxy --config` need.
pub struct ClientConfig<'a> {
    /// The host's URL.
    pub url: &'a str,
    /// Its CA.
    pub ca: PathBuf,
    /// The appraisal policy.
    pub policy: PathBuf,
    /// The demo token.
    pub token_file: PathBuf,
    /// Keys that sign the deployment's audit logs.
    pub keys_file: PathBuf,
}

impl ClientConfig<'_> {
    /// The file's text.
    pub fn text(&self) -> Result<String, ClientError> {
        let mut table = Table::new();
        table.insert("url".to_owned(), text(self.url));
        table.insert("ca".to_owned(), path(&self.ca)?);
        table.insert("policy".to_owned(), path(&self.policy)?);
        table.insert("token_file".to_owned(), path(&self.token_file)?);
        table.insert("keys_file".to_owned(), path(&self.keys_file)?);
        Ok(format!("{HEADING}{table}"))
    }
}

fn render(tables: &[(&str, Vec<(&str, Value)>)]) -> Result<String, ClientError> {
    let mut all = HEADING.to_owned();
    for (name, keys) in tables {
        let table: Table = keys
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect();
        all.push_str(&format!("[{name}]\n{table}\n"));
    }
    Ok(all)
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn path(path: &Path) -> Result<Value, ClientError> {
    match path.to_str() {
        Some(path) => Ok(text(path)),
        None => Err(ClientError::State(format!("{} is not UTF-8", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_paths_survive_quoting() {
        let root = Path::new("/tmp/it's \"odd\"\\ [x]\nä");
        let config = HostConfig {
            root,
            broker_address: "127.0.0.1:1",
            enclave_binary: root,
            flavor: Flavor::Tdx,
            machine: None,
        };
        let table: Table = config.text().expect("UTF-8").parse().expect("TOML");
        assert_eq!(table["enclave"]["binary"].as_str(), root.to_str());
        assert_eq!(table["enclave"]["flavor"].as_str(), Some("tdx"));
        let broker: Table = BrokerConfig { root }
            .text()
            .expect("UTF-8")
            .parse()
            .expect("TOML");
        assert_eq!(
            broker["store"]["file"].as_str(),
            root.join("broker/broker.sqlite").to_str()
        );
    }

    /// The host's configuration for a machine.
    fn machine_table(disk: Option<&Path>, network: Option<SocketAddr>) -> Table {
        let image = Image {
            firmware: "f".into(),
            kernel: "k".into(),
            initrd: "i".into(),
            command_line: "quiet".to_owned(),
            unified: "u".into(),
        };
        let config = HostConfig {
            root: Path::new("/state"),
            broker_address: "127.0.0.1:1",
            enclave_binary: Path::new("/bin/enclave"),
            flavor: Flavor::Snp,
            machine: Some(Machine {
                image: &image,
                disk,
                supply: Path::new("/state/supply.img"),
                network,
            }),
        };
        config.text().expect("UTF-8").parse().expect("TOML")
    }

    #[test]
    fn a_machine_has_a_network_only_when_it_is_asked_for() {
        for network in [None, Some(SocketAddr::from(([127, 0, 0, 1], 17001)))] {
            let table = machine_table(None, network);
            let machine = table["simulated_vm"].as_table().expect("the table");
            let found = machine.get("network").and_then(Value::as_str);
            assert_eq!(found, network.map(|_| "127.0.0.1:17001"));
            assert!(!table.contains_key("enclave"));
        }
    }

    #[test]
    fn a_machine_boots_a_disk_or_an_image_and_never_both() {
        for disk in [None, Some(Path::new("/state/boot.img"))] {
            let table = machine_table(disk, None);
            let machine = table["simulated_vm"].as_table().expect("the table");
            assert_eq!(machine.contains_key("disk"), disk.is_some());
            for key in ["kernel", "initrd", "command_line"] {
                assert_eq!(machine.contains_key(key), disk.is_none(), "{key}");
            }
        }
    }

    #[test]
    fn the_measured_configuration_is_a_function_of_its_inputs() {
        let config = |spki| {
            let sealed_model = Path::new("/state/models/sample.sealed");
            EnclaveConfig {
                model_id: "sample",
                sealed_model,
                owner_key: "aa",
                broker_spki_sha256: spki,
            }
            .text()
        };
        let first = config(&[1; 32]).expect("UTF-8");
        assert_eq!(first, config(&[1; 32]).expect("UTF-8"));
        assert_ne!(first, config(&[2; 32]).expect("UTF-8"));
        let table: Table = first.parse().expect("TOML");
        assert_eq!(table["owner_key"].as_str(), Some("aa"));
        assert_eq!(
            table["broker"]["spki_sha256"].as_str(),
            Some("01".repeat(32).as_str())
        );
    }
}

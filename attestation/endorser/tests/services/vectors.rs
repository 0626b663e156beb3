//! Real evidence and documents, from the folder of vectors.

use std::path::{Path, PathBuf};

use attestation::{PlatformTag, UnixTime};
use toml::{Table, Value};

/// The vectors.
pub(crate) struct Vectors {
    folder: PathBuf,
    manifest: Vec<Table>,
}

/// One vector.
pub(crate) struct Vector<'a> {
    vectors: &'a Vectors,
    table: &'a Table,
}

impl Vectors {
    /// `None` (said plainly) if they are not here. In CI they must be.
    #[allow(clippy::print_stderr, reason = "tests say what they did not run")]
    pub(crate) fn open() -> Option<Self> {
        let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
        let folder = std::env::var_os("ADYTON_VECTORS").map_or(default, PathBuf::from);
        let Ok(manifest) = std::fs::read_to_string(folder.join("MANIFEST.toml")) else {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "no vectors in {}",
                folder.display()
            );
            eprintln!("NOT RUN: no vectors in {} (set ADYTON_VECTORS)", folder.display());
            return None;
        };
        let manifest: Table = toml::from_str(&manifest).expect("the manifest is TOML");
        let manifest = manifest["vector"].as_array().expect("vectors").iter();
        Some(Self {
            folder,
            manifest: manifest
                .map(|vector| vector.as_table().expect("a table").clone())
                .collect(),
        })
    }

    pub(crate) fn read(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.folder.join(file)).expect("the file of a vector")
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = Vector<'_>> {
        self.manifest.iter().map(|table| Vector { vectors: self, table })
    }

    pub(crate) fn named(&self, name: &str) -> Vector<'_> {
        self.all()
            .find(|vector| vector.name() == name)
            .expect("a vector of this name")
    }
}

impl Vector<'_> {
    fn text(&self, key: &str) -> &str {
        self.table.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn name(&self) -> &str {
        self.text("name")
    }

    pub(crate) fn generation(&self) -> &str {
        self.text("generation")
    }

    pub(crate) fn platform(&self) -> &str {
        self.text("platform")
    }

    pub(crate) fn evidence(&self) -> Vec<u8> {
        self.vectors.read(self.text("file"))
    }

    pub(crate) fn verify_at(&self) -> UnixTime {
        UnixTime::parse_rfc3339(self.text("verify_at")).expect("a moment")
    }

    /// The companion with a role.
    pub(crate) fn companion(&self, role: &str) -> Option<Vec<u8>> {
        let companions = self.table.get("companion")?.as_array()?;
        let file = companions
            .iter()
            .find(|companion| companion["role"].as_str() == Some(role))?["file"]
            .as_str()?;
        Some(self.vectors.read(file))
    }
}

/// A moment from its text.
pub(crate) fn at(text: &str) -> UnixTime {
    UnixTime::parse_rfc3339(text).expect("a moment")
}

/// What evidence is wanted for, without anything else.
pub(crate) fn wanted(platform: PlatformTag, evidence: &[u8]) -> endorser::Wanted<'_> {
    endorser::Wanted {
        platform,
        evidence,
        with: None,
        launch_endorsement: false,
    }
}

/// PEM of a certificate (RFC 7468).
pub(crate) fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let digits = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = digits
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).expect("base64"))
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

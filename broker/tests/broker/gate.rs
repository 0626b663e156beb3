//! The gate without sockets: its steps in order, and what each of them needs.

use attestation::{Nonce, ReleaseBinding, UnixTime, release_nonce};
use audit::{Batch, Entry, Log, LogSigner, ReadBack, Receipt, Store};
use broker::{
    directory::{Directory, RegisteredModel},
    gate::{Appraised, Challenged, ConnectionBinding, Desk, Recorded, Refused, Released},
    key_store::{FirstStart, TenantKeys},
    model_policy::ReleasePolicy,
    refusal::RefusalCode,
};
use sealed_model::{ModelKey, WrapContext};
use simulated::Flavor;
use static_assertions::assert_not_impl_any;
use wire::{
    ids::ModelId,
    release::{ReleaseAnswer, ReleaseRequest},
};
use zeroize::Zeroizing;

use crate::support::{Enclave, MANIFEST, MODEL, MODEL_KEY, TOKEN_ISSUER, policy, unix_now};

// What holds a key, or stands for a step that happens once, cannot be copied or printed.
assert_not_impl_any!(TenantKeys: Clone, core::fmt::Debug, core::fmt::Display, serde::Serialize);
assert_not_impl_any!(broker::registration::RegistrationKey: Clone, core::fmt::Debug, serde::Serialize);
assert_not_impl_any!(Challenged: Clone, Copy);
assert_not_impl_any!(Appraised: Clone, core::fmt::Debug, serde::Serialize);
assert_not_impl_any!(Recorded: Clone, core::fmt::Debug, serde::Serialize);
assert_not_impl_any!(Released: Clone);

#[derive(Default)]
struct Memory(ReadBack);

impl Store for Memory {
    type Error = std::io::Error;

    async fn commit(&mut self, batch: &Batch) -> Result<ReadBack, std::io::Error> {
        let entries: Vec<_> = batch
            .entries
            .iter()
            .map(|entry| entry.as_bytes().to_vec())
            .collect();
        self.0.entries.extend(entries.iter().cloned());
        self.0.signed_checkpoint.clone_from(&batch.signed_checkpoint);
        Ok(ReadBack {
            entries,
            signed_checkpoint: batch.signed_checkpoint.clone(),
        })
    }

    async fn load(&mut self) -> Result<ReadBack, std::io::Error> {
        Ok(self.0.clone())
    }
}

struct Desktop {
    _folder: tempfile::TempDir,
    directory: Directory,
    keys: TenantKeys,
    enclave: Enclave,
}

impl Desktop {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let keys = TenantKeys::load(&folder.path().join("kek.key"), "tenant", FirstStart::Yes).expect("made");
        let enclave = Enclave::new(Flavor::Snp);
        let context = WrapContext {
            model_id: MODEL,
            manifest_digest: &MANIFEST,
        };
        let model = RegisteredModel {
            policy: ReleasePolicy::parse(&policy(&enclave, &[MANIFEST])).expect("a policy"),
            version: 1,
            manifest_digest: MANIFEST,
            owner_key: TOKEN_ISSUER.to_owned(),
            wrap: keys
                .wrap(&ModelKey::from_bytes(Zeroizing::new(MODEL_KEY)), &context)
                .expect("wraps"),
            disabled: false,
            earlier_digests: Vec::new(),
        };
        Self {
            _folder: folder,
            directory: Directory::new(vec![model], false),
            keys,
            enclave,
        }
    }

    fn appraise(&self, now: UnixTime) -> Result<Appraised, Refused> {
        let nonce = Nonce::from_bytes([1; 32]);
        let binding = ConnectionBinding {
            exported_keying_material: [2; 32],
            enclave_spki_sha256: self.enclave.spki_sha256,
            broker_spki_sha256: [3; 32],
        };
        let bundle = self.enclave.bundle(&release_nonce(&ReleaseBinding {
            challenge: &nonce,
            exported_keying_material: &binding.exported_keying_material,
            enclave_spki_sha256: &binding.enclave_spki_sha256,
            broker_spki_sha256: &binding.broker_spki_sha256,
            wrap_key: &self.enclave.wrap.key_config().encode(),
        }));
        let model_id = ModelId::new(MODEL).expect("well-formed");
        let request = ReleaseRequest {
            model_id,
            bundle: bundle.encode().expect("within bounds"),
        }
        .to_cbor();
        let desk = Desk {
            directory: &self.directory,
            keys: &self.keys,
            now,
        };
        Challenged::new(nonce, binding).appraise(&request, desk)
    }
}

async fn receipt(entry: &Entry) -> Receipt {
    let signer = LogSigner::new("test/log", &[5; 32]).expect("a name");
    let mut log = Log::resume(Memory::default(), signer).await.expect("empty");
    log.commit(entry.clone()).await.expect("committed")
}

#[tokio::test]
async fn the_steps_lead_to_a_sealed_key() {
    let desktop = Desktop::new();
    let appraised = desktop.appraise(unix_now()).expect("accepted");
    let receipt = receipt(appraised.entry()).await;
    let released = appraised
        .recorded(receipt)
        .expect("recorded")
        .release()
        .expect("released");
    let ReleaseAnswer::Released { record, sealed } =
        ReleaseAnswer::from_cbor(released.message()).expect("CBOR")
    else {
        panic!("not a release");
    };
    assert_eq!(desktop.enclave.open(&record, &sealed).0, MODEL_KEY);
    assert!(
        !released
            .message()
            .windows(8)
            .any(|window| window == &MODEL_KEY[..8])
    );
}

#[tokio::test]
async fn the_receipt_of_another_record_releases_nothing() {
    let desktop = Desktop::new();
    let appraised = desktop.appraise(unix_now()).expect("accepted");
    let foreign = receipt(&Entry::new(&serde_json::json!({ "other": 1 })).expect("canonical")).await;
    let refused = appraised.recorded(foreign).err().expect("refused");
    assert_eq!(refused.code(), RefusalCode::AuditUnavailable);
}

#[tokio::test]
async fn the_verdict_depends_on_the_moment_that_is_passed_in() {
    let desktop = Desktop::new();
    for now in [UnixTime::from_seconds(0), UnixTime::MAX] {
        let refused = desktop.appraise(now).err().expect("outside every validity");
        assert_eq!(refused.code(), RefusalCode::EvidenceRejected);
        assert!(refused.clause().is_some());
    }
}

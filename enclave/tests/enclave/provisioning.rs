//! From boot to serving, with every broker there is: honest, down, slow, wrong, lying.

use std::{path::PathBuf, time::Duration};

use wire::{
    ProblemCode,
    message::{Media, Phase, StreamPurpose},
};

use crate::support::{Behaviour, Deployment, Release, Settings, System, open_stream, read_whole};

/// Sealed: evidence is given, requests are not taken, and the status says what is waited for.
async fn assert_sealed(system: &mut System) {
    let waiting = |status: &wire::message::Status| status.detail_code == "waiting-for-broker";
    let status = system.wait_for("waiting", waiting).await;
    assert_eq!(status.phase, Phase::Attested);
    let purpose = StreamPurpose::Gateway {
        media: Media::Chunked,
    };
    let mut frames = open_stream(&system.deployment.channel(), purpose)
        .await
        .expect("it listens");
    assert_eq!(read_whole(&mut frames).await, Some(Err(ProblemCode::NotReady)));
    drop(system.client().await);
}

#[tokio::test]
async fn a_broker_that_comes_back_is_found() {
    let mut system = Deployment::new(&Settings::default()).start(Behaviour::Down).await;
    assert_sealed(&mut system).await;
    system.wait_for_lines(3, "broker-unavailable").await;
    assert!(system.host.broker_conversations() >= 3);
    system
        .host
        .set_broker(Behaviour::Release(system.deployment.release()));
    system.wait_until_serving().await;
    system.still_serves().await;
    assert!(system.stop().await.is_ok());
}

/// As over a network: the enclave is up before anybody has connected, and asks for what its platform does not bring.
#[tokio::test]
async fn an_enclave_that_is_up_before_its_host_waits_for_it() {
    let deployment = Deployment::new(&Settings {
        brings_endorsements: false,
        ..Settings::default()
    });
    let release = Behaviour::Release(deployment.release());
    let mut system = deployment.start_before_its_host(release).await;
    system.wait_until_serving().await;
    system.still_serves().await;
}

#[tokio::test]
async fn a_silent_broker_leaves_the_enclave_sealed() {
    let mut system = Deployment::new(&Settings::default())
        .start(Behaviour::Silent)
        .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_sealed(&mut system).await;
}

#[tokio::test]
async fn a_wrong_broker_gets_no_evidence_and_opens_nothing() {
    for (behaviour, code) in [
        (Behaviour::OtherKey, "broker-untrusted"),
        (Behaviour::OtherProtocol, "broker-untrusted"),
        (Behaviour::Garbage, "broker-untrusted"),
        (Behaviour::Refuse(ProblemCode::PolicyRefused), "policy-refused"),
        (
            Behaviour::Refuse(ProblemCode::AuditUnavailable),
            "audit-unavailable",
        ),
    ] {
        let mut system = Deployment::new(&Settings::default()).start(behaviour).await;
        system.wait_for_lines(1, code).await;
        assert_sealed(&mut system).await;
        system
            .host
            .set_broker(Behaviour::Release(system.deployment.release()));
        system.wait_until_serving().await;
    }
}

#[tokio::test]
async fn a_release_about_anything_else_is_refused() {
    let deployment = Deployment::new(&Settings::default());
    let honest = deployment.release();
    let lies = [
        Release {
            model_id: "other",
            ..honest.clone()
        },
        Release {
            manifest_digest: [9; 32],
            ..honest.clone()
        },
        Release {
            other_statement: true,
            ..honest.clone()
        },
        Release {
            other_record: true,
            ..honest.clone()
        },
        Release {
            lease_seconds: 0,
            ..honest.clone()
        },
        Release {
            token_issuers: vec![[0; 32]; wire::limits::TOKEN_ISSUERS_MAX + 1],
            ..honest.clone()
        },
    ];
    let mut system = deployment.start(Behaviour::Down).await;
    for (told, lie) in lies.into_iter().enumerate() {
        system.host.set_broker(Behaviour::Release(lie));
        let before = system.host.lines_with("release-invalid");
        system.wait_for_lines(before + 1, "release-invalid").await;
        assert_sealed(&mut system).await;
        assert_eq!(system.host.lines_with("key-released"), 0, "lie {told}");
    }
    system.host.set_broker(Behaviour::Release(honest));
    system.wait_until_serving().await;
}

async fn end_of(deployment: Deployment, release: Release) -> String {
    let system = deployment.start(Behaviour::Release(release)).await;
    match system.end().await {
        Err(error) => error.code().to_owned(),
        Ok(()) => panic!("it ended without a fault"),
    }
}

#[tokio::test]
async fn a_wrong_model_key_ends_the_life() {
    let deployment = Deployment::new(&Settings::default());
    let release = Release {
        model_key: [0x5a; 32],
        ..deployment.release()
    };
    assert_eq!(end_of(deployment, release).await, "wrong-key");
}

/// `[devices]` of an enclave that computes on one GPU.
const ONE_GPU: &str = "[devices]\ncollateral_age_seconds_max = 86400\n[devices.nvidia]\ngpus = 1\n\
    modes = [\"single-gpu\"]\nenrolled_devices = \"any\"\n[[devices.nvidia.minimum_versions]]\n\
    architecture = \"hopper\"\ndriver = \"570.172.08\"\nvbios = \"96.00.CF.00.02\"\n";

#[tokio::test]
async fn a_gpu_that_is_asked_for_and_not_there_ends_the_life_before_a_key_is_asked_for() {
    let settings = Settings {
        limits: ONE_GPU,
        ..Settings::default()
    };
    let deployment = Deployment::new(&settings);
    let release = deployment.release();
    let mut system = deployment.start(Behaviour::Release(release)).await;
    let error = system.fault().await;
    assert_eq!(error.code(), "devices-refused");
    assert!(error.to_string().contains("nvidia-device-count"), "{error}");
    assert_eq!(system.host.broker_conversations(), 0);
}

fn sealed_files(deployment: &Deployment) -> Vec<PathBuf> {
    let folder = std::fs::read_dir(deployment.folder.path().join("sample.sealed")).expect("a container");
    folder.map(|entry| entry.expect("an entry").path()).collect()
}

fn flip(path: &PathBuf, at: usize) {
    let mut bytes = std::fs::read(path).expect("it is there");
    let at = at.min(bytes.len() - 1);
    bytes[at] ^= 1;
    std::fs::write(path, bytes).expect("space");
}

#[tokio::test]
async fn a_tampered_container_is_not_served() {
    let count = sealed_files(&Deployment::new(&Settings::default())).len();
    for index in 0..count {
        let deployment = Deployment::new(&Settings::default());
        let path = sealed_files(&deployment).remove(index);
        if path.file_name().is_some_and(|name| name == "wraps.json") {
            continue; // the broker's to read: it authenticates a wrap by unwrapping it
        }
        flip(&path, 100);
        let release = deployment.release();
        let code = end_of(deployment, release).await;
        assert!(
            !code.is_empty() && !code.starts_with("broker"),
            "{}: {code}",
            path.display()
        );
    }
}

#[tokio::test]
async fn a_manifest_of_another_owner_never_reaches_the_broker() {
    let (one, other) = (
        Deployment::new(&Settings::default()),
        Deployment::new(&Settings::default()),
    );
    let manifest = "sample.sealed/manifest.json";
    std::fs::copy(
        other.folder.path().join(manifest),
        one.folder.path().join(manifest),
    )
    .expect("space");
    let release = one.release();
    let system = one.start(Behaviour::Release(release)).await;
    assert_eq!(system.host.broker_conversations(), 0);
    assert!(system.end().await.is_err());
}

#[tokio::test]
async fn a_lease_that_is_not_renewed_ends_the_service_until_it_is() {
    let deployment = Deployment::new(&Settings::default());
    let honest = deployment.release();
    let short = Behaviour::Release(Release {
        lease_seconds: 2,
        ..honest.clone()
    });
    let mut system = deployment.start(short.clone()).await;
    system.wait_until_serving().await;
    let before = system.host.broker_conversations();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    system.still_serves().await;
    assert!(system.host.broker_conversations() > before, "renewed");
    system.host.set_broker(Behaviour::Down);
    let client = system.client().await;
    system
        .wait_for("expired", |status| status.detail_code == "lease-expired")
        .await;
    assert_eq!(client.chat("").await.error(), (503, "not-ready".to_owned()));
    // Another issuer now: a renewal also says whose tokens count.
    let stranger = Release {
        token_issuers: vec![[3; 32]],
        ..honest
    };
    system.host.set_broker(Behaviour::Release(stranger));
    system.wait_until_serving().await;
    assert_eq!(
        client.chat("").await.error(),
        (401, "unauthorized-token".to_owned())
    );
}

#[tokio::test]
async fn a_second_enclave_in_the_same_channel_is_refused() {
    let system = Deployment::serving(&Settings::default()).await;
    let again = system.deployment.run_again().await;
    assert_eq!(again.map_err(|error| error.code()), Err("channel-failed"));
    system.still_serves().await;
}

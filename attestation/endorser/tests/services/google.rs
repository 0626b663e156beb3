//! Google's bucket of launch endorsements.

use attestation::EndorsementKind;

use crate::fake::{Fake, Reply};
use crate::intel::{Collateral, TDX, answer};
use crate::vectors::{Vectors, wanted};
use crate::{AGES, endorser, services};

#[tokio::test]
async fn a_launch_endorsement_is_found_by_its_measurement_when_it_is_wanted() {
    let Some(vectors) = Vectors::open() else { return };
    let collateral = Collateral::read(&vectors, "90c06f000000-eval18-20260201T144926Z-58f798e7.json");
    let vector = vectors.named("tdx-v5-google");
    let quote = vector.evidence();
    // Version 5: header(48), type(2), size(4), MRTD at 136 of the body.
    let mrtd = hex::encode(&quote[54 + 136..54 + 184]);
    let object = format!("/ovmf_x64_csm/tdx/{mrtd}.binarypb");
    // VMLaunchEndorsement { serialized_uefi_golden: "abc", signature: "d" }; no real one is at hand.
    let endorsement = b"\x0a\x03abc\x12\x01d".to_vec();
    let bucket = endorsement.clone();
    let fake = Fake::start(move |asked| match asked.path() {
        path if path == object => Reply::ok(bucket.clone()),
        path if path.starts_with("/ovmf_x64_csm/") => Reply::status(404),
        _ => answer(&collateral, false, asked),
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let endorser = endorser(folder.path(), services(&fake));
    let plain = wanted(TDX, &quote);
    let with_launch = endorser::Wanted {
        launch_endorsement: true,
        ..plain
    };
    let launch = EndorsementKind::GceLaunchEndorsement;
    let served = endorser
        .endorsements(plain, AGES, vector.verify_at())
        .await
        .expect("served");
    assert_eq!(served.endorsements.document(launch), None);
    let served = endorser
        .endorsements(with_launch, AGES, vector.verify_at())
        .await
        .expect("served");
    assert!(served.fetched, "what is kept lacks it");
    assert_eq!(served.endorsements.document(launch), Some(&endorsement[..]));
    fake.fail(vec![crate::fake::Fault::Nothing; 4]);
    fake.fail([crate::fake::Fault::Body(b"<html>".to_vec())]);
    let later = vector.verify_at().plus_seconds(2 * crate::DAY);
    let served = endorser
        .endorsements(with_launch, AGES, later)
        .await
        .expect("what is kept is young enough");
    let warning = served.warning.expect("a warning");
    assert!(
        warning.to_string().contains("not a VMLaunchEndorsement"),
        "{warning}"
    );
}

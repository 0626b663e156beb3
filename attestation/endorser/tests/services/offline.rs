//! What happens when publishers cannot be reached, or serve what is older than it was.

use attestation::{EndorsementKind, PlatformTag, UnixTime};
use endorser::{Ages, Cache, Condition, EndorserError, export, import, list};

use crate::DAY;
use crate::amd::{NOW, kds};
use crate::intel::{Collateral, TDX, pcs};
use crate::vectors::{Vectors, at, wanted};
use crate::{AGES, endorser, services};

const SNP: PlatformTag = PlatformTag::AmdSevSnp;
/// Two platforms' collateral of one time, and a later one of the first.
const B0_JUNE: &str = "b0c06f000000-eval17-20250619T103227Z-cb8093ce.json";
const B0_NOVEMBER: &str = "b0c06f000000-eval18-20251118T193814Z-bfd3c5e2.json";
const X90_JUNE: &str = "90c06f000000-eval17-20250619T100035Z-cb285f9c.json";

#[tokio::test]
async fn stale_documents_are_served_with_a_warning_inside_the_age_and_not_outside() {
    let Some(vectors) = Vectors::open() else { return };
    let fake = kds(&vectors).await;
    let folder = tempfile::tempdir().expect("a folder");
    let endorser = endorser(folder.path(), services(&fake));
    let report = vectors.named("snp-milan-v3-oak-kernel").evidence();
    let serve = |now: UnixTime| endorser.endorsements(wanted(SNP, &report), AGES, now);
    let start = at(NOW);
    let first = serve(start).await.expect("fetched");
    fake.down(true);
    let fresh = serve(start.plus_seconds(DAY)).await.expect("fresh");
    assert!(fresh.warning.is_none() && !fresh.fetched);
    let stale = serve(start.plus_seconds(DAY + 1)).await.expect("stale");
    assert_eq!(stale.endorsements, first.endorsements);
    assert_eq!(stale.warning.expect("a warning").code(), "endorser-unreachable");
    let stale = serve(start.plus_seconds(60 * DAY)).await.expect("stale still");
    assert!(stale.warning.is_some());
    let error = serve(start.plus_seconds(60 * DAY + 1))
        .await
        .expect_err("too old");
    assert_eq!(error.code(), "endorser-unusable");
    let text = error.to_string();
    assert!(
        text.contains("chip ") && text.contains("fetched 60 days ago, the limit is 60 days"),
        "{text}"
    );
    assert!(text.contains("AMD KDS: cannot reach"), "{text}");
    fake.down(false);
    let renewed = serve(start.plus_seconds(60 * DAY + 1))
        .await
        .expect("fetched again");
    assert!(renewed.fetched && renewed.warning.is_none());
}

#[tokio::test]
async fn the_issue_time_counts_where_the_publisher_issues_often() {
    let Some(vectors) = Vectors::open() else { return };
    let (fake, _) = pcs(&Collateral::read(&vectors, B0_NOVEMBER)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let endorser = endorser(folder.path(), services(&fake));
    let quote = vectors.named("tdx-v4-near").evidence();
    let ages = Ages {
        refresh_seconds: DAY,
        collateral_seconds: 10 * DAY,
    };
    let serve = |now: &str| endorser.endorsements(wanted(TDX, &quote), ages, at(now));
    // The list of the PCK CA is of 4 November: on the 20th it is too old, fresh from the service or not.
    let error = serve("2025-11-20T00:00:00Z").await.expect_err("too old");
    assert!(
        error
            .to_string()
            .contains("tdx-pck-crl of Intel SGX PCK Platform CA was issued 15 days ago"),
        "{error}"
    );
    let wide = |now: &str| endorser.endorsements(wanted(TDX, &quote), AGES, at(now));
    assert!(wide("2025-11-20T00:00:00Z").await.is_ok());
    // Its own end comes first.
    fake.down(true);
    let error = wide("2025-12-05T00:00:00Z").await.expect_err("ended");
    assert!(
        error
            .to_string()
            .contains("tdx-pck-crl of Intel SGX PCK Platform CA ended 2025-12-04"),
        "{error}"
    );
}

#[tokio::test]
async fn an_older_document_is_refused_by_name_and_what_is_kept_stays() {
    let Some(vectors) = Vectors::open() else { return };
    let (fake, collateral) = pcs(&Collateral::read(&vectors, B0_NOVEMBER)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let endorser = endorser(folder.path(), services(&fake));
    let quote = vectors.named("tdx-v4-near").evidence();
    let now = at("2025-11-20T00:00:00Z");
    let first = endorser
        .endorsements(wanted(TDX, &quote), AGES, now)
        .await
        .expect("fetched");
    // A mirror goes back to June.
    *collateral.lock().expect("not poisoned") = Collateral::read(&vectors, B0_JUNE);
    let later = now.plus_seconds(2 * DAY);
    let served = endorser
        .endorsements(wanted(TDX, &quote), AGES, later)
        .await
        .expect("stale");
    assert_eq!(served.endorsements, first.endorsements);
    let warning = served.warning.expect("a warning");
    assert_eq!(warning.code(), "endorser-rollback");
    assert!(
        warning.to_string().contains("is older than one already seen"),
        "{warning}"
    );
    // The memory outlives what is kept: only the ledger remains.
    std::fs::remove_dir_all(folder.path().join("intel-tdx")).expect("removed");
    let error = endorser
        .endorsements(wanted(TDX, &quote), AGES, later)
        .await
        .expect_err("rollback");
    let EndorserError::Unusable {
        cause: Some(cause), ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!(cause.code(), "endorser-rollback");
}

#[tokio::test]
async fn a_document_that_nobody_signed_does_not_become_the_newest_seen() {
    let Some(vectors) = Vectors::open() else { return };
    let real = Collateral::read(&vectors, B0_JUNE);
    // Somebody else's list with a later date: a byte of the signature is changed.
    let mut forged = Collateral::read(&vectors, B0_NOVEMBER).der("pck_crl");
    *forged.last_mut().expect("a byte") ^= 1;
    let (fake, _) = pcs(&real).await;
    fake.fail(vec![crate::fake::Fault::Nothing; 2]);
    fake.fail([crate::fake::Fault::Body(forged)]);
    let folder = tempfile::tempdir().expect("a folder");
    let endorser = endorser(folder.path(), services(&fake));
    let quote = vectors.named("tdx-v4-near").evidence();
    let ages = Ages {
        refresh_seconds: 0,
        collateral_seconds: 365 * DAY,
    };
    let now = at("2025-07-18T00:00:00Z");
    let forgery = endorser.endorsements(wanted(TDX, &quote), ages, now).await;
    assert!(forgery.is_err(), "issued in the future");
    fake.fail(vec![crate::fake::Fault::Nothing; 2]);
    let mut forged = Collateral::read(&vectors, X90_JUNE).der("pck_crl");
    *forged.last_mut().expect("a byte") ^= 1;
    fake.fail([crate::fake::Fault::Body(forged)]);
    let served = endorser.endorsements(wanted(TDX, &quote), ages, now).await;
    assert!(served.is_ok_and(|served| served.fetched), "its shape is right");
    let served = endorser
        .endorsements(wanted(TDX, &quote), ages, now.plus_seconds(1))
        .await
        .expect("the real one is taken");
    assert_eq!(
        served.endorsements.document(EndorsementKind::TdxPckCrl),
        Some(&real.der("pck_crl")[..])
    );
}

#[tokio::test]
async fn a_newer_list_reaches_every_subject_of_its_issuer() {
    let Some(vectors) = Vectors::open() else { return };
    let (fake, collateral) = pcs(&Collateral::read(&vectors, X90_JUNE)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let endorser = endorser(folder.path(), services(&fake));
    let first = vectors.named("tdx-v5-google").evidence();
    let second = vectors.named("tdx-v4-near").evidence();
    let now = at("2025-06-25T00:00:00Z");
    let before = endorser
        .endorsements(wanted(TDX, &first), AGES, now)
        .await
        .expect("fetched");
    *collateral.lock().expect("not poisoned") = Collateral::read(&vectors, B0_JUNE);
    let other = endorser
        .endorsements(wanted(TDX, &second), AGES, now)
        .await
        .expect("fetched");
    fake.down(true);
    let after = endorser
        .endorsements(wanted(TDX, &first), AGES, now)
        .await
        .expect("kept");
    let identity = EndorsementKind::TdxQeIdentity;
    assert_ne!(
        before.endorsements.document(identity),
        other.endorsements.document(identity)
    );
    assert_eq!(
        after.endorsements.document(identity),
        other.endorsements.document(identity)
    );
    let info = EndorsementKind::TdxTcbInfo;
    assert_eq!(
        after.endorsements.document(info),
        before.endorsements.document(info)
    );
}

#[tokio::test]
async fn a_cache_travels_in_an_archive_and_an_older_archive_is_refused() {
    let Some(vectors) = Vectors::open() else { return };
    let (fake, collateral) = pcs(&Collateral::read(&vectors, B0_JUNE)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let online = endorser(&folder.path().join("online"), services(&fake));
    let quote = vectors.named("tdx-v4-near").evidence();
    let june = at("2025-06-25T00:00:00Z");
    online
        .endorsements(wanted(TDX, &quote), AGES, june)
        .await
        .expect("fetched");
    let (old, subjects) = export(online.cache()).expect("exported");
    assert_eq!(subjects, 1);
    assert_eq!(export(online.cache()).expect("exported").0, old, "deterministic");
    *collateral.lock().expect("not poisoned") = Collateral::read(&vectors, B0_NOVEMBER);
    let november = at("2025-11-20T00:00:00Z");
    online
        .endorsements(wanted(TDX, &quote), AGES, november)
        .await
        .expect("fetched");
    let (new, _) = export(online.cache()).expect("exported");

    // A machine without a network takes the one, then the other, and never goes back.
    let offline = Cache::open(&folder.path().join("offline")).expect("it opens");
    let came = import(&offline, &old, june).expect("taken");
    assert!(came[0].new && came[0].folder == "intel-tdx" && came[0].kinds.len() == 5);
    assert_eq!(came[0].subject, "FMSPC b0c06f000000, Intel SGX PCK Platform CA");
    assert_eq!(export(&offline).expect("exported").0, old);
    let came = import(&offline, &new, november).expect("taken");
    assert!(!came[0].new);
    assert_eq!(export(&offline).expect("exported").0, new);
    let error = import(&offline, &old, november).expect_err("older");
    assert_eq!(error.code(), "endorser-rollback");
    assert_eq!(export(&offline).expect("exported").0, new, "nothing changed");
    // Refused too where only the memory is left of the newer one.
    std::fs::remove_dir_all(folder.path().join("offline/intel-tdx")).expect("removed");
    assert_eq!(
        import(&offline, &old, november).expect_err("older").code(),
        "endorser-rollback"
    );
    // An archive from tomorrow is refused by a clock that is right.
    let early = Cache::open(&folder.path().join("early")).expect("it opens");
    assert_eq!(
        import(&early, &new, june).expect_err("tomorrow").code(),
        "endorser-from-the-future"
    );
    import(&early, &new, november).expect("taken");
    let nobody = crate::endorser(&folder.path().join("early"), endorser::Services::default());
    let served = nobody
        .endorsements(wanted(TDX, &quote), AGES, november)
        .await
        .expect("from the archive, nobody is asked");
    assert!(!served.fetched && served.warning.is_none());
}

#[tokio::test]
async fn the_list_tells_what_is_kept_and_whether_it_counts() {
    let Some(vectors) = Vectors::open() else { return };
    let fake = kds(&vectors).await;
    let folder = tempfile::tempdir().expect("a folder");
    let endorser = endorser(folder.path(), services(&fake));
    let report = vectors.named("snp-genoa-v3-aci-ms").evidence();
    let now = at(NOW);
    endorser
        .endorsements(wanted(SNP, &report), AGES, now)
        .await
        .expect("fetched");
    let listed = |now| list(endorser.cache(), AGES, now).expect("a list").remove(0);
    let entry = listed(now);
    assert_eq!(entry.condition, Condition::Fresh);
    assert_eq!(entry.fetched, Some(now));
    assert!(entry.subject.starts_with("chip "));
    let crl = entry
        .documents
        .iter()
        .find(|document| document.kind == EndorsementKind::SnpCrl)
        .expect("a list");
    assert_eq!(crl.issuer.as_deref(), Some("ARK-Genoa"));
    assert_eq!(crl.issued, Some(at("2024-10-23T04:36:24Z")));
    assert_eq!(crl.until, Some(at("2025-11-03T01:00:00Z")));
    assert_eq!(listed(now.plus_seconds(2 * DAY)).condition.as_str(), "stale");
    let ended = listed(at("2025-11-04T00:00:00Z"));
    assert_eq!(ended.condition.as_str(), "expired");
    assert!(
        ended
            .condition
            .reason()
            .is_some_and(|reason| reason.contains("ended 2025-11-03"))
    );
}

#[tokio::test]
async fn nobody_publishes_about_a_simulated_platform() {
    let Some(vectors) = Vectors::open() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let report = vectors.named("snp-genoa-v3-aci-ms").evidence();
    let error = endorser(folder.path(), endorser::Services::default())
        .endorsements(wanted(PlatformTag::SimulatedAmdSevSnp, &report), AGES, at(NOW))
        .await
        .expect_err("nobody");
    assert!(error.to_string().contains("nobody publishes"), "{error}");
}

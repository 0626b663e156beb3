//! Each part of a bundle has a bound: with as much it is written and read, with one more it is neither.

use attestation::{
    BUNDLE_BYTES_MAX, Bundle, BundleError, DeviceEvidence, DeviceKind, EndorsementKind, Endorsements,
    PlatformTag,
};
use minicbor::Encoder;

fn bundle() -> Bundle {
    Bundle {
        platform: PlatformTag::SimulatedAmdSevSnp,
        evidence: vec![],
        statement: vec![],
        event_log: None,
        endorsements: Endorsements::new(),
        devices: vec![],
    }
}

fn device() -> DeviceEvidence {
    DeviceEvidence {
        kind: DeviceKind::NvidiaGpu,
        evidence: vec![],
        certificates: vec![],
        endorsements: Endorsements::new(),
    }
}

fn endorsed(bytes: usize) -> Endorsements {
    let mut endorsements = Endorsements::new();
    endorsements.insert(EndorsementKind::SnpLeaf, vec![0; bytes]);
    endorsements
}

/// The encoding of `bundle`, written by somebody who knows no bounds.
fn encoded(bundle: &Bundle) -> Vec<u8> {
    fn write(bundle: &Bundle) -> Result<Vec<u8>, minicbor::encode::Error<core::convert::Infallible>> {
        let documents = |writer: &mut Encoder<Vec<u8>>, endorsements: &Endorsements| {
            writer.map(endorsements.iter().count() as u64)?;
            for kind in EndorsementKind::ALL {
                if let Some(document) = endorsements.document(kind) {
                    writer.str(kind.as_str())?.bytes(document)?;
                }
            }
            Ok(())
        };
        let mut writer = Encoder::new(Vec::new());
        writer.map(7)?.u8(1)?.u8(1)?;
        writer.u8(2)?.str(bundle.platform.as_str())?;
        writer.u8(3)?.bytes(&bundle.evidence)?;
        writer.u8(4)?.bytes(&bundle.statement)?;
        match &bundle.event_log {
            Some(log) => writer.u8(5)?.bytes(log)?,
            None => writer.u8(5)?.null()?,
        };
        writer.u8(6)?;
        documents(&mut writer, &bundle.endorsements)?;
        writer.u8(7)?.array(bundle.devices.len() as u64)?;
        for device in &bundle.devices {
            writer.map(4)?.u8(1)?.str(device.kind.as_str())?;
            writer.u8(2)?.bytes(&device.evidence)?;
            writer.u8(3)?.bytes(&device.certificates)?.u8(4)?;
            documents(&mut writer, &device.endorsements)?;
        }
        Ok(writer.into_writer())
    }
    write(bundle).expect("a Vec takes every write")
}

#[test]
fn each_part_of_a_bundle_has_a_bound() {
    type Part = fn(usize) -> Bundle;
    let parts: [(&str, usize, Part); 8] = [
        ("evidence", 64 * 1024, |size| Bundle {
            evidence: vec![0; size],
            ..bundle()
        }),
        ("statement", 32 * 1024, |size| Bundle {
            statement: vec![0; size],
            ..bundle()
        }),
        ("event log", 256 * 1024, |size| Bundle {
            event_log: Some(vec![0; size]),
            ..bundle()
        }),
        ("endorsement", 256 * 1024, |size| Bundle {
            endorsements: endorsed(size),
            ..bundle()
        }),
        ("devices", 32, |size| Bundle {
            devices: vec![device(); size],
            ..bundle()
        }),
        ("a device's evidence", 64 * 1024, |size| Bundle {
            devices: vec![
                device(),
                DeviceEvidence {
                    evidence: vec![0; size],
                    ..device()
                },
            ],
            ..bundle()
        }),
        ("a device's certificates", 32 * 1024, |size| Bundle {
            devices: vec![
                device(),
                DeviceEvidence {
                    certificates: vec![0; size],
                    ..device()
                },
            ],
            ..bundle()
        }),
        ("a device's endorsement", 256 * 1024, |size| Bundle {
            devices: vec![
                device(),
                DeviceEvidence {
                    endorsements: endorsed(size),
                    ..device()
                },
            ],
            ..bundle()
        }),
    ];
    for (part, bound, of) in parts {
        let largest = of(bound);
        let bytes = encoded(&largest);
        assert_eq!(largest.encode().as_ref(), Ok(&bytes), "{part}");
        assert_eq!(Bundle::decode(&bytes), Ok(largest), "{part}");
        let larger = of(bound + 1);
        assert_eq!(larger.encode(), Err(BundleError::Bound), "{part}");
        assert_eq!(
            Bundle::decode(&encoded(&larger)),
            Err(BundleError::Bound),
            "{part}"
        );
    }
}

#[test]
fn a_bundle_has_a_bound() {
    let of = |bytes: usize| {
        let mut bundle = bundle();
        for kind in [
            EndorsementKind::SnpLeaf,
            EndorsementKind::SnpIntermediate,
            EndorsementKind::SnpCrl,
        ] {
            bundle.endorsements.insert(kind, vec![0; 256 * 1024]);
        }
        bundle.event_log = Some(vec![0; 128 * 1024]);
        bundle.statement = vec![0; 32 * 1024];
        bundle.evidence = vec![0; 64 * 1024];
        bundle.devices = vec![DeviceEvidence {
            certificates: vec![0; 16 * 1024],
            ..device()
        }];
        let rest = bytes - encoded(&bundle).len();
        // The header of a byte string is as long for 16 KiB as for 32 KiB.
        bundle.devices[0].certificates.resize(16 * 1024 + rest, 0);
        bundle
    };
    let largest = of(1024 * 1024);
    let bytes = encoded(&largest);
    assert_eq!(bytes.len(), BUNDLE_BYTES_MAX);
    assert_eq!(largest.encode().as_ref(), Ok(&bytes));
    assert_eq!(Bundle::decode(&bytes), Ok(largest));
    let larger = of(1024 * 1024 + 1);
    assert_eq!(larger.encode(), Err(BundleError::Bound));
    assert_eq!(Bundle::decode(&encoded(&larger)), Err(BundleError::Bound));
}

#[test]
fn as_many_endorsements_as_there_are_kinds() {
    let all = EndorsementKind::ALL;
    let mut endorsements = Endorsements::new();
    for kind in all {
        assert_eq!(EndorsementKind::from_text(kind.as_str()), Some(kind));
        endorsements.insert(kind, vec![1]);
    }
    assert_eq!(Endorsements::decode(&endorsements.encode()), Ok(endorsements));
    let mut writer = Encoder::new(Vec::new());
    writer.map(all.len() as u64 + 1).expect("a Vec takes every write");
    assert_eq!(
        Endorsements::decode(&writer.into_writer()),
        Err(BundleError::Bound)
    );
}

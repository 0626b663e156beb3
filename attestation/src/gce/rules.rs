//! The rules on a launch endorsement. They are asked only where a policy takes firmware on Google's word.

use crate::examination::rules;

rules! {
    FORMAT = "gce-endorsement-format", Expected, Malformed, "gce-tcb-verifier, VMLaunchEndorsement",
        "evidence without Google's endorsement of its firmware, or with bytes that only look like one";
    CHAIN = "gce-endorsement-chain", Expected, Untrusted, "gce-tcb-verifier, cert and ca_bundle; RFC 5280 section 6",
        "an endorsement by somebody else than Google's signer for firmware";
    SIGNATURE = "gce-endorsement-signature", Expected, Untrusted, "gce-tcb-verifier, signature; RFC 8017 section 8.1",
        "a forged or altered endorsement";
    VALIDITY = "gce-endorsement-validity", Expected, OutsideValidity, "RFC 5280 section 4.1.2.5",
        "a signer's key used before or after its certificate's time; an endorsement from the future";
    MEASUREMENT = "gce-endorsement-measurement", Expected, Mismatch, "gce-tcb-verifier, VMSevSnp and VMTdx measurements",
        "other firmware than the endorsed one, or the endorsed one in a machine of another size";
    FLOOR = "gce-endorsement-floor", UpToDate, OutOfDate, "policy gce_firmware issued_after and svn_minimum",
        "old firmware that Google once endorsed, brought back with its endorsement";
}

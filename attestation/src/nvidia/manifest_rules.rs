//! The rules on one reference manifest, wherever it is used.

use crate::examination::rules;

rules! {
    FORMAT = "nvidia-manifest-format", Genuine, Malformed, "ISO/IEC 19770-2; TCG RIM information model",
        "a document of which two readers see different things";
    SIGNATURE = "nvidia-manifest-signature", Genuine, Untrusted, "XML Signature 1.1 section 3.2",
        "reference values that NVIDIA did not sign; signature wrapping";
    CHAIN = "nvidia-manifest-chain", Genuine, Untrusted, "RFC 5280 section 6",
        "a manifest under another root than NVIDIA's for manifests";
    VALIDITY = "nvidia-manifest-validity", Genuine, OutsideValidity, "RFC 5280 section 4.1.2.5",
        "a manifest whose signer's time is over: NVIDIA signs those anew that it still stands behind";
}

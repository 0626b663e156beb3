//! What a verifier of these platforms ought to check, question by question, and which clause does it here.
//!
//! A row without a clause says why: it is another crate's work, or nobody's yet.

/// One thing that ought to be checked.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Number within its part.
    pub number: &'static str,
    /// What ought to be checked.
    pub asks: &'static str,
    /// The clauses that check it.
    pub clauses: &'static [&'static str],
    /// What the clauses do not say by themselves; the reason where there is none.
    pub note: &'static str,
}

/// Rows about one subject.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// The subject.
    pub title: &'static str,
    /// The rows, in order.
    pub rows: &'static [Row],
}

const fn row(
    number: &'static str,
    asks: &'static str,
    clauses: &'static [&'static str],
    note: &'static str,
) -> Row {
    Row {
        number,
        asks,
        clauses,
        note,
    }
}

/// Every part.
pub const CHECKLIST: &[Part] = &[
    Part {
        title: "Every platform",
        rows: COMMON,
    },
    Part {
        title: "AMD SEV-SNP",
        rows: SNP,
    },
    Part {
        title: "Intel TDX",
        rows: TDX,
    },
    Part {
        title: "Azure confidential VMs",
        rows: AZURE,
    },
    Part {
        title: "Google Compute Engine",
        rows: GOOGLE,
    },
    Part {
        title: "NVIDIA GPUs and switches",
        rows: NVIDIA,
    },
];

const COMMON: &[Row] = &[
    row(
        "C1",
        "Trust begins at roots that are compiled in; a root that arrives with the evidence counts for nothing.",
        &[
            "snp-root",
            "tdx-pck-chain",
            "azure-ak-chain",
            "gce-endorsement-chain",
            "gce-vtpm-chain",
            "nvidia-certificate-chain",
            "nvidia-manifest-chain",
        ],
        "`attestation/src/roots` pins each root by the SHA-256 of its key. Google's root for launch endorsements comes with the policy and must have the digest that is compiled in.",
    ),
    row(
        "C2",
        "Signatures are verified over the bytes as received; what no field covers must be zero, and nothing may follow but documented padding.",
        &[
            "snp-report-signature",
            "snp-reserved-zero",
            "tdx-quote-signature",
            "tdx-reserved-zero",
            "azure-hcl-format",
            "nvidia-report-trailing",
            "vtpm-quote-format",
        ],
        "",
    ),
    row(
        "C3",
        "Every certificate, list and document is held against the time that the caller passes in.",
        &[
            "snp-certificate-validity",
            "snp-crl-current",
            "tdx-certificate-validity",
            "tdx-crl-current",
            "tdx-collateral-current",
            "azure-ak-validity",
            "gce-endorsement-validity",
            "gce-vtpm-validity",
            "nvidia-certificate-validity",
            "nvidia-ocsp-current",
            "nvidia-manifest-validity",
            "crl-current",
        ],
        "The Verifier has no clock; `now` is an argument of every function.",
    ),
    row(
        "C4",
        "Older lists and documents than those already seen do not come back.",
        &[
            "snp-collateral-age",
            "tdx-collateral-age",
            "tdx-evaluation-number",
            "nvidia-ocsp-age",
            "gce-endorsement-floor",
        ],
        "Bounded here by age and by floors of the policy; the Verifier has no memory. `attestation/endorser` has one (`ledger`): it takes nothing into the cache that is older than what it has seen of the same issuer and kind.",
    ),
    row(
        "C5",
        "Evidence commits to the verifier's own nonce and to the keys, in all 64 bytes.",
        &[
            "report-data",
            "vtpm-extra-data",
            "nvidia-nonce",
            "statement-format",
            "statement-role",
        ],
        "Compared whole and in constant time. That a nonce is fresh and used once is the caller's duty.",
    ),
    row(
        "C6",
        "Devices beside the processor answer for the same nonce, and the processor's evidence names them.",
        &["statement-devices", "devices-accepted", "nvidia-nonce"],
        "The nonce of a device is derived from the processor's report data, which commits to the device's certificate.",
    ),
    row(
        "C7",
        "The policy names the platforms; no kind of evidence passes as another.",
        &[
            "platform-accepted",
            "snp-report-format",
            "tdx-quote-version",
            "tdx-quote-header",
            "azure-report-type",
        ],
        "",
    ),
    row(
        "C8",
        "A verdict is a value with reasons. Nothing but UpToDate passes by default, and Revoked never.",
        &[
            "tdx-tcb-status",
            "tdx-platform-level",
            "tdx-module-level",
            "tdx-qe-level",
        ],
        "`VerifiedEvidence` is built in one place, from an examination in which every clause passed.",
    ),
    row(
        "C9",
        "Hostile bytes neither stop the verifier nor occupy it.",
        &[],
        "No clause but a property: bounds in every parser, `attestation/fuzz` (one target for each), and `attestation/tests/corpus.rs`, which replays what fuzzing found.",
    ),
    row(
        "C10",
        "Only a key that the evidence names is used.",
        &["report-data"],
        "`sealing::AttestedKey` is bound from `VerifiedEvidence` and from nothing else (invariant I4).",
    ),
    row(
        "C11",
        "Reference values are signed, have versions and expire.",
        &[
            "snp-measurement",
            "tdx-mrtd",
            "nvidia-manifest-signature",
            "gce-endorsement-signature",
        ],
        "Reference values of images stand in the policy, which whoever relies on it keeps and signs; those of manufacturers come in signed documents.",
    ),
    row(
        "C12",
        "Simulated evidence cannot pass for real.",
        &["platform-accepted"],
        "Its own platform tag, signature domain, root and table of the policy (invariant I8).",
    ),
];

const SNP: &[Row] = &[
    row(
        "S1",
        "Only report versions that were read; a version without processor identity only by name.",
        &["snp-report-version"],
        "Versions 2 to 5 are read; 3 and 5 are accepted by default.",
    ),
    row(
        "S2",
        "ECDSA P-384 with SHA-384; the unused parts of R, S and signature area are zero; 0 < R, S < n.",
        &[
            "snp-signature-algorithm",
            "snp-reserved-zero",
            "snp-report-signature",
        ],
        "",
    ),
    row(
        "S3",
        "The signature holds over bytes 0 to 0x2A0 as received, under the leaf's key.",
        &["snp-report-signature"],
        "",
    ),
    row(
        "S4",
        "Leaf, ASK or ASVK and ARK form a chain of RSA-PSS signatures to the root of that generation.",
        &["snp-root", "snp-intermediate-signature", "snp-leaf-signature"],
        "",
    ),
    row(
        "S5",
        "The kind of leaf is the one that the report names, and so is the kind of intermediate.",
        &["snp-signing-key", "snp-leaf-kind", "snp-intermediate-signature"],
        "",
    ),
    row(
        "S6",
        "The leaf's key is P-384, all three are valid, and each extension is there once and agrees with the product.",
        &["snp-certificates", "snp-leaf-profile", "snp-certificate-validity"],
        "",
    ),
    row(
        "S7",
        "The ARK's revocation list is there, signed, fresh, and does not name the intermediate.",
        &[
            "snp-crl-signature",
            "snp-crl-current",
            "snp-collateral-age",
            "snp-not-revoked",
        ],
        "Leaves all have serial 0 and cannot be named.",
    ),
    row(
        "S8",
        "The processor in the report belongs to the generation of the chain; an unknown one is refused.",
        &["snp-generation", "snp-processor-accepted"],
        "",
    ),
    row(
        "S9",
        "REPORTED_TCB is the TCB in the leaf, component by component, with reserved bytes zero.",
        &["snp-tcb-layout", "snp-tcb-certified", "snp-leaf-profile"],
        "",
    ),
    row(
        "S10",
        "reported <= committed <= current, launch <= current, for TCB and firmware.",
        &["snp-tcb-order", "snp-firmware-order"],
        "Equality is not asked for: honest platforms commit later.",
    ),
    row(
        "S11",
        "Least versions for each model and stepping, on reported, committed and launch TCB and on the firmware.",
        &[
            "snp-processor-accepted",
            "snp-tcb-reported",
            "snp-tcb-committed",
            "snp-tcb-launch",
            "snp-firmware",
        ],
        "",
    ),
    row(
        "S12",
        "The chip is the one in the VCEK; a VLEK is of a provider that the policy names.",
        &["snp-chip-id", "snp-vlek-provider", "snp-enrolled-machine"],
        "A masked chip id under a VCEK is refused.",
    ),
    row(
        "S13",
        "The chip key is not masked.",
        &["snp-chip-key-unmasked"],
        "",
    ),
    row(
        "S14",
        "The guest demanded no debugging, no migration agent, and what else the policy wants.",
        &[
            "snp-debug",
            "snp-migration",
            "snp-policy-reserved",
            "snp-policy-required",
            "snp-policy-allowed",
            "snp-policy-abi",
        ],
        "",
    ),
    row(
        "S15",
        "The platform shows what the policy wants: ECC, alias check, and so on.",
        &["snp-platform-info"],
        "Unknown bits are tolerated and shown by `adyton inspect`.",
    ),
    row(
        "S16",
        "The privilege level is the expected one.",
        &["snp-vmpl"],
        "",
    ),
    row(
        "S17",
        "Measurement, host data, SVN, family, image, identity and author key are the expected ones.",
        &[
            "snp-measurement",
            "snp-host-data",
            "snp-guest-svn",
            "snp-family-id",
            "snp-image-id",
            "snp-id-key",
            "snp-author-key",
        ],
        "",
    ),
    row(
        "S18",
        "REPORT_DATA is the expected value, whole.",
        &["report-data"],
        "",
    ),
    row(
        "S19",
        "The guest is nobody's clone: REPORT_ID_MA is unset.",
        &["snp-migration"],
        "That REPORT_ID occurs once would need a memory, which the Verifier does not have; the nonce keeps old reports out.",
    ),
    row(
        "S20",
        "Mitigations that the policy names were on at launch and are on.",
        &["snp-mitigations"],
        "",
    ),
    row(
        "S21",
        "Milan under a VCEK is refused unless the policy names it.",
        &["snp-signing-key"],
        "Exception `milan-vcek`.",
    ),
    row(
        "S22",
        "The host's certificate table is read as hostile input.",
        &[],
        "Read by the attester (`attestation/attester/src/certificate_table.rs`); the Verifier takes single documents and never the table.",
    ),
];

const TDX: &[Row] = &[
    row(
        "T1",
        "Version, key type, TEE type, vendor, body type and sizes are those of a TD quote.",
        &["tdx-quote-version", "tdx-quote-header", "tdx-quote-format"],
        "",
    ),
    row(
        "T2",
        "The attestation key signed header and body; it is a point of the curve.",
        &["tdx-quote-signature"],
        "",
    ),
    row(
        "T3",
        "The quoting enclave's report data commits to the attestation key, and the rest is zero.",
        &["tdx-qe-report-binding"],
        "",
    ),
    row(
        "T4",
        "The PCK signed the quoting enclave's report.",
        &["tdx-qe-report-signature"],
        "",
    ),
    row(
        "T5",
        "The PCK chain leads to Intel's root, of the right kinds, in their time.",
        &[
            "tdx-certificates",
            "tdx-pck-chain",
            "tdx-pck-profile",
            "tdx-certificate-validity",
        ],
        "",
    ),
    row(
        "T6",
        "Both revocation lists are there, signed by the right CA, fresh, and name none of the certificates.",
        &[
            "tdx-crl-signatures",
            "tdx-crl-current",
            "tdx-collateral-age",
            "tdx-not-revoked",
        ],
        "",
    ),
    row(
        "T7",
        "TCB info is signed over its exact bytes, for TDX, and for this FMSPC and PCEID.",
        &[
            "tdx-tcb-signer",
            "tdx-tcb-info-signature",
            "tdx-tcb-info-subject",
            "tdx-collateral-current",
        ],
        "",
    ),
    row(
        "T8",
        "The QE identity is signed, that of the TD quoting enclave, and the enclave has it.",
        &[
            "tdx-qe-identity-signature",
            "tdx-qe-identity-subject",
            "tdx-quoting-enclave",
            "tdx-qe-level",
        ],
        "",
    ),
    row(
        "T9",
        "The platform's level is found from SGX components, PCESVN and TDX components.",
        &["tdx-platform-level"],
        "",
    ),
    row(
        "T10",
        "The TDX module has the identity that Intel lists for it.",
        &["tdx-module-identity", "tdx-module-level"],
        "",
    ),
    row(
        "T11",
        "The worst of platform, module and quoting enclave is the status.",
        &["tdx-tcb-status"],
        "TEE_TCB_SVN_2 of version 5, the module that is loaded now, is shown and not appraised: the one that launched the TD counts.",
    ),
    row(
        "T12",
        "The evaluation data number is at least the policy's; the lower of the two documents counts.",
        &["tdx-evaluation-number"],
        "",
    ),
    row(
        "T13",
        "No debugging, no migration, SEPT_VE_DISABLE set, reserved attributes zero.",
        &["tdx-debug", "tdx-attributes"],
        "Whole values of TDATTRIBUTES are listed in the policy.",
    ),
    row("T14", "XFAM is one that the policy lists.", &["tdx-xfam"], ""),
    row(
        "T15",
        "The TDX module is Intel's.",
        &["tdx-module-identity", "tdx-module-level"],
        "MRSEAM is not compared: signer, attributes and level of Intel's document decide.",
    ),
    row(
        "T16",
        "MRTD, the four RTMRs, MRCONFIGID, MROWNER and MROWNERCONFIG are the expected ones.",
        &[
            "tdx-mrtd",
            "tdx-rtmr0",
            "tdx-rtmr1",
            "tdx-rtmr2",
            "tdx-rtmr3",
            "tdx-mrconfigid",
            "tdx-mrowner",
            "tdx-mrownerconfig",
        ],
        "",
    ),
    row("T17", "No service TD.", &["tdx-service-td"], ""),
    row(
        "T18",
        "REPORTDATA is the expected value, whole.",
        &["report-data"],
        "",
    ),
    row(
        "T19",
        "An event log replays to the registers, its digests are those of its data, and nothing is doubled.",
        &[
            "tdx-event-log",
            "tdx-event-digests",
            "tdx-event-order",
            "tdx-rtmr0-replay",
            "tdx-rtmr1-replay",
            "tdx-rtmr2-replay",
            "tdx-rtmr3-replay",
        ],
        "",
    ),
    row(
        "T20",
        "The machine is one that the policy knows.",
        &["tdx-enrolled-machine", "tdx-pck-profile"],
        "Flags of the PCK (dynamic platform, cached keys, SMT) are read and not judged: every current platform has them.",
    ),
    row(
        "T21",
        "Zero padding only after the signature; a PCK chain may end in NUL.",
        &["tdx-reserved-zero", "tdx-certificates"],
        "",
    ),
    row(
        "T22",
        "A workload in a nested VM is not the TD that the quote describes.",
        &[],
        "Nothing in a quote shows it. Our images run no nested guest, and MRTD and RTMRs pin the image.",
    ),
];

const AZURE: &[Row] = &[
    row(
        "A1",
        "Magic, version, sizes, report type and hash type of the HCL report are known ones.",
        &[
            "azure-evidence-format",
            "azure-hcl-format",
            "azure-hcl-version",
            "azure-report-type",
            "azure-hash-type",
        ],
        "",
    ),
    row(
        "A2",
        "The hardware's report or quote passes its own platform's checks; TD report and TD quote agree.",
        &["azure-td-report", "azure-td-quote", "snp-vmpl", "tdx-attributes"],
        "Every clause of SNP or TDX is asked.",
    ),
    row(
        "A3",
        "The hardware's report data is the hash of the runtime data, and the rest is zero.",
        &["azure-runtime-data-hash"],
        "",
    ),
    row(
        "A4",
        "The key in the runtime data signed the quote, over our nonce and keys, whole.",
        &[
            "azure-attestation-key",
            "vtpm-quote-kind",
            "vtpm-quote-signature",
            "vtpm-extra-data",
        ],
        "",
    ),
    row(
        "A5",
        "The quote covers exactly one bank, SHA-256, and exactly the PCRs of the policy.",
        &[
            "vtpm-pcr-bank",
            "vtpm-pcr-selection",
            "vtpm-pcr-count",
            "vtpm-pcr-digest",
        ],
        "",
    ),
    row(
        "A6",
        "The key's certificate, if there is one, leads to Azure's root and is of this key.",
        &[
            "azure-ak-certificates",
            "azure-ak-chain",
            "azure-ak-validity",
            "azure-ak-key",
        ],
        "",
    ),
    row(
        "A7",
        "The runtime data are unambiguous, and their settings are the policy's.",
        &[
            "azure-runtime-data",
            "azure-secure-boot",
            "azure-tpm-enabled",
            "azure-tpm-persisted",
            "azure-console",
            "azure-interactive-console",
            "azure-ipmi",
            "azure-filtered-devices",
            "azure-root-certificate",
            "azure-vm-id",
            "azure-other-settings",
            "azure-user-data",
        ],
        "",
    ),
    row(
        "A8",
        "PCR values are the policy's; an event log, if there is one, replays to them.",
        &["vtpm-pcr-values", "vtpm-event-log"],
        "",
    ),
    row(
        "A9",
        "Reset counter and firmware version of the vTPM are kept for whoever compares them over time.",
        &[],
        "In `VtpmClaims`. Comparing two appraisals is the caller's work: the Verifier has no memory.",
    ),
    row(
        "A10",
        "The paravisor is measured and its measurement is an expected one.",
        &["snp-measurement", "tdx-mrtd"],
        "",
    ),
];

const GOOGLE: &[Row] = &[
    row(
        "G1",
        "The kernel's interface answers for the platform that was asked, and for one request.",
        &[],
        "Done by the attester (`attestation/attester/src/tsm`): provider and generation counter are compared.",
    ),
    row(
        "G2",
        "Reports and quotes pass their own platform's checks; padding after a quote is zero.",
        &["snp-report-version", "tdx-reserved-zero"],
        "Every clause of SNP or TDX is asked. Report version 4 only where the policy names it.",
    ),
    row(
        "G3",
        "Google's endorsement of the firmware is signed under Google's root and covers this measurement in this size of machine.",
        &[
            "gce-endorsement-format",
            "gce-endorsement-chain",
            "gce-endorsement-signature",
            "gce-endorsement-validity",
            "gce-endorsement-measurement",
        ],
        "",
    ),
    row(
        "G4",
        "Old endorsed firmware does not come back.",
        &["gce-endorsement-floor"],
        "",
    ),
    row(
        "G5",
        "The event log replays to the registers.",
        &[
            "tdx-rtmr0-replay",
            "tdx-rtmr1-replay",
            "tdx-rtmr2-replay",
            "tdx-rtmr3-replay",
            "tdx-event-order",
        ],
        "Canonical (CEL) logs of Confidential Space are not read; their register is compared with whole values.",
    ),
    row(
        "G6",
        "The vTPM's key is certified for the expected instance; what the vTPM says is not taken against the host.",
        &[
            "gce-vtpm-chain",
            "gce-vtpm-key",
            "gce-vtpm-instance-info",
            "gce-vtpm-production",
            "gce-vtpm-project",
            "gce-vtpm-zone",
            "gce-vtpm-instance-id",
        ],
        "A device of the bundle where the policy has `[gce_vtpm]`; it adds no assurance.",
    ),
    row(
        "G7",
        "A vTPM quote beside the processor's evidence answers for the same nonce.",
        &["vtpm-extra-data", "devices-accepted"],
        "The vTPM signs qualifying data derived from the processor's report data. A bundle with one that the policy does not ask for is refused.",
    ),
];

const NVIDIA: &[Row] = &[
    row(
        "N1",
        "An SPDM 1.1 exchange over all measurements, of exact length.",
        &[
            "nvidia-report-format",
            "nvidia-report-request",
            "nvidia-report-trailing",
        ],
        "",
    ),
    row(
        "N2",
        "The request's nonce is the verifier's.",
        &["nvidia-nonce"],
        "",
    ),
    row(
        "N3",
        "Signature over request and response; chain to NVIDIA's root; firmware identity of leaf and report agree.",
        &[
            "nvidia-report-signature",
            "nvidia-certificate-chain",
            "nvidia-fwid",
        ],
        "",
    ),
    row(
        "N4",
        "OCSP for every link below the root, signed by who may answer, fresh; on hold is not good.",
        &[
            "nvidia-ocsp-responses",
            "nvidia-not-revoked",
            "nvidia-ocsp-current",
            "nvidia-ocsp-age",
        ],
        "Left out only by the exception `no-revocation-check`, which the clause then names.",
    ),
    row(
        "N5",
        "Reference manifests of driver and VBIOS are NVIDIA's, of this device, and every active measurement agrees.",
        &[
            "nvidia-manifest-format",
            "nvidia-manifest-signature",
            "nvidia-manifest-chain",
            "nvidia-manifest-validity",
            "nvidia-manifest-subject",
            "nvidia-manifests-disjoint",
            "nvidia-measurements",
        ],
        "Measurements are passed over only by number and reason in the policy.",
    ),
    row(
        "N6",
        "Confidential mode is on, debugging is off, the video decoder is in the expected state.",
        &[
            "nvidia-mode",
            "nvidia-firmware-state",
            "nvidia-video-decoder",
            "nvidia-one-mode",
        ],
        "",
    ),
    row(
        "N7",
        "All devices of the machine are there, each once, and their links lead to one another.",
        &[
            "nvidia-device-count",
            "nvidia-devices-distinct",
            "nvidia-topology",
        ],
        "Which GPU is at which link of a switch is not shown by any report.",
    ),
    row(
        "N8",
        "Least versions of driver and VBIOS, by architecture.",
        &[
            "nvidia-versions",
            "nvidia-minimum-driver",
            "nvidia-minimum-vbios",
            "nvidia-accepted-architecture",
        ],
        "",
    ),
    row(
        "N9",
        "The architecture in the report is that of the certificates.",
        &["nvidia-architecture", "nvidia-device-identity"],
        "",
    ),
];

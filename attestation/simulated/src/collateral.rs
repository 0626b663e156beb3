//! What the simulated Intel publishes: TCB info and QE identity (Provisioning Certification Service
//! API v4), about the one machine of [`crate::tdx`].

use crate::adversary::Publication;
use crate::certificate::Validity;
use crate::tdx::{COMPONENTS, FMSPC, PCEID, PCESVN, QE_PRODUCT, QE_SVN};

/// `tcbInfo`: the machine's level, and one for whatever is below it.
pub(crate) fn tcb_info(validity: Validity, publication: &Publication) -> String {
    let components = |svns: &[u8; 16]| {
        let list: Vec<_> = svns.iter().map(|svn| format!("{{\"svn\":{svn}}}")).collect();
        list.join(",")
    };
    let module = "\"mrsigner\":\"000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\",\"attributes\":\"0000000000000000\",\"attributesMask\":\"FFFFFFFFFFFFFFFF\"";
    let level = |svns: &[u8; 16], pcesvn: u8, status: &str| {
        format!(
            "{{\"tcb\":{{\"sgxtcbcomponents\":[{}],\"pcesvn\":{pcesvn},\"tdxtcbcomponents\":[{}]}},\"tcbDate\":\"{}\",\"tcbStatus\":\"{status}\",\"advisoryIDs\":[{}]}}",
            components(svns),
            components(&[5, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            validity.not_before,
            publication
                .advisories
                .iter()
                .map(|id| format!("\"{id}\""))
                .collect::<Vec<_>>()
                .join(","),
        )
    };
    format!(
        "{{\"id\":\"{}\",\"version\":3,\"issueDate\":\"{}\",\"nextUpdate\":\"{}\",\"fmspc\":\"{}\",\"pceId\":\"{}\",\"tcbType\":0,\"tcbEvaluationDataNumber\":{},\"tdxModule\":{{{module}}},\"tdxModuleIdentities\":[{{\"id\":\"TDX_01\",{module},\"tcbLevels\":[{}]}}],\"tcbLevels\":[{},{}]}}",
        publication.tcb_info_id,
        validity.not_before,
        validity.not_after,
        hex::encode_upper(FMSPC),
        hex::encode_upper(PCEID),
        publication.tcb_info_evaluation_number,
        isv_level(11, publication.module_status, validity),
        level(&COMPONENTS, PCESVN, publication.platform_status),
        level(&[0; 16], 0, "OutOfDate"),
    )
}

/// `enclaveIdentity` of the quoting enclave.
pub(crate) fn qe_identity(validity: Validity, signer: &[u8; 32], publication: &Publication) -> String {
    format!(
        "{{\"id\":\"{}\",\"version\":2,\"issueDate\":\"{}\",\"nextUpdate\":\"{}\",\"tcbEvaluationDataNumber\":{},\"miscselect\":\"00000000\",\"miscselectMask\":\"FFFFFFFF\",\"attributes\":\"11000000000000000000000000000000\",\"attributesMask\":\"FBFFFFFFFFFFFFFF0000000000000000\",\"mrsigner\":\"{}\",\"isvprodid\":{QE_PRODUCT},\"tcbLevels\":[{}]}}",
        publication.qe_identity_id,
        validity.not_before,
        validity.not_after,
        publication.qe_identity_evaluation_number,
        hex::encode_upper(signer),
        isv_level(QE_SVN, publication.qe_status, validity),
    )
}

fn isv_level(isvsvn: u16, status: &str, validity: Validity) -> String {
    format!(
        "{{\"tcb\":{{\"isvsvn\":{isvsvn}}},\"tcbDate\":\"{}\",\"tcbStatus\":\"{status}\"}}",
        validity.not_before
    )
}

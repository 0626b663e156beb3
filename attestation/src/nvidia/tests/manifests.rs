//! For each rule on manifests a document that breaks it, and the ways to wrap a signature.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;

use super::authority::{HOUR, NOW, before};
use super::failed;
use super::machine::{Machine, signed_info};
use crate::Outcome;
use crate::examination::Examination;
use crate::nvidia::{MANIFEST_RULES, appraisal};

/// The clauses that fail on this manifest alone.
fn with_driver(machine: &Machine, document: &str) -> BTreeSet<&'static str> {
    let mut examination = Examination::new(NOW);
    appraisal::examine(&mut examination, document.as_bytes(), &machine.anchors().manifest);
    let clauses = examination.conclude(&[MANIFEST_RULES]).clauses;
    let failed = clauses.iter().filter(|clause| clause.outcome == Outcome::Fail);
    failed.map(|clause| clause.id).collect()
}

fn document(machine: &Machine) -> String {
    machine.driver.as_ref().expect("a manifest").document()
}

#[test]
fn a_manifest_must_be_signed_by_a_signer_below_the_root() {
    let machine = Machine::new();
    let good = document(&machine);
    assert_eq!(with_driver(&machine, &good), [].into());
    for (rule, change) in [
        (
            "nvidia-manifest-chain",
            (|machine| machine.driver.as_mut().expect("one").chain[3].key = 44) as fn(&mut Machine),
        ),
        ("nvidia-manifest-chain", |machine| {
            machine.driver.as_mut().expect("one").chain[1].usage = 0x80;
        }),
        ("nvidia-manifest-validity", |machine| {
            machine.driver.as_mut().expect("one").chain[0].not_after = before(HOUR);
        }),
        ("nvidia-manifest-signature", |machine| {
            machine.driver.as_mut().expect("one").chain[0].usage = 0x40;
        }),
    ] {
        let mut machine = Machine::new();
        change(&mut machine);
        let mut clauses = failed(&machine.explain());
        // Nobody answers for what another root issued.
        clauses.remove("nvidia-ocsp-responses");
        assert_eq!(clauses, [rule].into(), "{rule}");
    }
    let others = ["nvidia-manifest-format", "nvidia-manifest-signature"];
    let tested = ["nvidia-manifest-chain", "nvidia-manifest-validity"];
    assert!(
        MANIFEST_RULES
            .iter()
            .all(|rule| others.contains(&rule.id) || tested.contains(&rule.id))
    );
}

#[test]
fn changed_content_breaks_the_signature() {
    let machine = Machine::new();
    let good = document(&machine);
    for (from, to) in [
        ("tagId=\"1\"", "tagId=\"2\""),
        ("active=\"False\"", "active=\"False\" "),
        ("</n0:Payload>", "</n0:Payload> "),
        ("name=\"GH100\"", "name=\"GH100&amp;\""),
        ("<ds:DigestValue>", "<ds:DigestValue>\n"),
        ("URI=\"\"><", "URI=\"\"> <"),
    ] {
        let expected = match good.replacen(from, to, 1) {
            changed if changed == good => panic!("{from}"),
            changed => with_driver(&machine, &changed),
        };
        // White space inside a tag is no content, and canonical XML drops it.
        let same = to == "active=\"False\" ";
        let clauses = if same {
            &[][..]
        } else {
            &["nvidia-manifest-signature"]
        };
        assert_eq!(expected, clauses.iter().copied().collect(), "{to}");
    }
    // Spellings with one canonical form are one document.
    for (from, to) in [
        ("name=\"GH100\" tagId=\"1\"", "tagId='1'\n name=\"GH100\""),
        (
            "<SoftwareIdentity",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<SoftwareIdentity",
        ),
        ("size=\"48\"/>", "size=\"48\"></n0:Resource>"),
        ("\n <n0:Meta", "\r\n <n0:Meta"),
    ] {
        let spelled = good.replacen(from, to, 1);
        assert_ne!(spelled, good, "{from}");
        assert_eq!(with_driver(&machine, &spelled), [].into(), "{to}");
    }
}

/// Signed documents whose signature is of another form than the one that is read.
#[test]
fn other_signatures_are_refused_even_if_they_hold() {
    let machine = Machine::new();
    let manifest = machine.driver.as_ref().expect("a manifest");
    let content = manifest.content();
    let again = manifest.sign(&content, &signed_info);
    assert_eq!(with_driver(&machine, &again), [].into());
    for (from, to) in [
        ("URI=\"\"", "URI=\"#a\""),
        (" URI=\"\"", ""),
        ("<ds:Reference URI=\"\"", "<ds:Reference Id=\"a\" URI=\"\""),
        ("<ds:SignedInfo>", "<ds:SignedInfo Id=\"a\">"),
        (
            "xml-c14n11\"/><ds:SignatureMethod",
            "xml-exc-c14n#\"/><ds:SignatureMethod",
        ),
        (
            "http://www.w3.org/2006/12/xml-c14n11\"/></ds:Transforms>",
            "http://www.w3.org/TR/1999/REC-xslt-19991116\"/></ds:Transforms>",
        ),
        (
            "<ds:Transform Algorithm=\"http://www.w3.org/2006/12/xml-c14n11\"/>",
            "",
        ),
        (
            "<ds:Transform Algorithm=\"http://www.w3.org/2000/09/xmldsig#enveloped-signature\"/>",
            "",
        ),
        ("ecdsa-sha384", "ecdsa-sha256"),
        ("xmldsig-more#sha384", "xmldsig-more#sha224"),
        ("</ds:Reference>", "</ds:Reference><ds:Reference URI=\"\"/>"),
        (
            "<ds:SignatureMethod Algorithm",
            "<ds:SignatureMethod Other=\"\" Algorithm",
        ),
        ("<ds:SignatureMethod", "text<ds:SignatureMethod"),
        ("<ds:DigestValue>", "<ds:DigestValue Id=\"a\">"),
        ("<ds:Transforms>", "<ds:Transforms Id=\"a\">"),
    ] {
        let info = |digest: &str| {
            let info = signed_info(digest);
            let changed = info.replacen(from, to, 1);
            assert_ne!(info, changed, "{from}");
            changed
        };
        let signed = manifest.sign(&content, &info);
        assert_eq!(
            with_driver(&machine, &signed),
            ["nvidia-manifest-format"].into(),
            "{to}"
        );
    }
}

/// The certificates stand outside what is signed: their place has one form.
#[test]
fn certificates_of_a_manifest_have_one_form() {
    let mut machine = Machine::new();
    let good = document(&machine);
    for (from, to) in [
        ("<ds:X509Data>", "<ds:X509Data Id=\"a\">"),
        ("<ds:X509Data>", "<ds:X509Data>text"),
        ("<ds:KeyInfo>", "<ds:KeyInfo>text"),
        ("<ds:KeyInfo>", "<ds:KeyInfo Id=\"a\">"),
        ("<ds:SignatureValue>", "<ds:SignatureValue Id=\"a\">"),
        ("<ds:X509Certificate>", "<ds:X509Certificate Id=\"a\">"),
        ("<ds:X509Certificate>", "<ds:X509Certificate>!"),
        ("</ds:X509Data>", "<ds:X509SKI>AAAA</ds:X509SKI></ds:X509Data>"),
    ] {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good, "{from}");
        let clauses = with_driver(&machine, &changed);
        assert_eq!(clauses, ["nvidia-manifest-format"].into(), "{to}");
    }
    let (start, end) = (good.find("<ds:X509Certificate>"), good.find("</ds:X509Data>"));
    let none = [&good[..start.expect("one")], &good[end.expect("its end")..]].concat();
    assert_eq!(with_driver(&machine, &none), ["nvidia-manifest-format"].into());
    // Eight are read, of which no path is made here, and nine are not.
    for (certificates, clause) in [(8, "nvidia-manifest-chain"), (9, "nvidia-manifest-format")] {
        let manifest = machine.driver.as_mut().expect("a manifest");
        let last = manifest.chain.last().expect("a root").clone();
        manifest.chain.resize(certificates, last);
        let many = document(&machine);
        assert!(with_driver(&machine, &many).contains(clause), "{certificates}");
    }
}

#[test]
fn wrapped_signatures_are_refused() {
    let machine = Machine::new();
    let good = document(&machine);
    let start = good.find("<ds:Signature ").expect("the signature");
    let end = good.find("</SoftwareIdentity>").expect("the end");
    let signature = &good[start..end];
    let evil = good[..start].replace("0303", "0404");
    let swid = "xmlns=\"http://standards.iso.org/iso/19770/-2/2015/schema.xsd\"";
    for (what, document) in [
        (
            "twice signed",
            format!("{}{signature}{signature}</SoftwareIdentity>", &good[..start]),
        ),
        (
            "moved into the payload",
            good[..start].replace("</n0:Payload>", &format!("{signature}</n0:Payload>"))
                + "</SoftwareIdentity>",
        ),
        (
            "the original inside its forgery",
            format!("{evil}<Original>{good}</Original></SoftwareIdentity>"),
        ),
        (
            "the original inside an object",
            format!(
                "{evil}{}</SoftwareIdentity>",
                signature.replace(
                    "</ds:Signature>",
                    &format!("<ds:Object>{good}</ds:Object></ds:Signature>")
                )
            ),
        ),
        (
            "a root around it",
            format!("<SoftwareIdentity {swid}>{good}</SoftwareIdentity>"),
        ),
        ("another root", format!("<Tags>{good}</Tags>")),
        ("two roots", format!("{good}{good}")),
        ("no signature", good.replace(signature, "")),
        (
            "a key by value",
            good.replace("<ds:X509Data>", "<ds:KeyValue/><ds:X509Data>"),
        ),
        (
            "a second payload",
            good.replace("</n0:Payload>", "</n0:Payload><n0:Payload/>"),
        ),
        (
            "text beside the payload",
            good.replace("</n0:Payload>", "</n0:Payload>text"),
        ),
    ] {
        assert_eq!(
            with_driver(&machine, &document),
            ["nvidia-manifest-format"].into(),
            "{what}"
        );
    }
    let forged = format!("{evil}{signature}</SoftwareIdentity>");
    let clauses = with_driver(&machine, &forged);
    assert!(clauses.contains("nvidia-manifest-signature"), "{clauses:?}");
}

/// Constructs of XML that two readers may read differently, each before signing: they are refused, not
/// only the signature.
#[test]
fn doubtful_xml_is_refused() {
    let machine = Machine::new();
    let good = document(&machine);
    for (from, to) in [
        (
            "<SoftwareIdentity",
            "<!DOCTYPE x [<!ENTITY e \"v\">]><SoftwareIdentity",
        ),
        ("<n0:Payload>", "<!-- note --><n0:Payload>"),
        ("<n0:Payload>", "<?note?><n0:Payload>"),
        ("<n0:Payload>", "<n0:Payload><![CDATA[ ]]>"),
        ("GH100", "&#71;H100"),
        ("GH100", "&e;"),
        ("GH100", "GH100&"),
        ("name=\"GH100\"", "name=\"GH100\" name=\"GH100\""),
        ("name=\"GH100\"", "xml:lang=\"en\" name=\"GH100\""),
        ("name=\"GH100\"", "xmlns:n3=\"\" name=\"GH100\""),
        ("name=\"GH100\"", "xmlns:n3=\"relative\" name=\"GH100\""),
        ("name=\"GH100\"", "n9:name=\"GH100\""),
        ("name=\"GH100\"", "name=GH100"),
        ("name=\"GH100\"", "name=\"<\""),
        ("name=\"GH100\" tagId", "name=\"GH100\"tagId"),
        ("<n0:Payload>", "<n0:Payload>]]>"),
        ("</n0:Payload>", "</n0:Paiload>"),
        ("</n0:Payload>", "</n2:Payload>"),
        ("<n0:Payload>", "<n0:Payload>\u{1}"),
        ("<n0:Payload>", "<n0:Pa\u{e4}load>"),
        ("<n0:Payload>", "<n0:a:Payload>"),
        ("</SoftwareIdentity>\n", "</SoftwareIdentity>\n<a/>"),
        ("<SoftwareIdentity", "text<SoftwareIdentity"),
        ("<SoftwareIdentity", "<?xml version=\"1.1\"?><SoftwareIdentity"),
        (
            "<SoftwareIdentity",
            "<?xml version=\"1.0\" encoding=\"UTF-16\"?><SoftwareIdentity",
        ),
    ] {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good, "{from}");
        assert_eq!(
            with_driver(&machine, &changed),
            ["nvidia-manifest-format"].into(),
            "{to}"
        );
    }
    let deep = "<a>".repeat(60) + &"</a>".repeat(60);
    let wide = "<n0:Resource/>".repeat(5000);
    for inserted in [deep, wide] {
        let changed = good.replacen("<n0:Payload>", &format!("<n0:Payload>{inserted}"), 1);
        assert_eq!(with_driver(&machine, &changed), ["nvidia-manifest-format"].into());
    }
    let huge = good.clone() + &" ".repeat(300 * 1024);
    assert_eq!(with_driver(&machine, &huge), ["nvidia-manifest-format"].into());
}

/// Signed, but not a manifest as NVIDIA writes them.
#[test]
fn signed_manifests_of_another_form_are_refused() {
    let machine = Machine::new();
    let manifest = machine.driver.as_ref().expect("a manifest");
    let content = manifest.content();
    let second = "<n0:Resource type=\"Measurement\" index=\"2\"";
    for (from, to) in [
        (
            "<SoftwareIdentity xmlns=\"http://standards.iso.org/iso/19770/-2/2015/schema.xsd\"",
            "<SoftwareIdentity xmlns=\"http://other/schema.xsd\"",
        ),
        (
            "FirmwareManufacturerId=\"5703\"",
            "FirmwareManufacturerId=\"5704\"",
        ),
        ("n1:FirmwareManufacturerId", "FirmwareManufacturerId"),
        ("colloquialVersion", "colloquial"),
        (second, "<n0:Resource type=\"Measurement\" index=\"3\""),
        (second, "<n0:Resource type=\"Measurement\" index=\"255\""),
        (second, "<n0:Resource type=\"Other\" index=\"2\""),
        (second, "<n0:Other type=\"Measurement\" index=\"2\""),
        (
            "active=\"True\" alternatives=\"2\"",
            "active=\"true\" alternatives=\"2\"",
        ),
        ("alternatives=\"2\"", "alternatives=\"1\""),
        ("alternatives=\"2\"", "alternatives=\"3\""),
        ("alternatives=\"2\"", "alternatives=\"2\" optional=\"True\""),
        ("n2:Hash1", "Hash1"),
        ("n2:Hash1=\"03", "n2:Hash1=\"3"),
        (
            "<n0:Payload>",
            "<ds:Object xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"/><n0:Payload>",
        ),
        ("size=\"48\"", "size=\"32\""),
        ("<n0:Payload>", "<n0:Payload>text"),
    ] {
        let changed = content.replacen(from, to, 1);
        assert_ne!(changed, content, "{from}");
        let signed = manifest.sign(&changed, &signed_info);
        assert_eq!(
            with_driver(&machine, &signed),
            ["nvidia-manifest-format"].into(),
            "{to}"
        );
    }
    let inactive = content.replace("active=\"True\"", "active=\"False\"");
    let signed = manifest.sign(&inactive, &signed_info);
    assert_eq!(with_driver(&machine, &signed), ["nvidia-manifest-format"].into());
    let entities = content.replacen("GH100", "&quot;&lt;&gt;&apos;&amp;", 1);
    let signed = manifest.sign(&entities, &signed_info);
    assert_eq!(with_driver(&machine, &signed), [].into());
}

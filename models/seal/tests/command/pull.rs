//! Pulling from a hub, whatever hub and network do.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;

use crate::fake_hub::{COMMIT, Contents, FakeHub, TOKEN};
use crate::{adyton_seal, fails, run, succeeds};

fn weights() -> Vec<u8> {
    (0..5_000_000_u32)
        .flat_map(|n| (n % 251).to_le_bytes())
        .take(5_000_000)
        .collect()
}

fn files() -> BTreeMap<&'static str, Vec<u8>> {
    BTreeMap::from([
        (".gitattributes", b"*.safetensors filter=lfs".to_vec()),
        ("README.md", b"# tiny".to_vec()),
        ("config.json", b"{\"CANARY\": 1}".to_vec()),
        ("model.safetensors", weights()),
        ("pytorch_model.bin", vec![1; 2000]),
        ("tokenizer.json", b"{}".to_vec()),
    ])
}

fn contents() -> Contents {
    Contents {
        files: files(),
        ..Contents::default()
    }
}

fn pull(folder: &Path, hub: &FakeHub) -> Command {
    let key = folder.join("owner.key");
    if !key.exists() {
        succeeds(adyton_seal().args(["keygen", "--out"]).arg(&key));
    }
    let mut command = adyton_seal();
    command.args(["pull", "hf:acme/tiny", "--hub", &hub.url, "--model-key-file"]);
    command.arg(folder.join("model.key")).arg("--owner-key").arg(key);
    command.arg("--out").arg(folder.join("tiny.sealed"));
    command
}

fn inspected(folder: &Path) -> serde_json::Value {
    let sealed = folder.join("tiny.sealed");
    let owner = folder.join("owner.key.pub");
    succeeds(
        adyton_seal()
            .arg("inspect")
            .arg(sealed)
            .arg("--digests")
            .arg("--owner-key")
            .arg(owner),
    )
}

#[test]
fn a_model_is_pulled_sealed_and_opens_with_the_kept_key() {
    let folder = tempfile::tempdir().unwrap();
    let hub = FakeHub::start(contents());
    let pulled = succeeds(&mut pull(folder.path(), &hub));
    let plain_bytes = files()["config.json"].len() + 5_000_000 + 2;
    assert_eq!(
        (&pulled["model_id"], &pulled["files"], &pulled["plain_bytes"]),
        (&"acme/tiny".into(), &3.into(), &plain_bytes.into())
    );
    assert_eq!(inspected(folder.path())["digests_verified"], true);
    let mode = fs::metadata(folder.path().join("model.key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    // Pickles, the page for people and hidden files were not even asked for.
    let asked: Vec<String> = hub
        .asked
        .lock()
        .unwrap()
        .iter()
        .map(|(name, _)| name.clone())
        .collect();
    assert_eq!(asked, ["config.json", "model.safetensors", "tokenizer.json"]);
    assert_eq!(
        fails(&mut pull(folder.path(), &hub), 1),
        "io",
        "the key of another model is never written over"
    );
}

#[test]
fn breaks_of_the_network_cost_no_byte_twice() {
    let folder = tempfile::tempdir().unwrap();
    let hub = FakeHub::start(Contents {
        breaks_after: Some(1_300_000),
        ..contents()
    });
    succeeds(&mut pull(folder.path(), &hub));
    let asked = hub.asked.lock().unwrap().clone();
    let offsets: Vec<u64> = asked
        .iter()
        .filter(|(name, _)| name == "model.safetensors")
        .map(|(_, from)| *from)
        .collect();
    assert_eq!(offsets, [0, 1_300_000, 2_600_000, 3_900_000]);
    inspected(folder.path());
}

#[test]
fn a_pull_that_gave_up_goes_on_with_the_same_command() {
    let folder = tempfile::tempdir().unwrap();
    let hub = FakeHub::start(Contents {
        breaks_after: Some(0),
        ..contents()
    });
    let first = pull(folder.path(), &hub)
        .args(["--file", "README.md"])
        .output()
        .unwrap();
    let said = String::from_utf8(first.stderr).unwrap();
    assert_eq!(first.status.code(), Some(1));
    assert!(
        said.contains("trying again") && said.contains("hint") && said.contains("goes on where it was"),
        "{said}"
    );
    assert!(!folder.path().join("tiny.sealed").exists());
    // Another selection of files is another pull.
    assert_eq!(fails(&mut pull(folder.path(), &hub), 1), "other-arrival");
    hub.breaks_left.store(0, Ordering::Relaxed);
    let pulled = succeeds(pull(folder.path(), &hub).args(["--file", "README.md"]));
    assert_eq!(pulled["files"], 4);
    // The small files, sealed before, were not fetched again.
    let configs = hub
        .asked
        .lock()
        .unwrap()
        .iter()
        .filter(|(name, _)| name == "config.json")
        .count();
    assert_eq!(configs, 1);
    inspected(folder.path());
}

#[test]
fn a_hub_without_ranges_is_read_from_the_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let hub = FakeHub::start(Contents {
        breaks_after: Some(4_000_000),
        without_ranges: true,
        ..contents()
    });
    hub.breaks_left.store(1, Ordering::Relaxed);
    succeeds(&mut pull(folder.path(), &hub));
    inspected(folder.path());
}

#[test]
fn content_that_is_not_what_was_listed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut other = weights();
    other[4_000_000] ^= 1;
    let longer = [weights(), vec![0]].concat();
    for sends_instead in [other, longer] {
        let hub = FakeHub::start(Contents {
            sends_instead: Some(sends_instead),
            ..contents()
        });
        assert_eq!(fails(&mut pull(folder.path(), &hub), 10), "not-as-announced");
        assert!(!folder.path().join("tiny.sealed").exists());
    }
}

#[test]
fn a_private_model_needs_its_token_and_the_token_stays_with_the_hub() {
    let folder = tempfile::tempdir().unwrap();
    let hub = FakeHub::start(Contents {
        private: true,
        ..contents()
    });
    assert_eq!(fails(&mut pull(folder.path(), &hub), 10), "hub-refused");
    let token = folder.path().join("token");
    fs::write(&token, format!("{TOKEN}\n")).unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(
        fails(pull(folder.path(), &hub).arg("--hub-token-file").arg(&token), 1),
        "key-exposed"
    );
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    succeeds(pull(folder.path(), &hub).arg("--hub-token-file").arg(&token));
}

#[test]
fn what_is_not_there_is_said_before_a_key_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let hub = FakeHub::start(contents());
    let of = |repository: &str| {
        let mut command = pull(folder.path(), &hub);
        let arguments: Vec<_> = command.get_args().skip(2).map(ToOwned::to_owned).collect();
        command = adyton_seal();
        command.args(["pull", repository]).args(arguments);
        command
    };
    assert_eq!(fails(&mut of("hf:acme/none"), 10), "hub-refused");
    assert_eq!(fails(&mut of("hf:acme/tiny@v9"), 10), "hub-refused");
    assert_eq!(
        fails(pull(folder.path(), &hub).args(["--file", "absent"]), 1),
        "not-in-repository"
    );
    let pickles = FakeHub::start(Contents {
        files: BTreeMap::from([("pytorch_model.bin", vec![1; 2000])]),
        ..Contents::default()
    });
    assert_eq!(fails(&mut pull(folder.path(), &pickles), 30), "no-weights");
    let nobody = FakeHub {
        url: "http://127.0.0.1:1".to_owned(),
        ..pickles
    };
    assert_eq!(fails(&mut pull(folder.path(), &nobody), 1), "hub-unreachable");
    assert!(!folder.path().join("model.key").exists());
    succeeds(of(&format!("hf:acme/tiny@{COMMIT}")).args(["--model-id", "tiny"]));
}

#[test]
fn pulled_models_are_listed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let hub = FakeHub::start(contents());
    let store = || {
        let mut command = adyton_seal();
        command.env("XDG_DATA_HOME", folder.path());
        command
    };
    let empty = succeeds(store().arg("ls"));
    assert_eq!(empty["models"].as_array().unwrap().len(), 0);
    let arguments: Vec<_> = pull(folder.path(), &hub)
        .get_args()
        .map(ToOwned::to_owned)
        .collect();
    let without_out = &arguments[..arguments.len() - 2];
    succeeds(store().args(without_out));

    let listed = succeeds(
        store()
            .args(["ls", "--owner-key"])
            .arg(folder.path().join("owner.key.pub")),
    );
    let model = &listed["models"][0];
    assert_eq!(
        (&model["model_id"], &model["signature_verified"]),
        (&"acme/tiny".into(), &true.into())
    );
    let table = store().arg("ls").output().unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(
        table.starts_with("MODEL") && table.contains("acme--tiny.sealed"),
        "{table}"
    );
    // Signed by somebody else, or damaged: said in its row, and the others are listed all the same.
    let foreign = folder.path().join("foreign.key");
    succeeds(adyton_seal().args(["keygen", "--out"]).arg(&foreign));
    let listed = succeeds(store().args(["ls", "--owner-key"]).arg(&foreign));
    assert_eq!(listed["models"][0]["error"], "owner-signature");

    assert_eq!(
        fails(store().args(["rm", "acme--tiny.sealed"]), 1),
        "not-confirmed"
    );
    let plain = folder.path().join("plain");
    fs::create_dir(&plain).unwrap();
    let (output, _) = run(store().args(["rm", "--yes"]).arg(&plain));
    assert!(
        !output.status.success() && plain.exists(),
        "what is no sealed model is not removed"
    );
    succeeds(store().args(["rm", "--yes", "acme--tiny.sealed"]));
    assert_eq!(succeeds(store().arg("ls"))["models"].as_array().unwrap().len(), 0);
}

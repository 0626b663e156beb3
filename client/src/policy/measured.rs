//! What an image was measured as (`adyton-host measure`) against what a machine shows of itself.
//!
//! Both are parts of a policy. A draft is what the machine shows; it must say of every measured key what was measured.

use toml::{Table, Value};

use crate::error::ClientError;

/// The keys of the TDX table that say that a register is judged by its events.
pub fn asks_for_events(measured: &Table) -> bool {
    let tdx = measured.get("tdx").and_then(Value::as_table);
    tdx.is_some_and(|tdx| tdx.contains_key("event_digests"))
}

/// Compares each measured key with the draft's.
///
/// # Errors
/// [`ClientError::NotMeasured`] with the first key that differs.
pub fn compare(measured: &Table, draft: &Table) -> Result<(), ClientError> {
    let mut compared = 0;
    table("", measured, draft, &mut compared)?;
    if compared == 0 {
        return Err(ClientError::Usage(
            "the file of measured values has none; `adyton-host measure` writes it".to_owned(),
        ));
    }
    Ok(())
}

fn table(path: &str, measured: &Table, draft: &Table, compared: &mut usize) -> Result<(), ClientError> {
    for (key, measured) in measured {
        let path = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        match (measured, draft.get(key)) {
            (Value::Table(measured), Some(Value::Table(draft))) => table(&path, measured, draft, compared)?,
            (_, shown) => {
                *compared += 1;
                if !shown.is_some_and(|shown| agrees(key, measured, shown)) {
                    return Err(ClientError::NotMeasured {
                        key: path,
                        measured: shorten(measured),
                        shown: shown.map_or_else(|| "nothing".to_owned(), shorten),
                    });
                }
            }
        }
    }
    Ok(())
}

/// The image's events must all be there, among those of firmware. Of other keys the machine shows one value, which must
/// be one of those that were measured (there are several where the number of vCPUs is measured).
fn agrees(key: &str, measured: &Value, shown: &Value) -> bool {
    match (measured, shown) {
        (Value::Array(measured), Value::Array(shown)) if key == "event_digests" => {
            measured.iter().all(|digest| shown.contains(digest))
        }
        (Value::Array(measured), Value::Array(shown)) => {
            !shown.is_empty() && shown.iter().all(|value| measured.contains(value))
        }
        (measured, shown) => measured == shown,
    }
}

fn shorten(value: &Value) -> String {
    const CHARACTERS_MAX: usize = 220;
    let text = value.to_string();
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Table {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    fn refused(measured: &str, draft: &str) -> Option<String> {
        match compare(&parse(measured), &parse(draft)) {
            Ok(()) => None,
            Err(ClientError::NotMeasured { key, .. }) => Some(key),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn every_measured_key_must_be_shown() {
        let draft = "[azure.pcrs]\n4 = ['aa']\n7 = ['ff']\n9 = ['bb']\n10 = 'any'\n";
        assert_eq!(refused("[azure.pcrs]\n4 = ['aa']\n9 = ['bb']\n", draft), None);
        assert_eq!(refused("[azure.pcrs]\n4 = ['aa', 'cc']\n", draft), None);
        for (measured, key) in [
            ("[azure.pcrs]\n4 = ['aa']\n9 = ['b0']\n", "azure.pcrs.9"),
            ("[azure.pcrs]\n4 = ['aa']\n10 = ['bb']\n", "azure.pcrs.10"),
            ("[azure.pcrs]\n4 = ['aa']\n11 = ['bb']\n", "azure.pcrs.11"),
            ("[tdx]\nmrtd = ['aa']\n", "tdx"),
        ] {
            assert_eq!(refused(measured, draft).as_deref(), Some(key));
        }
        assert!(
            compare(&parse(""), &parse(draft)).is_err(),
            "nothing was measured"
        );
        assert!(compare(&parse("[azure.pcrs]\n"), &parse(draft)).is_err());
    }

    #[test]
    fn the_images_events_stand_among_others() {
        let draft = "[tdx]\nrtmr1 = 'events'\nevent_digests = ['01', '02', '03']\n";
        assert_eq!(
            refused("[tdx]\nrtmr1 = 'events'\nevent_digests = ['03', '01']\n", draft),
            None
        );
        assert_eq!(
            refused("[tdx]\nevent_digests = ['03', '04']\n", draft).as_deref(),
            Some("tdx.event_digests")
        );
        assert_eq!(
            refused("[tdx]\nrtmr1 = 'events'\n", "[tdx]\nrtmr1 = ['00']\n").as_deref(),
            Some("tdx.rtmr1")
        );
        assert!(asks_for_events(&parse("[tdx]\nevent_digests = []\n")));
        assert!(!asks_for_events(&parse("[tdx]\nrtmr1 = ['00']\n")));
    }
}

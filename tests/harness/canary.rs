//! Looks for planted secrets where no secret may be: raw and in the encodings a leak would take.
//!
//! A canary that is found names its place and encoding. The search itself is tested with leaks made on purpose.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

/// Bytes read at a time; encodings that lie across two reads are found because reads overlap.
const WINDOW_BYTES: usize = 4 << 20;

/// One secret, by name.
pub struct Canary {
    /// What it is: `prompt`, `model key`…
    pub name: &'static str,
    needles: Vec<(&'static str, Vec<u8>)>,
}

impl Canary {
    /// All the forms under which `secret` (at least 12 bytes, so that chance does not find it) is searched.
    pub fn new(name: &'static str, secret: &[u8]) -> Self {
        assert!(secret.len() >= 12, "{name} is too short to be told from chance");
        let mut needles = vec![
            ("raw", secret.to_vec()),
            ("hex", hex::encode(secret).into_bytes()),
            ("upper-case hex", hex::encode_upper(secret).into_bytes()),
        ];
        // Base64 of the secret inside something else: three alignments, without the characters its neighbours share.
        for skip in 0..3 {
            let whole = &secret[skip..];
            let whole = &whole[..whole.len() - whole.len() % 3];
            needles.push(("base64", STANDARD_NO_PAD.encode(whole).into_bytes()));
            needles.push(("base64url", URL_SAFE_NO_PAD.encode(whole).into_bytes()));
        }
        if let Ok(text) = std::str::from_utf8(secret) {
            let json = serde_json::to_string(text).expect("a string is JSON");
            needles.push(("JSON", json.as_bytes()[1..json.len() - 1].to_vec()));
            let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            needles.push(("escaped JSON", escaped.into_bytes()));
            needles.push((
                "UTF-16LE",
                text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            ));
            needles.push(("percent-encoded", percent(secret).into_bytes()));
        }
        needles.sort_by(|a, b| a.1.cmp(&b.1));
        needles.dedup_by(|a, b| a.1 == b.1);
        Self { name, needles }
    }

    fn find_in(&self, bytes: &[u8]) -> Option<&'static str> {
        self.needles
            .iter()
            .find(|(_, needle)| contains(bytes, needle))
            .map(|(encoding, _)| *encoding)
    }

    fn longest(&self) -> usize {
        self.needles
            .iter()
            .map(|(_, needle)| needle.len())
            .max()
            .unwrap_or(0)
    }
}

/// A canary where it must not be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hit {
    /// Which canary.
    pub canary: &'static str,
    /// In which form.
    pub encoding: &'static str,
    /// Where.
    pub place: String,
}

/// Searches one place that is already in memory.
pub fn search_bytes(place: &str, bytes: &[u8], canaries: &[Canary]) -> Vec<Hit> {
    let hit = |canary: &Canary| {
        canary.find_in(bytes).map(|encoding| Hit {
            canary: canary.name,
            encoding,
            place: place.to_owned(),
        })
    };
    canaries.iter().filter_map(hit).collect()
}

/// Searches every regular file below `root` but those that `exempt` names. Also counts the files and bytes read.
pub fn search_files(root: &Path, canaries: &[Canary], exempt: &dyn Fn(&Path) -> bool) -> (Vec<Hit>, Extent) {
    let mut hits = Vec::new();
    let mut extent = Extent::default();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let Ok(kind) = std::fs::symlink_metadata(&path) else {
            continue;
        };
        if kind.is_dir() {
            open.extend(
                std::fs::read_dir(&path)
                    .into_iter()
                    .flatten()
                    .flatten()
                    .map(|entry| entry.path()),
            );
        } else if kind.is_file() && !exempt(&path) {
            let Ok(file) = File::open(&path) else { continue };
            extent.places += 1;
            extent.bytes += search_stream(&path.display().to_string(), file, u64::MAX, canaries, &mut hits);
        }
    }
    hits.sort();
    hits.dedup();
    (hits, extent)
}

/// Searches the memory of a process: every readable mapping, and its command line and environment.
pub fn search_process(name: &str, pid: u32, canaries: &[Canary]) -> std::io::Result<(Vec<Hit>, Extent)> {
    let mut hits = Vec::new();
    let mut extent = Extent::default();
    let mut memory = File::open(format!("/proc/{pid}/mem"))?;
    for mapping in mappings(pid)? {
        if memory.seek(SeekFrom::Start(mapping.start)).is_err() {
            continue;
        }
        let place = format!("memory of {name}, {}", mapping.what);
        let bytes = search_stream(
            &place,
            &mut memory,
            mapping.end - mapping.start,
            canaries,
            &mut hits,
        );
        extent.places += 1;
        extent.bytes += bytes;
    }
    for file in ["cmdline", "environ"] {
        let bytes = std::fs::read(format!("/proc/{pid}/{file}"))?;
        hits.extend(search_bytes(&format!("{file} of {name}"), &bytes, canaries));
    }
    hits.sort();
    hits.dedup();
    Ok((hits, extent))
}

/// How much was searched: a search of nothing finds nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Extent {
    /// Files or mappings.
    pub places: usize,
    /// Bytes.
    pub bytes: u64,
}

struct Mapping {
    start: u64,
    end: u64,
    what: String,
}

fn mappings(pid: u32) -> std::io::Result<Vec<Mapping>> {
    let maps = BufReader::new(File::open(PathBuf::from(format!("/proc/{pid}/maps")))?);
    let parse = |line: String| {
        let mut fields = line.split_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let readable = fields.next()?.starts_with('r');
        let what = line.split_whitespace().nth(5).unwrap_or("anonymous").to_owned();
        let special = what == "[vvar]" || what == "[vsyscall]" || what.starts_with("[vvar");
        (readable && !special).then_some(Mapping {
            start: u64::from_str_radix(start, 16).ok()?,
            end: u64::from_str_radix(end, 16).ok()?,
            what,
        })
    };
    Ok(maps.lines().map_while(Result::ok).filter_map(parse).collect())
}

/// Reads up to `length` bytes in overlapping windows; returns how many were read.
fn search_stream(
    place: &str,
    stream: impl Read,
    length: u64,
    canaries: &[Canary],
    hits: &mut Vec<Hit>,
) -> u64 {
    let overlap = canaries.iter().map(Canary::longest).max().unwrap_or(0);
    let mut stream = stream.take(length);
    let mut window = Vec::new();
    let mut total = 0;
    loop {
        let kept = window.len();
        let read = stream.by_ref().take(WINDOW_BYTES as u64).read_to_end(&mut window);
        total += (window.len() - kept) as u64;
        hits.extend(search_bytes(place, &window, canaries));
        if read.is_err() || window.len() == kept {
            return total; // a page that went away ends the mapping
        }
        window.drain(..window.len().saturating_sub(overlap));
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    let (Some(&first), Some(&last)) = (needle.first(), needle.last()) else {
        return false;
    };
    let mut from = 0;
    while let Some(at) = haystack[from..].iter().position(|&byte| byte == first) {
        let start = from + at;
        match haystack.get(start..start + needle.len()) {
            Some(candidate) if candidate[needle.len() - 1] == last && candidate == needle => return true,
            Some(_) => from = start + 1,
            None => return false,
        }
    }
    false
}

fn percent(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|&byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const SECRET: &[u8] = b"canary \"with\" quotes, 31 bytes";

    fn forms() -> Vec<Vec<u8>> {
        let text = std::str::from_utf8(SECRET).expect("text");
        vec![
            SECRET.to_vec(),
            hex::encode(SECRET).into_bytes(),
            hex::encode_upper(SECRET).into_bytes(),
            base64::engine::general_purpose::STANDARD
                .encode([b"a", SECRET].concat())
                .into_bytes(),
            base64::engine::general_purpose::STANDARD
                .encode([b"ab", SECRET, b"xyz"].concat())
                .into_bytes(),
            URL_SAFE_NO_PAD.encode([SECRET, b"x"].concat()).into_bytes(),
            serde_json::to_vec(&[text]).expect("JSON"),
            text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            percent(SECRET).into_bytes(),
        ]
    }

    #[test]
    fn each_form_is_found_in_a_file_even_across_windows() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let canaries = [Canary::new("planted", SECRET)];
        for (index, form) in forms().into_iter().enumerate() {
            let path = folder.path().join("leak");
            let mut file = File::create(&path).expect("created");
            file.write_all(&vec![b'.'; WINDOW_BYTES - 7]).expect("written");
            file.write_all(&form).expect("written");
            let (hits, extent) = search_files(folder.path(), &canaries, &|_| false);
            assert_eq!(hits.len(), 1, "form {index}");
            assert_eq!(extent.places, 1);
            assert!(search_files(folder.path(), &canaries, &|_| true).0.is_empty());
        }
    }

    #[test]
    fn nothing_is_found_where_nothing_is() {
        let folder = tempfile::tempdir().expect("temporary folder");
        std::fs::write(folder.path().join("clean"), b"canary with quotes").expect("written");
        let (hits, extent) = search_files(folder.path(), &[Canary::new("planted", SECRET)], &|_| false);
        assert!(hits.is_empty());
        assert_eq!(extent.bytes, 18);
    }

    #[test]
    fn a_secret_in_the_memory_of_a_process_is_found() {
        let secret = hex::encode(std::process::id().to_le_bytes()) + "-held-in-memory-of-sleep";
        let mut child = std::process::Command::new("sleep")
            .arg("30")
            .env("HELD", &secret)
            .spawn()
            .expect("sleep runs");
        std::thread::sleep(std::time::Duration::from_millis(200));
        let found = search_process("sleep", child.id(), &[Canary::new("planted", secret.as_bytes())]);
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        let (hits, extent) = found.expect("its memory can be read");
        assert!(hits.iter().any(|hit| hit.place.contains("memory")), "{hits:?}");
        assert!(extent.bytes > 0);
    }
}

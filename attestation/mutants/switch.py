"""Copies the repository with every mutant in it, each switched on by its number in ADYTON_MUTANT.

One build for each mutant takes days, one build for all of them minutes. A function with mutants becomes a `match` of
the number over copies of its body, one for each mutant; a constant becomes a function likewise. What changes besides:
`const fn` becomes `fn` (a constant cannot ask for a number), `impl Iterator` is boxed (the arms differ in type), and
the tests keep their RSA keys (keys.py).
"""

import re
import subprocess
from pathlib import Path

from keys import keep_keys
from rust import body_start, line_starts

CRATE = "attestation/src/"
# Constants call these, so they stay `const fn`, and their mutants cannot be switched.
CALLED_BY_CONSTANTS = {("examination.rs", "new"), ("time.rs", "from_seconds"), ("nonce.rs", "from_bytes")}
CONSTANT = re.compile(r"\s*(?:pub(?:\([^)]*\))? )?const ([A-Z0-9_]+): (\w+) = (.*);")

SWITCH = r"""
extern crate std as __std;
pub mod __mutants {
    use super::__std as std;
    use std::{io::Write as _, sync::OnceLock, sync::atomic::{AtomicBool, Ordering}};
    static SWITCH: OnceLock<(u32, Option<std::ffi::OsString>)> = OnceLock::new();
    static REACHED: [AtomicBool; 8192] = [const { AtomicBool::new(false) }; 8192];
    /// The number of the mutant. Where ADYTON_MUTANT_REACHED names a file, it gets the number of each function reached.
    pub fn which(function: usize) -> u32 {
        let (mutant, file) = SWITCH.get_or_init(|| {
            let mutant = std::env::var("ADYTON_MUTANT").map_or(0, |text| text.parse().expect("a number"));
            (mutant, std::env::var_os("ADYTON_MUTANT_REACHED"))
        });
        if let Some(file) = file { reached(function, file); }
        *mutant
    }
    #[cold]
    fn reached(function: usize, file: &std::ffi::OsString) {
        if REACHED[function].swap(true, Ordering::Relaxed) { return; }
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).expect("the file opens");
        file.write_all(std::format!("{function}\n").as_bytes()).expect("it is written");
    }
}
"""


def stays_constant(file, name):
    return (file.removeprefix(CRATE), name) in CALLED_BY_CONSTANTS


def without_const(file, text):
    plain = lambda found: found[0] if stays_constant(file, found[1]) else f"fn {found[1]}"
    return re.sub(r"\bconst fn (\w+)", plain, text)


class File:
    """One file's switched text, and on which of its lines each mutant came to stand."""

    def __init__(self, file, text, functions):
        self.file, self.text, self.functions = file, text, functions
        self.starts = line_starts(text)
        self.pieces, self.line, self.lines = [], 1, []

    def place(self, position):
        return self.starts[position["line"] - 1] + position["column"] - 1

    def span(self, span):
        return self.place(span["start"]), self.place(span["end"])

    def number(self, name, ids):
        self.functions.append({"file": self.file, "name": name, "ids": ids})
        return len(self.functions) - 1

    def put(self, text, mutant=None):
        after = self.line + text.count("\n")
        if mutant:
            self.lines.append((self.line, after, mutant))
        self.line = after
        self.pieces.append(text)

    def function(self, start, end, mutants):
        opening = body_start(self.text, start, end)
        head = re.sub(r"\bconst fn\b", "fn", self.text[start:opening], count=1)
        before, after = "", ""
        iterator = re.search(r"-> impl (Iterator<.*>)( \+ 'a)?\s*$", head.strip(), re.S)
        if iterator:
            lifetime = " + '_" if "&self" in head else " + 'a" if "<'a>" in head else ""
            head = head[:head.index("-> impl")] + f"-> alloc::boxed::Box<dyn {iterator[1]}{lifetime}> "
            before, after = "alloc::boxed::Box::new(", ")"
        number = self.number(mutants[0]["function"]["function_name"], [m["id"] for m in mutants])
        self.put(f"{head}{{ match crate::__mutants::which({number}) {{\n")
        for mutant in mutants:
            a, b = self.span(mutant["span"])
            body = self.text[opening:a] + mutant["replacement"] + self.text[b:end]
            self.put(f"{mutant['id']} => {before}{body}{after},\n", mutant["id"])
        self.put(f"_ => {before}{self.text[opening:end]}{after} }} }}")

    def switch_functions(self, mutants):
        spans = sorted({self.span(m["function"]["span"]) for m in mutants})
        outer = [s for s in spans if not any(o != s and o[0] <= s[0] and s[1] <= o[1] for o in spans)]
        done = 0
        for start, end in outer:
            inside = [m for m in mutants if start <= self.place(m["span"]["start"]) < end]
            name = re.search(r"(\bconst )?fn (\w+)", self.text[start:end])
            if name[1] and stays_constant(self.file, name[2]):
                continue
            self.put(without_const(self.file, self.text[done:start]))
            self.function(start, end, inside)
            done = end
        self.put(without_const(self.file, self.text[done:]))

    def switch_constants(self, mutants):
        """After the functions: each constant with mutants gets a function beside it, which all uses call instead."""
        constants = {}
        for mutant in mutants:
            source = self.text.split("\n")[mutant["span"]["start"]["line"] - 1]
            found = CONSTANT.match(source)
            if not found:  # an array's length, say: the report counts it as not switched
                continue
            a, b = mutant["span"]["start"]["column"] - 1, mutant["span"]["end"]["column"] - 1
            mutated = CONSTANT.match(source[:a] + mutant["replacement"] + source[b:])[3]
            constants.setdefault(found[1], (found[2], found[3], []))[2].append((mutant["id"], mutated))
        lines = "".join(self.pieces).split("\n")
        if constants:
            use = re.compile(r"\b(" + "|".join(constants) + r")\b(?!\()")
            called = lambda text: use.sub(r"__\1()", text)
            for index, line in enumerate(lines):
                found = CONSTANT.match(line)
                if found and found[1] in constants:
                    kind, value, changed = constants[found[1]]
                    number = self.number(found[1], [i for i, _ in changed])
                    arms = " ".join(f"{i} => {{ {called(v)} }}" for i, v in changed)
                    lines[index] += (f" fn __{found[1]}() -> {kind} {{ match crate::__mutants::which({number})"
                                     f" {{ {arms} _ => {{ {called(value)} }} }} }}")
                    self.lines += [(index + 1, index + 1, i) for i, _ in changed]
                elif not found and (not re.match(r"\s*(//|pub|use )", line) or " fn " in line):
                    lines[index] = called(line)
        return "\n".join(lines)


def switched(mutants, source, left_out, keys):
    """The changed files' text, the functions with their mutants, and the mutants' lines."""
    files, functions, lines = {}, [], {}
    for file in sorted({m["file"] for m in mutants}):
        chosen = [m for m in mutants if m["file"] == file and m["id"] not in left_out]
        switch = File(file, (source / file).read_text(encoding="utf-8"), functions)
        switch.switch_functions([m for m in chosen if m["function"]])
        files[file] = switch.switch_constants([m for m in chosen if not m["function"]])
        lines[file] = switch.lines
    keep_keys(files, source, keys)
    root = CRATE + "lib.rs"
    text = (source / root).read_text(encoding="utf-8")
    files[root] = text.replace("#![forbid(unsafe_code)]", "#![allow(warnings)]") + SWITCH
    profile = "\n[profile.release.package.adyton-attestation]\nopt-level = 1\ndebug = false\n"
    files["Cargo.toml"] = (source / "Cargo.toml").read_text(encoding="utf-8") + profile
    return files, functions, lines


def copy(source, tree, changed):
    """Writes only what differs, so that cargo builds only what changed; removes what is no longer there."""
    listed = ["git", "-C", str(source), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = {n for n in subprocess.check_output(listed, text=True).split("\0") if n and (source / n).is_file()}
    for name in names:
        text = changed[name].encode() if name in changed else (source / name).read_bytes()
        to = Path(tree, name)
        if not to.is_file() or to.read_bytes() != text:
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(text)
    for old in [p for p in Path(tree).rglob("*") if p.is_file() and str(p.relative_to(tree)) not in names]:
        old.unlink()

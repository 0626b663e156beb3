"""build.py MUTANTS SOURCE OUT FILES: builds the test programs with all mutants of the files that FILES matches.

MUTANTS is what `cargo mutants --list --json` printed. A mutant whose code does not compile is left out of the next
attempt, until the rest compiles. Writes OUT/programs.json: the programs, and each function with its mutants.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from switch import copy, switched

ATTEMPTS = 25
CARGO = ["cargo", "test", "--no-run", "--release", "--locked", "-p", "adyton-attestation", "--lib", "--tests",
         "--message-format=json"]


def digests(source, mutated):
    """Of each file that is mutated, and of all else that verdicts depend on: tests, fixtures, dependencies."""
    listed = ["git", "-C", str(source), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--",
              "attestation", "Cargo.lock", "rust-toolchain.toml"]
    names = sorted(n for n in subprocess.check_output(listed, text=True).split("\0") if n and (source / n).is_file())
    each = {n: hashlib.sha256((source / n).read_bytes()).hexdigest() for n in names
            if not n.startswith("attestation/mutants/") and not n.endswith(".md")}
    rest = json.dumps([(n, d) for n, d in each.items() if n not in mutated])
    return {n: d for n, d in each.items() if n in mutated}, hashlib.sha256(rest.encode()).hexdigest()


def faults(messages, lines):
    """The mutants that the compiler's errors stand in, each with the error; and the errors that stand in none."""
    bad, other = {}, []
    for message in messages:
        if message.get("reason") != "compiler-message" or message["message"]["level"] != "error":
            continue
        error, hit = message["message"], False
        for span in [s for s in error["spans"] if s["is_primary"]] or error["spans"]:
            while span.get("expansion") and span["file_name"] not in lines:
                span = span["expansion"]["span"]
            for first, last, mutant in lines.get(span["file_name"], []):
                if first <= span["line_start"] <= last:
                    bad[mutant], hit = error["message"], True
        if not hit and error["spans"]:
            other.append(error["rendered"])
    return bad, other


def main():
    listing, source, out, files = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    mutants = json.loads(listing.read_text(encoding="utf-8"))
    for number, mutant in enumerate(mutants, 1):
        mutant["id"] = number
    names = {m["id"]: m["name"] for m in mutants}
    others = {m["id"] for m in mutants if not re.search(files, m["file"])}
    if len(others) == len(mutants):
        raise SystemExit(f"no file with mutants matches {files}")
    files_now, tests = digests(source, {m["file"] for m in mutants})
    known = out / "does-not-compile.json"
    kept = json.loads(known.read_text(encoding="utf-8")) if known.exists() else {"files": {}, "mutants": {}}
    failed = {m["id"]: kept["mutants"][m["name"]] for m in mutants
              if m["name"] in kept["mutants"] and kept["files"].get(m["file"]) == files_now[m["file"]]}
    for _ in range(ATTEMPTS):
        changed, functions, lines = switched(mutants, source, others | set(failed), out / "keys")
        copy(source, out / "tree", changed)
        env = dict(os.environ, CARGO_TARGET_DIR=str(out / "target"))
        run = subprocess.run(CARGO, cwd=out / "tree", env=env, capture_output=True, text=True, check=False)
        messages = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
        if run.returncode == 0:
            break
        bad, other = faults(messages, lines)
        print(f"{len(bad)} mutants more do not compile", flush=True)
        if not bad:
            raise SystemExit("\n".join(other) or run.stderr[-3000:])
        failed.update(bad)
        text = json.dumps({"files": files_now, "mutants": {names[i]: error for i, error in failed.items()}})
        known.write_text(text, encoding="utf-8")
    else:
        raise SystemExit(f"does not compile after {ATTEMPTS} attempts")
    programs = {m["target"]["name"]: m["executable"] for m in messages if m.get("executable")}
    (out / "keys").mkdir(exist_ok=True)
    built = {"files": files_now, "tests": tests, "programs": programs, "functions": functions, "names": names,
             "failed": {i: e for i, e in failed.items() if i not in others},
             "chosen": sorted(set(names) - others)}
    built["build"] = hashlib.sha256(json.dumps([files_now, tests, functions]).encode()).hexdigest()
    (out / "programs.json").write_text(json.dumps(built), encoding="utf-8")
    print(f"{len(built['chosen'])} mutants in {len(programs)} test programs; {len(built['failed'])} do not compile")


main()

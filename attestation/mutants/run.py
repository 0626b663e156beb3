"""run.py OUT SECONDS: gives each mutant the tests that reach it, quickest first, until one notices.

A test notices when it fails, ends the process, or takes several times as long as without the mutant. All mutants get
the quick tests first, and what is then left the slower ones. OUT/results.json is written as it goes, so that a run
which was stopped goes on where it was. When something has changed, what is killed stays so as long as its file is the
same and the test that noticed it passes without a mutant; what is open gets all tests anew.
"""

import json
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests import run

# The tests' CPU seconds up to which they belong to a round.
ROUNDS = [0.25, 2.0, 10.0, float("inf")]
SAVE_EVERY = 5.0


class Results:
    """Verdicts by the mutant's name, which begins with its file. Those of other sources are no verdicts on these."""

    def __init__(self, file, built, passing):
        self.file, self.lock, self.saved = file, threading.Lock(), time.monotonic()
        kept = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        self.of = {"files": built["files"], "tests": built["tests"]}
        same = {f for f, digest in built["files"].items() if kept.get("files", {}).get(f) == digest}
        self.mutants = {n: v for n, v in kept.get("mutants", {}).items() if n.split(":", 1)[0] in same}
        if kept.get("tests") != built["tests"] or len(same) < len(built["files"]):
            self.mutants = {n: v for n, v in self.mutants.items() if v["verdict"] == "killed" and v["test"] in passing}

    def set(self, name, verdict):
        with self.lock:
            self.mutants[name] = verdict
            if time.monotonic() - self.saved > SAVE_EVERY:
                self.save()

    def save(self):
        new = self.file.with_suffix(".new")
        text = json.dumps({**self.of, "mutants": self.mutants}, indent=1, sort_keys=True)
        new.write_text(text, encoding="utf-8")
        new.replace(self.file)
        self.saved = time.monotonic()


def noticed(out, path, tests, mutant):
    """Which of a program's tests notices the mutant, and how."""
    seconds = int(10 + 6 * sum(t["seconds"] for t in tests))
    names = [t["test"] for t in tests]
    status, text, _ = run(path, names, out, seconds, ADYTON_MUTANT=str(mutant))
    if status == 0:
        if f"{len(tests)} passed" not in text:
            raise SystemExit(f"mutant {mutant}: not all of its tests ran\n{text[-500:]}")
        return None
    failed = [line.split()[1] for line in text.splitlines() if line.startswith("test ") and "FAILED" in line]
    if failed:
        return failed[0], "fails"
    # The harness ends with the test: the one that it had begun is not in its output.
    passed = text.count(" ... ok")
    how = "takes too long" if status in (-signal.SIGXCPU, -signal.SIGKILL) else f"ends with {status}"
    return sorted(names)[min(passed, len(names) - 1)], how


def round_of(out, built, tests, mutant, bounds):
    """One mutant's tests of one round, program by program."""
    slower, upto = bounds
    of_round = [t for t in tests if slower < t["seconds"] <= upto]
    for program in sorted({t["program"] for t in of_round}):
        own = sorted((t for t in of_round if t["program"] == program), key=lambda t: t["seconds"])
        by = noticed(out, built["programs"][program], own, mutant)
        if by:
            test, how = by
            return {"verdict": "killed", "test": f"{program} {test}", "how": how}
    return None


def main():
    out, longest = Path(sys.argv[1]), float(sys.argv[2])
    built = json.loads((out / "programs.json").read_text(encoding="utf-8"))
    recorded = json.loads((out / "tests.json").read_text(encoding="utf-8"))
    if recorded["build"] != built["build"]:
        raise SystemExit("tests.json is of other programs: run tests.py first")
    tests = [t for t in recorded["tests"] if t["state"] == "passes" and t["seconds"] <= longest]
    passing = {f"{t['program']} {t['test']}" for t in recorded["tests"] if t["state"] == "passes"}
    results = Results(out / "results.json", built, passing)
    names = {int(number): name for number, name in built["names"].items()}
    reach = {i: [t for t in tests if n in t["functions"]] for n, f in enumerate(built["functions"]) for i in f["ids"]}
    for number in built["chosen"]:
        if str(number) in built["failed"]:
            results.set(names[number], {"verdict": "does not compile", "error": built["failed"][str(number)]})
        elif number not in reach:
            results.set(names[number], {"verdict": "open", "why": "not switched: constants use it"})

    slower = -1.0
    for upto in ROUNDS:
        def one(number, bounds=(slower, upto)):
            before = results.mutants.get(names[number], {})
            given = {(t["program"], t["test"]) for t in reach[number] if t["seconds"] <= bounds[1]}
            had = {tuple(t) for t in before.get("outlived", [])}
            if before.get("verdict") == "killed" or (before and given <= had):
                return
            new = [t for t in reach[number] if (t["program"], t["test"]) not in had]
            killed = round_of(out, built, new, number, bounds)
            if killed:
                results.set(names[number], killed)
            else:
                why = "outlives the tests that reach it" if reach[number] else "no test reaches it"
                results.set(names[number], {"verdict": "open", "why": why, "outlived": sorted(had | given)})

        with ThreadPoolExecutor(os.cpu_count()) as workers:
            list(workers.map(one, reach))
        results.save()
        left = sum(results.mutants.get(names[i], {}).get("verdict") != "killed" for i in reach)
        print(f"after the tests of at most {min(upto, longest):g} s: {left} of {len(reach)} open", flush=True)
        if upto >= longest:
            break
        slower = upto


main()

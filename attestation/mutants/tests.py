"""tests.py OUT SECONDS: records each test's CPU time, and which functions with mutants it reaches.

Each test runs alone, without a mutant. One that fails so, or takes more than SECONDS, is given to no mutant.
Writes OUT/tests.json, which holds until the programs change.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

MEMORY = 6 << 30
# On a busy machine a process waits: what ends a test is its own CPU time, and this many times that only if it hangs.
PATIENCE = 20


def run(program, names, out, seconds, **switch):
    """Runs tests in turn until one fails: (exit status or minus a signal, output, CPU seconds)."""

    def limit():
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 2))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    # The stable test harness has --fail-fast behind RUSTC_BOOTSTRAP. Shrinking a counterexample changes no verdict.
    env = dict(os.environ, RUSTC_BOOTSTRAP="1", RUST_BACKTRACE="0", PROPTEST_MAX_SHRINK_ITERS="0", **switch)
    command = [program, "-Z", "unstable-options", "--fail-fast", "--test-threads=1", "--exact", *names]
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(command, cwd=out / "tree/attestation", env=env, preexec_fn=limit,
                                 stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.DEVNULL)
        watch = threading.Timer(seconds * PATIENCE, child.kill)
        watch.start()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        watch.cancel()
        output.seek(0)
        text = output.read().decode(errors="replace")
    return child.returncode, text, used.ru_utime + used.ru_stime


def record(out, program, path, name, seconds):
    with tempfile.TemporaryDirectory() as folder:
        reached = Path(folder, "reached")
        status, text, used = run(path, [name], out, seconds, ADYTON_MUTANT_REACHED=str(reached))
        functions = sorted(map(int, reached.read_text().split())) if reached.exists() else []
    if status in (-signal.SIGXCPU, -signal.SIGKILL):
        state = "slow"
    else:
        state = "passes" if status == 0 and "1 passed" in text else "ignored" if "1 ignored" in text else "fails"
    return {"program": program, "test": name, "seconds": used, "state": state, "limit": seconds, "functions": functions}


def main():
    out, seconds = Path(sys.argv[1]), int(sys.argv[2])
    built = json.loads((out / "programs.json").read_text(encoding="utf-8"))
    file = out / "tests.json"
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    tests = known["tests"] if known.get("build") == built["build"] else []
    tests = [t for t in tests if t["state"] != "slow" or t["limit"] >= seconds]
    have = {(t["program"], t["test"]) for t in tests}
    todo = []
    for program, path in built["programs"].items():
        listed = subprocess.check_output([path, "--list"], cwd=out / "tree/attestation", text=True)
        names = [line.removesuffix(": test") for line in listed.splitlines() if line.endswith(": test")]
        todo += [(program, path, name) for name in names if (program, name) not in have]
    print(f"{len(todo)} tests to time", flush=True)
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        tests += workers.map(lambda test: record(out, *test, seconds), todo)
    file.write_text(json.dumps({"build": built["build"], "tests": tests}), encoding="utf-8")
    for state in ("slow", "fails"):
        for test in (t for t in tests if t["state"] == state):
            print(f"given to no mutant, {state}: {test['program']} {test['test']}")


if __name__ == "__main__":
    main()

"""report.py RESULTS: how many mutants are killed, do not compile, are open; and the open ones, by file."""

import json
import sys
from collections import Counter
from pathlib import Path


def main():
    file = Path(sys.argv[1])
    if not file.exists():
        raise SystemExit(f"{file} is not there: run scripts/mutants first")
    mutants = json.loads(file.read_text(encoding="utf-8"))["mutants"]
    counts = Counter(m["verdict"] for m in mutants.values())
    print(f"{len(mutants)} mutants: {counts['killed']} killed, {counts['does not compile']} do not compile,"
          f" {counts['open']} open")
    # A name begins with FILE:LINE:COLUMN.
    by_file = {}
    for name, mutant in mutants.items():
        if mutant["verdict"] == "open":
            path, line, rest = name.split(":", 2)
            by_file.setdefault(path, []).append((int(line), rest, mutant["why"]))
    for path, opened in sorted(by_file.items()):
        print(f"\n{path}: {len(opened)} open")
        for line, rest, why in sorted(opened):
            print(f"  {line}:{rest} ({why})")


main()

"""What every client script of this folder is told and expects, from the environment and the sample's text.

BASE_URL      the proxy's base URL, ending in /v1
API_KEY_FILE  file with the API token on its first line
MODEL         model id; default: the first model that the endpoint lists
QUESTIONS     question file; default: the sample model's
"""

import json
import os
import sys
from pathlib import Path

QUESTION = "What does remote attestation prove?"


def fail(what, detail=""):
    sys.exit(f"not ok - {what}" + (f": {detail}" if detail else ""))


def ok(what):
    print(f"ok - {what}", flush=True)


def expect(condition, what, detail=""):
    if not condition:
        fail(what, detail)


def required(name):
    value = os.environ.get(name)
    if not value:
        fail(f"the environment variable {name} must be set")
    return value


def base_url():
    return required("BASE_URL").rstrip("/")


def api_key():
    lines = Path(required("API_KEY_FILE")).read_text(encoding="ascii").split()
    expect(len(lines) == 1, "API_KEY_FILE holds exactly one token")
    return lines[0]


def tampered(key):
    """The same token with one character of its signature changed."""
    place = len(key) - 8
    return key[:place] + ("A" if key[place] != "A" else "B") + key[place + 1 :]


def answers():
    default = Path(__file__).resolve().parents[2] / "models" / "sample" / "questions.jsonl"
    path = Path(os.environ.get("QUESTIONS") or default)
    entries = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return {entry["question"]: entry["answer"] for entry in entries}

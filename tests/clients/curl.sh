#!/usr/bin/env bash
# Drives an OpenAI endpoint with curl; needs bash, curl and python3 (to read JSON).
# BASE_URL, API_KEY_FILE, MODEL and QUESTIONS as in expectations.py. Prints one `ok - …` line per promise; the
# first broken one ends the script with `not ok - …` and exit code 1. ASSURANCE is what answers are labelled with
# (default simulated).
set -euo pipefail
cd "$(dirname "$0")"

fail() { printf 'not ok - %s\n' "$*" >&2; exit 1; }
ok() { printf 'ok - %s\n' "$*"; }

: "${BASE_URL:?must be set}" "${API_KEY_FILE:?must be set}"
base_url=${BASE_URL%/}
question='What does remote attestation prove?'
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# The token is written to a file that only we can read: on a command line every user could see it.
header_for() { (umask 077 && printf 'Authorization: Bearer %s\n' "$1" >"$folder/$2.header"); }
key=$(tr -d '[:space:]' <"$API_KEY_FILE")
header_for "$key" right
header_for "sk-not-a-token" wrong

# json EXPRESSION FILE: prints a Python expression over the document `d`.
json() { python3 -c 'import json, sys; d = json.load(open(sys.argv[2], encoding="utf-8")); print(eval(sys.argv[1]))' "$1" "$2"; }

# request KEY METHOD PATH [BODY]: status on standard output, body in $folder/body, headers in $folder/headers.
request() {
  local body=()
  [ $# -lt 4 ] || body=(--header 'Content-Type: application/json' --data-binary "$4")
  curl --silent --show-error --noproxy '*' --max-time 60 --request "$2" --header "@$folder/$1.header" "${body[@]}" \
    --dump-header "$folder/headers" --output "$folder/body" --write-out '%{http_code}' "$base_url$3"
}

expect() { # expect WHAT EXPECTED ACTUAL
  [ "$2" = "$3" ] || fail "$1: expected '$2', found '$3'"
}

expected=$(python3 -c 'import expectations as e; print(e.answers()[e.QUESTION])')

expect 'status of the model list' 200 "$(request right GET /models)"
expect 'kind of the model list' list "$(json 'd["object"]' "$folder/body")"
model=${MODEL:-$(json 'd["data"][0]["id"]' "$folder/body")}
expect 'model in the list' True "$(json "'$model' in [m['id'] for m in d['data']]" "$folder/body")"
ok 'models are listed'

chat() { # chat MODEL [MORE]: the body of a chat request
  printf '{"model":"%s","temperature":0,"messages":[{"role":"user","content":"%s"}]%s}' "$1" "$question" "${2:-}"
}

expect 'status of a chat' 200 "$(request right POST /chat/completions "$(chat "$model")")"
expect 'answer of a chat' "$expected" "$(json 'd["choices"][0]["message"]["content"]' "$folder/body")"
expect 'finish reason' stop "$(json 'd["choices"][0]["finish_reason"]' "$folder/body")"
grep -qi '^content-type: application/json' "$folder/headers" || fail 'a chat answer is application/json'
grep -qi '^adyton-receipt: .' "$folder/headers" || fail 'a chat answer carries its receipt'
expect 'assurance of an answer' "${ASSURANCE:-simulated}" \
  "$(sed -n 's/^adyton-assurance: *\([a-z]*\).*/\1/ip' "$folder/headers")"
ok 'chat answers as written, with receipt and assurance in headers'

expect 'status of a stream' 200 \
  "$(request right POST /chat/completions "$(chat "$model" ',"stream":true,"stream_options":{"include_usage":true}')")"
grep -qi '^content-type: text/event-stream' "$folder/headers" || fail 'a stream is text/event-stream'
python3 - "$folder/body" "$expected" <<'PYTHON' || fail 'a stream is whole and right'
import json, sys

text, reasons, usage, done = "", [], None, False
for line in open(sys.argv[1], encoding="utf-8").read().split("\n"):
    if not line or line.startswith(":"):
        continue  # between events, and comments: padding and the receipt
    assert line.startswith("data: "), f"neither data nor comment: {line[:60]!r}"
    assert not done, "nothing but comments follows [DONE]"
    if line == "data: [DONE]":
        done = True
        continue
    piece = json.loads(line[len("data: "):])
    for choice in piece["choices"]:
        text += choice["delta"].get("content") or ""
        reasons += filter(None, [choice.get("finish_reason")])
    usage = piece.get("usage") or usage
assert done, "the stream ends with [DONE]"
assert text == sys.argv[2], f"answer: {text!r}"
assert reasons == ["stop"], f"finish reasons: {reasons}"
assert usage and usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"], f"usage: {usage}"
PYTHON
grep -q '^: adyton-receipt .' "$folder/body" || fail 'a stream carries its receipt in a comment'
ok 'stream is well-formed server-sent events with the same answer'

completion="{\"model\":\"$model\",\"temperature\":0,\"max_tokens\":100,\"prompt\":\"$question\"}"
expect 'status of a completion' 200 "$(request right POST /completions "$completion")"
expect 'answer of a completion' "$expected" "$(json 'd["choices"][0]["text"].strip()' "$folder/body")"
ok 'completions answer'

refused() { # refused WHAT STATUS CODE ACTUAL_STATUS
  expect "status of $1" "$2" "$4"
  expect "code of $1" "$3" "$(json 'd["error"]["code"]' "$folder/body")"
  expect "error object of $1" True \
    "$(json 'all(isinstance(d["error"][k], str) and d["error"][k] for k in ("message", "type"))' "$folder/body")"
}

refused 'an unknown model' 404 unknown-model "$(request right POST /chat/completions "$(chat no-such-model)")"
ok 'unknown model is a 404 error object'
refused 'a wrong token' 401 unauthorized-token "$(request wrong POST /chat/completions "$(chat "$model")")"
ok 'wrong token is a 401 error object'
refused 'a body that is not JSON' 400 malformed-request "$(request right POST /chat/completions '{"model":')"
ok 'malformed JSON is a 400 error object'
refused 'an unknown path' 404 not-found "$(request right GET /no-such-path)"
ok 'unknown path is a 404 error object'

ok "all of it, $(curl --version | head -n 1 | cut -d ' ' -f 1-2)"

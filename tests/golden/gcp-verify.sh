#!/usr/bin/env bash
# scripts/gcp/verify: what would run
set -euo pipefail

# Evidence over a fresh nonce, appraised on this machine.
target/release/adyton verify https://relay.example.org:8443 --ca relay-ca.pem --policy policy.toml --explain

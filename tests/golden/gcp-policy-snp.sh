#!/usr/bin/env bash
# scripts/gcp/policy: what would run
set -euo pipefail

# What the image is measured as: PCR 4, 9 and 11 of Google's vTPM, from the file alone.
target/release/adyton-host measure uki target/image/release/adyton.efi --table gce_vtpm.pcrs >policy.toml.measured

# What the machine shows, over a fresh nonce. It must hold under its own draft, and show what was measured.
target/release/adyton policy new https://relay.example.org:8443 --ca relay-ca.pem --measured policy.toml.measured --out policy.toml

# What the draft leaves open.
target/release/adyton policy check policy.toml

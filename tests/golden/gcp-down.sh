#!/usr/bin/env bash
# scripts/gcp/down: what would run
set -euo pipefail

# Only a VM that scripts/gcp/vm made has this label.
mark=$(gcloud compute instances describe adyton --project=my-project --zone=europe-west4-a '--format=value(labels.adyton)')
[ "${mark}" = deployment ] || { echo 'error[gcp-not-ours]: the VM adyton was not made by these scripts' >&2; exit 1; }

# The VMs, with their disks, and the supply.
gcloud compute instances delete adyton adyton-relay --project=my-project --zone=europe-west4-a
gcloud compute disks delete adyton-supply --project=my-project --zone=europe-west4-a
gcloud compute images delete adyton-supply --project=my-project

# The firewall rules and the network.
gcloud compute firewall-rules delete adyton-relay-to-enclave adyton-nothing-out adyton-clients adyton-administrator --project=my-project
gcloud compute networks subnets delete adyton-guest adyton-relay --project=my-project --region=europe-west4
gcloud compute networks delete adyton --project=my-project

# Which images there are, to delete those that no policy names any more: gcloud compute images delete IMAGE
gcloud compute images list --project=my-project --no-standard-images --filter=family=adyton

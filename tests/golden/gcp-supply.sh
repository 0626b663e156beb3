#!/usr/bin/env bash
# scripts/gcp/supply: what would run
set -euo pipefail

# The disk: the archive as it is, then zeros to a whole GiB, in the archive that Compute Engine imports.
mkdir -p target/gcp
target/release/adyton-image supply supply.img --format gce --out target/gcp/adyton-supply.tar.gz
gcloud storage cp target/gcp/adyton-supply.tar.gz gs://my-images/adyton-supply.tar.gz --project=my-project

# An image of it, which is what disks are made from, and the disk. The guest finds it by what it begins with.
gcloud compute images describe adyton-supply --project=my-project >/dev/null 2>&1 ||
    gcloud compute images create adyton-supply --project=my-project --source-uri=gs://my-images/adyton-supply.tar.gz --storage-location=europe-west4 --labels=adyton=deployment
gcloud compute disks describe adyton-supply --project=my-project --zone=europe-west4-a >/dev/null 2>&1 ||
    gcloud compute disks create adyton-supply --project=my-project --zone=europe-west4-a --image=adyton-supply --image-project=my-project --type=pd-balanced --labels=adyton=deployment

# The upload is not needed any more.
gcloud storage rm gs://my-images/adyton-supply.tar.gz --project=my-project

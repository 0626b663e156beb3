#!/usr/bin/env bash
# scripts/gcp/image: what would run
set -euo pipefail

# The disk: a GPT with one EFI system partition that holds the image, a whole GiB, in an archive. Same image, same bytes.
mkdir -p target/gcp
target/release/adyton-image disk target/image/release/adyton.efi --format gce --out target/gcp/adyton-1-0-0.tar.gz

# A bucket that can never become public.
gcloud storage buckets describe gs://my-images --project=my-project >/dev/null 2>&1 ||
    gcloud storage buckets create gs://my-images --project=my-project --location=europe-west4 --uniform-bucket-level-access --public-access-prevention
gcloud storage cp target/gcp/adyton-1-0-0.tar.gz gs://my-images/adyton-1-0-0.tar.gz --project=my-project

# The image. Its features are what a confidential VM asks for: UEFI, Google's network card, SEV-SNP, TDX.
gcloud compute images describe adyton-1-0-0 --project=my-project >/dev/null 2>&1 ||
    gcloud compute images create adyton-1-0-0 --project=my-project --source-uri=gs://my-images/adyton-1-0-0.tar.gz --family=adyton --architecture=X86_64 --storage-location=europe-west4 --guest-os-features=UEFI_COMPATIBLE,GVNIC,SEV_SNP_CAPABLE,TDX_CAPABLE --labels=adyton=deployment

# The upload is not needed any more.
gcloud storage rm gs://my-images/adyton-1-0-0.tar.gz --project=my-project

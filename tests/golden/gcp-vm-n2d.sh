#!/usr/bin/env bash
# scripts/gcp/vm: what would run
set -euo pipefail

# Does this zone have this machine type?
offered=$(gcloud compute machine-types describe n2d-standard-4 --project=my-project --zone=europe-west4-a '--format=value(name)')
[ "${offered}" = n2d-standard-4 ] || { echo 'error[gcp-not-offered]: europe-west4-a does not have n2d-standard-4' >&2; exit 1; }

# A network of its own with two subnets: the guest's, and one for the relay (scripts/gcp/relay).
gcloud compute networks describe adyton --project=my-project >/dev/null 2>&1 ||
    gcloud compute networks create adyton --project=my-project --subnet-mode=custom
gcloud compute networks subnets describe adyton-guest --project=my-project --region=europe-west4 >/dev/null 2>&1 ||
    gcloud compute networks subnets create adyton-guest --project=my-project --region=europe-west4 --network=adyton --range=10.42.0.0/24
gcloud compute networks subnets describe adyton-relay --project=my-project --region=europe-west4 >/dev/null 2>&1 ||
    gcloud compute networks subnets create adyton-relay --project=my-project --region=europe-west4 --network=adyton --range=10.42.1.0/24

# In comes the relay on one port. (Everything else is dropped: that is the network's own rule.)
gcloud compute firewall-rules describe adyton-relay-to-enclave --project=my-project >/dev/null 2>&1 ||
    gcloud compute firewall-rules create adyton-relay-to-enclave --project=my-project --network=adyton --direction=INGRESS --action=ALLOW --rules=tcp:7001 --source-ranges=10.42.1.4/32 --target-tags=adyton-guest

# Nothing goes out. Answers pass: rules know connections.
gcloud compute firewall-rules describe adyton-nothing-out --project=my-project >/dev/null 2>&1 ||
    gcloud compute firewall-rules create adyton-nothing-out --project=my-project --network=adyton --direction=EGRESS --action=DENY --rules=all --destination-ranges=0.0.0.0/0 --target-tags=adyton-guest --priority=65000

# The VM, with its supply as a disk that it reads only. Secure boot is off: it would check a signature, and the measurement of the very image is what the policy pins.
gcloud compute instances describe adyton --project=my-project --zone=europe-west4-a >/dev/null 2>&1 ||
    gcloud compute instances create adyton --project=my-project --zone=europe-west4-a --machine-type=n2d-standard-4 --confidential-compute-type=SEV_SNP '--min-cpu-platform=AMD Milan' --maintenance-policy=TERMINATE --image=adyton-1-0-0 --image-project=my-project --boot-disk-size=10GB --boot-disk-type=pd-balanced --boot-disk-interface=NVME --disk=name=adyton-supply,mode=ro,boot=no,auto-delete=no --network-interface=subnet=adyton-guest,private-network-ip=10.42.0.4,nic-type=GVNIC,no-address --tags=adyton-guest --no-service-account --no-scopes --shielded-vtpm --shielded-integrity-monitoring --no-shielded-secure-boot --metadata=serial-port-enable=FALSE,block-project-ssh-keys=TRUE --labels=adyton=deployment

# What Google says that it made. Nobody relies on this: the evidence says it.
gcloud compute instances describe adyton --project=my-project --zone=europe-west4-a '--format=yaml(confidentialInstanceConfig,shieldedInstanceConfig)'

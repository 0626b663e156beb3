#!/usr/bin/env bash
# scripts/gcp/relay: what would run
set -euo pipefail

# Clients on one port, the administrator's SSH, nothing else. The guest connects to nobody.
gcloud compute firewall-rules describe adyton-clients --project=my-project >/dev/null 2>&1 ||
    gcloud compute firewall-rules create adyton-clients --project=my-project --network=adyton --direction=INGRESS --action=ALLOW --rules=tcp:8443 --source-ranges=198.51.100.0/24 --target-tags=adyton-relay
gcloud compute firewall-rules describe adyton-administrator --project=my-project >/dev/null 2>&1 ||
    gcloud compute firewall-rules create adyton-administrator --project=my-project --network=adyton --direction=INGRESS --action=ALLOW --rules=tcp:22 --source-ranges=203.0.113.7/32 --target-tags=adyton-relay

# The VM: Debian 12, OS Login, no service account.
gcloud compute instances describe adyton-relay --project=my-project --zone=europe-west4-a >/dev/null 2>&1 ||
    gcloud compute instances create adyton-relay --project=my-project --zone=europe-west4-a --machine-type=e2-small --image-family=debian-12 --image-project=debian-cloud --network-interface=subnet=adyton-relay,private-network-ip=10.42.1.4 --tags=adyton-relay --no-service-account --no-scopes --shielded-vtpm --shielded-secure-boot --shielded-integrity-monitoring --metadata=enable-oslogin=TRUE,block-project-ssh-keys=TRUE --labels=adyton=deployment

# Where clients reach it: https://ADDRESS:8443
gcloud compute instances describe adyton-relay --project=my-project --zone=europe-west4-a '--format=value(networkInterfaces[0].accessConfigs[0].natIP)'

# What runs on it: adyton-host, which keeps one connection to the guest.
mkdir -p target/gcp/adyton-relay
sed -e s/broker.example.org:7443/broker.example.org:7443/ -e s,pki/host.key,/run/credentials/adyton-host.service/host.key, host/examples/remote.toml >target/gcp/adyton-relay/relay.toml
cp relay.pem target/gcp/adyton-relay/relay.pem
install -m 0600 relay.key target/gcp/adyton-relay/relay.key
gcloud compute scp --project=my-project --zone=europe-west4-a target/release/adyton-host host/systemd/adyton-host.service host/systemd/remote.conf scripts/lib/install-relay target/gcp/adyton-relay/relay.toml target/gcp/adyton-relay/relay.pem target/gcp/adyton-relay/relay.key adyton-relay:
gcloud compute ssh adyton-relay --project=my-project --zone=europe-west4-a '--command=sudo sh install-relay'
rm target/gcp/adyton-relay/relay.key

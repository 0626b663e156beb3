#!/usr/bin/env bash
# scripts/azure/relay: what would run
set -euo pipefail

# The relay's subnet: clients on one port, the administrator's SSH, nothing else. The guest connects to nobody.
az network nsg create --resource-group adyton --location westeurope --name adyton-relay
az network nsg rule create --resource-group adyton --nsg-name adyton-relay --name clients --priority 100 --direction Inbound --access Allow --protocol Tcp --source-address-prefixes 198.51.100.0/24 --destination-port-ranges 8443
az network nsg rule create --resource-group adyton --nsg-name adyton-relay --name administrator --priority 120 --direction Inbound --access Allow --protocol Tcp --source-address-prefixes 203.0.113.7/32 --destination-port-ranges 22
az network nsg rule create --resource-group adyton --nsg-name adyton-relay --name nothing-else-in --priority 4096 --direction Inbound --access Deny --protocol '*' --destination-port-ranges '*'

# Its address: a public one for clients, a fixed private one that the guest's rules name.
az network public-ip create --resource-group adyton --location westeurope --name adyton-relay --sku Standard --allocation-method Static
az network nic create --resource-group adyton --location westeurope --name adyton-relay --vnet-name adyton --subnet relay --private-ip-address 10.42.1.4 --public-ip-address adyton-relay --network-security-group adyton-relay

# The VM: Debian 12, the administrator's key, no password.
az vm create --resource-group adyton --location westeurope --name adyton-relay --image Debian:debian-12:12-gen2:latest --size Standard_B2s_v2 --admin-username adyton --authentication-type ssh --ssh-key-values id_ed25519.pub --nics adyton-relay --os-disk-delete-option Delete --nic-delete-option Delete

# Where clients reach it: https://ADDRESS:8443
address=$(az network public-ip show --resource-group adyton --name adyton-relay --query ipAddress --output tsv)
echo "${address}"

# What runs on it: adyton-host, which keeps one connection to the guest.
mkdir -p target/azure/adyton-relay
sed -e s/broker.example.org:7443/broker.example.org:7443/ -e s,pki/host.key,/run/credentials/adyton-host.service/host.key, host/examples/remote.toml >target/azure/adyton-relay/relay.toml
cp relay.pem target/azure/adyton-relay/relay.pem
install -m 0600 relay.key target/azure/adyton-relay/relay.key
scp -i id_ed25519 -o StrictHostKeyChecking=accept-new target/release/adyton-host host/systemd/adyton-host.service host/systemd/remote.conf scripts/lib/install-relay target/azure/adyton-relay/relay.toml target/azure/adyton-relay/relay.pem target/azure/adyton-relay/relay.key "adyton@${address}:"
ssh -i id_ed25519 -o StrictHostKeyChecking=accept-new "adyton@${address}" sudo sh install-relay
rm target/azure/adyton-relay/relay.key

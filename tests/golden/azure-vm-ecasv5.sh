#!/usr/bin/env bash
# scripts/azure/vm: what would run
set -euo pipefail

# Does this region offer this size to this subscription?
offered=$(az vm list-skus --location westeurope --size Standard_EC20as_v5 --resource-type virtualMachines --query '[?name=='\''Standard_EC20as_v5'\'' && length(restrictions)==`0`].name | [0]' --output tsv)
[ "${offered}" = Standard_EC20as_v5 ] || { echo 'error[azure-not-offered]: westeurope does not offer Standard_EC20as_v5 to this subscription' >&2; exit 1; }

# The guest's subnet: in comes the relay on one port, everything else is dropped. Answers pass: rules know connections.
az network nsg create --resource-group adyton --location westeurope --name adyton-guest
az network nsg rule create --resource-group adyton --nsg-name adyton-guest --name relay-to-enclave --priority 100 --direction Inbound --access Allow --protocol Tcp --source-address-prefixes 10.42.1.4/32 --destination-address-prefixes 10.42.0.4/32 --destination-port-ranges 7001
az network nsg rule create --resource-group adyton --nsg-name adyton-guest --name nothing-else-in --priority 4096 --direction Inbound --access Deny --protocol '*' --destination-port-ranges '*'
az network nsg rule create --resource-group adyton --nsg-name adyton-guest --name nothing-out --priority 4096 --direction Outbound --access Deny --protocol '*' --destination-port-ranges '*'

# The network has two subnets: the guest's, and one for the relay (scripts/azure/relay).
az network vnet create --resource-group adyton --location westeurope --name adyton --address-prefixes 10.42.0.0/16
az network vnet subnet create --resource-group adyton --vnet-name adyton --name guest --address-prefixes 10.42.0.0/24 --network-security-group adyton-guest --default-outbound-access false
az network vnet subnet create --resource-group adyton --vnet-name adyton --name relay --address-prefixes 10.42.1.0/24

# Its network card: a fixed private address, no public one.
az network nic create --resource-group adyton --location westeurope --name adyton-guest --vnet-name adyton --subnet guest --private-ip-address 10.42.0.4 --accelerated-networking true

# The VM, with its supply as a data disk. Secure boot is off: it would check a signature, and PCR 4, 9 and 11 pin the very image. The vTPM carries them.
image=$(az sig image-version show --resource-group adyton --gallery-name adyton --gallery-image-definition adyton --gallery-image-version 1.0.0 --query id --output tsv)
az vm create --resource-group adyton --location westeurope --name adyton --image "${image}" --specialized --size Standard_EC20as_v5 --security-type ConfidentialVM --os-disk-security-encryption-type VMGuestStateOnly --enable-vtpm true --enable-secure-boot false --nics adyton-guest --attach-data-disks adyton-supply --os-disk-delete-option Delete --nic-delete-option Delete

# What Azure says that it made. Nobody relies on this: the evidence says it, signed by the processor.
az vm show --resource-group adyton --name adyton --query securityProfile

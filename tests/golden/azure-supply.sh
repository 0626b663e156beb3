#!/usr/bin/env bash
# scripts/azure/supply: what would run
set -euo pipefail

# The disk: the archive as it is, then zeros to a whole MiB, as a fixed VHD.
mkdir -p target/azure
target/release/adyton-image supply supply.img --format vhd --out target/azure/adyton-supply.vhd

# The upload, as a page blob, which is what disks are made from.
az storage blob upload --account-name adytonimages --container-name images --name adyton-supply.vhd --file target/azure/adyton-supply.vhd --type page --auth-mode login --overwrite true

# The managed disk. scripts/azure/vm attaches it, and the guest finds it by what it begins with.
account=$(az storage account show --name adytonimages --resource-group adyton --query id --output tsv)
az disk create --resource-group adyton --location westeurope --name adyton-supply --source https://adytonimages.blob.core.windows.net/images/adyton-supply.vhd --source-storage-account-id "${account}" --sku StandardSSD_LRS

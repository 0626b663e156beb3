#!/usr/bin/env bash
# scripts/azure/image: what would run
set -euo pipefail

# The disk: a GPT with one EFI system partition that holds the image, as a fixed VHD. Same image, same bytes.
mkdir -p target/azure
target/release/adyton-image disk target/image/release/adyton.efi --format vhd --out target/azure/adyton-1.0.0.vhd

# One resource group for everything, marked, so that scripts/azure/down deletes nothing that this did not make. Is the name taken?
taken=$(az group list --query 'length([?name=='\''adyton'\'' && tags.adyton!='\''deployment'\''])' --output tsv)
[ "${taken}" = 0 ] || { echo 'error[azure-not-ours]: the resource group adyton is there and was not made by these scripts' >&2; exit 1; }
az group create --name adyton --location westeurope --tags adyton=deployment

# A storage account without keys, tokens or public blobs: who uploads signs in.
az storage account create --name adytonimages --resource-group adyton --location westeurope --sku Standard_LRS --kind StorageV2 --min-tls-version TLS1_2 --allow-blob-public-access false --allow-shared-key-access false
az storage container-rm create --name images --storage-account adytonimages --resource-group adyton

# Whoever runs this may write its blobs. (Azure takes minutes to notice: if the upload is refused, run this again.)
person=$(az ad signed-in-user show --query id --output tsv)
account=$(az storage account show --name adytonimages --resource-group adyton --query id --output tsv)
az role assignment create --role 'Storage Blob Data Contributor' --assignee-object-id "${person}" --assignee-principal-type User --scope "${account}"

# The gallery, and in it an image that may start confidential VMs: generation 2, and specialized, which means that Azure puts no user, key or agent into it.
az sig create --resource-group adyton --location westeurope --gallery-name adyton
az sig image-definition create --resource-group adyton --location westeurope --gallery-name adyton --gallery-image-definition adyton --publisher adyton --offer adyton --sku adyton --os-type Linux --os-state specialized --hyper-v-generation V2 --architecture x64 --features SecurityType=ConfidentialVmSupported

# The upload, as a page blob, which is what disks are made from.
az storage blob upload --account-name adytonimages --container-name images --name adyton-1.0.0.vhd --file target/azure/adyton-1.0.0.vhd --type page --auth-mode login --overwrite true

# The version that VMs start from.
az sig image-version create --resource-group adyton --location westeurope --gallery-name adyton --gallery-image-definition adyton --gallery-image-version 1.0.0 --os-vhd-storage-account "${account}" --os-vhd-uri https://adytonimages.blob.core.windows.net/images/adyton-1.0.0.vhd

# What it will be measured as, for the policy: PCR 4, 9 and 11 of the vTPM.
target/release/adyton-host measure uki target/image/release/adyton.efi --table azure.pcrs >target/azure/adyton-1.0.0.measured.toml

#!/usr/bin/env bash
# scripts/azure/down: what would run
set -euo pipefail

# Only a group that scripts/azure/image made has this mark.
mark=$(az group show --name adyton --query tags.adyton --output tsv)
[ "${mark}" = deployment ] || { echo 'error[azure-not-ours]: the resource group adyton was not made by these scripts' >&2; exit 1; }

# VM, disks, network, gallery and storage account. az asks before it deletes.
az group delete --name adyton

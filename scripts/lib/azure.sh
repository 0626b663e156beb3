# shellcheck shell=bash
# Azure's confidential VMs: which sizes there are, and what is allowed in a name. Sourced after cloud.sh.

# The tables are deploy/azure/families and deploy/azure/regions, for these scripts and for OpenTofu.
azure_families=$(grep -v '^#' deploy/azure/families)

azure_regions=$(grep -v '^#' deploy/azure/regions | tr '\n' ' ')
azure_regions=${azure_regions% }

# Sets tee and processor from --size.
# shellcheck disable=SC2034,SC2154
azure_size() {
    local family form counts count
    while read -r family tee processor form counts; do
        [ -n "$family" ] || continue
        for count in ${counts//,/ }; do
            [ "${form/N/$count}" = "${option[size]}" ] && return
        done
    done <<<"$azure_families"
    refuse azure-size "--size ${option[size]@Q} is not a size of a confidential family" \
        "SNP: Standard_DC4as_v6, Standard_EC8ads_v5, …; TDX: Standard_DC4es_v6, …; the table is deploy/azure/families"
}

azure_region() {
    must_be_one_of region azure-region "$azure_regions"
}

# One deployment is one resource group, and everything in it has the name as its beginning.
azure_name() {
    must_match name azure-name '[a-z][a-z0-9-]{1,30}[a-z0-9]' \
        "3 to 32 lower-case letters, digits and dashes; it begins with a letter"
}

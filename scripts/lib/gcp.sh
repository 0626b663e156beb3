# shellcheck shell=bash
# Compute Engine's confidential VMs: which machine types there are, and what is allowed in a name. Sourced after cloud.sh.

# The tables are deploy/gcp/families and deploy/gcp/regions, for these scripts and for OpenTofu.
gcp_families=$(grep -v '^#' deploy/gcp/families)

gcp_regions=$(grep -v '^#' deploy/gcp/regions | tr '\n' ' ')
gcp_regions=${gcp_regions% }

# Sets tee, processor and platform from --type.
# shellcheck disable=SC2034,SC2154
gcp_type() {
    local family form counts count
    while read -r family tee processor platform form counts; do
        [ -n "$family" ] || continue
        for count in ${counts//,/ }; do
            [ "$form-$count" = "${option[type]}" ] && return
        done
    done <<<"$gcp_families"
    refuse gcp-type "--type ${option[type]@Q} is not a machine type of a confidential family" \
        "SNP: n2d-standard-4, c3d-standard-8, …; TDX: c3-standard-4, …; the table is deploy/gcp/families"
}

gcp_region() {
    must_be_one_of region gcp-region "$gcp_regions"
}

# Sets region from --zone.
# shellcheck disable=SC2034,SC2154
gcp_zone() {
    must_match zone gcp-zone '[a-z0-9-]+-[a-f]' "a region and a letter, as in europe-west4-a"
    region=${option[zone]%-*}
    [[ " $gcp_regions " == *" $region "* ]] ||
        refuse gcp-zone "--zone ${option[zone]@Q}: there is no region $region" "one of: $gcp_regions"
}

gcp_project() {
    must_match project gcp-project '[a-z][a-z0-9-]{4,28}[a-z0-9]' "a project's id: 6 to 30 letters, digits and dashes"
}

# One deployment: everything in it has the name as its beginning, and a label.
gcp_name() {
    must_match name gcp-name '[a-z][a-z0-9-]{1,30}[a-z0-9]' \
        "3 to 32 lower-case letters, digits and dashes; it begins with a letter"
}

version_of_image() {
    must_match version version '[0-9]{1,5}\.[0-9]{1,5}\.[0-9]{1,5}' "three numbers, as in 1.0.0"
}

# Where to get it.
# shellcheck disable=SC2034
gcloud_is='https://cloud.google.com/sdk/docs/install'

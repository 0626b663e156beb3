# What a size means, and whether the arguments are allowed. No provider: `tofu test` runs here without a cloud.

variable "name" {
  description = "The deployment: its resource group, and the beginning of every name in it."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}[a-z0-9]$", var.name))
    error_message = "azure-name: 3 to 32 lower-case letters, digits and dashes; it begins with a letter."
  }
}

variable "region" {
  description = "Azure region, one of deploy/azure/regions."
  type        = string
  validation {
    condition     = contains(local.regions, var.region)
    error_message = "azure-region: not a region of deploy/azure/regions."
  }
}

variable "size" {
  description = "Size of the confidential VM, of a family of deploy/azure/families."
  type        = string
  validation {
    condition     = contains(keys(local.sizes), var.size)
    error_message = "azure-size: not a size of a confidential family; deploy/azure/families has them."
  }
}

variable "clients" {
  description = "IPv4 network that may reach the relay's port 8443."
  type        = string
  validation {
    condition     = can(cidrhost(var.clients, 0)) && try(tonumber(split("/", var.clients)[1]), 0) >= 8
    error_message = "network: an IPv4 network like 203.0.113.0/24; /8 is the widest."
  }
}

variable "admin" {
  description = "IPv4 network that may reach the relay's SSH."
  type        = string
  validation {
    condition     = can(cidrhost(var.admin, 0)) && try(tonumber(split("/", var.admin)[1]), 0) >= 8
    error_message = "network: an IPv4 network like 203.0.113.7/32; /8 is the widest."
  }
}

locals {
  lines = {
    for table in ["families", "regions"] : table => [
      for line in split("\n", file("${path.module}/../${table}")) : line
      if line != "" && !startswith(line, "#")
    ]
  }
  regions = local.lines["regions"]
  sizes = merge([
    for line in local.lines["families"] : {
      # Family, TEE, processor, form, numbers of vCPUs.
      for count in split(",", regexall("\\S+", line)[4]) :
      replace(regexall("\\S+", line)[3], "N", count) => {
        tee       = regexall("\\S+", line)[1]
        processor = regexall("\\S+", line)[2]
      }
    }
  ]...)
}

output "tee" {
  description = "snp or tdx."
  value       = local.sizes[var.size].tee
}

output "processor" {
  description = "Generation of the processor. Policies refuse milan unless they name \"milan-vcek\"."
  value       = local.sizes[var.size].processor
}

output "vtpm_state" {
  description = "What Azure keeps of the vTPM: nothing on TDX; on SEV-SNP its state, sealed (\"persisted-vtpm\")."
  value       = local.sizes[var.size].tee == "tdx" ? "NonPersistedTPM" : "VMGuestStateOnly"
}

output "plan" {
  description = "The one plan of addresses and ports, that of scripts/lib/cloud.sh."
  value = {
    network       = "10.42.0.0/16"
    guest_network = "10.42.0.0/24"
    guest_address = "10.42.0.4"
    relay_network = "10.42.1.0/24"
    relay_address = "10.42.1.4"
    enclave_port  = 7001
    client_port   = 8443
  }
}

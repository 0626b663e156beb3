# What a machine type means, and whether the arguments are allowed. No provider: `tofu test` runs here without a cloud.

variable "name" {
  description = "The deployment: the beginning of every name in it."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}[a-z0-9]$", var.name))
    error_message = "gcp-name: 3 to 32 lower-case letters, digits and dashes; it begins with a letter."
  }
}

variable "project" {
  description = "The project's id."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "gcp-project: 6 to 30 letters, digits and dashes."
  }
}

variable "zone" {
  description = "A zone of a region of deploy/gcp/regions."
  type        = string
  validation {
    condition     = can(regex("-[a-f]$", var.zone)) && contains(local.regions, replace(var.zone, "/-[a-f]$/", ""))
    error_message = "gcp-zone: not a zone of a region of deploy/gcp/regions."
  }
}

variable "type" {
  description = "Machine type of the confidential VM, of a family of deploy/gcp/families."
  type        = string
  validation {
    condition     = contains(keys(local.types), var.type)
    error_message = "gcp-type: not a machine type of a confidential family; deploy/gcp/families has them."
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
  types = merge([
    for line in local.lines["families"] : {
      # Family, TEE, processor, Google's word for it, prefix, numbers of vCPUs.
      for count in split(",", regexall("\\S+", line)[5]) :
      "${regexall("\\S+", line)[4]}-${count}" => {
        tee       = regexall("\\S+", line)[1]
        processor = regexall("\\S+", line)[2]
        platform  = regexall("\\S+", line)[3]
      }
    }
  ]...)
}

output "region" {
  description = "The zone's region."
  value       = replace(var.zone, "/-[a-f]$/", "")
}

output "tee" {
  description = "snp or tdx."
  value       = local.types[var.type].tee
}

output "processor" {
  description = "Generation of the processor. Policies refuse milan unless they name \"milan-vcek\"."
  value       = local.types[var.type].processor
}

output "confidential_type" {
  description = "Compute Engine's word for the TEE."
  value       = local.types[var.type].tee == "tdx" ? "TDX" : "SEV_SNP"
}

output "min_cpu_platform" {
  description = "The processor to ask for; null where the family has one."
  value       = local.types[var.type].platform == "-" ? null : "AMD ${local.types[var.type].platform}"
}

output "plan" {
  description = "The one plan of addresses and ports, that of scripts/lib/cloud.sh."
  value = {
    guest_network = "10.42.0.0/24"
    guest_address = "10.42.0.4"
    relay_network = "10.42.1.0/24"
    relay_address = "10.42.1.4"
    enclave_port  = 7001
    client_port   = 8443
  }
}

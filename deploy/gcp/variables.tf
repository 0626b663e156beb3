# name, project, zone, type, clients and admin are checked in ./machine, where a test runs without a cloud.

variable "name" {
  description = "The deployment, as for scripts/gcp/image."
  type        = string
}

variable "project" {
  description = "The project's id."
  type        = string
}

variable "zone" {
  description = "Where both VMs run."
  type        = string
}

variable "type" {
  description = "Machine type of the confidential VM."
  type        = string
}

variable "image_version" {
  description = "The image's version."
  type        = string
  default     = "1.0.0"
  validation {
    condition     = can(regex("^[0-9]{1,5}\\.[0-9]{1,5}\\.[0-9]{1,5}$", var.image_version))
    error_message = "version: three numbers, as in 1.0.0."
  }
}

variable "clients" {
  description = "IPv4 network that may reach the relay's port 8443."
  type        = string
}

variable "admin" {
  description = "IPv4 network that may reach the relay's SSH."
  type        = string
}

variable "relay_type" {
  description = "An ordinary machine type for the relay."
  type        = string
  default     = "e2-small"
}

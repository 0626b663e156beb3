# name, region, size, clients and admin are checked in ./machine, where a test runs without a cloud.

variable "name" {
  description = "The deployment, as for scripts/azure/image, which made its resource group and image."
  type        = string
}

variable "region" {
  description = "The region of the image."
  type        = string
}

variable "size" {
  description = "Size of the confidential VM."
  type        = string
}

variable "image_version" {
  description = "The image's version in the gallery."
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

variable "ssh_public_key" {
  description = "The relay administrator's public key, in OpenSSH's form."
  type        = string
  validation {
    condition     = startswith(var.ssh_public_key, "ssh-") || startswith(var.ssh_public_key, "ecdsa-")
    error_message = "ssh-key: the public half, as it stands in a .pub file."
  }
}

variable "relay_size" {
  description = "An ordinary size for the relay."
  type        = string
  default     = "Standard_B2s_v2"
}

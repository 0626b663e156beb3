# What scripts/gcp/vm and scripts/gcp/relay create, for OpenTofu (or Terraform) 1.9 and later. The image is made by
# scripts/gcp/image, and the disk of the supply by scripts/gcp/supply, before: an upload is no state to keep. What runs on
# the relay is installed as scripts/gcp/relay does it.

terraform {
  required_version = ">= 1.9"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.0"
    }
  }
}

provider "google" {
  project = var.project
  region  = module.machine.region
  zone    = var.zone
}

module "machine" {
  source  = "./machine"
  name    = var.name
  project = var.project
  zone    = var.zone
  type    = var.type
  clients = var.clients
  admin   = var.admin
}

locals {
  plan   = module.machine.plan
  guest  = "${var.name}-guest"
  relay  = "${var.name}-relay"
  labels = { adyton = "deployment" }
}

data "google_compute_disk" "supply" {
  name = "${var.name}-supply"
  zone = var.zone
}

resource "google_compute_network" "network" {
  name                    = var.name
  auto_create_subnetworks = false
}

resource "google_compute_subnetwork" "guest" {
  name          = local.guest
  network       = google_compute_network.network.id
  region        = module.machine.region
  ip_cidr_range = local.plan.guest_network
}

resource "google_compute_subnetwork" "relay" {
  name          = local.relay
  network       = google_compute_network.network.id
  region        = module.machine.region
  ip_cidr_range = local.plan.relay_network
}

# In comes what is named here. (Everything else is dropped: that is the network's own rule.)
resource "google_compute_firewall" "in" {
  for_each = {
    relay-to-enclave = { port = local.plan.enclave_port, from = "${local.plan.relay_address}/32", to = local.guest }
    clients          = { port = local.plan.client_port, from = var.clients, to = local.relay }
    administrator    = { port = 22, from = var.admin, to = local.relay }
  }
  name          = "${var.name}-${each.key}"
  network       = google_compute_network.network.id
  direction     = "INGRESS"
  source_ranges = [each.value.from]
  target_tags   = [each.value.to]

  allow {
    protocol = "tcp"
    ports    = [each.value.port]
  }
}

# Nothing goes out. Answers pass: rules know connections.
resource "google_compute_firewall" "nothing_out" {
  name               = "${var.name}-nothing-out"
  network            = google_compute_network.network.id
  direction          = "EGRESS"
  priority           = 65000
  destination_ranges = ["0.0.0.0/0"]
  target_tags        = [local.guest]

  deny {
    protocol = "all"
  }
}

resource "google_compute_instance" "guest" {
  name             = var.name
  zone             = var.zone
  machine_type     = var.type
  min_cpu_platform = module.machine.min_cpu_platform
  tags             = [local.guest]
  labels           = local.labels

  confidential_instance_config {
    confidential_instance_type = module.machine.confidential_type
  }
  # Secure boot would check a signature; the policy pins the very image.
  shielded_instance_config {
    enable_secure_boot          = false
    enable_vtpm                 = true
    enable_integrity_monitoring = true
  }
  scheduling {
    on_host_maintenance = "TERMINATE"
  }
  boot_disk {
    interface = "NVME"
    initialize_params {
      image = "projects/${var.project}/global/images/${var.name}-${replace(var.image_version, ".", "-")}"
      size  = 10
      type  = "pd-balanced"
    }
  }
  # The guest finds it by what it begins with.
  attached_disk {
    source = data.google_compute_disk.supply.id
    mode   = "READ_ONLY"
  }
  network_interface {
    subnetwork = google_compute_subnetwork.guest.id
    network_ip = local.plan.guest_address
    nic_type   = "GVNIC"
  }
  metadata = {
    serial-port-enable     = "FALSE"
    block-project-ssh-keys = "TRUE"
  }
}

resource "google_compute_instance" "relay" {
  name         = local.relay
  zone         = var.zone
  machine_type = var.relay_type
  tags         = [local.relay]
  labels       = local.labels

  shielded_instance_config {
    enable_secure_boot          = true
    enable_vtpm                 = true
    enable_integrity_monitoring = true
  }
  boot_disk {
    initialize_params {
      image = "debian-cloud/debian-12"
    }
  }
  network_interface {
    subnetwork = google_compute_subnetwork.relay.id
    network_ip = local.plan.relay_address
    access_config {}
  }
  metadata = {
    enable-oslogin         = "TRUE"
    block-project-ssh-keys = "TRUE"
  }
}

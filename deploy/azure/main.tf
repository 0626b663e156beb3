# What scripts/azure/vm and scripts/azure/relay create, for OpenTofu (or Terraform) 1.9 and later. The image in the
# gallery is made by scripts/azure/image, and the disk of the supply by scripts/azure/supply, before: an upload is no state
# to keep. What runs on the relay is installed as scripts/azure/relay does it.

terraform {
  required_version = ">= 1.9"
  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "~> 4.0"
    }
    # The VM itself: azurerm asks for an administrator, which a specialized image has not.
    azapi = {
      source  = "Azure/azapi"
      version = "~> 2.0"
    }
  }
}

provider "azurerm" {
  features {}
}

module "machine" {
  source  = "./machine"
  name    = var.name
  region  = var.region
  size    = var.size
  clients = var.clients
  admin   = var.admin
}

data "azurerm_resource_group" "deployment" {
  name = var.name
}

data "azurerm_shared_image_version" "image" {
  name                = var.image_version
  image_name          = "adyton"
  gallery_name        = replace(var.name, "-", "_")
  resource_group_name = data.azurerm_resource_group.deployment.name
}

data "azurerm_managed_disk" "supply" {
  name                = "${var.name}-supply"
  resource_group_name = data.azurerm_resource_group.deployment.name
}

locals {
  plan     = module.machine.plan
  group    = data.azurerm_resource_group.deployment
  gallery  = data.azurerm_shared_image_version.image
  anything = "*"
}

resource "azurerm_virtual_network" "network" {
  name                = var.name
  resource_group_name = local.group.name
  location            = var.region
  address_space       = [local.plan.network]
}

# In comes the relay on one port, everything else is dropped. Answers pass: rules know connections.
resource "azurerm_network_security_group" "guest" {
  name                = "${var.name}-guest"
  resource_group_name = local.group.name
  location            = var.region

  security_rule {
    name                       = "relay-to-enclave"
    priority                   = 100
    direction                  = "Inbound"
    access                     = "Allow"
    protocol                   = "Tcp"
    source_address_prefix      = "${local.plan.relay_address}/32"
    source_port_range          = local.anything
    destination_address_prefix = "${local.plan.guest_address}/32"
    destination_port_range     = local.plan.enclave_port
  }
  security_rule {
    name                       = "nothing-else-in"
    priority                   = 4096
    direction                  = "Inbound"
    access                     = "Deny"
    protocol                   = local.anything
    source_address_prefix      = local.anything
    source_port_range          = local.anything
    destination_address_prefix = local.anything
    destination_port_range     = local.anything
  }
  security_rule {
    name                       = "nothing-out"
    priority                   = 4096
    direction                  = "Outbound"
    access                     = "Deny"
    protocol                   = local.anything
    source_address_prefix      = local.anything
    source_port_range          = local.anything
    destination_address_prefix = local.anything
    destination_port_range     = local.anything
  }
}

resource "azurerm_network_security_group" "relay" {
  name                = "${var.name}-relay"
  resource_group_name = local.group.name
  location            = var.region

  dynamic "security_rule" {
    for_each = {
      clients       = { priority = 100, from = var.clients, port = local.plan.client_port }
      administrator = { priority = 120, from = var.admin, port = 22 }
    }
    content {
      name                       = security_rule.key
      priority                   = security_rule.value.priority
      direction                  = "Inbound"
      access                     = "Allow"
      protocol                   = "Tcp"
      source_address_prefix      = security_rule.value.from
      source_port_range          = local.anything
      destination_address_prefix = local.anything
      destination_port_range     = security_rule.value.port
    }
  }
  security_rule {
    name                       = "nothing-else-in"
    priority                   = 4096
    direction                  = "Inbound"
    access                     = "Deny"
    protocol                   = local.anything
    source_address_prefix      = local.anything
    source_port_range          = local.anything
    destination_address_prefix = local.anything
    destination_port_range     = local.anything
  }
}

resource "azurerm_subnet" "guest" {
  name                            = "guest"
  resource_group_name             = local.group.name
  virtual_network_name            = azurerm_virtual_network.network.name
  address_prefixes                = [local.plan.guest_network]
  default_outbound_access_enabled = false
}

resource "azurerm_subnet" "relay" {
  name                 = "relay"
  resource_group_name  = local.group.name
  virtual_network_name = azurerm_virtual_network.network.name
  address_prefixes     = [local.plan.relay_network]
}

resource "azurerm_subnet_network_security_group_association" "guest" {
  subnet_id                 = azurerm_subnet.guest.id
  network_security_group_id = azurerm_network_security_group.guest.id
}

resource "azurerm_subnet_network_security_group_association" "relay" {
  subnet_id                 = azurerm_subnet.relay.id
  network_security_group_id = azurerm_network_security_group.relay.id
}

resource "azurerm_network_interface" "guest" {
  name                           = "${var.name}-guest"
  resource_group_name            = local.group.name
  location                       = var.region
  accelerated_networking_enabled = true

  ip_configuration {
    name                          = "guest"
    subnet_id                     = azurerm_subnet.guest.id
    private_ip_address_allocation = "Static"
    private_ip_address            = local.plan.guest_address
  }
  depends_on = [azurerm_subnet_network_security_group_association.guest]
}

# The body is what `az vm create --specialized` sends: no osProfile, so no user, key, agent or extension.
resource "azapi_resource" "guest" {
  type      = "Microsoft.Compute/virtualMachines@2024-07-01"
  name      = var.name
  parent_id = local.group.id
  location  = var.region

  body = {
    properties = {
      hardwareProfile = { vmSize = var.size }
      securityProfile = {
        securityType = "ConfidentialVM"
        # Secure boot would check a signature; PCR 4, 9 and 11 pin the very image.
        uefiSettings = { secureBootEnabled = false, vTpmEnabled = true }
      }
      storageProfile = {
        imageReference = { id = local.gallery.id }
        osDisk = {
          createOption = "FromImage"
          deleteOption = "Delete"
          managedDisk  = { securityProfile = { securityEncryptionType = module.machine.vtpm_state } }
        }
        # The guest finds it by what it begins with.
        dataDisks = [{
          lun          = 0
          createOption = "Attach"
          managedDisk  = { id = data.azurerm_managed_disk.supply.id }
        }]
      }
      networkProfile = {
        networkInterfaces = [{ id = azurerm_network_interface.guest.id, properties = { primary = true } }]
      }
    }
  }
}

resource "azurerm_public_ip" "relay" {
  name                = "${var.name}-relay"
  resource_group_name = local.group.name
  location            = var.region
  sku                 = "Standard"
  allocation_method   = "Static"
}

resource "azurerm_network_interface" "relay" {
  name                = "${var.name}-relay"
  resource_group_name = local.group.name
  location            = var.region

  ip_configuration {
    name                          = "relay"
    subnet_id                     = azurerm_subnet.relay.id
    private_ip_address_allocation = "Static"
    private_ip_address            = local.plan.relay_address
    public_ip_address_id          = azurerm_public_ip.relay.id
  }
  depends_on = [azurerm_subnet_network_security_group_association.relay]
}

resource "azurerm_linux_virtual_machine" "relay" {
  name                            = "${var.name}-relay"
  resource_group_name             = local.group.name
  location                        = var.region
  size                            = var.relay_size
  admin_username                  = "adyton"
  disable_password_authentication = true
  network_interface_ids           = [azurerm_network_interface.relay.id]

  admin_ssh_key {
    username   = "adyton"
    public_key = var.ssh_public_key
  }
  os_disk {
    caching              = "ReadWrite"
    storage_account_type = "StandardSSD_LRS"
  }
  source_image_reference {
    publisher = "Debian"
    offer     = "debian-12"
    sku       = "12-gen2"
    version   = "latest"
  }
}

# tofu test, in deploy/azure/machine: no provider, no cloud.

variables {
  name    = "adyton"
  region  = "westeurope"
  size    = "Standard_DC4as_v6"
  clients = "198.51.100.0/24"
  admin   = "203.0.113.7/32"
}

run "sev_snp" {
  command = plan
  assert {
    condition     = output.tee == "snp" && output.processor == "genoa" && output.vtpm_state == "VMGuestStateOnly"
    error_message = "Standard_DC4as_v6 is SEV-SNP on Genoa."
  }
}

run "milan" {
  command = plan
  variables {
    size = "Standard_EC20ads_v5"
  }
  assert {
    condition     = output.tee == "snp" && output.processor == "milan"
    error_message = "Standard_EC20ads_v5 is SEV-SNP on Milan."
  }
}

run "tdx" {
  command = plan
  variables {
    size = "Standard_DC128es_v6"
  }
  assert {
    condition     = output.tee == "tdx" && output.vtpm_state == "NonPersistedTPM"
    error_message = "Standard_DC128es_v6 is TDX."
  }
}

run "a_size_of_another_family" {
  command = plan
  variables {
    size = "Standard_D4s_v5"
  }
  expect_failures = [var.size]
}

run "a_size_that_the_family_does_not_have" {
  command = plan
  variables {
    size = "Standard_DC20as_v6"
  }
  expect_failures = [var.size]
}

run "a_region_that_is_not_there" {
  command = plan
  variables {
    region = "atlantis"
  }
  expect_failures = [var.region]
}

run "a_name_for_a_shell" {
  command = plan
  variables {
    name = "adyton;reboot"
  }
  expect_failures = [var.name]
}

run "everybody" {
  command = plan
  variables {
    clients = "0.0.0.0/0"
    admin   = "Internet"
  }
  expect_failures = [var.clients, var.admin]
}

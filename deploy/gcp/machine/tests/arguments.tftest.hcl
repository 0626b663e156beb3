# tofu test, in deploy/gcp/machine: no provider, no cloud.

variables {
  name    = "adyton"
  project = "my-project"
  zone    = "europe-west4-a"
  type    = "c3-standard-4"
  clients = "198.51.100.0/24"
  admin   = "203.0.113.7/32"
}

run "tdx" {
  command = plan
  assert {
    condition     = output.confidential_type == "TDX" && output.min_cpu_platform == null && output.region == "europe-west4"
    error_message = "c3-standard-4 is TDX."
  }
}

run "n2d" {
  command = plan
  variables {
    type = "n2d-highmem-96"
  }
  assert {
    condition     = output.confidential_type == "SEV_SNP" && output.min_cpu_platform == "AMD Milan"
    error_message = "n2d-highmem-96 is SEV-SNP on Milan."
  }
}

run "c3d" {
  command = plan
  variables {
    type = "c3d-standard-360"
  }
  assert {
    condition     = output.confidential_type == "SEV_SNP" && output.min_cpu_platform == "AMD Genoa"
    error_message = "c3d-standard-360 is SEV-SNP on Genoa."
  }
}

run "a_type_of_another_family" {
  command = plan
  variables {
    type = "c3-highmem-4"
  }
  expect_failures = [var.type]
}

run "a_region_that_is_not_there" {
  command = plan
  variables {
    zone = "mars-west1-a"
  }
  expect_failures = [var.zone]
}

run "a_region_for_a_zone" {
  command = plan
  variables {
    zone = "europe-west4"
  }
  expect_failures = [var.zone]
}

run "names_for_a_shell" {
  command = plan
  variables {
    name    = "adyton`id`"
    project = "my project"
  }
  expect_failures = [var.name, var.project]
}

run "everybody" {
  command = plan
  variables {
    clients = "0.0.0.0/0"
    admin   = "internet"
  }
  expect_failures = [var.clients, var.admin]
}

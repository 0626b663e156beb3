output "url" {
  description = "Where clients reach the relay."
  value       = "https://${azurerm_public_ip.relay.ip_address}:${local.plan.client_port}"
}

output "tee" {
  description = "snp or tdx."
  value       = module.machine.tee
}

output "processor" {
  description = "Generation of the processor."
  value       = module.machine.processor
}

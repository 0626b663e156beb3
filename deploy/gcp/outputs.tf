output "url" {
  description = "Where clients reach the relay."
  value       = "https://${google_compute_instance.relay.network_interface[0].access_config[0].nat_ip}:${local.plan.client_port}"
}

output "tee" {
  description = "snp or tdx."
  value       = module.machine.tee
}

output "processor" {
  description = "Generation of the processor."
  value       = module.machine.processor
}

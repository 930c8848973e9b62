output "resource_group_name" {
  description = "The resource group."
  value       = local.resource_group.name
}

output "function_app_name" {
  description = "For func azure functionapp publish; null without the Functions app."
  value       = var.enable_functions ? azapi_resource.app[0].name : null
}

output "function_app_url" {
  description = "Where the HTTP functions are."
  value       = var.enable_functions ? "https://${azapi_resource.app[0].output.properties.defaultHostName}/api/maintenance" : null
}

output "publish_command" {
  description = "What to run next, in the repository's root."
  value       = var.enable_functions ? "func azure functionapp publish ${azapi_resource.app[0].name}" : null
}

output "container_job_names" {
  description = "The container jobs, for az containerapp job start."
  value       = [for job in azurerm_container_app_job.this : job.name]
}

output "identity_client_id" {
  description = "AZURE_CLIENT_ID of the identity, for a workflow as well."
  value       = azurerm_user_assigned_identity.this.client_id
}

output "identity_object_id" {
  description = "Object ID of the identity: its role in the database is made with it."
  value       = azurerm_user_assigned_identity.this.principal_id
}

output "identity_id" {
  description = "Resource ID of the identity."
  value       = azurerm_user_assigned_identity.this.id
}

output "tenant_id" {
  description = "Tenant of the identity, for a workflow."
  value       = data.azurerm_client_config.this.tenant_id
}

output "postgres_host" {
  description = "PGHOST."
  value       = local.postgres_host
}

output "postgres_role" {
  description = "PGUSER, the role to make for the identity."
  value       = var.postgres_role
}

output "archive_url" {
  description = "MAINTENANCE_ARCHIVE_URL; null without archives."
  value       = var.enable_archives ? "${local.blob_endpoint}${local.archive_container}" : null
}

output "workspace_id" {
  description = "Resource ID of the Log Analytics workspace."
  value       = azapi_resource.workspace.id
}

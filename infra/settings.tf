# The settings of docs/settings.md, by their names there. The repository's tests compare them with what the service reads.

locals {
  postgres_host = (
    var.postgres_host != null ? var.postgres_host :
    var.enable_server ? "${var.name}-db.postgres.database.azure.com" :
    var.postgres_server_id != null ? "${element(split("/", var.postgres_server_id), 8)}.postgres.database.azure.com" :
    null
  )

  # Wherever it runs.
  service_settings = merge(
    {
      PGHOST                                    = local.postgres_host
      PGDATABASE                                = var.postgres_database
      PGUSER                                    = var.postgres_role
      AZURE_CLIENT_ID                           = azurerm_user_assigned_identity.this.client_id
      MAINTENANCE_POLICY                        = var.policy
      APPLICATIONINSIGHTS_CONNECTION_STRING     = local.insights_connection
      APPLICATIONINSIGHTS_AUTHENTICATION_STRING = "Authorization=AAD;ClientId=${azurerm_user_assigned_identity.this.client_id}"
    },
    var.enable_archives ? { MAINTENANCE_ARCHIVE_URL = "${local.blob_endpoint}${local.archive_container}" } : {},
  )

  schedules = {
    DAILY_CLEANUP_SCHEDULE = var.daily_cleanup_schedule
    WEEKLY_VACUUM_SCHEDULE = var.weekly_vacuum_schedule
  }

  allowed_principals = concat(var.http_allowed_principals, azurerm_user_assigned_identity.caller[*].principal_id)

  function_settings = merge(
    local.service_settings,
    local.schedules,
    {
      PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY = "true"
      OTEL_TRACES_SAMPLER                         = "always_on"
      AzureWebJobsStorage__accountName            = local.storage_name
      AzureWebJobsStorage__credential             = "managedidentity"
      AzureWebJobsStorage__clientId               = azurerm_user_assigned_identity.this.client_id
    },
    length(local.allowed_principals) == 0 ? {} : { MAINTENANCE_HTTP_ALLOWED_PRINCIPALS = join(",", local.allowed_principals) },
    local.timers ? {} : {
      "AzureWebJobs.daily_cleanup.Disabled" = "true"
      "AzureWebJobs.weekly_vacuum.Disabled" = "true"
    },
    var.settings,
  )

  container_settings = merge(
    local.service_settings,
    { MAINTENANCE_BUDGET = "${var.container_budget_minutes}m" },
    var.settings,
  )
}

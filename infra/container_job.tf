locals {
  # The jobs take five fields, without seconds.
  jobs = var.enable_container_job ? {
    daily-cleanup = join(" ", slice(split(" ", var.daily_cleanup_schedule), 1, 6))
    weekly-vacuum = join(" ", slice(split(" ", var.weekly_vacuum_schedule), 1, 6))
  } : {}
}

# Logs go by a diagnostic setting, as the other way takes the workspace's shared key.
resource "azurerm_container_app_environment" "this" {
  count                          = var.enable_container_job ? 1 : 0
  name                           = "${var.name}-environment"
  resource_group_name            = local.resource_group.name
  location                       = var.location
  logs_destination               = "azure-monitor"
  infrastructure_subnet_id       = local.subnet_ids.containers
  internal_load_balancer_enabled = var.enable_private_network ? true : null
  tags                           = var.tags

  workload_profile {
    name                  = "Consumption"
    workload_profile_type = "Consumption"
  }

  # Azure names a group of its own once there is a subnet.
  lifecycle {
    ignore_changes = [infrastructure_resource_group_name]
  }

  depends_on = [azurerm_resource_group.this, terraform_data.combination, azurerm_subnet_network_security_group_association.this]
}

resource "azurerm_monitor_diagnostic_setting" "environment" {
  count                      = var.enable_container_job ? 1 : 0
  name                       = "logs"
  target_resource_id         = azurerm_container_app_environment.this[0].id
  log_analytics_workspace_id = azapi_resource.workspace.id

  enabled_log {
    category = "ContainerAppConsoleLogs"
  }
  enabled_log {
    category = "ContainerAppSystemLogs"
  }
}

resource "azurerm_container_app_job" "this" {
  for_each                     = local.jobs
  name                         = "${trimsuffix(substr(var.name, 0, 18), "-")}-${each.key}" # 32 characters at most
  resource_group_name          = local.resource_group.name
  location                     = var.location
  container_app_environment_id = azurerm_container_app_environment.this[0].id
  workload_profile_name        = "Consumption"
  tags                         = var.tags

  # A run ends itself; this is for one that cannot.
  replica_timeout_in_seconds = var.container_budget_minutes * 60 + 300
  # A run that stopped with work left (exit code 3) or found another one (4) counts as failed here. Repeating it at once
  # would not help: the next run goes on from where it stopped.
  replica_retry_limit = 0

  schedule_trigger_config {
    cron_expression          = each.value
    parallelism              = 1
    replica_completion_count = 1
  }

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.this.id]
  }

  dynamic "registry" {
    for_each = var.container_registry_id == null ? [] : [split("/", var.container_image)[0]]
    content {
      server   = registry.value
      identity = azurerm_user_assigned_identity.this.id
    }
  }

  template {
    container {
      name   = "maintenance"
      image  = var.container_image
      args   = ["run", each.key]
      cpu    = var.container_cpu
      memory = var.container_memory

      dynamic "env" {
        for_each = local.container_settings
        content {
          name  = env.key
          value = env.value
        }
      }
    }
  }

  depends_on = [azurerm_role_assignment.this, azurerm_private_endpoint.this, azapi_resource.zone_link]
}

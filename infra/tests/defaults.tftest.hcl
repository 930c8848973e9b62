# What a plain `terraform apply` makes: the Functions app, and nothing with a password in it.

# The mocks have IDs of the right form, as the providers look at them even so.
mock_provider "azurerm" {
  mock_data "azurerm_client_config" {
    defaults = {
      subscription_id = "99999999-9999-9999-9999-999999999999"
      tenant_id       = "88888888-8888-8888-8888-888888888888"
    }
  }
  mock_resource "azurerm_resource_group" {
    defaults = { id = "/subscriptions/s/resourceGroups/g" }
  }
  mock_resource "azurerm_user_assigned_identity" {
    defaults = {
      id           = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i"
      client_id    = "11111111-1111-1111-1111-111111111111"
      principal_id = "22222222-2222-2222-2222-222222222222"
    }
  }
  mock_resource "azurerm_monitor_action_group" {
    defaults = { id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Insights/actionGroups/a" }
  }
}

mock_provider "azapi" {
  mock_resource "azapi_resource" {
    defaults = { id = "/subscriptions/s/resourceGroups/g/providers/P/t/mocked" }
  }
  override_resource {
    target = azapi_resource.storage
    values = {
      id     = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/myapp"
      output = { properties = { primaryEndpoints = { blob = "https://myapp.blob.core.windows.net/" } } }
    }
  }
  override_resource {
    target = azapi_resource.app
    values = {
      id     = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Web/sites/my-app"
      output = { properties = { defaultHostName = "my-app.azurewebsites.net" } }
    }
  }
  override_resource {
    target = azapi_resource.workspace
    values = { id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.OperationalInsights/workspaces/my-app-logs" }
  }
  override_resource {
    target = azapi_resource.insights
    values = {
      id     = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Insights/components/my-app"
      output = { properties = { ConnectionString = "InstrumentationKey=mocked" } }
    }
  }
}

variables {
  name                = "my-app"
  location            = "westeurope"
  resource_group_name = "g"
  postgres_server_id  = "/subscriptions/s/resourceGroups/g/providers/Microsoft.DBforPostgreSQL/flexibleServers/my-server"
  postgres_database   = "reportmate"
}

run "the_functions_app_is_there_and_nothing_else_that_runs" {
  assert {
    condition = (
      length(azapi_resource.app) == 1 && length(azurerm_container_app_job.this) == 0 && length(azapi_resource.workflow) == 0
      && length(azapi_resource.github) == 0 && length(azurerm_postgresql_flexible_server.this) == 0
      && length(azurerm_virtual_network.this) == 0 && length(azurerm_private_endpoint.this) == 0
    )
    error_message = "by default there is the Functions app and nothing else that runs"
  }
  assert {
    condition     = azapi_resource.app[0].type == "Microsoft.Web/sites@2024-04-01" && azurerm_service_plan.this[0].sku_name == "FC1"
    error_message = "the app is one of Flex Consumption, by azapi"
  }
  assert {
    condition     = output.publish_command == "func azure functionapp publish ${azapi_resource.app[0].name}"
    error_message = "the command to publish names the app"
  }
}

run "no_connection_string_and_no_key" {
  assert {
    condition = !anytrue([
      for setting in azapi_resource.app[0].body.properties.siteConfig.appSettings :
      contains(["AzureWebJobsStorage", "DEPLOYMENT_STORAGE_CONNECTION_STRING", "WEBSITE_CONTENTAZUREFILECONNECTIONSTRING"], setting.name)
    ])
    error_message = "the app has a connection string with a key"
  }
  assert {
    condition     = !can(regex("(?i)AccountKey=|SharedAccessSignature|password", jsonencode(azapi_resource.app[0].body)))
    error_message = "the app's body has a secret"
  }
  assert {
    condition = (
      local.function_settings["AzureWebJobsStorage__accountName"] == azapi_resource.storage[0].name
      && local.function_settings["AzureWebJobsStorage__credential"] == "managedidentity"
      && local.function_settings["AzureWebJobsStorage__clientId"] == "11111111-1111-1111-1111-111111111111"
    )
    error_message = "the app reaches its storage with the identity"
  }
  assert {
    condition     = azapi_resource.app[0].body.properties.functionAppConfig.deployment.storage.authentication.type == "UserAssignedIdentity"
    error_message = "the package is fetched with the identity"
  }
  assert {
    condition     = toset(keys(azapi_update_resource.publishing)) == toset(["ftp", "scm"]) && alltrue([for p in azapi_update_resource.publishing : !p.body.properties.allow])
    error_message = "publishing with user and password is off"
  }
}

run "the_storage_has_no_shared_keys_and_is_not_public" {
  assert {
    condition = (
      !azapi_resource.storage[0].body.properties.allowSharedKeyAccess && !azapi_resource.storage[0].body.properties.allowBlobPublicAccess
      && azapi_resource.storage[0].body.properties.minimumTlsVersion == "TLS1_2" && azapi_resource.storage[0].body.properties.supportsHttpsTrafficOnly
    )
    error_message = "the storage must refuse keys, anonymous reads and old TLS"
  }
  assert {
    condition     = azurerm_storage_container.archives[0].container_access_type == "private" && azurerm_storage_container.package[0].container_access_type == "private"
    error_message = "containers are private"
  }
  assert {
    condition     = azapi_resource.insights.body.properties.DisableLocalAuth && azapi_resource.workspace.body.properties.features.disableLocalAuth
    error_message = "telemetry and logs are taken from identities only"
  }
}

run "the_identity_has_its_roles_and_no_others" {
  assert {
    condition = toset(keys(azurerm_role_assignment.this)) == toset([
      "Storage Blob Data Owner", "Storage Queue Data Contributor", "Storage Table Data Contributor",
      "Storage Blob Data Contributor", "Monitoring Metrics Publisher",
    ])
    error_message = "these roles and no others"
  }
  assert {
    condition     = endswith(azurerm_role_assignment.this["Storage Blob Data Contributor"].scope, "/containers/archives")
    error_message = "archives are written by a role on their container alone"
  }
}

run "settings_and_schedules_are_those_of_the_variables" {
  variables {
    daily_cleanup_schedule = "0 30 1 * * *"
    settings               = { MAINTENANCE_SLICES = "12" }
  }
  assert {
    condition = { for s in azapi_resource.app[0].body.properties.siteConfig.appSettings : s.name => s.value } == {
      for name, value in {
        PGHOST                                      = "my-server.postgres.database.azure.com"
        PGDATABASE                                  = "reportmate"
        PGUSER                                      = "pg-maintenance"
        AZURE_CLIENT_ID                             = "11111111-1111-1111-1111-111111111111"
        MAINTENANCE_POLICY                          = "maintenance.toml"
        MAINTENANCE_ARCHIVE_URL                     = "https://myapp.blob.core.windows.net/archives"
        MAINTENANCE_SLICES                          = "12"
        DAILY_CLEANUP_SCHEDULE                      = "0 30 1 * * *"
        WEEKLY_VACUUM_SCHEDULE                      = "0 0 3 * * 0"
        APPLICATIONINSIGHTS_CONNECTION_STRING       = "InstrumentationKey=mocked"
        APPLICATIONINSIGHTS_AUTHENTICATION_STRING   = "Authorization=AAD;ClientId=11111111-1111-1111-1111-111111111111"
        PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY = "true"
        OTEL_TRACES_SAMPLER                         = "always_on"
        AzureWebJobsStorage__accountName            = "myapp"
        AzureWebJobsStorage__credential             = "managedidentity"
        AzureWebJobsStorage__clientId               = "11111111-1111-1111-1111-111111111111"
      } : name => value
    }
    error_message = "the app's settings"
  }
}

run "a_password_is_refused" {
  command = plan
  variables {
    settings = { PGPASSWORD = "secret" }
  }
  expect_failures = [var.settings]
}

run "a_connection_string_is_refused" {
  command = plan
  variables {
    settings = { AzureWebJobsStorage = "AccountKey=..." }
  }
  expect_failures = [var.settings]
}

run "a_schedule_of_five_fields_is_refused" {
  command = plan
  variables {
    daily_cleanup_schedule = "0 2 * * *"
  }
  expect_failures = [var.daily_cleanup_schedule]
}

run "no_database_is_refused" {
  command = plan
  variables {
    postgres_server_id = null
  }
  expect_failures = [terraform_data.combination]
}

run "archives_have_a_lifecycle_rule_that_restore_can_live_with" {
  variables {
    archive_delete_after_days = 400
  }
  assert {
    condition = (
      azurerm_storage_management_policy.archives[0].rule[0].filters[0].prefix_match == toset(["archives/"])
      && azurerm_storage_management_policy.archives[0].rule[0].actions[0].base_blob[0].tier_to_cool_after_days_since_modification_greater_than == 30
      && azurerm_storage_management_policy.archives[0].rule[0].actions[0].base_blob[0].delete_after_days_since_modification_greater_than == 400
    )
    error_message = "the rule takes the archives, and them alone"
  }
}

run "three_alerts_and_a_workbook" {
  variables {
    alert_emails = ["a@example.com"]
    targets      = ["north", "south"]
  }
  assert {
    condition     = toset(keys(azurerm_monitor_scheduled_query_rules_alert_v2.this)) == toset(["failed-run", "no-run", "retention-lag"])
    error_message = "failed run, no run, lag"
  }
  assert {
    condition     = strcontains(azurerm_monitor_scheduled_query_rules_alert_v2.this["no-run"].criteria[0].query, "[\"north\",\"south\"]") && strcontains(azurerm_monitor_scheduled_query_rules_alert_v2.this["no-run"].criteria[0].query, "ago(36h)")
    error_message = "each target is missed after 36 hours"
  }
  assert {
    condition     = alltrue([for rule in azurerm_monitor_scheduled_query_rules_alert_v2.this : length(rule.action[0].action_groups) == 1])
    error_message = "somebody is told"
  }
  assert {
    condition     = length(jsondecode(azurerm_application_insights_workbook.this[0].data_json).items) == 8
    error_message = "the workbook is the file"
  }
}

run "alerts_and_workbook_can_be_left_out" {
  variables {
    enable_alerts   = false
    enable_workbook = false
    enable_archives = false
  }
  assert {
    condition = (
      length(azurerm_monitor_scheduled_query_rules_alert_v2.this) == 0 && length(azurerm_application_insights_workbook.this) == 0
      && length(azurerm_storage_container.archives) == 0 && !contains(keys(local.function_settings), "MAINTENANCE_ARCHIVE_URL")
    )
    error_message = "switched off, and still there"
  }
}

# The other schedulers: each by its switch, and never two that would begin the same run.

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
  mock_resource "azurerm_container_app_environment" {
    defaults = { id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.App/managedEnvironments/e" }
  }
  mock_resource "azurerm_role_definition" {
    defaults = { role_definition_resource_id = "/subscriptions/s/providers/Microsoft.Authorization/roleDefinitions/66666666-6666-6666-6666-666666666666" }
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

run "a_container_job_for_each_group_in_place_of_the_timers" {
  variables {
    enable_container_job  = true
    container_image       = "myregistry.azurecr.io/pg-maintenance:1"
    container_registry_id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ContainerRegistry/registries/myregistry"
  }
  assert {
    condition = { for name, job in azurerm_container_app_job.this : name => job.schedule_trigger_config[0].cron_expression } == {
      for name, cron in { daily-cleanup = "0 2 * * *", weekly-vacuum = "0 3 * * 0" } : name => cron
    }
    error_message = "the jobs have the schedules of the variables, without their seconds"
  }
  assert {
    condition     = alltrue([for name, job in azurerm_container_app_job.this : job.template[0].container[0].args == tolist(["run", name])])
    error_message = "each job runs its group"
  }
  assert {
    condition     = alltrue([for job in azurerm_container_app_job.this : job.replica_timeout_in_seconds == 2100 && job.replica_retry_limit == 0])
    error_message = "a run ends before it is killed, and is not repeated at once"
  }
  assert {
    condition = alltrue([
      for job in azurerm_container_app_job.this : job.registry[0].server == "myregistry.azurecr.io"
      && job.registry[0].identity == azurerm_user_assigned_identity.this.id && job.registry[0].password_secret_name == null && length(job.secret) == 0
    ])
    error_message = "the image is pulled with the identity"
  }
  assert {
    condition     = azurerm_role_assignment.this["AcrPull"].scope == var.container_registry_id
    error_message = "the identity may pull"
  }
  assert {
    condition     = azurerm_container_app_environment.this[0].logs_destination == "azure-monitor" && azurerm_container_app_environment.this[0].log_analytics_workspace_id == null
    error_message = "logs need no shared key"
  }
  assert {
    condition     = local.container_settings["MAINTENANCE_BUDGET"] == "30m" && !contains(keys(local.container_settings), "DAILY_CLEANUP_SCHEDULE")
    error_message = "the job has its budget, and no settings of the app"
  }
  assert {
    condition     = local.function_settings["AzureWebJobs.daily_cleanup.Disabled"] == "true" && local.function_settings["AzureWebJobs.weekly_vacuum.Disabled"] == "true"
    error_message = "the timers would begin the same runs"
  }
}

run "job_names_of_a_long_app_name_stay_apart" {
  variables {
    name                 = "a-name-that-is-a-b-rather-long-1"
    storage_name         = "short"
    enable_container_job = true
    container_image      = "ghcr.io/me/pg-maintenance:1"
  }
  assert {
    condition     = toset(output.container_job_names) == toset(["a-name-that-is-a-b-daily-cleanup", "a-name-that-is-a-b-weekly-vacuum"])
    error_message = "names have 32 characters at most"
  }
}

run "a_container_job_alone" {
  variables {
    enable_container_job = true
    enable_functions     = false
    enable_archives      = false
    container_image      = "ghcr.io/me/pg-maintenance:1"
  }
  assert {
    condition = (
      length(azapi_resource.app) == 0 && length(azurerm_service_plan.this) == 0 && length(azapi_resource.storage) == 0
      && length(azurerm_container_app_job.this["daily-cleanup"].registry) == 0
      && toset(keys(azurerm_role_assignment.this)) == toset(["Monitoring Metrics Publisher"])
    )
    error_message = "no app, no storage, and a public image without a login"
  }
  assert {
    condition     = output.function_app_name == null && output.publish_command == null && output.archive_url == null
    error_message = "there is nothing to publish"
  }
}

run "logic_apps_in_place_of_the_timers" {
  variables {
    enable_logic_app    = true
    http_application_id = "33333333-3333-3333-3333-333333333333"
  }
  assert {
    condition     = toset(keys(azapi_resource.workflow)) == toset(["daily-cleanup", "weekly-vacuum"])
    error_message = "one for each group"
  }
  assert {
    condition = (
      jsonencode(azapi_resource.workflow["daily-cleanup"].body.properties.definition.triggers.schedule.recurrence.schedule) == jsonencode({ hours = [2], minutes = [0] })
      && jsonencode(azapi_resource.workflow["weekly-vacuum"].body.properties.definition.triggers.schedule.recurrence.schedule) == jsonencode({ hours = [3], minutes = [0], weekDays = ["Sunday"] })
      && azapi_resource.workflow["weekly-vacuum"].body.properties.definition.triggers.schedule.recurrence.frequency == "Week"
    )
    error_message = "the workflows have the schedules of the variables"
  }
  assert {
    condition = (
      azapi_resource.workflow["weekly-vacuum"].body.properties.definition.actions.Start.inputs.body.name == "weekly-vacuum"
      && azapi_resource.workflow["daily-cleanup"].body.properties.definition.actions.Start.inputs.uri == "https://my-app.azurewebsites.net/api/maintenance/runs"
      && azapi_resource.workflow["daily-cleanup"].body.properties.definition.actions.Start.inputs.authentication.audience == "api://33333333-3333-3333-3333-333333333333"
    )
    error_message = "each asks the app for its run, with a token for it"
  }
  assert {
    condition     = local.function_settings["MAINTENANCE_HTTP_ALLOWED_PRINCIPALS"] == "22222222-2222-2222-2222-222222222222" && local.function_settings["AzureWebJobs.daily_cleanup.Disabled"] == "true"
    error_message = "the caller is admitted, and the timers are off"
  }
  assert {
    condition     = azapi_update_resource.authentication[0].body.properties.globalValidation.unauthenticatedClientAction == "Return401" && azapi_update_resource.authentication[0].body.properties.platform.enabled
    error_message = "without App Service Authentication the list of principals is refused by the app"
  }
  assert {
    condition     = azurerm_role_definition.caller[0].permissions[0].actions == tolist(["Microsoft.Web/sites/functions/listkeys/action"])
    error_message = "the caller may read the keys of functions, not the host's"
  }
}

run "github_actions_log_in_without_a_secret" {
  variables {
    enable_github_actions = true
    github_repository     = "me/pg-maintenance"
  }
  assert {
    condition     = azapi_resource.github[0].body.properties.subject == "repo:me/pg-maintenance:environment:production" && azapi_resource.github[0].body.properties.issuer == "https://token.actions.githubusercontent.com"
    error_message = "only that environment of that repository"
  }
}

run "two_other_schedulers_are_refused" {
  command = plan
  variables {
    enable_container_job = true
    enable_logic_app     = true
    container_image      = "image"
    http_application_id  = "33333333-3333-3333-3333-333333333333"
  }
  expect_failures = [terraform_data.combination]
}

run "a_logic_app_without_an_application_is_refused" {
  command = plan
  variables {
    enable_logic_app = true
  }
  expect_failures = [terraform_data.combination]
}

run "a_schedule_that_a_logic_app_cannot_have_is_refused" {
  command = plan
  variables {
    enable_logic_app       = true
    http_application_id    = "33333333-3333-3333-3333-333333333333"
    daily_cleanup_schedule = "0 */15 * * * *"
  }
  expect_failures = [azapi_resource.workflow["daily-cleanup"]]
}

run "principals_without_authentication_in_front_are_refused" {
  command = plan
  variables {
    http_allowed_principals = ["44444444-4444-4444-4444-444444444444"]
  }
  expect_failures = [terraform_data.combination]
}

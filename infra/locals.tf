locals {
  resource_group = {
    name = var.resource_group_name
    id   = var.create_resource_group ? azurerm_resource_group.this[0].id : data.azurerm_resource_group.this[0].id
  }
  storage_name = coalesce(var.storage_name, substr(replace(var.name, "-", ""), 0, 24))

  # Two schedulers would begin each run twice, and every second one would be skipped.
  timers = !var.enable_container_job && !var.enable_logic_app

  needs_storage = var.enable_functions || var.enable_archives
}

data "azurerm_client_config" "this" {}

data "azurerm_resource_group" "this" {
  count = var.create_resource_group ? 0 : 1
  name  = var.resource_group_name
}

resource "azurerm_resource_group" "this" {
  count    = var.create_resource_group ? 1 : 0
  name     = var.resource_group_name
  location = var.location
  tags     = var.tags
}

# Wrong combinations, refused before anything is made.
resource "terraform_data" "combination" {
  lifecycle {
    precondition {
      condition     = !(var.enable_logic_app && var.enable_container_job)
      error_message = "enable_logic_app and enable_container_job would both schedule the same runs; choose one."
    }
    precondition {
      condition     = !var.enable_logic_app || (var.enable_functions && var.http_application_id != null)
      error_message = "enable_logic_app calls the Functions app with an Entra token: it needs enable_functions and http_application_id."
    }
    precondition {
      condition     = !var.enable_container_job || var.container_image != null
      error_message = "enable_container_job needs container_image."
    }
    precondition {
      condition     = !var.enable_github_actions || var.github_repository != null
      error_message = "enable_github_actions needs github_repository."
    }
    precondition {
      condition     = !var.enable_server || (var.enable_private_network && var.postgres_administrator != null && var.postgres_server_id == null)
      error_message = "enable_server needs enable_private_network and postgres_administrator, and no postgres_server_id."
    }
    precondition {
      condition     = !var.enable_pg_cron || var.enable_server
      error_message = "enable_pg_cron sets parameters of the server that enable_server makes; on an existing one set them there."
    }
    precondition {
      condition     = local.postgres_host != null
      error_message = "Which database? Set postgres_server_id, postgres_host or enable_server."
    }
    precondition {
      condition     = !(var.enable_private_network && var.enable_postgres_endpoint) || var.enable_server || var.postgres_server_id != null
      error_message = "A private endpoint to PostgreSQL needs postgres_server_id; set enable_postgres_endpoint = false where there is one already."
    }
    precondition {
      condition = !var.enable_private_network || var.network == null || (
        (!var.enable_functions || try(var.network.functions_subnet_id, null) != null)
        && (!var.enable_container_job || try(var.network.containers_subnet_id, null) != null)
        && (length(local.endpoints) == 0 || try(var.network.endpoints_subnet_id, null) != null)
      )
      error_message = "network lacks a subnet: functions_subnet_id with enable_functions, containers_subnet_id with enable_container_job, endpoints_subnet_id for private endpoints."
    }
    precondition {
      condition     = can(regex("^[a-z0-9]{3,24}$", local.storage_name))
      error_message = "The storage account's name must be 3 to 24 of a-z and 0-9; set storage_name."
    }
    precondition {
      condition     = length(var.http_allowed_principals) == 0 || var.http_application_id != null
      error_message = "http_allowed_principals needs http_application_id: without App Service Authentication anybody could write any name."
    }
  }
}

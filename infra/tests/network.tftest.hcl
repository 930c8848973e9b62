# The network: of our own, or an existing one; and a server of our own.

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
  mock_resource "azurerm_virtual_network" {
    defaults = { id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v" }
  }
  override_resource {
    target = azurerm_subnet.this["functions"]
    values = { id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/functions" }
  }
  override_resource {
    target = azurerm_subnet.this["containers"]
    values = { id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/containers" }
  }
  override_resource {
    target = azurerm_subnet.this["endpoints"]
    values = { id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/endpoints" }
  }
  mock_resource "azurerm_network_security_group" {
    defaults = { id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/networkSecurityGroups/n" }
  }
  mock_resource "azurerm_private_dns_zone" {
    defaults = { id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/privateDnsZones/mocked" }
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

run "a_network_of_our_own" {
  variables {
    enable_private_network = true
  }
  assert {
    condition     = toset(keys(azurerm_private_endpoint.this)) == toset(["blob", "queue", "table", "postgres"]) && toset(keys(azurerm_private_dns_zone.this)) == toset(["blob", "queue", "table", "postgres"])
    error_message = "endpoints and zones for storage and PostgreSQL"
  }
  assert {
    condition     = azapi_resource.storage[0].body.properties.publicNetworkAccess == "Disabled" && azapi_resource.storage[0].body.properties.networkAcls.defaultAction == "Deny"
    error_message = "the storage is closed to the internet"
  }
  assert {
    condition     = endswith(azapi_resource.app[0].body.properties.virtualNetworkSubnetId, "/subnets/functions")
    error_message = "the app is in its subnet"
  }
  assert {
    condition     = azurerm_subnet.this["functions"].delegation[0].service_delegation[0].name == "Microsoft.App/environments" && length(azurerm_subnet.this["endpoints"].delegation) == 0
    error_message = "the app's subnet is delegated, that of the endpoints is not"
  }
  assert {
    condition     = [for name in ["functions", "containers", "endpoints"] : azurerm_subnet.this[name].address_prefixes[0]] == ["10.20.0.0/26", "10.20.0.64/26", "10.20.0.128/27"]
    error_message = "the subnets do not overlap"
  }
  assert {
    condition     = azurerm_private_endpoint.this["postgres"].private_service_connection[0].private_connection_resource_id == var.postgres_server_id && azurerm_private_endpoint.this["postgres"].private_service_connection[0].subresource_names == tolist(["postgresqlServer"])
    error_message = "the endpoint leads to the server"
  }
  assert {
    condition     = toset(keys(azurerm_subnet_network_security_group_association.this)) == toset(["functions", "containers", "endpoints"])
    error_message = "each subnet has its security group"
  }
}

run "an_existing_network_and_server" {
  variables {
    enable_private_network   = true
    enable_postgres_endpoint = false
    network = {
      functions_subnet_id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/functions"
      endpoints_subnet_id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/endpoints"
      dns_zone_ids        = { blob = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/privateDnsZones/privatelink.blob.core.windows.net", queue = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/privateDnsZones/privatelink.queue.core.windows.net" }
    }
  }
  assert {
    condition     = length(azurerm_virtual_network.this) == 0 && length(azurerm_subnet.this) == 0 && length(azurerm_private_dns_zone.this) == 0
    error_message = "nothing of the network is made"
  }
  assert {
    condition     = toset(keys(azurerm_private_endpoint.this)) == toset(["blob", "queue", "table"]) && alltrue([for endpoint in azurerm_private_endpoint.this : endpoint.subnet_id == "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/endpoints"])
    error_message = "endpoints for storage in the given subnet, none for PostgreSQL"
  }
  assert {
    condition     = azapi_resource.app[0].body.properties.virtualNetworkSubnetId == "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/functions"
    error_message = "the app is in the given subnet"
  }
  assert {
    condition     = azurerm_private_endpoint.this["blob"].private_dns_zone_group[0].private_dns_zone_ids == tolist(["/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/privateDnsZones/privatelink.blob.core.windows.net"]) && length(azurerm_private_endpoint.this["table"].private_dns_zone_group) == 0
    error_message = "the given zones, and none where none is given"
  }
}

run "a_network_without_the_subnet_that_is_needed_is_refused" {
  command = plan
  variables {
    enable_private_network = true
    enable_container_job   = true
    container_image        = "ghcr.io/me/pg-maintenance:1"
    network                = { functions_subnet_id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/functions", endpoints_subnet_id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/endpoints" }
  }
  expect_failures = [terraform_data.combination]
}

run "containers_in_the_network" {
  variables {
    enable_private_network = true
    enable_container_job   = true
    enable_functions       = false
    container_image        = "ghcr.io/me/pg-maintenance:1"
  }
  assert {
    condition     = endswith(azurerm_container_app_environment.this[0].infrastructure_subnet_id, "/subnets/containers") && azurerm_container_app_environment.this[0].internal_load_balancer_enabled
    error_message = "the environment is in its subnet, and takes nothing from outside"
  }
  assert {
    condition     = toset(keys(azurerm_private_endpoint.this)) == toset(["blob", "postgres"])
    error_message = "archives need blobs, and nothing else"
  }
}

# Only planned, as a server is never destroyed by terraform.
run "a_server_that_takes_entra_only" {
  command = plan
  variables {
    enable_private_network = true
    enable_server          = true
    enable_pg_cron         = true
    postgres_server_id     = null
    postgres_administrator = { object_id = "55555555-5555-5555-5555-555555555555", principal_name = "dba@example.com", principal_type = "User" }
  }
  assert {
    condition     = azurerm_postgresql_flexible_server.this[0].authentication[0].active_directory_auth_enabled && !azurerm_postgresql_flexible_server.this[0].authentication[0].password_auth_enabled
    error_message = "Entra only"
  }
  assert {
    condition     = azurerm_postgresql_flexible_server.this[0].administrator_password == null && !azurerm_postgresql_flexible_server.this[0].public_network_access_enabled
    error_message = "no password, and not public"
  }
  assert {
    condition     = local.function_settings["PGHOST"] == "my-app-db.postgres.database.azure.com"
    error_message = "the app goes to the new server"
  }
  assert {
    condition     = azurerm_postgresql_flexible_server_active_directory_administrator.this[0].principal_name == "dba@example.com"
    error_message = "the administrator is who was named"
  }
  assert {
    condition     = azurerm_postgresql_flexible_server_configuration.cron["azure.extensions"].value == "PG_CRON"
    error_message = "pg_cron is allowed"
  }
}

run "a_server_without_an_administrator_is_refused" {
  command = plan
  variables {
    enable_private_network = true
    enable_server          = true
    postgres_server_id     = null
  }
  expect_failures = [terraform_data.combination]
}

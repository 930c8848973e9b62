locals {
  server_id = var.enable_server ? azurerm_postgresql_flexible_server.this[0].id : var.postgres_server_id
}

# There is no administrator with a password, so none can stand in the state.
resource "azurerm_postgresql_flexible_server" "this" {
  count                         = var.enable_server ? 1 : 0
  name                          = "${var.name}-db"
  resource_group_name           = local.resource_group.name
  location                      = var.location
  version                       = var.postgres_version
  sku_name                      = var.postgres_sku
  storage_mb                    = var.postgres_storage_mb
  auto_grow_enabled             = true
  backup_retention_days         = 14
  public_network_access_enabled = false
  tags                          = var.tags

  authentication {
    active_directory_auth_enabled = true
    password_auth_enabled         = false
    tenant_id                     = data.azurerm_client_config.this.tenant_id
  }

  # A switch must not delete a database. The zone is Azure's choice.
  lifecycle {
    prevent_destroy = true
    ignore_changes  = [zone]
  }

  depends_on = [azurerm_resource_group.this, terraform_data.combination]
}

# Not the identity of the service: an administrator cannot be an ordinary role too.
resource "azurerm_postgresql_flexible_server_active_directory_administrator" "this" {
  count               = var.enable_server ? 1 : 0
  server_name         = azurerm_postgresql_flexible_server.this[0].name
  resource_group_name = local.resource_group.name
  tenant_id           = data.azurerm_client_config.this.tenant_id
  object_id           = var.postgres_administrator.object_id
  principal_name      = var.postgres_administrator.principal_name
  principal_type      = var.postgres_administrator.principal_type
}

resource "azurerm_postgresql_flexible_server_database" "this" {
  count     = var.enable_server ? 1 : 0
  name      = var.postgres_database
  server_id = azurerm_postgresql_flexible_server.this[0].id

  lifecycle {
    prevent_destroy = true
  }
}

# pg_cron is preloaded on Azure; what is left is to allow it, and to say where its tables are.
resource "azurerm_postgresql_flexible_server_configuration" "cron" {
  for_each = var.enable_pg_cron && var.enable_server ? {
    "azure.extensions"   = "PG_CRON"
    "cron.database_name" = "postgres"
  } : {}
  name      = each.key
  server_id = azurerm_postgresql_flexible_server.this[0].id
  value     = each.value
}

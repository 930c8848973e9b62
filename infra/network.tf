locals {
  makes_network = var.enable_private_network && var.network == null
  made_subnets = local.makes_network ? {
    functions  = { range = cidrsubnet(var.address_space, 2, 0), delegated = true }
    containers = { range = cidrsubnet(var.address_space, 2, 1), delegated = true }
    endpoints  = { range = cidrsubnet(var.address_space, 3, 4), delegated = false }
  } : {}

  subnet_ids = {
    functions  = local.makes_network ? azurerm_subnet.this["functions"].id : var.enable_private_network ? var.network.functions_subnet_id : null
    containers = local.makes_network ? azurerm_subnet.this["containers"].id : var.enable_private_network ? var.network.containers_subnet_id : null
    endpoints  = local.makes_network ? azurerm_subnet.this["endpoints"].id : var.enable_private_network ? var.network.endpoints_subnet_id : null
  }

  zones = {
    blob     = "privatelink.blob.core.windows.net"
    queue    = "privatelink.queue.core.windows.net"
    table    = "privatelink.table.core.windows.net"
    postgres = "privatelink.postgres.database.azure.com"
  }
  storage_endpoints = !var.enable_private_network || !local.needs_storage ? [] : var.enable_functions ? ["blob", "queue", "table"] : ["blob"]
  server_endpoints  = var.enable_private_network && var.enable_postgres_endpoint ? ["postgres"] : []
  endpoints         = toset(concat(local.storage_endpoints, local.server_endpoints))
  made_zones        = local.makes_network ? local.endpoints : toset([])
  zone_ids = merge(
    { for kind in local.made_zones : kind => azurerm_private_dns_zone.this[kind].id },
    local.makes_network || var.network == null ? {} : var.network.dns_zone_ids,
  )
}

resource "azurerm_virtual_network" "this" {
  count               = local.makes_network ? 1 : 0
  name                = "${var.name}-network"
  resource_group_name = local.resource_group.name
  location            = var.location
  address_space       = [var.address_space]
  tags                = var.tags
  depends_on          = [azurerm_resource_group.this, terraform_data.combination]
}

# https://learn.microsoft.com/azure/azure-functions/flex-consumption-plan#considerations
resource "azurerm_subnet" "this" {
  for_each                          = local.made_subnets
  name                              = each.key
  resource_group_name               = local.resource_group.name
  virtual_network_name              = azurerm_virtual_network.this[0].name
  address_prefixes                  = [each.value.range]
  private_endpoint_network_policies = "Enabled"

  dynamic "delegation" {
    for_each = each.value.delegated ? ["Microsoft.App/environments"] : []
    content {
      name = "apps"
      service_delegation {
        name    = delegation.value
        actions = ["Microsoft.Network/virtualNetworks/subnets/join/action"]
      }
    }
  }
}

# Nothing comes in from the internet: only the network itself does, by the default rules.
resource "azurerm_network_security_group" "this" {
  count               = local.makes_network ? 1 : 0
  name                = "${var.name}-network"
  resource_group_name = local.resource_group.name
  location            = var.location
  tags                = var.tags
  depends_on          = [azurerm_resource_group.this]
}

resource "azurerm_subnet_network_security_group_association" "this" {
  for_each                  = local.made_subnets
  subnet_id                 = azurerm_subnet.this[each.key].id
  network_security_group_id = azurerm_network_security_group.this[0].id
}

resource "azurerm_private_dns_zone" "this" {
  for_each            = local.made_zones
  name                = local.zones[each.key]
  resource_group_name = local.resource_group.name
  tags                = var.tags
  depends_on          = [azurerm_resource_group.this]
}

# Through azapi, as the arguments of azurerm_private_dns_zone_virtual_network_link differ between its majors 4 and 5.
resource "azapi_resource" "zone_link" {
  for_each  = local.made_zones
  type      = "Microsoft.Network/privateDnsZones/virtualNetworkLinks@2020-06-01"
  name      = "${var.name}-network"
  parent_id = azurerm_private_dns_zone.this[each.key].id
  location  = "global"
  tags      = var.tags
  body = {
    properties = {
      registrationEnabled = false
      virtualNetwork      = { id = azurerm_virtual_network.this[0].id }
    }
  }
}

resource "azurerm_private_endpoint" "this" {
  for_each            = local.endpoints
  name                = "${var.name}-${each.key}"
  resource_group_name = local.resource_group.name
  location            = var.location
  subnet_id           = local.subnet_ids.endpoints
  tags                = var.tags

  private_service_connection {
    name                           = each.key
    is_manual_connection           = false
    private_connection_resource_id = each.key == "postgres" ? local.server_id : local.storage_id
    subresource_names              = [each.key == "postgres" ? "postgresqlServer" : each.key]
  }

  dynamic "private_dns_zone_group" {
    for_each = contains(keys(local.zone_ids), each.key) ? [local.zone_ids[each.key]] : []
    content {
      name                 = "default"
      private_dns_zone_ids = [private_dns_zone_group.value]
    }
  }

  depends_on = [azurerm_subnet_network_security_group_association.this]
}

locals {
  roles = merge(
    var.enable_functions ? { for role in local.host_roles : role => local.storage_id } : {},
    var.enable_archives ? {
      "Storage Blob Data Contributor" = "${local.storage_id}/blobServices/default/containers/${local.archive_container}"
    } : {},
    { "Monitoring Metrics Publisher" = azapi_resource.insights.id },
    var.enable_container_job && var.container_registry_id != null ? { AcrPull = var.container_registry_id } : {},
  )
}

resource "azurerm_role_assignment" "this" {
  for_each             = local.roles
  scope                = each.value
  role_definition_name = each.key
  principal_id         = azurerm_user_assigned_identity.this.principal_id
  principal_type       = "ServicePrincipal"
  depends_on           = [azurerm_storage_container.archives]
}

# The Logic Apps fetch the key of the two functions that they call when they call them, so it stands nowhere. No built-in
# role allows that alone. A role can be defined for a group, and is assigned for the app only.
resource "azurerm_role_definition" "caller" {
  count             = var.enable_logic_app ? 1 : 0
  name              = "${var.name} caller"
  scope             = local.resource_group.id
  description       = "Reads the keys of single functions of ${var.name}, not those of the host."
  assignable_scopes = [local.resource_group.id]
  permissions {
    actions = ["Microsoft.Web/sites/functions/listkeys/action"]
  }
}

resource "azurerm_role_assignment" "caller" {
  count              = var.enable_logic_app ? 1 : 0
  scope              = azapi_resource.app[0].id
  role_definition_id = azurerm_role_definition.caller[0].role_definition_resource_id
  principal_id       = azurerm_user_assigned_identity.caller[0].principal_id
  principal_type     = "ServicePrincipal"
}

locals {
  insights_connection = azapi_resource.insights.output.properties.ConnectionString
}

# Both through azapi: azurerm writes the workspace's shared keys into the state, and the arguments that turn off logins
# without Entra have other names in its majors 4 and 5.
resource "azapi_resource" "workspace" {
  type      = "Microsoft.OperationalInsights/workspaces@2023-09-01"
  name      = "${var.name}-logs"
  parent_id = local.resource_group.id
  location  = var.location
  tags      = var.tags
  body = {
    properties = {
      sku              = { name = "PerGB2018" }
      retentionInDays  = var.log_retention_days
      workspaceCapping = { dailyQuotaGb = var.log_daily_cap_gb }
      features         = { disableLocalAuth = true }
    }
  }
  depends_on = [terraform_data.combination]
}

# The connection string says where to send, and gives no right to: only the identity may write.
resource "azapi_resource" "insights" {
  type      = "Microsoft.Insights/components@2020-02-02"
  name      = var.name
  parent_id = local.resource_group.id
  location  = var.location
  tags      = var.tags
  body = {
    kind = "web"
    properties = {
      Application_Type    = "web"
      WorkspaceResourceId = azapi_resource.workspace.id
      IngestionMode       = "LogAnalytics"
      DisableLocalAuth    = true
    }
  }
  response_export_values = ["properties.ConnectionString"]
}

# The name must be a GUID, and the same one at every apply.
resource "azurerm_application_insights_workbook" "this" {
  count               = var.enable_workbook ? 1 : 0
  name                = uuidv5("url", "${data.azurerm_client_config.this.subscription_id}/${var.resource_group_name}/${var.name}/workbook")
  display_name        = "${var.name}: maintenance"
  resource_group_name = local.resource_group.name
  location            = var.location
  source_id           = lower(azapi_resource.workspace.id)
  data_json           = jsonencode(jsondecode(file("${path.module}/workbook.json")))
  tags                = var.tags
}

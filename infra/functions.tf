resource "azurerm_service_plan" "this" {
  count               = var.enable_functions ? 1 : 0
  name                = "${var.name}-plan"
  resource_group_name = local.resource_group.name
  location            = var.location
  os_type             = "Linux"
  sku_name            = "FC1"
  tags                = var.tags
  depends_on          = [azurerm_resource_group.this, terraform_data.combination]
}

# Through azapi, as azurerm_function_app_flex_consumption always writes a connection string AzureWebJobsStorage, with an
# empty key: https://github.com/hashicorp/terraform-provider-azurerm/issues/29693. The plan takes neither
# FUNCTIONS_WORKER_RUNTIME nor FUNCTIONS_EXTENSION_VERSION: the runtime is in functionAppConfig.
# https://learn.microsoft.com/azure/azure-functions/functions-app-settings#flex-consumption-plan-deprecations
resource "azapi_resource" "app" {
  count     = var.enable_functions ? 1 : 0
  type      = "Microsoft.Web/sites@2024-04-01"
  name      = var.name
  parent_id = local.resource_group.id
  location  = var.location
  tags      = merge(var.tags, { azd-service-name = "maintenance" })

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.this.id]
  }

  body = {
    kind = "functionapp,linux"
    properties = {
      serverFarmId           = azurerm_service_plan.this[0].id
      httpsOnly              = true
      virtualNetworkSubnetId = local.subnet_ids.functions
      functionAppConfig = {
        deployment = {
          storage = {
            type  = "blobContainer"
            value = "${local.blob_endpoint}${local.package_container}"
            authentication = {
              type                           = "UserAssignedIdentity"
              userAssignedIdentityResourceId = azurerm_user_assigned_identity.this.id
            }
          }
        }
        runtime = {
          name    = "python"
          version = var.python_version
        }
        scaleAndConcurrency = {
          instanceMemoryMB     = var.instance_memory_mb
          maximumInstanceCount = var.maximum_instances
        }
      }
      siteConfig = {
        minTlsVersion = "1.2"
        appSettings   = [for name in sort(keys(local.function_settings)) : { name = name, value = local.function_settings[name] }]
      }
    }
  }
  response_export_values = ["properties.defaultHostName"]

  # Without its roles and its way to the storage the host does not start.
  depends_on = [azurerm_role_assignment.this, azurerm_private_endpoint.this, azapi_resource.zone_link, azurerm_storage_container.package]
}

# Publishing takes an Entra token, never the user and password that every app has.
resource "azapi_update_resource" "publishing" {
  for_each  = var.enable_functions ? toset(["ftp", "scm"]) : toset([])
  type      = "Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01"
  name      = each.key
  parent_id = azapi_resource.app[0].id
  body      = { properties = { allow = false } }
}

# https://learn.microsoft.com/azure/app-service/configure-authentication-provider-aad
resource "azapi_update_resource" "authentication" {
  count     = var.enable_functions && var.http_application_id != null ? 1 : 0
  type      = "Microsoft.Web/sites/config@2024-04-01"
  name      = "authsettingsV2"
  parent_id = azapi_resource.app[0].id
  body = {
    properties = {
      platform         = { enabled = true }
      globalValidation = { requireAuthentication = true, unauthenticatedClientAction = "Return401" }
      identityProviders = {
        azureActiveDirectory = {
          enabled = true
          registration = {
            clientId     = var.http_application_id
            openIdIssuer = "https://login.microsoftonline.com/${data.azurerm_client_config.this.tenant_id}/v2.0"
          }
          validation = { allowedAudiences = [var.http_application_id, "api://${var.http_application_id}"] }
        }
      }
    }
  }
}

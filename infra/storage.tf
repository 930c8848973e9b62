locals {
  package_container = "app-package"
  archive_container = "archives"
  storage_id        = local.needs_storage ? azapi_resource.storage[0].id : null
  blob_endpoint     = local.needs_storage ? azapi_resource.storage[0].output.properties.primaryEndpoints.blob : null

  # What the Functions host needs of its storage.
  # https://learn.microsoft.com/azure/azure-functions/functions-reference#connecting-to-host-storage-with-an-identity
  host_roles = ["Storage Blob Data Owner", "Storage Queue Data Contributor", "Storage Table Data Contributor"]
}

# Through azapi, as azurerm_storage_account writes the account's keys into the state, also where nobody can use them.
resource "azapi_resource" "storage" {
  count     = local.needs_storage ? 1 : 0
  type      = "Microsoft.Storage/storageAccounts@2023-05-01"
  name      = local.storage_name
  parent_id = local.resource_group.id
  location  = var.location
  tags      = var.tags
  body = {
    kind = "StorageV2"
    sku  = { name = "Standard_${var.storage_replication}" }
    properties = {
      accessTier                   = "Hot"
      allowSharedKeyAccess         = false
      allowBlobPublicAccess        = false
      allowCrossTenantReplication  = false
      defaultToOAuthAuthentication = true
      minimumTlsVersion            = "TLS1_2"
      supportsHttpsTrafficOnly     = true
      publicNetworkAccess          = var.enable_private_network ? "Disabled" : "Enabled"
      networkAcls = {
        bypass        = "None"
        defaultAction = var.enable_private_network ? "Deny" : "Allow"
      }
    }
  }
  response_export_values = ["properties.primaryEndpoints.blob"]
  depends_on             = [terraform_data.combination]
}

# A deleted archive can be had back for a week.
resource "azapi_update_resource" "blobs" {
  count     = local.needs_storage ? 1 : 0
  type      = "Microsoft.Storage/storageAccounts/blobServices@2023-05-01"
  name      = "default"
  parent_id = local.storage_id
  body = {
    properties = {
      deleteRetentionPolicy          = { enabled = true, days = 7 }
      containerDeleteRetentionPolicy = { enabled = true, days = 7 }
    }
  }
}

resource "azurerm_storage_container" "package" {
  count                 = var.enable_functions ? 1 : 0
  name                  = local.package_container
  storage_account_id    = local.storage_id
  container_access_type = "private"
}

resource "azurerm_storage_container" "archives" {
  count                 = var.enable_archives ? 1 : 0
  name                  = local.archive_container
  storage_account_id    = local.storage_id
  container_access_type = "private"
}

# Not the archive tier: restore could not read it.
resource "azurerm_storage_management_policy" "archives" {
  count              = var.enable_archives && (var.archive_cool_after_days != null || var.archive_delete_after_days != null) ? 1 : 0
  storage_account_id = local.storage_id

  rule {
    name    = "archives"
    enabled = true
    filters {
      blob_types   = ["blockBlob"]
      prefix_match = ["${local.archive_container}/"]
    }
    actions {
      base_blob {
        tier_to_cool_after_days_since_modification_greater_than = var.archive_cool_after_days
        delete_after_days_since_modification_greater_than       = var.archive_delete_after_days
      }
    }
  }
}

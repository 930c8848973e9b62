# Made before everything that uses it, so that all rights can be given first; it outlives the app, and with it the role in
# the database stays valid.
resource "azurerm_user_assigned_identity" "this" {
  name                = "${var.name}-identity"
  resource_group_name = local.resource_group.name
  location            = var.location
  tags                = var.tags
  depends_on          = [azurerm_resource_group.this, terraform_data.combination]
}

# The Logic Apps have one of their own: who asks for a run needs no right in the database.
resource "azurerm_user_assigned_identity" "caller" {
  count               = var.enable_logic_app ? 1 : 0
  name                = "${var.name}-caller"
  resource_group_name = local.resource_group.name
  location            = var.location
  tags                = var.tags
  depends_on          = [azurerm_resource_group.this]
}

# Through azapi, as the arguments of azurerm_federated_identity_credential differ between its majors 4 and 5.
resource "azapi_resource" "github" {
  count     = var.enable_github_actions ? 1 : 0
  type      = "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials@2023-01-31"
  name      = "github-actions"
  parent_id = azurerm_user_assigned_identity.this.id
  body = {
    properties = {
      issuer    = "https://token.actions.githubusercontent.com"
      subject   = "repo:${coalesce(var.github_repository, "none/none")}:environment:${var.github_environment}"
      audiences = ["api://AzureADTokenExchange"]
    }
  }
}

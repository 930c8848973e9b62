# --- where ------------------------------------------------------------------------------------------------------------

variable "name" {
  description = "Name of the app, unique in all of Azure, and the first part of all other names."
  type        = string
  validation {
    condition     = can(regex("^[a-z](-?[a-z0-9])+$", var.name)) && length(var.name) >= 3 && length(var.name) <= 32
    error_message = "It must be 3 to 32 of a-z, 0-9 and single dashes, begin with a letter and not end with a dash."
  }
}

variable "location" {
  description = "Region, such as westeurope; a new network must be where the app is."
  type        = string
}

variable "resource_group_name" {
  description = "Resource group for everything that is made."
  type        = string
}

variable "create_resource_group" {
  description = "Make that resource group; false where it is there already."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Tags on everything that is made."
  type        = map(string)
  default     = {}
}

# --- switches ---------------------------------------------------------------------------------------------------------

variable "enable_functions" {
  description = "The Functions app on the Flex Consumption plan, with its timers, queue and HTTP functions."
  type        = bool
  default     = true
}

variable "enable_container_job" {
  description = "Scheduled Container Apps jobs; the app's timers are then off."
  type        = bool
  default     = false
}

variable "enable_logic_app" {
  description = "Logic Apps that ask the Functions app for its runs by HTTP; the app's timers are then off."
  type        = bool
  default     = false
}

variable "enable_github_actions" {
  description = "A federated credential, by which a workflow of github_repository logs in as the identity, without a secret."
  type        = bool
  default     = false
}

variable "enable_pg_cron" {
  description = "Allow the extension pg_cron on the new server; only with enable_server."
  type        = bool
  default     = false
}

variable "enable_server" {
  description = "A new Flexible Server that takes Entra's logins only; only with enable_private_network."
  type        = bool
  default     = false
}

variable "enable_private_network" {
  description = "Private endpoints for storage and PostgreSQL, the app in a subnet, and storage closed to the internet."
  type        = bool
  default     = false
}

variable "enable_archives" {
  description = "A container for archive = \"azure-blob\", with its role and lifecycle rule."
  type        = bool
  default     = true
}

variable "enable_alerts" {
  description = "The alert rules: failed run, no run in 36 hours, retention lag."
  type        = bool
  default     = true
}

variable "enable_workbook" {
  description = "The workbook: runs, rows removed by task, failed steps, lag."
  type        = bool
  default     = true
}

# --- the database -----------------------------------------------------------------------------------------------------

variable "postgres_server_id" {
  description = "Resource ID of the existing Flexible Server; null with enable_server."
  type        = string
  default     = null
}

variable "postgres_host" {
  description = "Host name, where it does not follow from the server's name (another cloud, another server)."
  type        = string
  default     = null
}

variable "postgres_database" {
  description = "Database to maintain; on a new server it is made."
  type        = string
}

variable "postgres_role" {
  description = "Role in the database that was made for the identity (docs/deploy.md, step 4)."
  type        = string
  default     = "pg-maintenance"
}

variable "enable_postgres_endpoint" {
  description = "With enable_private_network, a private endpoint to the server; false where the server is in the network itself."
  type        = bool
  default     = true
}

variable "postgres_version" {
  description = "Major version of a new server."
  type        = string
  default     = "17"
}

variable "postgres_sku" {
  description = "Size of a new server."
  type        = string
  default     = "B_Standard_B1ms"
}

variable "postgres_storage_mb" {
  description = "Storage of a new server in MB; it never shrinks."
  type        = number
  default     = 32768
}

variable "postgres_administrator" {
  description = "Entra administrator of a new server; somebody else than the app's identity. principal_type is User, Group or ServicePrincipal."
  type = object({
    object_id      = string
    principal_name = string
    principal_type = string
  })
  default = null
}

# --- what runs --------------------------------------------------------------------------------------------------------

variable "policy" {
  description = "Path of the policy file in the package or image."
  type        = string
  default     = "maintenance.toml"
}

variable "targets" {
  description = "Names of the targets in the file of MAINTENANCE_TARGETS, for the alert on missing runs; empty for one database."
  type        = list(string)
  default     = []
}

variable "daily_cleanup_schedule" {
  description = "When daily-cleanup runs: six-field NCRONTAB in UTC, for every scheduler."
  type        = string
  default     = "0 0 2 * * *"
  validation {
    condition     = can(regex("^0( [0-9*/,-]+){5}$", var.daily_cleanup_schedule))
    error_message = "It must be six fields of NCRONTAB, the first of them 0, such as 0 0 2 * * *."
  }
}

variable "weekly_vacuum_schedule" {
  description = "When weekly-vacuum runs: six-field NCRONTAB in UTC, for every scheduler."
  type        = string
  default     = "0 0 3 * * 0"
  validation {
    condition     = can(regex("^0( [0-9*/,-]+){5}$", var.weekly_vacuum_schedule))
    error_message = "It must be six fields of NCRONTAB, the first of them 0, such as 0 0 3 * * 0."
  }
}

variable "settings" {
  description = "More settings of docs/settings.md, such as MAINTENANCE_TARGETS. Never a password."
  type        = map(string)
  default     = {}
  validation {
    condition     = alltrue([for name in keys(var.settings) : can(regex("^(MAINTENANCE_|OTEL_|PG|AzureFunctionsJobHost__)", name))])
    error_message = "Only MAINTENANCE_*, PG*, OTEL_* and AzureFunctionsJobHost__* can be set here; the rest is set by this module."
  }
  validation {
    condition     = !anytrue([for name in keys(var.settings) : contains(["PGPASSWORD", "PGPASSFILE", "OTEL_EXPORTER_OTLP_HEADERS"], name)])
    error_message = "A password or token would be readable in the state; the identity logs in without one."
  }
}

variable "python_version" {
  description = "Python of the Functions app."
  type        = string
  default     = "3.13"
}

variable "instance_memory_mb" {
  description = "Memory of an instance of the Functions app: 512, 2048 or 4096."
  type        = number
  default     = 2048
  validation {
    condition     = contains([512, 2048, 4096], var.instance_memory_mb)
    error_message = "It must be 512, 2048 or 4096."
  }
}

variable "maximum_instances" {
  description = "Instances of the Functions app at most; a database takes one run at a time."
  type        = number
  default     = 40
}

# --- callers ----------------------------------------------------------------------------------------------------------

variable "http_application_id" {
  description = "Client ID of the app registration (docs/deploy.md, step 9) that HTTP callers need a token for; null leaves it at the function key."
  type        = string
  default     = null
}

variable "http_allowed_principals" {
  description = "Object or application IDs that may use the HTTP functions, on top of the function key; only with http_application_id."
  type        = list(string)
  default     = []
}

variable "github_repository" {
  description = "OWNER/NAME of the repository whose workflow may log in as the identity."
  type        = string
  default     = null
}

variable "github_environment" {
  description = "Environment of that repository that the workflow's job must run in."
  type        = string
  default     = "production"
}

# --- the container job ------------------------------------------------------------------------------------------------

variable "container_image" {
  description = "Image with this service, its entry point being python -m maintenance; SERVER/NAME:TAG or, better, @sha256:DIGEST."
  type        = string
  default     = null
}

variable "container_registry_id" {
  description = "Resource ID of the Azure Container Registry that has the image; it is pulled by the identity. Null for a public image."
  type        = string
  default     = null
}

variable "container_budget_minutes" {
  description = "How long a run of the container job may take (MAINTENANCE_BUDGET); it has no slices, so a weekly vacuum must fit."
  type        = number
  default     = 30
}

variable "container_cpu" {
  description = "Cores of the container job."
  type        = number
  default     = 0.25
}

variable "container_memory" {
  description = "Memory of the container job; 0.5Gi for each quarter of a core."
  type        = string
  default     = "0.5Gi"
}

# --- network ----------------------------------------------------------------------------------------------------------

variable "network" {
  description = "Subnets of an existing network, and its private DNS zones by blob, queue, table and postgres (those left out are expected to be managed elsewhere, by Azure Policy say). Null makes a network."
  type = object({
    functions_subnet_id  = optional(string)
    containers_subnet_id = optional(string)
    endpoints_subnet_id  = optional(string)
    dns_zone_ids         = optional(map(string), {})
  })
  default = null
}

variable "address_space" {
  description = "IPv4 range of a new network, a /24 or larger."
  type        = string
  default     = "10.20.0.0/24"
}

# --- storage and logs -------------------------------------------------------------------------------------------------

variable "storage_name" {
  description = "Name of the storage account, unique in all of Azure; null takes the name without its dashes."
  type        = string
  default     = null
}

variable "storage_replication" {
  description = "LRS, ZRS, GRS or GZRS."
  type        = string
  default     = "LRS"
}

variable "archive_cool_after_days" {
  description = "After how many days archives move to the cool tier; null for never. restore reads them there too."
  type        = number
  default     = 30
}

variable "archive_delete_after_days" {
  description = "After how many days archives are deleted, beside archive_keep in the policy; null for never."
  type        = number
  default     = null
}

variable "log_retention_days" {
  description = "How long logs are kept; 31 days cost nothing extra."
  type        = number
  default     = 31
}

variable "log_daily_cap_gb" {
  description = "Logs a day at most, so that a mistake cannot become a bill."
  type        = number
  default     = 1
}

# --- alerts -----------------------------------------------------------------------------------------------------------

variable "alert_emails" {
  description = "Who is told by mail."
  type        = list(string)
  default     = []
}

variable "action_group_ids" {
  description = "Existing action groups that are told too."
  type        = list(string)
  default     = []
}

variable "retention_lag_hours" {
  description = "From which lag on an alert tells of it: for so long have the oldest rows been due, after a run."
  type        = number
  default     = 48
}

locals {
  weekdays = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]

  workflows = var.enable_logic_app ? {
    daily-cleanup = split(" ", var.daily_cleanup_schedule)
    weekly-vacuum = split(" ", var.weekly_vacuum_schedule)
  } : {}

  # With a start in the past the first run is at the schedule's next instant, not at once.
  # https://learn.microsoft.com/azure/logic-apps/concepts-schedule-automated-recurring-tasks-workflows
  recurrences = { for name, fields in local.workflows : name => {
    frequency = fields[5] == "*" ? "Day" : "Week"
    interval  = 1
    startTime = "2025-01-01T00:00:00Z"
    timeZone  = "UTC"
    schedule = merge(
      { hours = [try(tonumber(fields[2]), -1)], minutes = [try(tonumber(fields[1]), -1)] },
      fields[5] == "*" ? {} : { weekDays = [try(local.weekdays[tonumber(fields[5])], "")] },
    )
  } }

  definitions = { for name, fields in local.workflows : name => jsondecode(templatefile("${path.module}/logic_app/definition.json", {
    SITE_ID     = azapi_resource.app[0].id
    HOST        = azapi_resource.app[0].output.properties.defaultHostName
    RUN_NAME    = name
    IDENTITY_ID = azurerm_user_assigned_identity.caller[0].id
    AUDIENCE    = "api://${coalesce(var.http_application_id, "none")}"
  })) }
}

resource "azapi_resource" "workflow" {
  for_each  = local.workflows
  type      = "Microsoft.Logic/workflows@2019-05-01"
  name      = "${var.name}-${each.key}"
  parent_id = local.resource_group.id
  location  = var.location
  tags      = var.tags

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.caller[0].id]
  }

  body = {
    properties = {
      state = "Enabled"
      definition = merge(local.definitions[each.key], {
        triggers = { schedule = { type = "Recurrence", recurrence = local.recurrences[each.key] } }
      })
    }
  }

  lifecycle {
    precondition {
      condition     = can(regex("^0 [0-9]+ [0-9]+ \\* \\* ([*]|[0-6])$", join(" ", each.value)))
      error_message = "A Logic App's schedule has one minute, one hour, and every day or one weekday, such as 0 0 3 * * 0."
    }
  }

  depends_on = [azurerm_role_assignment.caller]
}

# Names of events and metrics are those of docs/telemetry.md; the repository's tests compare them with the service.

locals {
  alerts = {
    failed-run = {
      severity    = 1
      description = "A run failed: a step was refused, it could not begin, or its message was given up. The message and the ledger say which."
      frequency   = "PT15M"
      window      = "PT1H"
      query       = <<-KQL
        AppTraces
        | extend event = tostring(Properties.event), status = tostring(Properties.status)
        | where (event == "run_ended" and status == "failed")
            or event in ("run_failed", "target_failed", "message_given_up")
        | project TimeGenerated, event, run = tostring(Properties.run_name), target = tostring(Properties.target), Message
      KQL
    }
    # A run that is paused, skipped or failed all the time is none.
    no-run = {
      severity    = 2
      description = "No run of daily-cleanup has got through for 36 hours, so old rows stay: the schedule, the app or the pause switch keeps it from beginning, or it fails."
      frequency   = "PT1H"
      window      = "P2D"
      query       = <<-KQL
        datatable(target: string) ${jsonencode(length(var.targets) == 0 ? [""] : var.targets)}
        | join kind=leftouter (
            AppTraces
            | where TimeGenerated > ago(36h)
            | where tostring(Properties.event) == "run_ended" and tostring(Properties.run_name) == "daily-cleanup"
            | where tostring(Properties.status) in ("succeeded", "interrupted")
            | summarize runs = count() by target = tostring(Properties.target)
        ) on target
        | where coalesce(runs, 0) == 0
        | project target
      KQL
    }
    # Of the latest value of each table: what an interrupted run leaves, the next one takes.
    retention-lag = {
      severity    = 2
      description = "Rows that should be gone for more than ${var.retention_lag_hours} hours are still there after the last run of their table."
      frequency   = "PT1H"
      window      = "P2D"
      query       = <<-KQL
        AppMetrics
        | where Name == "maintenance.retention.lag"
        | extend db = tostring(Properties["db.namespace"]), tbl = tostring(Properties["maintenance.table"])
        | summarize arg_max(TimeGenerated, Sum, ItemCount) by db, tbl
        | extend hours = Sum / ItemCount / 3600
        | where hours > ${var.retention_lag_hours}
        | project db, tbl, hours
      KQL
    }
  }
  action_groups = concat(var.action_group_ids, azurerm_monitor_action_group.this[*].id)
}

resource "azurerm_monitor_action_group" "this" {
  count               = var.enable_alerts && length(var.alert_emails) > 0 ? 1 : 0
  name                = "${var.name}-alerts"
  resource_group_name = local.resource_group.name
  short_name          = "maintenance"
  tags                = var.tags

  dynamic "email_receiver" {
    for_each = toset(var.alert_emails)
    content {
      name                    = email_receiver.value
      email_address           = email_receiver.value
      use_common_alert_schema = true
    }
  }

  depends_on = [azurerm_resource_group.this]
}

# A table of the workspace is there once something was sent to it, so the queries are not tried beforehand.
resource "azurerm_monitor_scheduled_query_rules_alert_v2" "this" {
  for_each                = var.enable_alerts ? local.alerts : {}
  name                    = "${var.name}-${each.key}"
  display_name            = "${var.name}: ${replace(each.key, "-", " ")}"
  description             = each.value.description
  resource_group_name     = local.resource_group.name
  location                = var.location
  scopes                  = [azapi_resource.workspace.id]
  severity                = each.value.severity
  evaluation_frequency    = each.value.frequency
  window_duration         = each.value.window
  auto_mitigation_enabled = true
  skip_query_validation   = true
  tags                    = var.tags

  criteria {
    query                   = each.value.query
    time_aggregation_method = "Count"
    operator                = "GreaterThan"
    threshold               = 0
    failing_periods {
      minimum_failing_periods_to_trigger_alert = 1
      number_of_evaluation_periods             = 1
    }
  }

  dynamic "action" {
    for_each = length(local.action_groups) > 0 ? [local.action_groups] : []
    content {
      action_groups = action.value
    }
  }
}

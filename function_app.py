"""The schedule at a glance: what Azure Functions triggers, and when. Each function calls the same engine as the CLI."""

import azure.functions as func

app = func.FunctionApp()


@app.timer_trigger(schedule="%DAILY_CLEANUP_SCHEDULE%", arg_name="timer", run_on_startup=False, use_monitor=True)
async def daily_cleanup(timer: func.TimerRequest) -> None:
    """Delete what the policy no longer wants, and refresh the statistics of the tables that changed."""
    # Imported when first used: the host indexes this file at every cold start.
    from maintenance.trigger import scheduled

    await scheduled("daily-cleanup", scheduler="functions", late=timer.past_due)


@app.timer_trigger(schedule="%WEEKLY_VACUUM_SCHEDULE%", arg_name="timer", run_on_startup=False, use_monitor=True)
async def weekly_vacuum(timer: func.TimerRequest) -> None:
    """Vacuum the tables that need it, and refresh the statistics of the others."""
    from maintenance.trigger import scheduled

    await scheduled("weekly-vacuum", scheduler="functions", late=timer.past_due)

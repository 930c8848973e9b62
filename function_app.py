"""The schedule at a glance: what Azure Functions triggers, and when. Each function calls the same engine as the CLI."""

import azure.functions as func

from maintenance.http.routes import Messages, api
from maintenance.messages import POISON, QUEUE, STORAGE

app = func.FunctionApp()
app.register_functions(api)


@app.timer_trigger(schedule="%DAILY_CLEANUP_SCHEDULE%", arg_name="timer", run_on_startup=False, use_monitor=True)
@app.queue_output(arg_name="more", queue_name=QUEUE, connection=STORAGE)
async def daily_cleanup(timer: func.TimerRequest, more: Messages) -> None:
    """Delete what the policy no longer wants, and refresh the statistics of the tables that changed."""
    # Imported when first used: the host indexes this file at every cold start.
    from maintenance.trigger import tick

    if messages := await tick("daily-cleanup", late=timer.past_due):
        more.set(messages)


@app.timer_trigger(schedule="%WEEKLY_VACUUM_SCHEDULE%", arg_name="timer", run_on_startup=False, use_monitor=True)
@app.queue_output(arg_name="more", queue_name=QUEUE, connection=STORAGE)
async def weekly_vacuum(timer: func.TimerRequest, more: Messages) -> None:
    """Vacuum the tables that need it, and refresh the statistics of the others."""
    from maintenance.trigger import tick

    if messages := await tick("weekly-vacuum", late=timer.past_due):
        more.set(messages)


@app.queue_trigger(arg_name="message", queue_name=QUEUE, connection=STORAGE)
@app.queue_output(arg_name="more", queue_name=QUEUE, connection=STORAGE)
async def continue_run(message: func.QueueMessage, more: Messages) -> None:
    """Begin or go on with the run that the message names; a message that comes twice changes nothing."""
    from maintenance.trigger import received

    if messages := await received(message.get_body()):
        more.set(messages)


@app.queue_trigger(arg_name="message", queue_name=POISON, connection=STORAGE)
async def give_up_run(message: func.QueueMessage) -> None:
    """Mark the run as failed whose message the host has given up."""
    from maintenance.trigger import given_up

    await given_up(message.get_body())

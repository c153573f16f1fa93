"""Receive signed callbacks of Fetch Hive in Django. A whole project in one file.

pip install django fetch-hive-sdk
export FETCH_HIVE_WEBHOOK_SECRET=...          # "Signing secret" of the deployment
python examples/django_callback.py runserver

In a project of your own you need `callback`, its line in `urlpatterns`, and DATA_UPLOAD_MAX_MEMORY_SIZE.
"""

import os
import sys

from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from fetch_hive_sdk import (
    AgentCompletedEvent,
    AgentFailedEvent,
    CallbackEvent,
    CallbackVerificationError,
    CallbackVerifier,
    Deliveries,
    DeliveryInProgressError,
    MemoryDeliveryStore,
    WorkflowCompletedEvent,
    WorkflowFailedEvent,
)

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"],
        ROOT_URLCONF=__name__,
        SECRET_KEY=os.environ.get("DJANGO_SECRET_KEY", "only for this example"),
        # Django refuses larger bodies, by default above 2.5 MB; a workflow's output may be longer. As the verifier.
        DATA_UPLOAD_MAX_MEMORY_SIZE=16 * 2**20,
    )

verifier = CallbackVerifier(os.environ["FETCH_HIVE_WEBHOOK_SECRET"])

# A callback may come twice. With more than one process, take SQLiteDeliveryStore("callbacks.sqlite3").
deliveries = Deliveries(MemoryDeliveryStore())


@csrf_exempt  # the signature takes the place of the token
@require_POST
def callback(request: HttpRequest) -> HttpResponse:
    try:
        # The raw bytes: JSON that was parsed and written again has another signature.
        event = verifier.unwrap(request.body, request.headers)
    except CallbackVerificationError:
        return HttpResponse(status=400)

    try:
        with deliveries.once(event) as first:
            if first:
                handle(event)  # keep it short: the answer should be fast, so give long work to your task queue
    except DeliveryInProgressError:
        return HttpResponse(status=503)  # so that it is delivered again, should the other request fail
    return HttpResponse(status=204)


def handle(event: CallbackEvent) -> None:
    match event:
        case WorkflowCompletedEvent():
            print(f"{event.request_id} completed: {event.output}", flush=True)
        case AgentCompletedEvent():
            print(f"{event.request_id} answered: {event.response}", flush=True)
        case WorkflowFailedEvent() | AgentFailedEvent():
            print(f"{event.request_id} failed: {event.error}", flush=True)
        case _:
            print(f"{event.request_id} sent {event.event_type}: {event.data}", flush=True)


urlpatterns = [path("callback", callback)]
application = get_wsgi_application()

if __name__ == "__main__":
    execute_from_command_line(sys.argv)

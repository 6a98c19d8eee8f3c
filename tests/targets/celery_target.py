"""Tasks for a real Celery worker on the Redis of QUEUE_URL."""

# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"
import os
import signal

from celery import Celery
from celery.exceptions import Ignore, Reject

from trimtab.instrumentation import instrument

instrument("celery")
app = Celery("shop", broker=os.environ["QUEUE_URL"], backend=os.environ["QUEUE_URL"])
app.conf.task_default_queue = os.environ.get("QUEUE_NAME", "orders")
app.conf.broker_connection_retry_on_startup = True


@app.task
def add(a: int, b: int) -> int:
    """Return a sum."""
    return a + b


@app.task
def fail(message: str) -> None:
    """Fail."""
    raise KeyError(message)


@app.task(bind=True, max_retries=2)
def again(self, secret: str) -> str:
    """Succeed at the third time."""
    if self.request.retries < 2:
        raise self.retry(countdown=0.2, exc=OSError(secret))
    return "done"


@app.task
def ignore() -> None:
    """End as no success."""
    raise Ignore


@app.task
def reject() -> None:
    """Give the task back."""
    raise Reject("no", requeue=False)


@app.task
def kill() -> None:
    """Take the process along."""
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(bind=True)
def headers(self) -> object:
    """Return what a task sees of its headers."""
    return {"headers": self.request.headers, "pid": os.getpid()}


@app.task
def leave() -> None:
    """End the process."""
    raise SystemExit(3)

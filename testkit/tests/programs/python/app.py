"""What the programs share: their settings, their work, and when they end."""

import json
import logging
import os
import signal
import sys
import threading
import time

BROKERS = os.environ["KAFKA_BROKERS"]
# The same after a restart, and no other member has it.
TRANSACTIONAL_ID = f"app-{os.environ.get('SEARCH_MEMBER', '')}"
BATCH_RECORDS = 5

logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
log = logging.getLogger("app")

stopped = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stopped.set())


def _end(*error):
    log.error("ends", exc_info=error)
    # At once: a client that is destroyed may wait for a broker that does not answer.
    os._exit(1)


sys.excepthook = _end

_failed = set()


class JobFailed(Exception):
    """The job did not work this time."""


def work(value):
    """Does one job and returns its result."""
    job = json.loads(value)
    time.sleep(job.get("takes_ms", 0) / 1000)
    if job.get("fail") == "once" and job["id"] not in _failed:
        _failed.add(job["id"])
        raise JobFailed(f"job {job['id']} fails once")
    return json.dumps({"id": job["id"], "text": job["text"].upper()}).encode()

import asyncio
import io
import json
import logging

import pytest

from nd_deploy.serve.batching.observer import CANCELLED
from nd_deploy.serve.counted import CountedService
from nd_deploy.serve.exchange import InferRequest, InferResponse, ModelState
from nd_deploy.serve.http.observation import Answered
from nd_deploy.serve.http.request_id import current
from nd_deploy.serve.logs import log_access, set_up_logging
from nd_deploy.serve.metrics.tally import Tally
from nd_deploy.serve.models.repository import Reloads
from nd_deploy.serve.refusal import Refusal


class Repository:
    """One model, which ends each request as it is told to."""

    ready = True
    reloads = {"m": Reloads(2, 1)}  # noqa: RUF012

    def __init__(self, ending=None):
        self.ending = ending

    def models(self):
        return [ModelState("m", "3", "UNAVAILABLE", "for a reason")]

    async def infer(self, request):
        if self.ending is not None:
            raise self.ending
        return InferResponse(None, request.id, {})


def service(ending=None):
    tally = Tally()
    return CountedService(Repository(ending), {"m": tally}), tally


def ask(counted, model="m"):
    return asyncio.run(counted.infer(InferRequest(model, None, "id", {})))


def test_an_answer_counts_as_a_success():
    counted, tally = service()
    assert ask(counted).id == "id"
    assert (tally.succeeded.count, tally.failing.count) == (1, 0)
    assert tally.durations.counts[0] == 1


@pytest.mark.parametrize(
    ("ending", "reason"),
    [(Refusal(429, "queue full", "full"), "queue full"), (asyncio.CancelledError(), CANCELLED)],
)
def test_whatever_ends_without_an_answer_counts_as_a_failure(ending, reason):
    counted, tally = service(ending)
    with pytest.raises(type(ending)):
        ask(counted)
    assert tally.failed == {reason: 1}
    assert tally.succeeded.count == 0


def test_a_model_that_is_not_there_has_no_account():
    counted, tally = service(Refusal(404, "no such model", "none"))
    with pytest.raises(Refusal):
        ask(counted, "other")
    assert not tally.failed
    with pytest.raises(Refusal) as refusal:
        counted.statistics("other")
    assert refusal.value.status == 404


def test_a_model_that_is_not_ready_is_told_of_without_providers():
    counted, tally = service()
    (account,) = counted.accounts()
    assert (account.name, account.version, account.ready) == ("m", "3", False)
    assert (account.reloads, account.failed_reloads, account.providers) == (2, 1, ())
    assert account.tally is tally
    assert counted.statistics()[0]["version"] == "3"


@pytest.fixture
def log():
    """The text of what is logged, as JSON or plain."""
    logger = logging.getLogger("nd_deploy")
    before = logger.handlers, logger.level, logger.propagate

    def begin(as_json):
        stream = io.StringIO()
        set_up_logging(as_json, stream)
        return stream

    yield begin
    logger.handlers, logger.level, logger.propagate = before


ANSWERED = Answered("POST", "/v2/a\nb", 400, 0.0123, "abc", "127.0.0.1", "bad input")


def test_a_request_is_one_line_of_the_access_log_whatever_its_path(log):
    stream = log(False)
    log_access(ANSWERED)
    (line,) = stream.getvalue().splitlines()
    assert line.endswith("[abc] POST /v2/a\\nb 400 12.3 ms (bad input)")


def test_as_json_every_line_is_an_object_with_the_requests_id(log):
    stream = log(True)
    log_access(ANSWERED)
    token = current.set("of-this-request")
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("nd_deploy.serve").exception("it\nfailed")
    finally:
        current.reset(token)
    access, failure = map(json.loads, stream.getvalue().splitlines())
    assert access["request_id"] == "abc"
    assert (access["status"], access["path"], access["level"]) == (400, "/v2/a\nb", "info")
    assert failure["request_id"] == "of-this-request"
    assert failure["message"] == "it\nfailed"
    assert "ValueError: broken" in failure["traceback"]


def test_libraries_stay_silent_below_a_warning(log):
    stream = log(False)
    logging.getLogger("uvicorn.error").info("chatter")
    assert stream.getvalue() == ""

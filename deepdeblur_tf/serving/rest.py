"""A server of one model by the REST of TensorFlow Serving (FastAPI, Uvicorn): the app, and how it is run.

One request is computed at a time, so that the memory is that of one picture; others wait, no more than a few.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from deepdeblur_tf.compat import tf
from deepdeblur_tf.memory import is_shortage
from deepdeblur_tf.serving.servable import Servable, answer_of, inputs_of
from deepdeblur_tf.serving.tensors import BadRequest, answer_text, described, read_request, tensors_of
from deepdeblur_tf.terminal import on_stops

BODY_SECONDS = 300  # that a body may take to arrive, and its answer to be read: they wait in memory
SILENT_SECONDS = 30  # in which a request that is arriving has to go on, and its head to be there


def build_app(servable: Servable, name: str, max_body: int, max_waiting: int) -> FastAPI:
    """Builds the app.

    Args:
        servable: What answers.
        name: What requests call it.
        max_body: Bytes that a request's body may have.
        max_waiting: Requests that may wait while one is computed.

    Returns:
        The app. What `app.state.is_stopping` and `app.state.unread` (bytes of answers) are set to is asked before a
        request is taken, and again before it is computed.
    """
    computing: asyncio.Lock
    worker = ThreadPoolExecutor(1, "restoring")
    # Only requests that have arrived take the few places. Of those that are arriving, and of answers that are not read
    # yet, there are together no more than that many.
    most = (max_waiting + 1) * max_body
    present, arriving = 0, _Arriving(most)

    registry = CollectorRegistry()  # what Prometheus asks for
    requests = Counter("deepdeblur_requests", "Predictions asked for.", ["status"], registry=registry)
    times = (0.1, 0.3, 1, 3, 10, 30, 100, 300)
    seconds = Histogram("deepdeblur_request_seconds", "From a request to its answer.", buckets=times, registry=registry)
    Gauge("deepdeblur_requests_present", "Being computed or waiting.", registry=registry).set_function(lambda: present)

    @contextlib.asynccontextmanager
    async def lifespan(_):
        nonlocal computing
        computing = asyncio.Lock()  # here, for on Python 3.9 it belongs to the loop that runs now
        with worker:
            yield

    # Its pages of documentation would fetch scripts from servers of others.
    app = FastAPI(title=name, openapi_url=None, lifespan=lifespan)
    app.state.is_stopping, app.state.unread = lambda: False, lambda: 0

    def compute(body: bytes) -> str:
        request = read_request(body)
        if request.signature not in servable.signatures:
            names = ", ".join(servable.signatures)
            raise BadRequest(f"signature_name: received {request.signature!r}; allowed: {names}")
        signature = servable.signatures[request.signature]
        return answer_text(answer_of(signature, tensors_of(request, inputs_of(signature))), request.in_rows)

    def check(request: Request) -> None:
        model, version = request.path_params["model"], request.path_params.get("version")
        if model != name or version not in (None, str(servable.version)):
            asked = model if version is None else f"{model}, version {version}"
            raise HTTPException(404, f"there is no {asked}; allowed: {name}, version {servable.version}")

    def refusal(is_present: bool = False) -> HTTPException | None:
        if app.state.is_stopping():
            return HTTPException(503, "the server is being stopped")
        if app.state.unread() > most:
            return HTTPException(503, "busy: answers wait to be read. Try again later", {"Retry-After": "10"})
        if present > max_waiting and not is_present:
            words = f"busy: {max_waiting} requests are waiting, and no more may. Try again later"
            return HTTPException(503, words, {"Retry-After": "10"})
        return None

    async def predict(request: Request) -> Response:
        nonlocal present
        check(request)
        begin, status, is_present = time.perf_counter(), 500, False
        try:
            body = await asyncio.wait_for(_read(request, max_body, refusal(), arriving), BODY_SECONDS)
            if refused := refusal():
                raise refused
            is_present = True
            present += 1
            async with computing:
                if refused := refusal(is_present):
                    raise refused
                if await request.is_disconnected():
                    raise ClientDisconnect
                text = await asyncio.get_running_loop().run_in_executor(worker, compute, body)
            status = 200
            return Response(text, media_type="application/json")
        except HTTPException as error:
            status = error.status_code
            raise
        except BadRequest as error:
            status = error.status
            raise HTTPException(status, str(error)) from error
        except asyncio.TimeoutError as error:
            status = 408
            words = f"the body did not arrive within {BODY_SECONDS} seconds, or nothing of it for {SILENT_SECONDS}"
            raise HTTPException(status, words) from error
        except (MemoryError, tf.errors.OpError) as error:
            if not is_shortage(error):
                raise
            status = 503
            raise HTTPException(status, "the memory is full. Try again later, or with smaller pictures") from error
        except ClientDisconnect:
            status = 499  # as nginx counts them; nobody reads it
            return Response(status_code=status)
        finally:
            present -= is_present
            requests.labels(status).inc()
            seconds.observe(time.perf_counter() - begin)

    async def status(request: Request) -> dict:
        check(request)
        fine = {"error_code": "OK", "error_message": ""}
        return {"model_version_status": [{"version": str(servable.version), "state": "AVAILABLE", "status": fine}]}

    async def metadata(request: Request) -> dict:
        check(request)
        signatures = {
            key: {
                "inputs": {each: described(spec) for each, spec in inputs_of(signature).items()},
                "outputs": {each: described(spec) for each, spec in signature.structured_outputs.items()},
                "method_name": "tensorflow/serving/predict",
            }
            for key, signature in servable.signatures.items()
        }
        return {
            "model_spec": {"name": name, "signature_name": "", "version": str(servable.version)},
            "metadata": {"signature_def": {"signature_def": signatures}},
        }

    for path in ("/v1/models/{model}", "/v1/models/{model}/versions/{version}"):
        app.get(f"{path}/metadata")(metadata)
        app.get(path)(status)
        app.post(f"{path}:predict")(predict)

    @app.get("/metrics")
    async def current_metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @app.exception_handler(AnyHTTPException)
    async def in_json(_: Request, error: AnyHTTPException) -> Response:
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def defect(_: Request, error: Exception) -> Response:
        """Its traceback goes to the terminal, not to strangers."""
        return JSONResponse({"error": "the server failed; its terminal says why"}, 500)

    return app


class _Arriving:
    """The bytes of all bodies that are arriving, and how many they may be."""

    def __init__(self, most: int):
        self.most, self.bytes = most, 0


async def _read(request: Request, most: int, refused: HTTPException | None, arriving: _Arriving) -> bytes:
    """The body of a request, or the error that refuses it.

    That comes when the body has been read, and thrown away, for most clients look for no answer before all is sent;
    those that ask first (Expect) are told at once.
    """
    too_large = HTTPException(413, f"the request is larger than {most} bytes, which are allowed")
    declared = request.headers.get("content-length", "")
    if refused is None and declared.isdecimal() and int(declared) > most:
        refused = too_large
    if refused and "expect" in request.headers:
        raise refused
    body, parts = bytearray(), request.stream()
    try:
        while part := await asyncio.wait_for(parts.__anext__(), SILENT_SECONDS):  # the last one is empty
            if refused is None and len(body) + len(part) > most:
                refused = too_large
            if refused is None and arriving.bytes + len(part) > arriving.most:
                refused = HTTPException(
                    503, "busy: other requests are arriving. Try again later", {"Retry-After": "10"}
                )
            if refused is None:
                body += part
                arriving.bytes += len(part)
            elif body:
                arriving.bytes -= len(body)
                body.clear()
    finally:
        arriving.bytes -= len(body)
    if refused:
        raise refused
    return bytes(body)


class _Patient(AutoHTTPProtocol):
    """A connection that is closed where a request's head takes too long to arrive, or an answer to be read.

    Uvicorn would wait for ever.
    """

    _watch: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport) -> None:
        super().connection_made(transport)
        self._look()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def connection_lost(self, exc) -> None:
        super().connection_lost(exc)
        for timer in (self._watch, self._reading):
            if timer is not None:
                timer.cancel()

    def pause_writing(self) -> None:
        super().pause_writing()  # the client reads more slowly than the answer is written
        self._reading = self.loop.call_later(BODY_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._reading.cancel()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _look(self) -> None:
        if self._watch is None and not self._is_answering():
            self._watch = self.loop.call_later(SILENT_SECONDS, self._give_up)
        elif self._watch is not None and self._is_answering():
            self._watch.cancel()
            self._watch = None

    def _give_up(self) -> None:
        self._watch = None
        if not self._is_answering():
            self.transport.close()


def server_of(app: FastAPI) -> uvicorn.Server:
    """The server of an app of `build_app`, to be run."""
    # No colours and no line a request: what comes is errors.
    config = uvicorn.Config(
        app, http=_Patient, log_level="warning", access_log=False, use_colors=False, server_header=False, ws="none"
    )
    server = uvicorn.Server(config)
    app.state.is_stopping = lambda: server.should_exit
    connections = server.server_state.connections
    app.state.unread = lambda: sum(each.transport.get_write_buffer_size() for each in connections)
    return server


def serve(app: FastAPI, listener: socket.socket) -> None:
    """Answers requests until SIGINT, SIGTERM or SIGHUP, then finishes what is computed and refuses what waits.

    Args:
        app: Of `build_app`.
        listener: A bound socket.
    """
    server = server_of(app)
    with on_stops(server.handle_exit, [signal.SIGHUP]):  # the others are its own to handle
        server.run(sockets=[listener])

"""The server: a page, an API of a few addresses, described by OpenAPI; by FastAPI, and run by uvicorn."""

import asyncio
import html
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import koniq
from koniq.data.scale import Scale
from koniq.ground.log import LOG
from koniq.reports.page import render
from koniq.serving.batching import Batches, Full
from koniq.serving.in_pydantic import Answer, Model, Picture, Problem, picture
from koniq.serving.in_starlette import Body, Sent, closed, pictures
from koniq.serving.limits import Gate, Limits, Refused
from koniq.serving.metrics import KIND, Counts
from koniq.serving.standing import Table

READING = 32  # requests that come at a time
SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; connect-src 'self'; img-src blob:; "
    "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}


class Watch:
    """Around the application: every answer is counted, and has the headers that keep a browser from guessing."""

    def __init__(self, app: ASGIApp, counts: Counts):
        self.app, self.counts = app, counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.counts.request(message["status"])
                more = [(name.lower().encode(), value.encode()) for name, value in SAFE.items()]
                message = {**message, "headers": [*message.get("headers", ()), *more]}
            await send(message)

        await self.app(scope, receive, told)


class Server:
    """What the addresses do. One a process."""

    def __init__(self, batches: Batches, limits: Limits, gate: Gate, table: Table):
        limits.check()
        self.batches, self.limits, self.gate, self.table = batches, limits, gate, table
        self.counts, self.reading = Counts(), 0
        scorer = batches.scorer
        self.model = f"{scorer.network.name} at {' x '.join(map(str, scorer.network.input_size))}, {scorer.engine.name}"

    def about(self) -> Model:
        """What GET /v1/model answers."""
        scorer, table = self.batches.scorer, self.table
        return Model(
            model=self.model,
            intervals=str(scorer.intervals) if scorer.intervals else None,
            level=scorer.intervals.level if scorer.intervals else None,
            scale=[*Scale.of(scorer.facts.get("record", {}))],
            table=table.name or None,
            pictures=table.pictures,
            counts=[*table.counts],
            reason=table.reason,
            max_mb=self.limits.max_mb,
            max_pictures=self.limits.max_pictures,
            max_megapixels=scorer.max_megapixels,
        )

    async def score(self, request: Request) -> Response:
        """What POST /v1/score answers. Raises Refused."""
        body = Body(request.receive, self.limits.most)
        try:
            self.gate.check(request.headers)
            with self._coming(), closed() as files:
                async with asyncio.timeout(self.limits.patience):
                    sent = await pictures(request, body, self.limits, files)
                return await self._answer(sent)
        except TimeoutError:
            reason = f"A request should come within {self.limits.patience:g} s. Received: a slower one"
            raise Refused(408, reason) from None
        except OSError as error:  # no room for what is sent, perhaps
            raise Refused(503, f"The machine could not take the request: {error.strerror or error}") from error
        except ClientDisconnect:
            return Response(status_code=400)  # to nobody
        except Refused:
            try:
                async with asyncio.timeout(self.limits.patience):
                    await body.drain()
            except (TimeoutError, ClientDisconnect):
                pass
            raise

    @contextmanager
    def _coming(self) -> Iterator[None]:
        """For as long as a request comes and is answered. Raises Refused if there are too many."""
        if self.reading >= READING:
            raise Refused(429, f"{READING} requests at a time are answered. Received: one more; try again", after=1)
        self.reading += 1
        try:
            yield
        finally:
            self.reading -= 1

    async def _answer(self, sent: list[Sent]) -> Response:
        started = time.monotonic()
        try:
            self.batches.take(len(sent))
        except Full as error:
            reason = f"There should be room for the pictures. Received: {error}; try again"
            raise Refused(429, reason, after=1) from None
        scores = [asyncio.wrap_future(self.batches.put(one.name, one.read)) for one in sent]
        found = await asyncio.gather(*scores, return_exceptions=True)
        for one in found:
            if isinstance(one, BaseException):
                LOG.warning(f"A picture could not be scored: {type(one).__name__}: {one}")
                raise Refused(503, "The machine failed, and not the picture; what the server prints says more") from one
            self.counts.picture(one.status)
        self.counts.took(time.monotonic() - started)
        answered = [picture(one, self.table) for one in found]
        if any(one.status == "ok" for one in found):
            return JSONResponse(Answer(pictures=answered).model_dump())
        code = 413 if all(one.status == "too_large" for one in found) else 422
        return _problem(code, found[0].error, answered)


def application(server: Server) -> FastAPI:
    """The addresses, and what is said of them."""
    app = FastAPI(
        title="koniq",
        version=koniq.__version__,
        description=f"How good photographs look, in MOS. What scores: {html.escape(server.model)}.",
        docs_url=None,  # FastAPI's pages are made by scripts of another host
        redoc_url=None,
    )
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # what is wrong with a form, its sender is told
    app.add_middleware(Watch, counts=server.counts)
    problems = {
        400: "a body that cannot be read",
        401: "without the token",
        403: "from another page, or by another name",
        408: "too slow",
        413: "too many bytes, pictures or megapixels",
        415: "no picture by its Content-Type",
        422: "no picture that has a score",
        429: "too many wait: Retry-After says when to come again",
        503: "the machine failed",
    }
    answers = {code: {"model": Problem, "description": about} for code, about in problems.items()}

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> Response:
        more = {"Retry-After": str(error.after)} if error.after is not None else {}
        if error.status == 401:
            more["WWW-Authenticate"] = "Bearer"
        return _problem(error.status, error.reason, headers=more)

    @app.post(
        "/v1/score",
        summary="Scores of pictures",
        response_model=Answer,
        responses=answers,
        openapi_extra={"requestBody": {"required": True, "content": _bodies(), "description": _takes(server)}},
    )
    async def score(request: Request) -> Response:
        return await server.score(request)

    @app.get("/v1/model", summary="What scores", responses={code: answers[code] for code in (401, 403)})
    async def model(request: Request) -> Model:
        server.gate.check(request.headers)
        return server.about()

    @app.get("/healthz", summary="Whether it scores", responses={503: answers[503]})
    async def health() -> dict[str, str]:
        if server.batches.failed:
            raise Refused(503, "The last batch could not be scored")
        return {"status": "ok"}

    @app.get("/metrics", summary="Counts, as Prometheus reads them", response_class=PlainTextResponse)
    async def metrics(request: Request) -> Response:
        server.gate.check(request.headers)
        return Response(server.counts.text(server.batches), media_type=KIND)

    _pages(app, server)
    return app


def _pages(app: FastAPI, server: Server) -> None:
    """What a browser is shown."""
    page = render("serve.html", title="How good do these look?", model=server.model, limits=server.limits)
    script = Path(__file__).with_name("page.js").read_text(encoding="utf-8")

    @app.get("/", include_in_schema=False)
    async def root() -> HTMLResponse:
        return HTMLResponse(page)

    @app.get("/page.js", include_in_schema=False)
    async def of_page() -> Response:
        return Response(script, media_type="text/javascript; charset=utf-8")

    @app.get("/favicon.ico", include_in_schema=False)
    async def none() -> Response:
        return Response(status_code=204)


def _problem(code: int, detail: str, pictures: list[Picture] = (), headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(Problem(detail=detail, pictures=[*pictures]).model_dump(), code, headers)


def _takes(server: Server) -> str:
    limits = server.limits
    return (
        f"Pictures as files of a form, {limits.max_pictures} at most, or one picture as the body; {limits.max_mb:g} MB "
        f"at most, and {server.batches.scorer.max_megapixels:g} megapixels a picture."
    )


def _bodies() -> dict[str, object]:
    files = {"type": "array", "items": {"type": "string", "contentMediaType": "application/octet-stream"}}
    form = {"type": "object", "properties": {"files": files}, "required": ["files"]}
    one = {"schema": {"type": "string", "format": "binary"}}
    return {"multipart/form-data": {"schema": form}, "image/*": one, "application/octet-stream": one}

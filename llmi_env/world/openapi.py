"""The description of the service's interface: `/openapi.json` and the page `/docs`.

Routes take and give raw bytes, for speed; what these are is told by the models of `llmi_env.world.wire` themselves, so that the
description cannot drift from what is read and written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Response
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from llmi_env.world import wire
from llmi_env.world.readiness import Ready

ABOUT = f"""Tools and judges for the environments of `llmi-env`.

This is protocol {wire.PROTOCOL}; `GET /health` tells it too, and a client checks it before its first call. What a call or a judge does wrong
is part of a 200: a `FailureMessage`, or a `JudgmentMessage` without a score. Every other status has an `ErrorReply`. 429 and 503 say by
`Retry-After` when to come again. Texts that begin with U+0000 hold a JSON string after it (see `llmi_env.world.wire.pack`).
"""

_MODELS: Sequence[tuple[type[BaseModel], JsonSchemaMode]] = (
    (wire.RunRequest, "validation"),
    (wire.JudgeRequest, "validation"),
    (wire.RunReply, "validation"),
    (wire.JudgeReply, "validation"),
    (wire.Terms, "validation"),
    (wire.Health, "validation"),
    (wire.ErrorReply, "validation"),
    (Ready, "validation"),
)
_LATER = {"Retry-After": {"description": "Seconds after which to come again.", "schema": {"type": "integer"}}}
_STATUSES: Mapping[int, str] = {
    401: "No token, or a wrong one.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    422: "The message cannot be read.",
    424: "The set-up of this World cannot work: an extra, an asset or an option.",
    429: "As much is in flight as may be.",
    500: "A defect of this service.",
    503: "This World is stopping.",
}
WORK = (401, 408, 413, 422, 424, 429, 500, 503)
"""Statuses of routes that take a message."""


def operation(
    reply: type[BaseModel], asks: type[BaseModel] | None = None, statuses: Sequence[int] = ()
) -> dict[str, Any]:
    """Keyword arguments for a route: what it answers, what it takes, and with which other statuses it answers an `ErrorReply`."""
    answered: dict[int | str, Any] = {200: {"description": reply.__doc__, "content": _content(reply)}}
    extra = {"requestBody": {"required": True, "content": _content(asks)}} if asks is not None else None
    return {"responses": answered | errors(*statuses), "openapi_extra": extra, "response_class": Response}


def errors(*statuses: int) -> dict[int | str, Any]:
    """Answers with an `ErrorReply`, by status."""
    found: dict[int | str, Any] = {}
    for status in statuses:
        found[status] = {"description": _STATUSES[status], "content": _content(wire.ErrorReply)}
        if status in (429, 503):
            found[status]["headers"] = _LATER
    return found


def readiness() -> dict[str, Any]:
    """The same for `/ready`, which answers alike when it is ready and when it is not."""
    answers = operation(Ready)
    later = {"description": "Not yet, or not any more.", "content": _content(Ready), "headers": _LATER}
    return {**answers, "responses": {**answers["responses"], 503: later}}


def install(app: FastAPI, *, keys: bool) -> None:
    """Have `app` describe itself with the wire's models; `keys` says whether it asks for a token."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = plain()
            _, models = models_json_schema(list(_MODELS), ref_template="#/components/schemas/{model}")
            components = schema.setdefault("components", {})
            components.setdefault("schemas", {}).update(models["$defs"])
            if keys:
                components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
                for path, methods in schema["paths"].items():
                    for method in methods.values():
                        method["security"] = [{}] if path in ("/alive", "/ready") else [{"token": []}]
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]


def _content(model: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}

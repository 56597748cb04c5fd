"""Lets a request pass if its tenant is known, and tells the upstream which plugin said so."""

import json

from componentize_py_types import Err

import wit_world.exports
from wit_world.imports import setup
from wit_world.imports.types import (
    Reply,
    RequestEdit_SetHeader,
    RequestHead,
    RequestVerdict,
    RequestVerdict_Next,
    RequestVerdict_Respond,
)

# One instance serves many routes: each attachment has a configuration of its own.
attachments = {}


class Lifecycle(wit_world.exports.Lifecycle):
    def configure(self, attachment: int, config: str) -> None:
        fields = json.loads(config)
        tenants = fields.pop("tenants", None)
        if fields:
            raise Err(f"unknown field `{next(iter(fields))}`, expected `tenants`")
        if not isinstance(tenants, list):
            raise Err("`tenants` must be a list of names")
        attachments[attachment] = (set(tenants), setup.want_request_header("x-tenant"))

    def release(self, attachment: int) -> None:
        attachments.pop(attachment, None)


class RequestHook(wit_world.exports.RequestHook):
    def on_request(self, attachment: int, head: RequestHead) -> RequestVerdict:
        tenants, key = attachments[attachment]
        value = next((value for wanted, value in head.values or [] if wanted == key), None)
        if value is not None and value.decode(errors="replace") in tenants:
            return RequestVerdict_Next([RequestEdit_SetHeader(("x-checked-by", b"python"))])
        problem = {"title": "Forbidden", "status": 403, "detail": "the tenant is not known"}
        headers = [("content-type", b"application/problem+json")]
        return RequestVerdict_Respond(Reply(403, headers, json.dumps(problem).encode()))

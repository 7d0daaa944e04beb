"""AWS's Query protocol, both directions, driven by botocore's own models: no operation is spelled out here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any
from xml.sax.saxutils import escape

import botocore.session

# Whatever a log holds, an answer must be XML 1.0; what RDS puts in place of these is not known.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
Request = dict[str, Any]
Result = dict[str, Any]


class Refusal(Exception):
    """An error RDS would answer with: its code, message and HTTP status."""

    def __init__(self, code: str, message: str, http_status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.http_status = code, message, http_status


@cache
def model_of(service: str) -> Any:
    """Botocore's model of a service (RDS's takes 0.17 s to load, so once)."""
    return botocore.session.get_session().get_service_model(service)


def parse_request(action: str, form: Mapping[str, str], *, service: str = "rds") -> Request:
    """The form of one call as a dict in botocore's names. Raises Refusal for an unknown action or a bad value."""
    model = model_of(service)
    if action not in model.operation_names:
        raise Refusal("InvalidAction", f"Could not find operation {action} for version {model.api_version}")
    operation = model.operation_model(action)
    request: Request = _parse(operation.input_shape, form, "") or {}
    for name in operation.input_shape.required_members:
        if name not in request:
            raise Refusal("MissingParameter", f"The request must contain the parameter {name}.")
    return request


def render_result(action: str, result: Result, request_id: str, *, service: str = "rds") -> str:
    """The XML body of a successful answer, only with members the model knows."""
    model = model_of(service)
    shape = model.operation_model(action).output_shape
    body = _render(shape, result, shape.serialization.get("resultWrapper", f"{action}Result")) if shape else ""
    return (
        f'<{action}Response xmlns="{model.metadata["xmlNamespace"]}">{body}'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{action}Response>"
    )


def render_refusal(refusal: Refusal, request_id: str, *, service: str = "rds") -> str:
    """The XML body of an error, from which boto3 raises its typed exceptions."""
    kind = "Sender" if refusal.http_status < 500 else "Receiver"
    return (
        f'<ErrorResponse xmlns="{model_of(service).metadata["xmlNamespace"]}"><Error><Type>{kind}</Type>'
        f"<Code>{escape(refusal.code)}</Code><Message>{escape(refusal.message)}</Message></Error>"
        f"<RequestId>{request_id}</RequestId></ErrorResponse>"
    )


def _parse(shape: Any, form: Mapping[str, str], prefix: str) -> Any:
    match shape.type_name:
        case "structure":
            return _parse_structure(shape, form, prefix)
        case "list":
            return _parse_list(shape, form, prefix)
    text = form.get(prefix)
    if text is None:
        return None
    try:
        return _scalar(shape.type_name, text)
    except ValueError as error:
        raise Refusal("InvalidParameterValue", f"Invalid value for {prefix}: {text}") from error


def _parse_structure(shape: Any, form: Mapping[str, str], prefix: str) -> Any:
    fields = {}
    for name, member in shape.members.items():
        key = member.serialization.get("name", name)
        value = _parse(member, form, f"{prefix}.{key}" if prefix else key)
        if value is not None:
            fields[name] = value
    return fields or None


def _parse_list(shape: Any, form: Mapping[str, str], prefix: str) -> Any:
    if not shape.serialization.get("flattened"):
        prefix = f"{prefix}.{shape.member.serialization.get('name', 'member')}"
    values: list[Any] = []
    while (value := _parse(shape.member, form, f"{prefix}.{len(values) + 1}")) is not None:
        values.append(value)
    return values or None


def _scalar(kind: str, text: str) -> Any:
    match kind:
        case "integer" | "long":
            return int(text)
        case "boolean":
            return text.lower() == "true"
        case "timestamp":
            moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return text


def _render(shape: Any, value: Any, name: str) -> str:
    if value is None:
        return ""
    match shape.type_name:
        case "structure":
            body = "".join(
                _render(member, value.get(key), member.serialization.get("name", key))
                for key, member in shape.members.items()
            )
        case "list":
            item = shape.member.serialization.get("name", "member")
            body = "".join(_render(shape.member, entry, item) for entry in value)
        case "boolean":
            body = "true" if value else "false"
        case "timestamp":
            body = value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        case _:
            body = escape(_NO_XML.sub("\ufffd", str(value)))
    return f"<{name}>{body}</{name}>"

"""Values of parameters, checked for their type before the first step."""

from __future__ import annotations

import re
from collections.abc import Mapping

from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.durations import duration_s
from recovery.model.target import format_utc, parse_target_time
from recovery.redaction import Redactor
from runbooks.book.document import Book
from runbooks.steps.book_step import Parameter, Type

_FORMS = {
    Type.INSTANCE: re.compile(r"[A-Za-z](?:-?[A-Za-z0-9]){0,62}"),
    Type.NUMBER: re.compile(r"-?\d+"),
    Type.DATABASE: re.compile(r"[^\0]{1,63}"),
    Type.TABLE: re.compile(r"[^\0]+"),
}


def bind(book: Book, answers: Mapping[str, str]) -> dict[str, str]:
    """Every parameter of a book by the name that steps use. Raises usage for what is missing, unknown or malformed."""
    parameters = {parameter.name: parameter for parameter in book.parameters}
    for name in answers.keys() - parameters.keys() - book.questions.keys() - book.overrules.keys():
        raise _usage(f"runbook '{book.name}' has no parameter '{name}'", f"it has: {', '.join(parameters) or 'none'}")
    values = {}
    for name, parameter in parameters.items():
        value = answers.get(name, parameter.default)
        if value is None:
            example = f" (such as {parameter.example})" if parameter.example else ""
            raise _usage(f"parameter '{name}' is missing: {parameter.help or parameter.type}{example}", f"-p {name}=…")
        values[parameter.variable] = bound(parameter, value)
    overruled(book, answers)
    return values


def overruled(book: Book, answers: Mapping[str, str]) -> dict[str, str]:
    """Values given with -p that replace those a step would save: variable → value. Raises usage."""
    return {
        parameter.variable: bound(parameter, answers[name])
        for name, parameter in book.overrules.items()
        if name in answers
    }


def bound(parameter: Parameter, text: str) -> str:
    """One value in the form in which steps use it. Raises usage."""
    fits = True
    match parameter.type:
        case Type.TIME:
            return format_utc(parse_target_time(text))
        case Type.DURATION:
            fits = duration_s(text) is not None
        case Type.CHOICE:
            fits = text in parameter.choices
        case Type.TEXT:
            pass
        case _:
            fits = bool(_FORMS[parameter.type].fullmatch(text))
    if not fits:
        kind = f"one of {', '.join(parameter.choices)}" if parameter.choices else f"of type {parameter.type}"
        raise _usage(f"'{text}' is not {kind}, which {parameter.name} is to be", "see rowback runbook show")
    if "\0" in text or not _encodes(text):
        raise _usage(f"{parameter.name} holds a NUL or half a character, which no program can be given", "correct it")
    if Redactor.of_this_process()(text) != text:
        raise _usage(f"{parameter.name} holds a secret, and runs keep their values", "take it from the environment")
    return text


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _usage(fact: str, help: str) -> RowbackError:
    return RowbackError(ErrorId.USAGE, fact, state=NOTHING_CREATED, help=help)

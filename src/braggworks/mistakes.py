"""From what pydantic finds wrong with a configuration to one plain sentence with a suggestion."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticUndefined

_NEEDS = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), "keys and values"),
    "string_type": "text",
    "list_type": "a list",
}
_SHOWN = 200


def mistake_sentence(error: ValidationError, where: str, model: type[BaseModel]) -> str:
    """Return one mistake that pydantic found, as one sentence with the key, the value and a suggestion.

    Parameters
    ----------
    error
        What pydantic found.
    where
        The file, or the option, that holds the mistake.
    model
        What was to be built.
    """
    found = error.errors()
    first = found[0]
    if first["type"] == "missing":
        # A mistyped key is missing under its right name, too, and the typing mistake says more.
        mistyped = (
            each for each in found if each["type"] == "extra_forbidden" and each["loc"][:-1] == first["loc"][:-1]
        )
        first = next(mistyped, first)
    place = _Place(model, first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{where}: unknown key '{place.key}': {_suggest_key(place, str(first['loc'][-1]))}"
    if first["type"] == "missing" and not place.is_in_pair:
        return f"{where}: the key '{place.key}' is missing: add it."
    return ": ".join(part for part in (where, place.key, _explain(first, place)) if part)


class _Place:
    """Where in a model a mistake is.

    Parameters
    ----------
    model
        The whole model.
    location
        Pydantic's path: keys and indices, and between them names of models and tags by which one of several is chosen.
    """

    def __init__(self, model: type[BaseModel], location: Sequence[int | str]) -> None:
        self.model = model
        self.field: FieldInfo | None = None
        #: What the field may hold, the tag by which one of several was chosen, and the others.
        self.candidates = [model]
        self.choice = ""
        self.siblings: list[type[BaseModel]] = []
        self._keys: list[str] = []
        self._indices = 0
        for part in location:
            self._step(part)
        self.pair = _tuple_in(self.field.annotation) if self.field else None
        #: Whether the mistake is in one number of a range or of Miller indices.
        self.is_in_pair = self.pair is not None and self._indices > self._is_list
        self.key = ".".join(self._keys[:-1] if self.is_in_pair else self._keys)

    def _step(self, part: int | str) -> None:
        name = str(part)
        owner = next((each for each in self.candidates if name in each.model_fields), None)
        if isinstance(part, int):
            self._indices += 1
            self._keys.append(name)
        elif owner:
            self.model, self.field, self._indices = owner, owner.model_fields[name], 0
            self.candidates, self.choice, self.siblings = _models_in(self.field.annotation), "", []
            self._keys.append(name)
        elif tagged := _tagged(self.candidates, name):
            self.choice, self.siblings, self.candidates = name, self.candidates, [tagged]
        elif named := [each for each in self.candidates if re.search(rf"\b{each.__name__}\b", name)]:
            self.candidates = named
        elif name != "[key]":
            self.model = self.candidates[0] if self.candidates else self.model
            self._keys.append(name)

    @property
    def _is_list(self) -> bool:
        return self.field is not None and get_origin(self.field.annotation) is list

    @property
    def example(self) -> str:
        """A value that would do, from the key's default: ``, such as [1, 2]``."""
        default = self.field.get_default() if self.field else None
        if default is None or default is PydanticUndefined or isinstance(default, bool):
            return ""
        return f", such as {_written(default[0] if self.pair and self._is_list and self._indices else default)}"


def _explain(first: ErrorDetails, place: _Place) -> str:
    """Return what is wrong with a value, and what would do."""
    kind, value, context = first["type"], first["input"], first.get("ctx", {})
    got = "" if kind == "value_error" else f", got {_written(value)}"
    numbers = kind == "tuple_type" or context.get("field_type") == "Tuple"
    if place.pair and (numbers or (place.is_in_pair and (kind in _NEEDS or kind == "missing"))):
        whole = "whole " if int in get_args(place.pair) else ""
        among = " in it" if place.is_in_pair and kind in _NEEDS else ""
        text = f"needs a list of {len(get_args(place.pair))} {whole}numbers{place.example}{got}{among}"
    elif kind in _NEEDS:
        text = f"needs {_NEEDS[kind]}{place.example}{got}"
    elif kind == "literal_error":
        return _none_of(value, re.findall(r"'([^']+)'", context["expected"]))
    elif kind == "union_tag_invalid":
        tags = re.findall(r"'([^']+)'", context["expected_tags"])
        return f"{context['discriminator'].strip(chr(39))} {_none_of(context['tag'], tags)}"
    elif kind == "union_tag_not_found":
        tags = [tag for each in place.candidates for tag in _tags(each)]
        text = f"the key {context['discriminator']} is missing: add it, with one of {', '.join(tags)}"
    elif kind == "string_pattern_mismatch":
        text = f"{_written(value)} holds what is not accepted: it must match {context['pattern']}"
    else:
        message = first["msg"].removeprefix("Value error, ").replace(" after validation", "")
        text = f"{re.sub('^Input should be', 'must be', message)}{got}"
    return f"{text}."


def _none_of(value: Any, accepted: Sequence[str]) -> str:
    near = difflib.get_close_matches(str(value), accepted, n=1, cutoff=0.7)
    hint = f": did you mean '{near[0]}'?" if near else "."
    return f"{_written(value)} is none of {', '.join(f'{name!r}' for name in accepted)}{hint}"


def _suggest_key(place: _Place, key: str) -> str:
    """Return what an unknown key may have been meant for."""
    known = list(place.model.model_fields)
    if near := difflib.get_close_matches(key, known, n=1):
        return f"did you mean '{near[0]}'?"
    of = f" of {place.choice}" if place.choice else ""
    others = [tag for each in place.siblings if key in each.model_fields for tag in _tags(each)]
    belongs = f" (it belongs to {', '.join(others)})" if others else ""
    return f"accepted keys{of} are {', '.join(known)}{belongs}."


def _written(value: Any) -> str:
    """Return a value about as it is written in the file, shortened."""
    text = repr(value).replace("(", "[").replace(")", "]") if isinstance(value, tuple | list) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that a field may hold, at whatever depth."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _tuple_in(annotation: Any) -> Any:
    """Return the type of a tuple that a field is, or is a list of; None without one."""
    if get_origin(annotation) is tuple:
        return annotation
    return next((found for part in get_args(annotation) if (found := _tuple_in(part))), None)


def _tags(model: type[BaseModel]) -> list[str]:
    """Return the values of a model's key that has one value alone, by which it is told from others."""
    choices = [get_args(field.annotation) for field in model.model_fields.values()]
    return [str(values[0]) for values in choices if len(values) == 1 and isinstance(values[0], str)][:1]


def _tagged(models: Sequence[type[BaseModel]], tag: str) -> type[BaseModel] | None:
    return next((model for model in models if len(models) > 1 and tag in _tags(model)), None)

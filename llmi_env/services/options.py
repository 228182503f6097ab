"""Options of whatever asks a service: plain data without secrets, read in one way, with errors that repeat no value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from llmi_env.errors import ConfigError, did_you_mean
from llmi_env.services.keys import looks_secret

Model = TypeVar("Model", bound=BaseModel)


def parse_options(model: type[Model], options: Mapping[str, Any], what: str) -> Model:
    """Read options, e.g. from YAML.

    Args:
        model: what they are checked against.
        options: the options.
        what: whose they are, for messages.

    Raises:
        ConfigError: names the option that cannot be; values are not repeated, for one may be a key.
    """
    for name in options:
        if name not in model.model_fields:
            secret = " (keys do not belong into configurations: give the variable's name)" if looks_secret(name) else ""
            raise ConfigError(f"{what}: no option {name!r}{secret}{did_you_mean(name, model.model_fields)}")
    try:
        return model.model_validate(dict(options))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
    # raised out here: the library's error holds the values
    raise ConfigError(f"{what}: {f'option {place!r}: ' if place else ''}{said}")


class ServiceOptions(BaseModel):
    """What a tool or judge is told of its service, its key's place among it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    what: ClassVar[str]
    """Whose options they are, for messages."""

    api_key_env: str | None = None
    """Name of the environment variable that holds the key, never the key itself."""

    api_key_file: str | None = None
    """File that holds the key and nothing else, in place of a variable."""

    @field_validator("api_key_env")
    @classmethod
    def _is_variable(cls, name: str | None) -> str | None:
        # In capitals: a key may be an identifier by chance, and would then be told as the name of a variable that is not set.
        if name and not (name.isidentifier() and name.isascii() and name == name.upper()):
            raise ValueError("the name of an environment variable in capitals is needed, not the key itself")
        return name

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.api_key_env and self.api_key_file:
            raise ValueError("the key is in a variable (api_key_env) or in a file (api_key_file), not in both")
        return self

    @classmethod
    def parse(cls, options: Mapping[str, Any]) -> Self:
        """Read options; see `parse_options`."""
        return parse_options(cls, options, cls.what)

"""YAML as people write it: the one reader of all YAML, ours and the user's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from llmi_env.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """`2e-4` is a number, and a key given twice is a mistake: of the two values one would silently be lost."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # Here, before merges (`<<`) are laid out: to give another value than a merged one is no mistake.
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (key.tag, key.value) in seen:
                raise yaml.MarkedYAMLError(None, None, f"the key {key.value!r} is given twice", key.start_mark)
            seen.add((key.tag, key.value))
        return node


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+\Z"), list("-+0123456789")
)


def read_yaml(text: str, where: str) -> Any:
    """Read YAML; `where` names it in errors.

    Raises:
        ConfigError: it is none, or a key is given twice in it; names the key and the line.
    """
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date that does not exist, nesting without end
        raise ConfigError(f"{where}: not YAML: {' '.join(str(error).split())}") from error


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """Read a YAML mapping; `where` names it in errors. An empty text is an empty mapping.

    Raises:
        ConfigError: not YAML, a key given twice, or not a mapping with text keys.
    """
    data = read_yaml(text, where)
    if data is None:
        return {}
    if not isinstance(data, Mapping) or not all(isinstance(key, str) for key in data):
        raise ConfigError(f"{where}: expected a mapping of option: value, got {type(data).__name__}")
    return dict(data)

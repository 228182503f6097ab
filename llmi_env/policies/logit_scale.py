"""How sure a policy is, as one trained number: its logits are multiplied by e^s.

An adapter on the layers can hardly make a policy surer of all that it prefers: on the way there it grows surer of what is frequent, and calls
again and again. One number can. It is kept as the weight of the last norm, which it is a factor of, so that every loader of adapters
reads the policy that was trained.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmi_env.errors import ConfigError
from llmi_env.policies.engines import model_parts

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_NAME = "own_logit_scale"


def add_logit_scale(model: Any) -> None:
    """Give a model with an adapter a scale of 1, to be trained.

    Raises:
        ConfigError: its body does not end with a norm that could hold it.
    """
    import torch

    body, head = model_parts(model)
    if not _is_factor(getattr(body, "norm", None)) or getattr(head, "bias", None) is not None:
        raise ConfigError(
            "lr_logit_scale needs a model whose logits its last norm's weight is a factor of, such as Llama's or Qwen2's"
        )
    # A logarithm: it cannot change its sign, and a step changes it by as many per cent wherever it is.
    model.add_module(_NAME, torch.nn.ParameterDict({"log": torch.nn.Parameter(torch.zeros(()))}))


def _is_factor(norm: Any) -> bool:
    """Whether a norm gives twice as much with twice the weight; those of some families add one to it."""
    import torch

    weight = getattr(norm, "weight", None)
    if not isinstance(weight, torch.Tensor):
        return False
    with torch.no_grad():
        x = torch.linspace(-1, 1, weight.numel(), dtype=weight.dtype, device=weight.device)[None]
        once = norm(x)
        weight.mul_(2)
        twice = norm(x)
        weight.div_(2)
    return bool(torch.allclose(twice, 2 * once))


def held(model: Any) -> torch.nn.ParameterDict | None:
    """The module that holds the logarithm as `log`; `None` where the model has no scale of its own."""
    found: torch.nn.ParameterDict | None = getattr(model, _NAME, None)
    return found


def logit_scale(model: Any) -> Tensor | None:
    """What the logits of a model are multiplied by, shape (), with gradient; `None` where it has no scale of its own."""
    scale = held(model)
    return None if scale is None else scale["log"].exp()


def scale_now(model: Any) -> float:
    """The scale as a plain number; 1 where the model has none of its own."""
    scale = logit_scale(model)
    return 1.0 if scale is None else float(scale.detach())


def scaled(model: Any, hidden: Tensor) -> Tensor:
    """Last hidden states times the scale: the output layer is linear."""
    scale = logit_scale(model)
    return hidden if scale is None else hidden * scale


def write_norm(model: Any, adapter: Path) -> None:
    """Add the last norm, times the scale, to a saved adapter; where the model has neither a scale nor a norm of its own, nothing happens."""
    from safetensors.torch import load_file, save_file

    scale = logit_scale(model)
    if scale is None and not getattr(model, "own_norm", False):
        return
    key = norm_key(model)
    norm = model_parts(model)[0].norm.weight.detach()
    weights = load_file(str(adapter / "adapter_model.safetensors"))
    weights[key] = (norm if scale is None else norm * scale.detach()).cpu().contiguous()
    save_file(weights, str(adapter / "adapter_model.safetensors"), metadata={"format": "pt"})
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    others = config.get("modules_to_save") or []
    config["modules_to_save"] = sorted({*others, key.removeprefix("base_model.model.").removesuffix(".weight")})
    (adapter / "adapter_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def norm_key(model: Any) -> str:
    """Name of the last norm's weight in a saved adapter."""
    norm = model_parts(model)[0].norm
    name = next(name for name, module in model.get_base_model().named_modules() if module is norm)
    return f"base_model.model.{name}.weight"

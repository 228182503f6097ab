"""The model that is trained: loaded, adapted, scored, written down and read back.

Either a LoRA adapter is trained on frozen weights, or all weights (`lora_rank: 0`). A checkpoint holds the adapter as `adapter/`, or the whole
model as `model/` with tokenizer and processor; both are what `llmi_env.models.resolve_policy` reads.

On a GPU everything computes there, in float32 or by autocast in bfloat16; sampler and trainer through the same modules, so that their
logprobs agree as far as the precision goes. On a CPU, products are computed in bfloat16 where that is asked for, all else in float32.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmi_env.errors import CheckpointError, ConfigError
from llmi_env.models import load_model, quiet, resolve_policy, sees_pictures
from llmi_env.policies.engines import model_parts
from llmi_env.policies.logit_scale import add_logit_scale, held, norm_key, write_norm
from llmi_env.policies.packed import multiplies_bfloat16, round_products
from llmi_env.policies.seeing_policy import SeeingTransformersPolicy
from llmi_env.policies.transformers_policy import TransformersPolicy
from llmi_env.policies.vision import Eyes
from llmi_env.tokenizers import HFTokenizer
from trainers.forward import Anchors, Scored, score_responses
from trainers.forward_whole import score_whole
from trainers.sft import add_lora

if TYPE_CHECKING:
    import torch

    from llmi_env.ledger import Ledger
    from trainers.recipe import Recipe

_log = logging.getLogger(__name__)


class PolicyModel:
    """A model with what belongs to it.

    Args:
        model: on its device, with the parameters that are trained requiring gradients.
        tokenizer: its tokenizer.
        eyes: its processor, where it sees pictures.
        gradient_checkpointing: compute activations again rather than keep them.
    """

    def __init__(
        self, model: Any, tokenizer: HFTokenizer, eyes: Eyes | None = None, gradient_checkpointing: bool = False
    ) -> None:
        self.model, self.tokenizer, self.eyes = model, tokenizer, eyes
        self._checkpointing = gradient_checkpointing
        if gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
            if self.device.type == "cpu":
                give_memory_back()

    @classmethod
    def load(cls, recipe: Recipe) -> PolicyModel:
        """The policy that a recipe starts from, ready to be trained; what is random in a new adapter comes from torch's generator.

        Raises:
            ConfigError, AssetError: it cannot be loaded, or the device is not there.
        """
        device = find_device(recipe.device)
        model, tokenizer = load_model(recipe.model, trainable=True)
        eyes = Eyes.load(resolve_policy(recipe.model).base) if sees_pictures(recipe.model) else None
        adapted = hasattr(model, "peft_config")
        if recipe.lora_rank == 0:
            model = model.merge_and_unload() if adapted else model
            model.requires_grad_(True)
        elif not adapted:
            # Of a model that sees, the adapter changes how it writes: features of pictures stay what they are.
            model = add_lora(
                model, recipe.lora_rank, recipe.lora_alpha, exclude=None if eyes is None else r".*visual.*"
            )
        if recipe.lr_logit_scale:
            add_logit_scale(model)
        model = model.to(device).eval()  # no dropout: the trainer's logprobs are to be the sampler's
        if recipe.dtype == "bfloat16":
            compute_in_bfloat16(model, device)
        return cls(model, tokenizer, eyes, recipe.gradient_checkpointing)

    @property
    def is_adapter(self) -> bool:
        """Whether an adapter is trained, and not all weights."""
        return hasattr(self.model, "peft_config")

    @property
    def parameters(self) -> list[Any]:
        """What is trained."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    @property
    def logit_scale(self) -> torch.nn.ParameterDict | None:
        """What its logits are multiplied by, as the logarithm `log`, where that is trained."""
        return held(self.model)

    def optimizer(self, recipe: Recipe) -> Any:
        """AdamW over what is trained. Groups name `of_lr`, their rate as a multiple of the step's."""
        import torch

        scale = self.logit_scale
        rest = [x for x in self.parameters if scale is None or x is not scale["log"]]
        groups: list[dict[str, Any]] = [{"params": rest, "of_lr": 1.0}]
        if scale is not None:
            groups.append({"params": [scale["log"]], "of_lr": recipe.lr_logit_scale / recipe.lr, "weight_decay": 0.0})
        return torch.optim.AdamW(groups, lr=recipe.lr, weight_decay=recipe.weight_decay)

    @property
    def device(self) -> Any:
        """Where it computes."""
        return model_parts(self.model)[1].weight.device

    @property
    def hidden_size(self) -> int:
        """Size of its last hidden state."""
        return int(model_parts(self.model)[1].weight.shape[1])

    @property
    def context(self) -> int:
        """Tokens that it can read."""
        return int(self.model.config.get_text_config().max_position_embeddings)

    def sampler(self) -> TransformersPolicy:
        """The policy that rollouts sample from; call its `refresh` after each optimiser step."""
        if self.eyes is not None:
            return SeeingTransformersPolicy(self.model, self.tokenizer, self.eyes)
        # A step of a small model on a GPU takes the same time for four times as many rows.
        return TransformersPolicy(self.model, self.tokenizer, max_rows=96 if self.device.type == "cpu" else 256)

    def score(self, ledgers: Sequence[Ledger], entropies: bool = False, anchors: Anchors | None = None) -> Scored:
        """Logprobs of everything after the prompts, with gradient unless torch was told otherwise; entropies and divergences where wanted."""
        if self.eyes is None and not self._checkpointing:
            prompts, responses = [x.prompt_ids for x in ledgers], [x.response_ids for x in ledgers]
            return score_responses(self.model, prompts, responses, self.tokenizer.vocab_size, entropies, anchors)
        with self._recomputing():
            return score_whole(self.model, ledgers, self.tokenizer.vocab_size, self.eyes, entropies, anchors)

    def save(self, folder: Path) -> None:
        """Write the adapter as `folder/adapter`, or the whole model as `folder/model`."""
        if self.is_adapter:
            # False: the library would ask the hub whether the vocabulary has grown
            self.model.save_pretrained(str(folder / "adapter"), save_embedding_layers=False)
            (folder / "adapter" / "README.md").unlink(missing_ok=True)
            write_norm(self.model, folder / "adapter")
            return
        import transformers

        with quiet(transformers):
            self.model.save_pretrained(str(folder / "model"))
        self.tokenizer.hf.save_pretrained(str(folder / "model"))
        if self.eyes is not None:
            self.eyes.save(folder / "model")

    def restore(self, folder: Path) -> None:
        """Take the weights that `save` wrote there.

        Raises:
            CheckpointError: they do not fit.
        """
        import torch

        try:
            if self.is_adapter:
                from peft import set_peft_model_state_dict
                from safetensors.torch import load_file

                weights = load_file(str(folder / "adapter" / "adapter_model.safetensors"))
                if hasattr(model_parts(self.model)[0], "norm"):
                    weights.pop(norm_key(self.model), None)  # the start's, times the scale, which is kept by itself
                set_peft_model_state_dict(self.model, weights)
                return
            saved = dict(load_model(folder / "model")[0].named_parameters())
            with torch.no_grad():
                for name, parameter in self.model.named_parameters():
                    parameter.copy_(saved[name])
        except (OSError, RuntimeError, KeyError, ConfigError) as error:
            raise CheckpointError(f"the weights of {folder} cannot be loaded: {error}") from error

    @contextmanager
    def _recomputing(self) -> Iterator[None]:
        """Let the layers compute again what they do not keep; outside of this they fill the sampler's cache, which cannot be done twice."""
        from transformers.modeling_layers import GradientCheckpointingLayer

        layers = [x for x in self.model.modules() if isinstance(x, GradientCheckpointingLayer)]
        # The flag of the layer alone: dropout in its parts stays off.
        for layer in layers if self._checkpointing else ():
            layer.training = True
        try:
            yield
        finally:
            for layer in layers:
                layer.training = False


@contextmanager
def same_bits(device: str) -> Iterator[None]:
    """On a CPU, let the same computation give the same bits each time: some gradients are else added up in the order in which threads are done.

    A run that goes on after a kill then ends as one that was not interrupted, on a machine with as many threads. A GPU is left as it is: its
    kernels are not all deterministic, and those that could be are slower.
    """
    import torch

    before = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    if device == "cpu":
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # for debugging, and slow
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.utils.deterministic.fill_uninitialized_memory = before[1]


def give_memory_back() -> None:
    """Have the C library return large blocks to the system as soon as they are freed, where it is glibc; for the whole process.

    It otherwise learns from freed blocks to keep larger ones, and what checkpointing frees layer by layer stays with the process: measured on
    SmolLM2-135M with 8 documents of 412 tokens, a peak of 4.7 GB instead of 1.6.
    """
    import ctypes

    m_mmap_threshold = -3
    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(m_mmap_threshold, 1 << 20)


def find_device(name: str) -> str:
    """The device that an option names.

    Raises:
        ConfigError: a GPU that is not there.
    """
    import torch

    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ConfigError("device=cuda, and torch finds no GPU: take device=cpu, or a build of torch for CUDA")
    return "cuda" if available and name != "cpu" else "cpu"


def compute_in_bfloat16(model: Any, device: str) -> None:
    """Run body and head of a model under autocast, whoever calls them and in whichever thread; the packed products likewise."""
    import torch

    round_products(*model_parts(model))
    if device == "cpu" and not multiplies_bfloat16():
        _log.warning("dtype=bfloat16: this processor does not multiply bfloat16, float32 is faster on it")
    for part in model_parts(model):
        part.forward = torch.autocast(device, torch.bfloat16)(part.forward)

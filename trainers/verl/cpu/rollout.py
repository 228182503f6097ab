"""verl's rollout server on the CPU: a Ray actor with a model of `transformers`, and what verl needs to start and feed it.

verl starts one `HFReplica` for each worker; it starts the actor `HFServer`, which the agent loops ask for tokens. The worker itself holds an
`HFServerAdapter`, which sends the trained weights to the actor before each step.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import ray
from verl.workers.rollout.base import _ROLLOUT_REGISTRY, BaseRollout
from verl.workers.rollout.replica import RolloutReplica, RolloutReplicaRegistry, TokenOutput

from llmi_env.errors import ConfigError, WorldError
from llmi_env.tokenizers import end_ids
from trainers.verl.cpu.generation import Decoder, Params

if TYPE_CHECKING:
    import torch

NAME = "hf"
"""Name of the server in verl's configuration: `actor_rollout_ref.rollout.name=hf`."""


class HFServer:
    """Token ids in, token ids and logprobs out. The model is empty until the trainer has sent weights.

    Args:
        model_path: folder or hub name of the model's configuration and tokenizer.
        prompt_length, response_length, max_model_len: limits on tokens, as in verl's configuration.
        max_rows: requests decoded as one batch.
        seed: of the draws; each request's own follows from it, the version of the weights, the prompt and how often that came before.
        ignore_eos: default of the requests.
        overrides: fields of the model's configuration that the trainer changes.
        trust_remote_code: passed to `transformers`.
    """

    def __init__(
        self,
        model_path: str,
        *,
        prompt_length: int,
        response_length: int,
        max_model_len: int | None = None,
        max_rows: int = 64,
        seed: int = 0,
        ignore_eos: bool = False,
        overrides: Mapping[str, Any] | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        from transformers import (
            AutoConfig,
            AutoModelForCausalLM,
            AutoModelForImageTextToText,
            AutoProcessor,
            AutoTokenizer,
        )

        trust = {"trust_remote_code": trust_remote_code}
        config = AutoConfig.from_pretrained(model_path, **trust, **(overrides or {}))
        reads_pictures = getattr(config, "vision_config", None) is not None
        maker = AutoModelForImageTextToText if reads_pictures else AutoModelForCausalLM
        self.tokenizer = AutoTokenizer.from_pretrained(model_path, **trust)
        self._pictures = AutoProcessor.from_pretrained(model_path, **trust).image_processor if reads_pictures else None
        self._end_ids = end_ids(self.tokenizer)
        tokens = (getattr(config, f"{kind}_token_id", None) for kind in ("image", "video"))
        self.decoder = Decoder(
            maker.from_config(config, **trust).float().eval(),
            self.tokenizer,
            vocab=len(self.tokenizer),
            hidden=[token for token in tokens if token is not None],
            max_rows=max_rows,
        )
        self._prompt_length, self._response_length = prompt_length, response_length
        self._max_len = max_model_len or prompt_length + response_length
        self._seed, self._ignore_eos = seed, ignore_eos
        self._version: int | None = None
        self._updates = 0
        self._came: Counter[str] = Counter()
        self._open = asyncio.Event()
        self._open.set()
        self._rejecting = False

    async def generate(
        self,
        request_id: str,
        prompt_ids: Sequence[int],
        sampling_params: Mapping[str, Any],
        image_data: Sequence[Any] | None = None,
        video_data: Sequence[Any] | None = None,
        **other: Any,
    ) -> TokenOutput:
        """Continue a prompt.

        Args:
            request_id: verl's; a new one for each request, so it decides nothing.
            prompt_ids: ids; each picture as a run of place-holders, as the model's processor writes them.
            sampling_params: see `generation.Params`.
            image_data: the pictures, in order.
            video_data, other: not known here; must be empty.

        Raises:
            ConfigError: a parameter or an input that cannot be served, or a prompt that leaves no room.
            WorldError: the trainer has sent no weights yet.
        """
        given = [name for name, value in {"video_data": video_data, **other}.items() if value]
        if given:
            raise ConfigError(f"the CPU's inference server cannot serve {', '.join(given)}")
        if not self._updates:
            raise WorldError("the inference server has no weights yet: the trainer sends them before the first step")
        if not self._open.is_set() and self._rejecting:
            return self._output([], [], "aborted", sampling_params)
        await self._open.wait()
        prompt = [int(token) for token in prompt_ids]
        if not 0 < len(prompt) < self._max_len:
            raise ConfigError(
                f"a prompt of {len(prompt)} tokens leaves no room within {self._max_len} "
                "(rollout.max_model_len, or prompt_length + response_length)"
            )
        limit = min(self._response_length, self._prompt_length + self._response_length - len(prompt))
        if "max_tokens" in sampling_params or "max_new_tokens" in sampling_params:
            limit = self._max_len
        params = Params.read(
            {"ignore_eos": self._ignore_eos, **sampling_params},
            max_tokens=min(max(1, limit), self._max_len - len(prompt)),
            seed=self._next_seed(prompt),
            end_ids=self._end_ids,
        )
        pictures = await asyncio.to_thread(self._picture_inputs, image_data) if image_data else None
        done = await self.decoder.generate(prompt, params, pictures)
        return self._output(done.tokens, done.logprobs, done.reason, sampling_params)

    async def load_weights(self, weights: Mapping[str, torch.Tensor], global_steps: int | None = None) -> None:
        """Take the trainer's weights of step `global_steps`; see `Decoder.change`."""
        await self.decoder.change(weights)
        self._version, self._updates = global_steps, self._updates + 1
        self._came.clear()

    async def sleep(self) -> None:
        """Give back memory while the trainer computes."""
        self.decoder.release()

    async def wake_up(self, tags: Sequence[str] | None = None) -> None:
        """The next request makes what it needs."""

    async def clear_kv_cache(self) -> None:
        """Caches live no longer than their batch."""

    async def release_kv_cache(self) -> None:
        """See `clear_kv_cache`."""

    async def resume_kv_cache(self) -> None:
        """See `clear_kv_cache`."""

    async def abort_all_requests(self, reject_request: bool = False) -> None:
        """End the requests with what they have; further ones wait for `resume_generation`, or are turned away."""
        self._open.clear()
        self._rejecting = reject_request
        self.decoder.abort()

    async def resume_generation(self) -> None:
        """Serve again."""
        self._open.set()

    async def start_profile(self, **_: Any) -> None:
        """There is no profiler."""

    async def stop_profile(self) -> None:
        """There is no profiler."""

    def _output(self, tokens: list[int], logprobs: list[float], reason: str, params: Mapping[str, Any]) -> TokenOutput:
        return TokenOutput(
            token_ids=tokens,
            log_probs=logprobs if params.get("logprobs") else None,
            stop_reason=reason,
            extra_fields={"global_steps": self._version},
        )

    def _next_seed(self, prompt: Sequence[int]) -> int:
        text = f"{self._seed}:{self._version}:{','.join(map(str, prompt))}"
        key = hashlib.sha256(text.encode()).hexdigest()
        self._came[key] += 1
        return int(hashlib.sha256(f"{key}:{self._came[key]}".encode()).hexdigest()[:16], 16)

    def _picture_inputs(self, images: Sequence[Any]) -> dict[str, torch.Tensor]:
        if self._pictures is None:
            raise ConfigError(
                "the policy reads no pictures: take a vision-language model, or feedback without pictures"
            )
        return dict(self._pictures(images=list(images), return_tensors="pt"))


def _actor_name(replica: int, suffix: str = "") -> str:
    return f"llmi_{NAME}_server_{replica}{suffix}"


class HFReplica(RolloutReplica):
    """Starts the server of one worker."""

    async def launch_servers(self) -> None:
        """Start it; verl calls this once."""
        rollout, model = self.config, self.model_config
        self._server_address = _actor_name(self.replica_rank, self.name_suffix)
        self._server_handle = (
            ray.remote(HFServer)
            .options(name=self._server_address, num_cpus=0, max_concurrency=self.max_concurrency)
            .remote(
                model.path,
                prompt_length=rollout.prompt_length,
                response_length=rollout.response_length,
                max_model_len=rollout.max_model_len,
                max_rows=rollout.max_num_seqs,
                seed=rollout.seed + self.replica_rank,
                ignore_eos=rollout.ignore_eos,
                overrides=dict(model.get("override_config") or {}),
                trust_remote_code=bool(model.get("trust_remote_code", False)),
            )
        )
        self.servers = [self._server_handle]


class HFServerAdapter(BaseRollout):
    """A worker's line to its server.

    Args:
        config, model_config, device_mesh: verl's.
        replica_rank: number of the server; -1 for the worker's own.
        **other: nothing that matters here.
    """

    def __init__(self, config: Any, model_config: Any, device_mesh: Any, replica_rank: int = -1, **other: Any) -> None:
        super().__init__(config, model_config, device_mesh)
        if self.config.tensor_model_parallel_size * self.config.data_parallel_size != 1:
            raise ConfigError(
                "the CPU's inference server is one process for each worker: set actor_rollout_ref.rollout.tensor_model_parallel_size=1 "
                "and data_parallel_size=1"
            )
        self.replica_rank = int(os.environ["RANK"]) if replica_rank == -1 else replica_rank
        self._actor: Any = None

    @property
    def _server(self) -> Any:
        if self._actor is None:  # it is started after the worker
            self._actor = ray.get_actor(_actor_name(self.replica_rank))
        return self._actor

    async def resume(self, tags: list[str]) -> None:
        """See `HFServer.wake_up`."""
        await self._server.wake_up.remote(tags)

    async def release(self) -> None:
        """See `HFServer.sleep`."""
        await self._server.sleep.remote()

    async def update_weights(
        self,
        weights: Iterable[tuple[str, torch.Tensor]],
        wire_format: str = "named_tensors",
        global_steps: int | None = None,
        peft_config: Mapping[str, Any] | None = None,
        **other: Any,
    ) -> None:
        """Send the weights; every worker must come here, since taking them gathers their shards.

        Raises:
            ConfigError: weights as an adapter or as differences.
        """
        if wire_format != "named_tensors":
            raise ConfigError(
                f"weights come as {wire_format!r}: set actor_rollout_ref.rollout.checkpoint_engine.backend=naive"
            )
        if peft_config is not None:
            raise ConfigError(
                "the CPU's inference server takes whole weights: set actor_rollout_ref.model.lora.merge=True"
            )
        # The tensors may be the trainer's own, which go on changing.
        named = {name: tensor.detach().float().clone() for name, tensor in weights}
        await self._server.load_weights.remote(ray.put(named), global_steps)


RolloutReplicaRegistry.register(NAME, lambda: HFReplica)
# verl has no way to register an adapter: the table is private.
_ROLLOUT_REGISTRY[NAME, "async"] = f"{__name__}.HFServerAdapter"

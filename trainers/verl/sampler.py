"""How verl takes its batches, where documents may be without a score: `trainer.v1.sampler.custom_sampler`.

An episode without a score is no output of the agent loop, so verl's batch simply lacks it. verl's own buffer ends the run when a whole batch is
missing, and tells nothing of what is. This one asks for other tasks, stops a run that has nothing to compare any more, and counts.
"""

from __future__ import annotations

import logging
import math
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import transfer_queue as tq
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer
from verl.utils.tensordict_utils import list_of_dict_to_tensordict

import trainers.verl.advantage  # noqa: F401  (this is the process in which verl looks the estimator up)
from llmi_env.errors import ConfigError, TrainingError
from trainers.verl.data import SOURCE

_log = logging.getLogger(__name__)
_POLL = 0.2  # seconds between two looks at who is finished; verl's 2.0 are half of a small model's step


class ScoredReplayBuffer(ReplayBuffer):  # type: ignore[misc]
    """verl's synchronous buffer, which goes on when documents are without a score.

    Args:
        sampler_kwargs: `samples`: documents of a task; `needed`: how many scores make a group usable, 2 where they are compared with each
            other and 1 with a critic; `patience`: batches in a row without a usable group after which the run stops.
        **verls: verl's own arguments.
    """

    def __init__(self, *, sampler_kwargs: Mapping[str, int], **verls: Any) -> None:
        super().__init__(**{"poll_interval": _POLL, **verls}, sampler_kwargs=sampler_kwargs)
        if self.trainer_mode != "sync":
            raise ConfigError(
                f"trainer.v1.trainer_mode={self.trainer_mode!r}: documents without a score are handled in mode 'sync' only"
            )
        self._samples, self._needed = int(sampler_kwargs["samples"]), int(sampler_kwargs["needed"])
        self._patience = int(sampler_kwargs["patience"])
        self._idle = 0

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[Any, dict[str, float]]:
        """The documents of `batch_size` tasks, and figures for verl's metrics.

        Returns:
            A batch of keys (see verl), and under `llmi/` how many documents had no score, how many groups were of no use, and the means of
            all that documents report as `reward_extra_info`.

        Raises:
            TrainingError: no group was of use in `patience` batches in a row; a checkpoint of the last step has been saved.
        """
        if partition_id == "val":
            batch, figures = super().sample(global_steps, partition_id, batch_size)
            return (batch if batch.keys else self._without_scores(batch)), figures
        asked = 0
        while True:
            asked += batch_size
            batch, figures = self._sample_train(global_steps, batch_size)
            scores = Counter(key.rsplit("_", 2)[0] for key in batch.keys)
            useful = sum(count >= self._needed for count in scores.values())
            self._idle = 0 if useful else self._idle + 1
            if self._idle >= self._patience:
                self._stop(global_steps)
            if batch.keys:
                break
            _log.warning("step %d: no document of %d tasks has a score; taking other tasks", global_steps, asked)
            self.refill_fn(batch_size)
        return batch, {
            **figures,
            "llmi/unscored": float(asked * self._samples - len(batch.keys)),
            "llmi/groups_without_baseline": float(asked - useful),
            **_means(self._reported(batch)),
        }

    def _sample_train(self, global_steps: int, batch_size: int) -> tuple[Any, dict[str, float]]:
        """verl's batch; an empty one where verl would give up because no task has a document."""
        try:
            return super().sample(global_steps, "train", batch_size)  # type: ignore[no-any-return]
        except RuntimeError:
            tasks = sorted(self.finished_keys["train"] | self.failure_keys["train"])
            if self.partitions["train"] or not tasks:  # something else is wrong
                raise
            tq.kv_clear(keys=tasks, partition_id="train")
            return KVBatchMeta(partition_id="train", keys=[], tags=[]), {}

    @staticmethod
    def _reported(batch: Any) -> Iterable[Mapping[str, Any]]:
        """`reward_extra_info` of each document."""
        data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=["extra_fields"])
        for value in data["extra_fields"]:
            yield getattr(value, "data", value).get("reward_extra_info", {})

    @staticmethod
    def _without_scores(batch: Any) -> Any:
        """A validation of which nothing has a score, as one row with the reward NaN: verl takes a mean and cannot take that of nothing."""
        nothing = torch.zeros(1, dtype=torch.int64)
        name = f"unscored{uuid.uuid4().hex}"
        row = {
            "uid": name,
            "prompts": nothing,
            "responses": nothing,
            "rm_scores": torch.full((1,), math.nan),
            "num_turns": 0,
            "data_source": f"{SOURCE}_unscored",
            "reward_model": {"ground_truth": None},
            "extra_fields": {"reward_extra_info": {}},
        }
        tag = {"prompt_len": 1, "response_len": 1, "seq_len": 2}
        _log.warning("no document of the validation has a score")
        keys = [f"{name}_0_0"]
        tq.kv_batch_put(
            keys=keys, partition_id=batch.partition_id, fields=list_of_dict_to_tensordict([row]), tags=[tag]
        )
        return KVBatchMeta(partition_id=batch.partition_id, keys=keys, tags=[tag])

    def _stop(self, global_steps: int) -> None:
        """Save what has been learnt, and end the run."""
        done = global_steps - 1
        try:
            saved = _save(getattr(self.refill_fn, "__self__", None), done)
        except Exception:
            _log.exception("the checkpoint of step %d could not be saved", done)
            saved = False
        wanted = "a document" if self._needed == 1 else f"{self._needed} documents"
        raise TrainingError(
            f"no task had {wanted} with a score in {self._idle} batches in a row: judges, tools or inference servers fail, the log says why. "
            + (f"The run is saved up to step {done}; " if saved else "The newest checkpoint is kept; ")
            + "mend what fails and go on with --resume"
        )


def _save(trainer: Any, done: int) -> bool:
    """Have verl's trainer save the last finished step, unless it has; false where there is nothing to save."""
    if trainer is None or done < 1:
        return False
    newest = Path(trainer.config.trainer.default_local_dir) / "latest_checkpointed_iteration.txt"
    if newest.exists() and newest.read_text(encoding="utf-8").strip() == str(done):
        return True
    trainer.on_sample_end()  # the servers leave the memory to the trainer
    now, trainer.global_steps = trainer.global_steps, done
    try:
        trainer._save_checkpoint()
    finally:
        trainer.global_steps = now
    return True


def _means(documents: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Mean of every number that documents report; those that lack it, or report none, are left out of its mean."""
    values: dict[str, list[float]] = {}
    for document in documents:
        for name, value in document.items():
            if isinstance(value, bool | int | float) and math.isfinite(value):
                values.setdefault(name, []).append(float(value))
    return {f"llmi/reward/{name}": sum(numbers) / len(numbers) for name, numbers in sorted(values.items())}

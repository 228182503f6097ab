"""The value head: it learns what the states tell, and from the tokens of the policy alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from llmi_env.ledger import Ledger, Owner  # noqa: E402
from trainers.batching import Batch  # noqa: E402
from trainers.losses import explained_variance, gae  # noqa: E402
from trainers.value_head import Critic  # noqa: E402

HIDDEN = 16


def batch_of(rewards: list[float | None], tool: bool = False) -> Batch:
    """Documents of four sampled tokens, with a token of a tool's in their middle where asked for."""
    rollouts: list[Any] = []
    for group, reward in enumerate(rewards):
        ledger = Ledger()
        ledger.add([1, 2, 3], Owner.PROMPT)
        ledger.add([4, 5], Owner.POLICY, [-1.0, -1.0])
        if tool:
            ledger.add([9], Owner.TOOL)
        ledger.add([6, 7], Owner.POLICY, [-1.0, -1.0])
        rollouts.append(SimpleNamespace(ledger=ledger, reward=reward, group=group))
    return Batch.of(rollouts)


def test_it_learns_what_the_states_tell(tiny_recipe: Callable[..., Any]) -> None:
    torch.manual_seed(0)
    recipe = tiny_recipe(algorithm="ppo", lr_critic=1e-2, gamma=1.0, lam=1.0)
    rewards = torch.rand(32).tolist()
    batch = batch_of([*rewards])
    # A state that holds the reward among much else, differently at each place.
    hidden_BTH = torch.randn(32, 4, HIDDEN)
    hidden_BTH[:, :, 3] = 4 * torch.tensor(rewards)[:, None]
    critic = Critic(HIDDEN, recipe, "cpu")
    assert (critic.values(hidden_BTH) == 0).all()
    explained = []
    for _ in range(150):
        values_BT = critic.values(hidden_BTH).detach()
        _, returns_BT = gae(batch.rewards_BT, values_BT, batch.mask_BT, 1.0, 1.0)
        torch.testing.assert_close(returns_BT, torch.tensor(rewards)[:, None].expand(-1, 4))
        explained.append(float(explained_variance(values_BT, returns_BT, batch.mask_BT)))
        part = replace(batch, values_BT=values_BT, returns_BT=returns_BT)
        critic.learn(hidden_BTH, part, of=float(batch.mask_BT.sum()))
        critic.step()
    assert explained[0] == pytest.approx(0, abs=1e-6)
    assert explained[-1] > 0.9


def test_what_a_tool_wrote_and_what_has_no_score_is_not_learned_from(tiny_recipe: Callable[..., Any]) -> None:
    critic = Critic(HIDDEN, tiny_recipe(algorithm="ppo"), "cpu")
    torch.nn.init.normal_(critic.head[-1].weight)
    batch = batch_of([0.7, None, 0.2], tool=True)
    assert batch.learnable == [0, 2]
    assert batch.mask_BT[0].tolist() == [True, True, False, True, True]
    assert batch.rewards_BT.tolist() == [[0, 0, 0, 0, pytest.approx(0.7)], [0] * 5, [0, 0, 0, 0, pytest.approx(0.2)]]

    def gradient(hidden_BTH: Any) -> Any:
        critic.learn(hidden_BTH, batch, of=8.0)
        found = torch.cat([parameter.grad.flatten() for parameter in critic.head.parameters()])
        critic.optimizer.zero_grad()
        return found

    hidden_BTH = torch.randn(3, 5, HIDDEN)
    other_BTH = hidden_BTH.clone()
    other_BTH[:, 2] = 100.0
    other_BTH[1] = -100.0
    torch.testing.assert_close(gradient(hidden_BTH), gradient(other_BTH))
    other_BTH[0, 1] += 1
    assert not torch.allclose(gradient(hidden_BTH), gradient(other_BTH))


def test_the_trunk_gets_no_gradient(tiny_recipe: Callable[..., Any]) -> None:
    critic = Critic(HIDDEN, tiny_recipe(algorithm="ppo"), "cpu")
    hidden_BTH = torch.randn(2, 4, HIDDEN, requires_grad=True)
    critic.learn(hidden_BTH, batch_of([0.5, 0.1]), of=8.0)
    assert hidden_BTH.grad is None

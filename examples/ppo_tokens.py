"""PPO in one file: a tiny transformer, from scratch, learns which tools a question needs and when a document is done.

An action is one token (`action_mode="token"`). The vocabulary is small and all of it may be written: words of the questions, three whole calls,
one token for any other text, and eos. The tools are the real ones (picture search, charts in the sandbox, picture editing) and the reward
is the preset `rules`: the number of pictures, the choice of tools, and how far the calls came. It reads no text and does not look at what
a picture shows, so the policy learns to call tools, not to write.

    python examples/ppo_tokens.py            # two to four minutes on two cores; Ctrl-C stops early, the curve is drawn all the same
    python examples/ppo_tokens.py --seed 2 --learning-rate 3e-4 --curve runs/slow.png

Needs PyTorch: pip install 'llmi-env[offline]'. Axes in names: T steps, N environments, L tokens of context, B batch.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import gymnasium as gym
import matplotlib
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import nn
from torch.distributions import Categorical

import llmi_env  # noqa: F401  (registers LLMI-v0)
from llmi_env import Task
from llmi_env.calls import Call
from llmi_env.tokenizers import PieceTokenizer
from llmi_env.world.config import WorldConfig
from llmi_env.world.in_process import InProcessWorld


def option(default: Any, text: str) -> Any:
    """A field with its line of `--help`."""
    return field(default=default, metadata={"help": text})


@dataclass
class Args:
    """Options; `--help` lists them."""

    seed: int = option(1, "of policy, tasks and sampling: the same seed gives the same curve")
    total_steps: int = option(100_000, "tokens to sample in all")
    num_envs: int = option(16, "documents written side by side")
    num_steps: int = option(32, "tokens that each environment adds to one rollout")
    learning_rate: float = option(1e-3, "of Adam, falling likewise")
    epochs: int = option(4, "passes over each rollout")
    minibatches: int = option(4, "parts of each pass")
    gamma: float = option(0.99, "discount: below 1, documents that end sooner are worth more")
    gae_lambda: float = option(0.95, "of generalised advantage estimation")
    clip: float = option(0.2, "bound of the policy's ratio")
    entropy: float = option(0.05, "weight of the entropy bonus, falling linearly to 0")
    value: float = option(0.5, "weight of the value loss")
    max_grad_norm: float = option(0.5, "gradients are scaled down to this norm")
    threads: int = option(1, "threads of PyTorch; a network this small gains nothing from more")
    curve: str = option("runs/ppo_tokens.png", "where the curve is written")


# ------------------------------------------------------------------------------------------------------------- what is learnt

PLACES = ("Brittany", "Cornwall", "Iceland")
KINDS = (
    ("Show a photo of a lighthouse in {}.", ("search",), 1),
    ("Chart the ships that passed the lighthouse in {}: 3, 5 and 4.", ("code",), 1),
    ("A photo of a lighthouse in {}, and the same in grey.", ("search", "edit"), 2),
    ("A chart of the ships in {}, and the same in grey.", ("code", "edit"), 2),
    ("A photo of a lighthouse in {}, the same in grey, and a chart.", ("search", "edit", "code"), 3),
    ("Describe a lighthouse in {} in words alone.", (), "none"),
)
TASKS = [Task(kind.format(place), tools=tools, image_count=n) for place in PLACES for kind, tools, n in KINDS]
CALLS = (
    Call("search", "a lighthouse", {"query": "lighthouse"}),
    Call("code", "ships that passed", {"code": "plt.bar(['May', 'June', 'July'], [3, 5, 4])"}),
    Call("edit", "the first picture in grey", {"img_index": 0, "prompt": "grayscale"}),
)
WORDS = ("lighthouse", "ships", "photo", "chart", "Chart", "grey", "alone", *PLACES)
# `unknown` keeps prompts short: all text between two known words is one token, so the policy reads a dozen tokens, not 300 bytes.
TOKENIZER = PieceTokenizer([*(f"<imgen>{call.to_json()}</imgen>" for call in CALLS), *WORDS], fallback="unknown")
# A document that has not ended after 8 tokens is cut and scored as it stands.
OPTIONS = {"config": "rules", "action_mode": "token", "tokenizer": TOKENIZER, "tasks": TASKS, "limits": {"tokens": 8}}
WINDOW = 40  # tokens that the policy sees: prompt and document


class OneSeedWorld(InProcessWorld):
    """The real tools, with one seed for all calls: a call that was made before is answered from the World's cache."""

    async def run(self, call: Call, pictures: Any = (), *, seed: int = 0, deadline: float | None = None) -> Any:
        """As `World.run`, whatever the seed."""
        return await super().run(call, pictures, seed=0, deadline=deadline)


def make_envs(num_envs: int, world: Any) -> gym.vector.VectorEnv:
    """`num_envs` documents side by side, on one World."""
    # SAME_STEP: the step that ends a document already returns the next prompt, so every step is a token that the policy chose. (With
    # Gymnasium's default, NEXT_STEP, the step after an end ignores its action and would have to be left out of advantages and loss.)
    return gym.make_vec("LLMI-v0", num_envs=num_envs, autoreset_mode=AutoresetMode.SAME_STEP, world=world, **OPTIONS)


# ---------------------------------------------------------------------------------------------------------------- the policy


class Agent(nn.Module):
    """A causal transformer with two heads: logits of the next token, and the value of the document so far."""

    def __init__(self, vocab_size: int, width: int = 64, heads: int = 4, layers: int = 1) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab_size, width)
        self.position = nn.Parameter(0.02 * torch.randn(WINDOW, width))
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.actor, self.critic = nn.Linear(width, vocab_size), nn.Linear(width, 1)
        nn.init.normal_(self.actor.weight, std=0.01)  # begins as the uniform policy
        self.register_buffer("causal", nn.Transformer.generate_square_subsequent_mask(WINDOW), persistent=False)

    def forward(self, context_BL: torch.Tensor, length_B: torch.Tensor) -> tuple[Categorical, torch.Tensor]:
        """The policy of the next token, and the value (B,)."""
        # Padding stands on the right, where no earlier token sees it.
        size = int(length_B.max())
        hidden = self.embed(context_BL[:, :size]) + self.position[:size]
        hidden = self.blocks(hidden, mask=self.causal[:size, :size], is_causal=True)
        last = hidden[torch.arange(len(hidden)), length_B - 1]
        return Categorical(logits=self.actor(last)), self.critic(last).squeeze(-1)


def pad(contexts: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, L) ids, filled up with 0, and (N,) lengths. Of a context longer than the window the end is kept."""
    rows = [ids[-WINDOW:] for ids in contexts]
    padded = torch.tensor([row + [0] * (WINDOW - len(row)) for row in rows])
    return padded, torch.tensor([len(row) for row in rows])


def gae(rewards_TN: Any, values_TN: Any, ended_TN: Any, next_value_N: Any, gamma: float, lam: float) -> torch.Tensor:
    """Advantages (T, N). Across an end nothing flows back: what follows there is another document."""
    advantages_TN = torch.zeros_like(rewards_TN)
    flowing_N = torch.zeros_like(next_value_N)
    for t in reversed(range(len(rewards_TN))):
        goes_on_N = 1.0 - ended_TN[t].float()
        delta_N = rewards_TN[t] + gamma * next_value_N * goes_on_N - values_TN[t]
        advantages_TN[t] = flowing_N = delta_N + gamma * lam * goes_on_N * flowing_N
        next_value_N = values_TN[t]
    return advantages_TN


# -------------------------------------------------------------------------------------------------------------------- the run


def random_reward(envs: gym.vector.VectorEnv, seed: int, documents: int = 300) -> float:
    """Mean reward of tokens drawn at random: what the curve is compared with."""
    envs.reset(seed=seed)
    dice, rewards = np.random.default_rng(seed), []
    while len(rewards) < documents:
        _, reward_N, terminated_N, _, _ = envs.step(dice.integers(TOKENIZER.vocab_size, size=envs.num_envs))
        rewards += reward_N[terminated_N].tolist()
    return float(np.mean(rewards))


def train(args: Args, envs: gym.vector.VectorEnv, history: list[tuple[int, float]]) -> Agent:
    """Train, print a line a rollout and append (steps, mean reward of the documents that ended) to `history`."""
    torch.manual_seed(args.seed)
    agent = Agent(TOKENIZER.vocab_size)
    optimizer = torch.optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)
    T, N = args.num_steps, args.num_envs
    contexts_TNL = torch.zeros(T, N, WINDOW, dtype=torch.long)
    lengths_TN, actions_TN = torch.ones(T, N, dtype=torch.long), torch.zeros(T, N, dtype=torch.long)
    logprobs_TN, values_TN, rewards_TN = torch.zeros(T, N), torch.zeros(T, N), torch.zeros(T, N)
    ended_TN, usable_TN = torch.zeros(T, N, dtype=torch.bool), torch.ones(T, N, dtype=torch.bool)

    observation, _ = envs.reset(seed=args.seed)
    # An observation holds only what is new, so the context is kept here: the prompt, then what was written.
    contexts = [ids.tolist() for ids in observation["tokens"]]
    written_N = np.zeros(N, int)
    updates, start = max(1, args.total_steps // (T * N)), time.monotonic()
    for update in range(updates):
        left = 1 - update / updates
        optimizer.param_groups[0]["lr"], explore = args.learning_rate * left, args.entropy * left
        usable_TN.fill_(True)
        rewards, lengths, unscored = [], [], 0
        for t in range(T):
            contexts_TNL[t], lengths_TN[t] = pad(contexts)
            with torch.no_grad():
                policy, values_TN[t] = agent(contexts_TNL[t], lengths_TN[t])
                actions_TN[t] = policy.sample()
                logprobs_TN[t] = policy.log_prob(actions_TN[t])
            observation, reward_N, terminated_N, truncated_N, _ = envs.step(actions_TN[t].numpy())
            rewards_TN[t] = torch.as_tensor(reward_N)
            ended_TN[t] = torch.as_tensor(terminated_N | truncated_N)
            written_N += 1
            for n in range(N):
                new = observation["tokens"][n].tolist()
                if not ended_TN[t, n]:
                    contexts[n] += [int(actions_TN[t, n]), *new]
                    continue
                contexts[n] = new  # the next prompt
                if truncated_N[n]:
                    # Truncated means unscored: a tool was down, and nobody knows what the document is worth. The 0 that stands in for its
                    # reward is none, and there is no state after it to take a value from: its tokens are not learnt from.
                    usable_TN[max(0, t + 1 - written_N[n]) : t + 1, n] = False
                    unscored += 1
                else:
                    rewards.append(float(reward_N[n]))
                    lengths.append(int(written_N[n]))
                written_N[n] = 0

        with torch.no_grad():  # documents that go on past the rollout are worth what the critic expects of them
            _, next_value_N = agent(*pad(contexts))
        advantages_TN = gae(rewards_TN, values_TN, ended_TN, next_value_N, args.gamma, args.gae_lambda)
        returns_TN = advantages_TN + values_TN

        context_B, length_B = contexts_TNL.flatten(0, 1), lengths_TN.flatten()
        action_B, old_B = actions_TN.flatten(), logprobs_TN.flatten()
        advantage_B, return_B = advantages_TN.flatten(), returns_TN.flatten()
        usable = usable_TN.flatten().nonzero().squeeze(-1)
        kls, clipped = [], []
        for _ in range(args.epochs if len(usable) else 0):
            for part in usable[torch.randperm(len(usable))].chunk(args.minibatches):
                policy, value = agent(context_B[part], length_B[part])
                change = policy.log_prob(action_B[part]) - old_B[part]
                ratio = change.exp()
                advantage = advantage_B[part]
                advantage = (advantage - advantage.mean()) / (advantage.std(correction=0) + 1e-8)
                gain = torch.min(ratio * advantage, ratio.clamp(1 - args.clip, 1 + args.clip) * advantage).mean()
                value_loss = 0.5 * (value - return_B[part]).square().mean()
                loss = args.value * value_loss - gain - explore * policy.entropy().mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), args.max_grad_norm)
                optimizer.step()
                kls.append(float((ratio - 1 - change).mean().detach()))
                clipped.append(float(((ratio - 1).abs() > args.clip).float().mean()))

        steps = (update + 1) * T * N
        line = f"steps {steps:6d}  documents {len(rewards):3d}  unscored {unscored}  "
        if rewards:
            history.append((steps, float(np.mean(rewards))))
            line += f"reward {np.mean(rewards):.3f}  tokens {np.mean(lengths):.2f}  "
        if kls:
            line += f"kl {np.mean(kls):.4f}  clipped {np.mean(clipped):.3f}  "
        print(f"{line}SPS {steps / (time.monotonic() - start):.0f}", flush=True)
    return agent


def show(agent: Agent, world: Any) -> None:
    """Write one document for each kind of question, always with the likeliest token."""
    env = gym.make("LLMI-v0", world=world, **OPTIONS)
    for task in TASKS[: len(KINDS)]:
        observation, _ = env.reset(options={"task": task})
        context, over = observation["tokens"].tolist(), False
        while not over:
            with torch.no_grad():
                policy, _ = agent(*pad([context]))
            context.append(int(policy.logits.argmax()))
            _, reward, terminated, truncated, info = env.step(context[-1])
            over = terminated or truncated
        calls = [figure.call.tool for figure in info["document"].figures]
        print(f"{task.question:70} -> {' + '.join(calls) or 'no call'}: {'no score' if truncated else f'{reward:.2f}'}")
    env.close()


def draw(history: list[tuple[int, float]], random: float, path: Path) -> None:
    """The mean reward of each rollout, smoothed over eleven, against the random policy's."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    steps, rewards = np.array(history).reshape(-1, 2).T
    smooth = [rewards[max(0, i - 5) : i + 6].mean() for i in range(len(rewards))]
    figure, axes = plt.subplots(figsize=(7, 4))
    axes.plot(steps, rewards, color="tab:blue", alpha=0.3, label="each rollout")
    axes.plot(steps, smooth, color="tab:blue", label="mean of 11 rollouts")
    axes.axhline(random, color="grey", linestyle="--", label=f"random tokens ({random:.2f})")
    axes.set(
        xlabel="tokens sampled", ylabel="mean reward of the documents", ylim=(0, 1.02), title="PPO, reward preset rules"
    )
    axes.legend(loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, bbox_inches="tight")


def parse_args() -> Args:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for each in fields(Args):
        text = f"{each.metadata['help']} (default: {each.default})"
        parser.add_argument(
            f"--{each.name.replace('_', '-')}", type=type(each.default), default=each.default, help=text
        )
    return Args(**vars(parser.parse_args()))


def main() -> None:
    """Train, show what was learnt, draw the curve."""
    args = parse_args()
    torch.set_num_threads(args.threads)
    world = OneSeedWorld.from_config(WorldConfig.rules())
    envs = make_envs(args.num_envs, world)
    random = random_reward(envs, args.seed)
    print(f"random tokens earn {random:.3f}", flush=True)
    history: list[tuple[int, float]] = []
    try:
        show(train(args, envs, history), world)
    except KeyboardInterrupt:
        print("stopped")
    finally:
        envs.close()
    if history:
        draw(history, random, Path(args.curve))
        quarter = max(1, len(history) // 4)
        first, last = (np.mean([reward for _, reward in part]) for part in (history[:quarter], history[-quarter:]))
        print(f"reward {first:.3f} in the first quarter, {last:.3f} in the last; curve in {args.curve}")


if __name__ == "__main__":
    main()

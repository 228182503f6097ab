"""A policy and a training loop of your own: REINFORCE learns which task wants a picture, and when the document is done."""

import gymnasium as gym
import numpy as np

from llmi_env import END, Task

TASKS = [
    Task("Show a lighthouse.", id="photo", tools=("search",), image_count=1),
    Task("Describe a lighthouse in words alone.", id="words", image_count="none"),
]
PHOTO = '<imgen>{"source": "search", "description": "a lighthouse", "params": {"query": "lighthouse"}}</imgen>'
CHUNKS = ["A lighthouse warns ships off the rocks.\n", PHOTO, END]

env = gym.make("LLMI-v0", config="rules", world="in_process", action_mode="chunk", tasks=TASKS, limits={"calls": 3})
env.reset(seed=0)
dice = np.random.default_rng(0)
logits = {task.id: np.zeros((4, len(CHUNKS))) for task in TASKS}  # the policy: a row for each number of chunks so far
rewards: list[float] = []
while len(rewards) < 250:
    observation, info = env.reset()  # observation["text"] is the prompt; this policy goes by the task's name
    table, taken, over = logits[info["task_id"]], [], False
    while not over:
        row = table[min(len(taken), 3)]
        probs = np.exp(row) / np.exp(row).sum()
        action = dice.choice(len(CHUNKS), p=probs)
        taken.append((row, np.eye(len(CHUNKS))[action] - probs))  # d log prob / d row
        observation, reward, terminated, truncated, info = env.step(CHUNKS[action])
        over = terminated or truncated
    if truncated:  # it has no score, which is not a score of 0: nothing to learn from
        continue
    for row, gradient in taken:
        row += 0.5 * (reward - np.mean(rewards[-50:] or [0.0])) * gradient
    rewards.append(reward)
    if len(rewards) % 50 == 0:
        print(f"documents {len(rewards)}: mean reward {np.mean(rewards[-50:]):.2f}, last {info['report'].values}")
env.close()

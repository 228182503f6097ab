"""verl on the CPU, with verl's own `main_ppo` unmodified.

- `platform`: the CPU as one of verl's platforms;
- `engines`: its FSDP2 engines for policy, reference and critic;
- `rollout`: an inference server that verl starts by the name `hf`, on `generation`: many requests decoded together.

Each registers itself on import; `trainers.verl.plugin` imports them, the platform first.
"""

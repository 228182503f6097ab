"""verl on the CPU, with verl's own `main_ppo` unmodified.

- `platform`: the CPU as one of verl's platforms;
- `engines`: its FSDP2 engines for policy, reference and critic;
- `rollout`: an inference server that verl starts by the name `hf`, on `generation` (many requests decoded together) and `pictures` (one with
  pictures);
- `positions`: mends batches of equally long documents with pictures;
- `vision`: Qwen2.5-VL's processor where there is no torchvision.

Each registers itself on import; `trainers.verl.plugin` imports them, the platform first.
"""

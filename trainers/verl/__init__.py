"""The trainer `verl`: recipes become runs of verl's own `main_ppo`. Nothing here is imported by `import trainers`."""

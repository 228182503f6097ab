"""YAML presets: environments, training recipes, ablations."""

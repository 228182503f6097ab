"""Where documents come from (`base`): a model here or behind an endpoint, either of them scaled, or finished documents in `formats`."""

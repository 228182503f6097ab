"""Asking services, those of tools and of judges alike: options, keys, addresses, certificates, and how long to leave a busy one alone."""

"""Policies that write documents."""

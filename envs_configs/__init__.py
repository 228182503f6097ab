"""YAML presets that ship with the package: environments here, other kinds in folders (training recipes in `train`).

Read them through `llmi_env.config`, which finds them inside an installed wheel too.
"""

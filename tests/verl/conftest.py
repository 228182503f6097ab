"""What is no test here: a program that a test starts, which imports verl at once."""

collect_ignore = ["engines_on_cpu.py"]

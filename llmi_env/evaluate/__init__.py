"""Benchmarks of illustrated writing, run by their published protocols.

A benchmark (`benchmark` says what one is, `benchmarks` has them) names its items, what judges are asked about a document and how their answers
become measures. Documents come from a policy, a server or a folder (`sources`), are judged (`grading`), kept so that an interruption costs
nothing twice (`kept`, `running`) and summed up with intervals, missing answers with bounds (`results`).
"""

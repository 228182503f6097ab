"""Training tasks made, checked and converted: `llmi data`.

Tasks are made by a language model to a plan (`plan`, `asking`, `building`), every reply kept (`kept`), read by a second model (`replies`), held
against what is evaluated (`held_out`) and against each other (`near`). A task file, whoever made it, is looked through by the same rules
(`wording`, `checking`), and converted from and to LLM-I's layout (`converting`).
"""

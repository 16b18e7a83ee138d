"""The `srgame` command: one file per verb.

Start with `verbs.py`, which lists the verbs, and `flags.py`, which documents the flags that they share. `loading.py`
loads the networks that flags name. What a verb computes lives in the packages below; here are flags, messages, and the
files that a run writes.
"""

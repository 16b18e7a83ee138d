"""The `srgame` command: one file per verb, whose function's signature is the verb's flags.

Start with `verbs.py`, which lists the verbs. What a verb computes lives in the packages below; here are flags, messages
and the files that a run writes.
"""

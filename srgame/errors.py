"""What a user gave cannot be used: one exception, whose message is a sentence."""


class InputError(ValueError):
    """Says what was wrong, with which value in which file, and what to do; the command line exits with status 2."""

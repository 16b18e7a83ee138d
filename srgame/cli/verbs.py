"""The `srgame` command: the list of its verbs, and its errors.

Each verb is a function in a file of its own, whose parameters are the verb's flags. What a verb needs is imported when
it runs, so that `srgame --help` answers at once.
"""

import errno
import io
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import partial, wraps
from importlib.metadata import version
from typing import Any, cast

import tyro

from srgame.cli.atlas import atlas
from srgame.cli.compare import compare
from srgame.cli.degrade import degrade
from srgame.cli.evaluate import evaluate
from srgame.cli.flags import unwrapped
from srgame.cli.interactions import interactions
from srgame.cli.layers import layers
from srgame.cli.probe import PROBES
from srgame.cli.prune import prune
from srgame.cli.restore import restore
from srgame.cli.shapley import shapley
from srgame.cli.train import train
from srgame.errors import InputError, nearest
from srgame.streams import flush_output

DESCRIPTION = "Audit a super-resolution network as a cooperative game. `srgame --version` prints the version."
VERBS: tuple[Callable[..., None], ...] = (
    shapley,
    interactions,
    compare,
    prune,
    layers,
    atlas,
    evaluate,
    restore,
    train,
    degrade,
)

# Sentences of tyro, and how they should read.
REPHRASED = {
    r"Error parsing (\S+): .*(?:instantiated from \[|base 10: |to float: )'(.*?)'.*": r"\1 cannot be '\2'",
    r"Error parsing (\S+): (.*)": r"\1: \2",
    r"Unrecognized options: (.*)": r"it does not take '\1'",
    r"Missing from [^:]+: (--\S+).*": r"it needs \1",
    r"Missing from .*": "a required argument is missing",
    r"invalid choice ('.*') for argument '(.*)'\. Expected one of \((.*)\)": r"\2 is one of \3, not \1",
}


def deferred(verb: Callable[..., None]) -> Callable[..., Callable[[], None]]:
    """The verb as a function of the same flags that returns what runs it: a command line is parsed before it runs."""

    @wraps(unwrapped(verb))
    def parsed(*flags: Any, **named: Any) -> Callable[[], None]:
        return partial(verb, *flags, **named)

    return parsed


app, probes = tyro.extras.SubcommandApp(), tyro.extras.SubcommandApp()
for verb in VERBS:
    app.command(deferred(verb))
for verb in PROBES:
    probes.command(deferred(verb))
app.command(probes, name="probe", help="Measure and compare what the filters of one or more networks do.")


def main() -> None:
    """Runs the command line; a user's mistake, or a limit of the machine, is one sentence and exit status 2."""
    words = sys.argv[1:]
    if words == ["--version"]:
        print(f"srgame {version('srgame')}")
        return
    warnings.showwarning = _print_note  # type: ignore[assignment]
    try:
        _parsed(words)()
        flush_output()
    except InputError as error:
        sentence = str(error)
    except Exception as error:
        sentence = _limit(error)
    else:
        return
    print(f"srgame: {_one_line(sentence)}", file=sys.stderr)
    sys.exit(2)


def _parsed(words: Sequence[str]) -> Callable[[], None]:
    """What runs the verb that the command line names; raises InputError for a command line that has a mistake."""
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            return _parse(words)
    except SystemExit as ended:
        if not ended.code:
            raise  # a help page was printed
        raise InputError(_mistake(words, said.getvalue())) from None


def _parse(words: Sequence[str]) -> Callable[[], None]:
    parsed = app.cli(prog="srgame", description=DESCRIPTION, args=words, config=(tyro.conf.OmitArgPrefixes,))
    return cast(Callable[[], None], parsed)


def _mistake(words: Sequence[str], said: str) -> str:
    """What is wrong with a command line, in a sentence; `said` is tyro's own message."""
    command, known = ["srgame"], [verb.__name__ for verb in VERBS] + ["probe"]
    while known:
        if not (rest := words[len(command) - 1 :]):
            return f"`{' '.join(command)}` needs the name of a verb: {', '.join(known)}"
        if rest[0] not in known:
            what = "option" if rest[0].startswith("-") else "verb"
            close = nearest(rest[0], known, most=1)
            return f"`{' '.join(command)}` has no {what} '{rest[0]}': the nearest verb is {close}; see `srgame --help`"
        known = [probe.__name__ for probe in PROBES] if command == ["srgame"] and rest[0] == "probe" else []
        command.append(rest[0])
    options = _options(command[1:])
    given = [word.partition("=")[0] for word in words if word.startswith("--")]
    if unknown := [word for word in given if word.replace("_", "-") not in options]:
        close = nearest(unknown[0], options, most=1)
        reason = f"there is no option '{unknown[0]}', and the nearest is {close}"
    else:
        reason = _rephrased(said)
    return f"`{' '.join(command)}`: {reason}; see `{' '.join(command)} --help`"


def _options(verb: Sequence[str]) -> list[str]:
    """The options of a verb, as its help page lists them."""
    page = io.StringIO()
    try:
        with redirect_stdout(page):
            _parse([*verb, "--help"])
    except SystemExit:
        pass
    return re.findall(r"--[a-z][a-z0-9-]*", "\n".join(re.findall(r"^\W+--.*", page.getvalue(), re.MULTILINE)))


def _rephrased(box: str) -> str:
    """The first part of a box that tyro draws with lines or hyphens, as a sentence."""
    lines: list[str] = []
    for line in (row.strip("│ ") for row in box.splitlines()[1:]):
        if set(line) - set("─-╰╯"):
            lines.append(line)
        elif lines:
            break
    text = " ".join(lines).rstrip(".")
    for pattern, sentence in REPHRASED.items():
        if match := re.fullmatch(pattern, text):
            return match.expand(sentence)
    return text


def _limit(error: Exception) -> str:
    """A sentence about the limit of the machine that caused the error; raises any other error again."""
    from srgame.devices import out_of_memory

    if out_of_memory(error):
        return "out of memory: crop the images, take smaller batches, or free memory"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS):
        return f"nothing can be written any more ({error.strerror}): free space, and run the same command again"
    raise error


def _print_note(message: Warning | str, *_: Any) -> None:
    print(f"srgame: note: {_one_line(str(message))}", file=sys.stderr)


def _one_line(text: str) -> str:
    """The text with its control characters escaped, which a name from a file may contain."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)

"""The `srgame` command: the list of its verbs, and its errors.

Each verb is a function in a file of its own, whose parameters are the verb's flags. What a verb needs is imported when
it runs, so that `srgame --help` answers at once.
"""

import errno
import sys
import warnings
from importlib.metadata import version
from typing import Any

import tyro

from srgame.cli import probe
from srgame.cli.degrade import degrade
from srgame.cli.evaluate import evaluate
from srgame.cli.flags import unwrapped
from srgame.cli.interactions import interactions
from srgame.cli.layers import layers
from srgame.cli.restore import restore
from srgame.cli.shapley import shapley
from srgame.cli.train import train
from srgame.errors import InputError

DESCRIPTION = "Audit a super-resolution network as a cooperative game. `srgame --version` prints the version."

app = tyro.extras.SubcommandApp()
for verb in (shapley, interactions, layers, evaluate, restore, train, degrade):
    app.command(unwrapped(verb))
app.command(probe.app, name="probe", help="Measure and compare what the filters of one or more networks do.")


def main() -> None:
    """Runs the command line; a user's mistake, or a limit of the machine, is one sentence and exit status 2."""
    if sys.argv[1:] == ["--version"]:
        print(f"srgame {version('srgame')}")
        return
    warnings.showwarning = _print_note  # type: ignore[assignment]
    try:
        app.cli(prog="srgame", description=DESCRIPTION, config=(tyro.conf.OmitArgPrefixes,))
    except InputError as error:
        sentence = str(error)
    except Exception as error:
        sentence = _limit(error)
    else:
        return
    print(f"srgame: {_one_line(sentence)}", file=sys.stderr)
    sys.exit(2)


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

"""`python -m srgame` and the `srgame` command."""

import sys


def main() -> None:
    """Runs the command line; Ctrl-C ends it without a traceback, even while it starts."""
    try:
        from srgame.cli import verbs
        from srgame.streams import secure_streams

        secure_streams()
        verbs.main()
    except KeyboardInterrupt:
        from srgame.errors import INTERRUPTED

        print("srgame: stopped", file=sys.stderr)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()

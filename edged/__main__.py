"""`edged`: what was typed, its exit code, and one line for what went wrong."""

import os
import sys
from collections.abc import Sequence

from edged.cli import exits
from edged.cli.parser import parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. A declared error is one line on stderr, a bug is a traceback."""
    arguments = parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output left. Python flushes stdout at exit: let it go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.FAILED
    except BaseException as error:
        known = exits.declared(error)
        if known is None:
            raise
        sys.stderr.write(f"edged: {exits.line(known)}\n")
        return exits.code(known) or exits.FAILED


if __name__ == "__main__":
    sys.exit(main())

"""The program in the folder that `build/binary` makes. It is there under two names and is what it is called."""

import sys
from pathlib import Path

if sys.argv[1:2] == ["--shim"]:  # the process driver starts its shims by this program, for want of a Python
    from edged.runtime.shim import main as shim

    sys.exit(shim(sys.argv[2]))
elif Path(sys.argv[0]).name == "edged-relay":
    from relay.__main__ import main
else:
    from edged.__main__ import main

if __name__ == "__main__":
    sys.exit(main())

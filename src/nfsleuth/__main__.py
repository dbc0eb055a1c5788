"""``python -m nfsleuth`` is ``nfsleuth``."""

from nfsleuth.cli import main

if __name__ == "__main__":
    main()

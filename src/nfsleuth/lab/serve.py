"""NFS-Ganesha as the first process of its own namespaces: rpcbind beside it, then Ganesha in our place.

    python -m nfsleuth.lab.serve HOSTNAME CONFIG LOG [REALM]

A mount namespace with empty folders for state, and a host name of its own: the server sees no state and no name of the
machine. With a Kerberos realm (see `kerberos`) its KDC runs there too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from nfsleuth.lab import kerberos
from nfsleuth.lab.run import run


def main(name: str, config: str, log: str, realm: str = "") -> None:
    """Become the server; returns only if it cannot start."""
    run("hostname", name)
    for folder in ("/run", "/var/lib/nfs"):
        Path(folder).mkdir(exist_ok=True)
        run("mount", "-t", "tmpfs", "tmpfs", folder)
    for folder in ("/run/rpcbind", "/run/ganesha", "/var/lib/nfs/ganesha"):
        Path(folder).mkdir(parents=True)
    subprocess.Popen(["rpcbind", "-f", "-w"])
    if realm:
        os.environ.update(kerberos.environment(Path(realm)))
        os.environ["KRB5RCACHEDIR"] = "/run"  # tickets that the server has seen, else in the machine's /var/tmp
        subprocess.Popen(["krb5kdc", "-n", "-r", kerberos.REALM])
    time.sleep(0.5)  # Ganesha registers once, when it starts
    os.execvp("ganesha.nfsd", ["ganesha.nfsd", "-F", "-f", config, "-L", log, "-p", "/run/ganesha/pid"])


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The Kerberos realm of a lab: an experiment comes in, its KDC's database, keytabs and configuration go out.

It is made in the run's working folder only if a client needs it, and goes with that. MIT's krb5kdc serves it from the
server's namespaces (see `serve`). Host names stand in /etc/hosts of the guests: rpc.gssd(8) asks for its own name and
for the one behind the server's address, and makes principals of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nfsleuth.lab.model import Client, Experiment
from nfsleuth.lab.run import run

DOMAIN = "lab.example"  # nobody's: RFC 2606, section 3
REALM = DOMAIN.upper()
PORT = 88
# Names of its files: kdc.conf(5), krb5.conf(5), hosts(5). Guests have a keytab of this name.
PROFILE, CONFIG, HOSTS, KEYTAB = "kdc.conf", "krb5.conf", "hosts", "krb5.keytab"
PASSWORD = "nobody logs in"  # noqa: S105 (of a database that lives as long as a run, in a folder of root's)


@dataclass(frozen=True)
class Realm:
    """A realm that is there, in `folder`."""

    folder: Path

    def keytab(self, host: str) -> Path:
        """The keytab of the host called `host`."""
        return self.folder / f"{host}.keytab"

    def files(self, client: Client) -> dict[str, bytes]:
        """What a client needs of it, by the name of the file."""
        hosts = (self.folder / HOSTS).read_text() + _line("127.0.0.1", client.hostname)
        return {
            CONFIG: (self.folder / CONFIG).read_bytes(),
            KEYTAB: self.keytab(client.hostname).read_bytes(),
            HOSTS: hosts.encode(),
        }


def wanted(experiment: Experiment) -> bool:
    """Whether a client of the experiment needs a realm."""
    return any(client.kerberos for client in experiment.clients)


def realm(experiment: Experiment, folder: Path) -> Realm:
    """Make the realm of `experiment` in `folder`, with the principals nfs/HOST of the server and of all who need one.

    NfsleuthError if Kerberos' programs are not there or fail.
    """
    folder.mkdir(parents=True)
    made, server = Realm(folder), experiment.server
    (folder / CONFIG).write_text(_configuration(server.address))
    (folder / PROFILE).write_text(_profile(folder))
    (folder / HOSTS).write_text(_line(server.address, server.name) + _line(server.address6, server.name))
    _administer(folder, "kdb5_util", "create", "-s", "-r", REALM, "-P", PASSWORD)
    for host in dict.fromkeys([server.name, *(c.hostname for c in experiment.clients if c.kerberos)]):
        principal = f"nfs/{_full(host)}@{REALM}"
        _administer(folder, "kadmin.local", "-r", REALM, "-q", f"addprinc -randkey {principal}")
        _administer(folder, "kadmin.local", "-r", REALM, "-q", f'ktadd -k "{made.keytab(host)}" {principal}')
    return made


def environment(folder: Path) -> dict[str, str]:
    """The variables by which Kerberos' programs find the realm in `folder`."""
    return {"KRB5_CONFIG": str(folder / CONFIG), "KRB5_KDC_PROFILE": str(folder / PROFILE)}


def _administer(folder: Path, *words: str) -> None:
    run("env", *(f"{name}={value}" for name, value in environment(folder).items()), *words)


def _full(host: str) -> str:
    return f"{host}.{DOMAIN}"


def _line(address: str, host: str) -> str:
    return f"{address} {_full(host)} {host}\n"


def _configuration(kdc: str) -> str:
    """krb5.conf of everyone. Nothing is looked up in the DNS, which a lab has not."""
    return f"""\
[libdefaults]
    default_realm = {REALM}
    dns_lookup_kdc = false
    dns_lookup_realm = false
    dns_canonicalize_hostname = false
    rdns = false
[realms]
    {REALM} = {{
        kdc = {kdc}:{PORT}
    }}
[domain_realm]
    .{DOMAIN} = {REALM}
"""


def _profile(folder: Path) -> str:
    """kdc.conf: everything below `folder`."""
    return f"""\
[kdcdefaults]
    kdc_listen = {PORT}
    kdc_tcp_listen = {PORT}
[realms]
    {REALM} = {{
        database_name = {folder}/principal
        key_stash_file = {folder}/stash
    }}
"""

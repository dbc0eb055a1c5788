"""The MAC that macOS puts into its NFSv4.0 client id.

What it sees: bytes 4 to 9 of the SETCLIENTID id, where the rest of the id has macOS's form.
Why it tells clients apart: it is the MAC of en0 as the client knows it. It crosses every NAT and router, so a
hypervisor's prefix there shows a guest even where the frames carry the host's MAC.
Known confusions: Wi-Fi privacy addresses; a Mac whose en0 is an adapter that moved from another machine.
Example: an id with 00:1c:42:aa:bb:cc before the server's sockaddr is macOS in Parallels.
Source: XNU bsd/nfs nfs4_init_clientid; weights as mac_prefix.
"""

from __future__ import annotations

from collections.abc import Iterator

from nfsleuth.clients.facts import Facts, Household
from nfsleuth.evidence.addresses import is_locally_administered, mac_text
from nfsleuth.evidence.client_os import macos_mac, short
from nfsleuth.evidence.model import Evidence, Group, State
from nfsleuth.evidence.rules import Rules
from nfsleuth.evidence.weights import Weight

RULE = "id_mac"
GROUP = Group.LINK
WEIGHTS = {
    "guest": Weight(
        "its own MAC is a guest's", {State.BRIDGED: 5.0, State.USER_NAT: 5.0, State.KERNEL_NAT: 2.5}, virtual=5.0
    ),
    # en0 of a guest is never a maker's unless passed through, however the guest is connected.
    "maker": Weight(
        "its own MAC is a maker's", {State.BRIDGED: -3.4, State.USER_NAT: -3.4, State.KERNEL_NAT: -0.5}, virtual=-3.4
    ),
    "unknown": Weight("its own MAC is nobody's", {State.BRIDGED: 0.7, State.USER_NAT: 0.7}, virtual=0.7),
}
GUESTS = ("guest", "default", "convention", "cloud", "guest-or-container")


def observe(client: Facts, around: Household, rules: Rules) -> Iterator[Evidence]:
    """One row per MAC in the client's ids."""
    seen_already: set[bytes] = set()
    for record in client.client_ids:
        raw = macos_mac(record.owner)
        if raw is None or raw in seen_already:
            continue
        seen_already.add(raw)
        number = int.from_bytes(raw)
        mac = mac_text(number)
        prefix = rules.mac(mac)
        if prefix is not None and prefix.scope in GUESTS:
            case = "guest"
        else:
            case = "unknown" if is_locally_administered(number) else "maker"
        platform = {prefix.name: 5.0} if prefix and prefix.name and case == "guest" else {}
        yield WEIGHTS[case].evidence(RULE, GROUP, f"{mac} in {short(record.owner)}", (record.frame,), platform=platform)

"""Record reads.pcap.zst: one bridged guest that mounts NFSv4.0, reads a large file in 128 KiB calls and walks a tree.

Comes in: a folder for the result, one for work. Goes out: a capture without loss, from which a generator can make the
traffic of many clients.
Needs: what lab.py and guest_image.py need, and tshark, zstd. Run as root:

    python3 tools/record/reads.py --into tests/captures --work "$(mktemp -d)"
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import guest_image

from lab import Guest, Lab, bridged_nic, numbered_lines

SNAPLEN = (
    2048  # whole frames: at 256 OPEN is cut and READ calls that share a segment are lost; packed, both are as small
)
KERNEL = "linux-image-6.1.0-56-amd64"
BIG = 16 * 1024 * 1024  # octets read in sequence
FOLDERS, FILES = 10, 30  # of the tree
LOSS = "tcp.analysis.retransmission || tcp.analysis.lost_segment || tcp.analysis.ack_lost_segment"


def fill(share: Path) -> None:
    """One large file, of one line repeated so that the capture packs well, and a tree of small ones."""
    (share / "shared").mkdir(parents=True)
    line = "this line is the whole content of the file, again and again.".ljust(63) + "\n"
    (share / "shared/dataset.txt").write_text(line * (BIG // len(line)))
    for folder in range(FOLDERS):
        for file in range(FILES):
            numbered_lines(share / f"tree/part{folder:02d}/item{file:03d}.txt", 200, "item")


def main() -> None:
    """Record, check that nothing was lost, pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, required=True, help="folder for reads.pcap.zst")
    parser.add_argument("--work", type=Path, required=True, help="folder for the kernel, logs and the share")
    args = parser.parse_args()
    work = args.work.resolve()
    image = guest_image.debian(KERNEL, work)
    run = Path(tempfile.mkdtemp(prefix="reads-", dir=work))
    fill(run / "share")
    guest = Guest("node01", "10.0.0.7/24", "vers=4.0,rsize=131072", "ahead,big,tree", pause=1)
    capture = run / "reads.pcap"
    with Lab(run) as lab:
        lab.serve(run / "share", "filer01", "18:66:da:2f:01:a0")
        recorder = lab.record(capture, SNAPLEN)
        host = lab.hypervisor("hv7")
        client = lab.qemu(host, image, guest, bridged_nic(host.tap("br0"), "virtio-net-pci", "52:54:00:8f:21:c4"))
        client.done()
        print(recorder.stop())
    lost = subprocess.run(["tshark", "-r", capture, "-Y", LOSS], check=True, capture_output=True, text=True).stdout
    if lost:
        raise RuntimeError(f"frames were lost on the way, record again:\n{lost}")
    subprocess.run(["zstd", "-q", "-f", "-19", capture, "-o", args.into / "reads.pcap.zst"], check=True)


if __name__ == "__main__":
    main()

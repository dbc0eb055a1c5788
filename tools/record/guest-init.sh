#!/bin/busybox sh
# /init of a recording guest: set up the network, mount the share, do the steps, switch off.
#
# The kernel hands its unknown command line words to us as variables:
#   lab_host   host name              lab_address  address/prefix     lab_gateway  next hop, may be empty
#   lab_server server's address       lab_options  mount options      lab_steps    steps below, comma separated
#   lab_pause  seconds between steps
# Lines that start with LAB on the console tell the recorder how far we are.

/bin/busybox mkdir -p /proc /sys /dev /mnt
/bin/busybox --install -s /bin
export PATH=/bin:/sbin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
for module in $(cat /modules/order); do
    insmod "/modules/$module" || echo "LAB cannot load $module"
done

nap() { sleep "${lab_pause:-1}"; }

# One sequential read of a large file.
step_big() { dd if=/mnt/shared/dataset.txt of=/dev/null bs=64k 2>/dev/null; }
# Some small files, each opened, read and closed.
step_small() { for file in /mnt/notes/0*.txt; do cat "$file" >/dev/null; done; }
# Names and attributes only; dropped caches make each look cost a call.
step_sweep() { ls -lR /mnt/projects >/dev/null; drop; find /mnt/projects -type f -exec stat -t {} + >/dev/null; }
# A little written, flushed and read back.
step_write() {
    dd if=/mnt/notes/01.txt of="/mnt/outbox/$lab_host.log" bs=4k conv=fsync 2>/dev/null
    mv "/mnt/outbox/$lab_host.log" "/mnt/outbox/$lab_host.old"
}
# Longer than half of the server's lease, so that NFSv4 renews it.
step_idle() { sleep 14; }
# Every file of a tree, as a build or a backup would do.
step_tree() { ls -lR /mnt/tree >/dev/null; drop; find /mnt/tree -type f -exec cat {} + >/dev/null; }
# Read ahead further than a call's size, so that calls have their full size.
step_ahead() { for bdi in /sys/class/bdi/0:*; do echo 1024 >"$bdi/read_ahead_kb"; done; }
drop() { sync; echo 3 >/proc/sys/vm/drop_caches; }

work() {
    mount.nfs "$lab_server:/office" /mnt -o "$lab_options" || return 1
    echo "LAB mounted"
    nap
    ls -l /mnt >/dev/null
    for step in $(echo "$lab_steps" | tr , ' '); do
        nap
        "step_$step" || return 1
    done
    nap
    umount.nfs /mnt
}

hostname "$lab_host"
nic=$(ls /sys/class/net | grep -v -e '^lo$' -e '^sit' -e '^tunl' | head -n 1)
ip link set lo up
ip address add "$lab_address" dev "$nic"
ip link set "$nic" up
[ -z "$lab_gateway" ] || ip route add default via "$lab_gateway"
echo "LAB booted $(uname -r) with $nic"
if work; then echo "LAB done"; else echo "LAB failed"; fi
# Let the last frames leave: FIN and its ACK come after umount.
sleep 1
poweroff -f

#!/bin/busybox sh
# What a guest runs as its first process: set up the machine, then be a client or a server as /job/settings says.
#
# Comes in: /job/settings, shell variables; /job/steps, one step of the workload per line; on standard input one line
#   per decision of the lab: `go` after `ready`, `end` after `worked`.
# Goes out: lines that start with @lab. Seconds of `read` are those that dd of coreutils measures from the first read of
#   an open file to the last, by the guest's clock, in microseconds; those of `step` come from /proc/uptime, in
#   hundredths.
# As `kernel-client` it runs on the machine itself, in namespaces of its own, and sets nothing up.

export LC_ALL=C
dd=dd
say() { echo "@lab $*"; }
fail() {
    say "failed $*"
    sleep 1
    leave
}
leave() {
    [ "$role" = kernel-client ] && exit 1
    poweroff -f
}
told() { # WORD: wait until the lab says it
    while read -r word; do
        [ "$word" = "$1" ] && return
    done
    fail "the lab has gone"
}
uptime_now() { read -r now _ </proc/uptime; echo "$now"; }
since() { awk -v from="$1" '{ printf "%.2f\n", $1 - from }' /proc/uptime; }

machine() {
    /bin/busybox mkdir -p /proc /sys /dev /mnt /tmp /run /var/run
    /bin/busybox --install -s /bin
    export PATH=/bin:/sbin
    dd=/sbin/dd # busybox's does not say how long it took
    mount -t proc proc /proc
    mount -t sysfs sys /sys
    mount -t devtmpfs dev /dev 2>/dev/null
    . /job/settings
    if [ -n "$port" ]; then
        stty -F "$port" raw -echo
        exec <"$port" >"$port"
    fi
    hostname "$hostname"
    [ -z "$clock" ] || adjtimex -q -f "$clock" || fail "adjtimex $clock"
    for wanted in $modules; do
        while read -r module; do
            parameters=
            [ "$module" = nfs ] && [ -n "$uniquifier" ] && parameters="nfs4_unique_id=$uniquifier"
            insmod "/modules/$module.ko" $parameters 2>/tmp/insmod || grep -q 'File exists' /tmp/insmod ||
                fail "module $module: $(cat /tmp/insmod)"
        done <"/modules/$wanted.order" 2>/dev/null
    done
}

network() {
    ip link set lo up
    for tries in 1 2 3 4 5 6 7 8 9 10; do
        nic=$(ls /sys/class/net | grep -v -e '^lo$' -e '^sit' -e '^tunl' -e '^ip6' -e '^gre' -e '^erspan' | head -n 1)
        [ -n "$nic" ] && break
        sleep 0.5
    done
    [ -n "$nic" ] || fail "no NIC: the kernel has no driver for it"
    [ -z "$ttl" ] || echo "$ttl" >/proc/sys/net/ipv4/ip_default_ttl
    [ -z "$ttl" ] || echo "$ttl" >/proc/sys/net/ipv6/conf/default/hop_limit
    [ -z "$receive_buffer" ] || echo "4096 $receive_buffer $receive_buffer" >/proc/sys/net/ipv4/tcp_rmem
    [ "$mtu" = 1500 ] || ip link set "$nic" mtu "$mtu"
    ip link set "$nic" up || fail "$nic does not come up"
    for address in $addresses; do ip address add "$address" dev "$nic"; done
    [ -z "$gateway" ] || ip route add default via "$gateway"
    [ -z "$gateway6" ] || ip -6 route add default via "$gateway6"
    for route in $routes; do ip route add "${route%,*}" via "${route#*,}"; done
    if [ "$ipv6" = 1 ]; then
        # Until a router has announced its prefix, and nobody else has the address (RFC 4862).
        for tries in $(seq 40); do
            ip -6 address show dev "$nic" | grep -v -e tentative -e fe80 | grep -q inet6 && break
            sleep 0.5
        done
    fi
    say "booted $(uname -r) $nic $(cat "/sys/class/net/$nic/address")"
}

drop() {
    sync
    echo 3 >/proc/sys/vm/drop_caches
}

# metadata: names and attributes of the tree; dropped caches make each look cost a call.
step_metadata() {
    ls -lR "$at/tree" >/dev/null || return 1
    drop
    find "$at/tree" -type f -exec stat -t {} + >/dev/null
}
# small COUNT: that many files of the tree, each opened, read and closed.
step_small() {
    find "$at/tree" -type f | sort | head -n "$1" >"$tmp/small"
    while read -r file; do cat "$file" >/dev/null || return 1; done <"$tmp/small"
}
# timed PATH BLOCK [ORDER]: a whole file from the server, in the order of the block numbers in the file ORDER; sets
# $timed to its bytes and seconds.
timed() {
    drop
    if [ -z "$3" ]; then
        $dd if="$at/$1" of=/dev/null bs="$2" 2>"$tmp/dd" || return 1
    else
        : >"$tmp/all"
        while read -r block; do
            $dd if="$at/$1" of=/dev/null bs="$2" skip="$block" count=1 2>"$tmp/dd" || return 1
            cat "$tmp/dd" >>"$tmp/all"
        done <"$job/$3"
        mv "$tmp/all" "$tmp/dd"
    fi
    timed=$(awk '/ copied, / { bytes += $1; for (i = 1; i < NF; i++) if ($i == "copied,") took += $(i + 1) }
        END { printf "%.0f %.6f", bytes, took }' "$tmp/dd")
}
# read PATH BLOCK [ORDER]: that file.
step_read() {
    [ -n "$late" ] && return
    timed "$@" && say "read $1 $timed"
}
# enough SECONDS: if all up to here took longer, nothing more is read but once while the lab records.
step_enough() {
    late=$(awk -v from="$began" -v most="$1" '$1 - from > most { print "late" }' /proc/uptime)
}
# record PATH BLOCK COUNT: reads it COUNT times, while the lab records the QEMU that this runs in; says how many frames
# the driver of the NIC took meanwhile.
step_record() {
    say recording
    told go
    frames=$(taken)
    count=$3
    [ -z "$late" ] || count=1
    for number in $(seq "$count"); do
        timed "$1" "$2" || return 1
        say "watched $timed"
    done
    say "taken $(($(taken) - frames))"
    say enough
}
taken() { cat "/sys/class/net/$nic/statistics/rx_packets" 2>/dev/null || echo 0; }
# write BYTES: a file, flushed, renamed.
step_write() {
    head -c "$1" /dev/zero >"$at/outbox/$name.new" && sync && mv "$at/outbox/$name.new" "$at/outbox/$name.old"
}
step_idle() { sleep "$1"; }

# kerberos: rpc.gssd, which the kernel asks for security contexts, with the keytab of the job. It counts as running once
# it has a pipe open (net/sunrpc/auth_gss/auth_gss.c, gssd_running); before that Linux mounts as if there were no keytab.
# It sleeps while a mount makes its pipes: seeing them come it may open the old one, by which it is told no encryption
# types, and then it tries those that libraries have no more (seen with nfs-utils 2.6.2 in 2 of 35 boots).
kerberos() {
    cp "$job/hosts" /etc/hosts
    mkdir -p /run/rpc_pipefs
    mount -t rpc_pipefs rpc_pipefs /run/rpc_pipefs || fail "this kernel has no rpc_pipefs"
    KRB5_CONFIG=$job/krb5.conf rpc.gssd -f -vvv -p /run/rpc_pipefs -k "$job/krb5.keytab" &
    gssd=$!
    for tries in $(seq 40); do
        ls -l "/proc/$gssd/fd" 2>/dev/null | grep -q '/clnt.*/gssd$' && break
        [ "$tries" -lt 40 ] || fail "rpc.gssd opens no pipe"
        sleep 0.25
    done
    kill -STOP "$gssd"
    (sleep 1 && kill -CONT "$gssd") &
}

client() {
    [ "$keytab" != 1 ] || kerberos
    "$mount_program" "$source" "$at" -o "$options" 2>"$tmp/mount" || fail "mount: $(tail -n 1 "$tmp/mount")"
    say ready
    told go
    began=$(uptime_now)
    late=
    while read -r step words <&3; do
        sleep "$pause"
        from=$(uptime_now)
        "step_$step" $words || fail "step $step $words"
        say "step $step $(since "$from")"
    done 3<"$job/steps" # not on standard input, where the lab speaks
    say worked
    told end
    umount "$at" || fail "umount"
    say ended
    sleep 1 # the last frames leave: FIN and its ACK come after umount
}

server() {
    # NFSv4 sees the file system of /srv as its root, NFSv3 names a path: with this both mount /export.
    mkdir -p /srv /export /proc/fs/nfsd /var/lib/nfs/v4recovery
    mount -t tmpfs -o mode=755 tmpfs /srv
    mkdir -p /srv/export/outbox
    chmod 777 /srv/export/outbox
    mount -o bind /srv/export /export
    while read -r bytes path; do
        mkdir -p "/export/${path%/*}"
        yes 'a line of a file that the lab made' | head -c "$bytes" >"/export/$path" || fail "no memory for $path"
    done <"$job/files"
    mount -t nfsd nfsd /proc/fs/nfsd || fail "this kernel has no NFS server"
    : >/var/lib/nfs/etab
    : >/var/lib/nfs/rmtab
    flags=rw,no_root_squash,insecure,no_subtree_check
    printf '%s\n' "/srv *($flags,fsid=0)" "/export *($flags,fsid=1)" >/etc/exports
    rpcbind -w || fail rpcbind
    exportfs -a || fail exportfs
    rpc.mountd || fail rpc.mountd
    # Nobody has state to reclaim, and 10 seconds of grace are the kernel's least (fs/nfsd/nfsctl.c).
    rpc.nfsd --lease-time "$lease" --grace-time 10 8 || fail rpc.nfsd
    say serving
    told end
    say ended
}

if [ -z "$1" ]; then
    job=/job
    tmp=/tmp
    machine
    [ "$role" = proof ] || network
else
    job=$1
    tmp=$1
    . "$job/settings"
    hostname "$hostname"
    say "booted $(uname -r) - -"
fi
case $role in
    client | kernel-client) client ;;
    server) server ;;
    proof) say "booted $(uname -r) - -" ;;
esac
[ "$role" = kernel-client ] || poweroff -f

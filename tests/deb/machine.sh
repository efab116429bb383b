# A Debian of its own, for scripts/test-deb: a root made by debootstrap and kept between runs, a
# layer above it for one run, systemd booted in it by systemd-nspawn without any network but its own.
# shellcheck shell=bash

# Kept between runs, one for each release of Debian. 900 MB each.
roots=${PGBOUNCER_DEB_ROOTS:-/var/tmp/pgbouncer-rs-root}
# What one run changes, and where the two are seen as one.
run=${PGBOUNCER_DEB_RUN:-/var/tmp/pgbouncer-rs-run}
machine=$run/machine

# Everything that the tests need in there, besides our package. Debian's pgbouncer and what it needs
# are fetched and not installed.
packages=(systemd systemd-sysv dbus procps iproute2 init-system-helpers postgresql
    postgresql-common php-cli php-pgsql python3-psycopg ca-certificates lintian)

# The release that is under test, and its root.
suite= root=

leader=

# Where the machine's control groups stand, so that they can be taken away with it.
groups=(/sys/fs/cgroup/pgbouncer-test-$$)

skip() {
    if [[ ${PGBOUNCER_TESTS_MAY_SKIP:-} = 1 ]]; then
        echo "SKIPPED test-deb: $*"
        exit 0
    fi
    echo "test-deb cannot run here: $*" >&2
    echo "(PGBOUNCER_TESTS_MAY_SKIP=1 skips it)" >&2
    exit 1
}

# What no package could bring: asked before any is installed.
check_host() {
    [[ $(id -u) = 0 ]] || skip "it must be root"
    command -v apt-get >/dev/null || skip "this is no Debian"
    unshare --mount --pid --fork --uts --ipc --net true 2>/dev/null ||
        skip "no new namespaces are to be had"
    [[ -d /sys/fs/cgroup ]] || skip "there are no control groups"
    local folder
    folder=$(mktemp -d "${run%/*}/overlay.XXXXXX")
    mkdir "$folder"/{lower,upper,work,both}
    unshare --mount mount -t overlay overlay \
        -o "lowerdir=$folder/lower,upperdir=$folder/upper,workdir=$folder/work" "$folder/both" \
        2>/dev/null || { rm -rf "$folder"; skip "no overlay can be mounted on ${run%/*}"; }
    rm -rf "$folder"
}

# One run at a time: they share the root, and the place of the machine.
take_turn() {
    exec 8>"$run.lock"
    flock -n 8 && return
    echo "test-deb: waiting for another run to end"
    in_time flock 8 || skip "another run does not end"
}

# Before anything of ours is in the machine: whether one boots here at all.
check_boot() {
    fresh_machine
    try_boot || { tail -n 5 "$run/console" >&2; skip "a machine in a container does not boot here"; }
}

# The mirror that this machine's apt uses.
mirror() {
    local found
    found=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 2>/dev/null |
        grep -m 1 -E '/debian/?$' || true)
    echo "${found:-http://deb.debian.org/debian}"
}

# use_suite RELEASE: what follows happens in a machine of that release.
use_suite() {
    suite=$1
    root=$roots-$suite
    make_root
    check_boot
}

make_root() {
    local recipe
    recipe=$(declare -f install_into; echo "${packages[@]}")
    [[ -f $root/recipe && $(<"$root/recipe") = "$recipe" ]] && return
    echo "test-deb: making $root (once, some minutes)"
    rm -rf "$root"
    mkdir -p "$root"
    in_time debootstrap --variant=minbase "$suite" "$root" "$(mirror)" >"$root.log" 2>&1 ||
        { tail -n 5 "$root.log" >&2; skip "debootstrap failed, see $root.log"; }
    install_into >>"$root.log" 2>&1 ||
        { tail -n 5 "$root.log" >&2; skip "the packages could not be had, see $root.log"; }
    echo "$recipe" >"$root/recipe"
}

# Runs a command that loads much, for as long as there is time at all.
in_time() {
    local left=$((${TEST_DEB_SECONDS:-3600} - SECONDS))
    timeout --kill-after=5 "$((left > 1 ? left : 1))" "$@"
}

# Called where a failure is looked at, so that `set -e` has no say in here.
install_into() {
    # Nothing starts while it is installed, and nobody is asked.
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    printf 'APT::Install-Recommends "false";\nBinary::apt::APT::Keep-Downloaded-Packages "true";\n' \
        >"$root/etc/apt/apt.conf.d/90test"
    # A mirror may be one that stands still.
    printf 'Acquire::Languages "none";\nAcquire::Check-Valid-Until "false";\n' \
        >>"$root/etc/apt/apt.conf.d/90test"
    # Nobody misses the root after a power cut.
    echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/unsafe-io"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    echo test-deb >"$root/etc/hostname"
    in_time unshare --mount --pid --fork --kill-child chroot "$root" env \
        PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 sh -ec "
            mount -t proc proc /proc
            mount -t tmpfs tmpfs /run
            apt-get update -q
            apt-get install -y -q ${packages[*]}
            apt-get install -y -q --download-only pgbouncer
            rm /usr/sbin/policy-rc.d"
}

# A machine as it was when the root was made.
fresh_machine() {
    stop
    rm -rf "$run"
    mkdir -p "$run/upper" "$run/work" "$machine"
    mount -t overlay overlay -o "lowerdir=$root,upperdir=$run/upper,workdir=$run/work" "$machine"
}

# Puts this process, and what it starts, into control groups of its own.
enter_groups() {
    local group
    # Newer releases of systemd want control groups of version 2 and nothing else: in this script's
    # own mounts they stand where the machine is to find them.
    if [[ -d /sys/fs/cgroup/unified ]]; then mount -t cgroup2 cgroup2 /sys/fs/cgroup; fi
    for group in "${groups[@]}"; do
        [[ -e ${group%/*}/cgroup.procs ]] || continue
        mkdir -p "$group"
        echo $$ >"$group/cgroup.procs"
    done
}

leave_groups() {
    local group
    for group in "${groups[@]}"; do
        [[ -d $group ]] || continue
        echo $$ >"${group%/*}/cgroup.procs"
        find "$group" -depth -type d -exec rmdir {} +
    done
}

boot() {
    try_boot || { tail -n 20 "$run/console" >&2; fail "the machine does not boot"; }
}

try_boot() {
    systemd-nspawn --quiet --directory="$machine" --boot --register=no --keep-unit \
        --private-network --link-journal=no --resolv-conf=off --timezone=off --console=pipe \
        --settings=no --machine=test-deb </dev/null >"$run/console" 2>&1 8>&- &
    nspawn=$!
    local end=$((SECONDS + 120)) state
    while ((SECONDS < end)) && kill -0 "$nspawn" 2>/dev/null; do
        leader=$(pgrep -P "$nspawn" -x systemd || true)
        if [[ -n $leader ]]; then
            state=$(inn systemctl is-system-running 2>/dev/null || true)
            [[ $state = running || $state = degraded ]] && return
        fi
        sleep 0.2
    done
    return 1
}

# Runs a command in the machine.
inn() {
    nsenter -t "$leader" -m -u -i -n -p -C -r -w \
        env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
        HOME=/root DEBIAN_FRONTEND=noninteractive "$@"
}

# Ends the machine as its power button would.
halt() {
    [[ -n $leader ]] || return 0
    # SIGRTMIN+3 is halt, see systemd(1).
    kill -s RTMIN+3 "$leader" 2>/dev/null || true
    wait "$nspawn" 2>/dev/null || true
    leader=
}

stop() {
    halt
    local mounted
    for mounted in "$run/image" "$machine"; do
        if mountpoint -q "$mounted"; then umount "$mounted"; fi
    done
}

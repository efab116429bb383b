# Socket activation, over TCP and the Unix socket.
# shellcheck shell=bash

walk_sockets() {
    fresh_machine
    boot
    make_roles
    install_package
    install_guide_files
    inn systemctl stop pgbouncer
    inn systemctl enable --now pgbouncer.socket 2>/dev/null
    equal inactive inn sh -c 'systemctl is-active pgbouncer || true'
    equal plannerate_prod pooled plannerate_prod plannerate_production -c "SELECT current_user"
    equal active inn systemctl is-active pgbouncer
    expect "plannerate_prod" inn PGPASSWORD="$(password plannerate_prod)" psql -X -A -t \
        -h /run/postgresql -p 6432 -U plannerate_prod plannerate_production -c "SELECT current_user"
    expect "::1" inn PGPASSWORD="$(password postgres)" psql -X -A -t -h ::1 -p 6432 -U postgres \
        pgbouncer -c "SHOW CLIENTS"
    eventually logged "passed from service manager"
    ok "a first connection starts the service; TCP, IPv6 and the Unix socket serve"

    sockets_restart
    sockets_upgrade
    sockets_reboot
    sockets_of_this_machine
}

# TERM lets the clients there work on, and those that come wait until a first of them starts the
# service again: none is refused.
sockets_restart() {
    cat >"$machine/srv/knock" <<'SH'
#!/bin/sh
# Logs in again and again, counting, and fails on the first refusal.
count=0
while [ ! -e /srv/enough ]; do
    psql -X -q -A -t -h 127.0.0.1 -p 6432 -U plannerate_prod plannerate_production \
        -c "SELECT 1" >/dev/null || exit 1
    count=$((count + 1))
    echo "$count" >/srv/count
done
SH
    inn PGPASSWORD="$(password plannerate_prod)" PGCONNECT_TIMEOUT=20 sh /srv/knock \
        >"$run/knocks" 2>&1 &
    local knocking=$! pid count
    for count in 5 10 15; do
        eventually has_knocked "$count"
        pid=$(main_pid)
        inn systemctl kill -s TERM pgbouncer
        eventually runs_as_another_than "$pid"
    done
    eventually has_knocked 20
    inn touch /srv/enough
    wait "$knocking" || fail "a client was refused: $(<"$run/knocks")"
    ok "replaced three times under $(inn cat /srv/count) logins, none of which failed"
}

has_knocked() { [[ $(inn cat /srv/count) -ge $1 ]]; }

runs_as_another_than() { [[ $(main_pid) != 0 && $(main_pid) != "$1" ]]; }

sockets_upgrade() {
    apt_get install --reinstall "$(given)"
    equal active inn systemctl is-active pgbouncer.socket
    equal plannerate_prod pooled plannerate_prod plannerate_production -c "SELECT current_user"
    ok "an upgrade leaves the sockets open"
}

sockets_reboot() {
    halt
    boot
    equal active inn systemctl is-active pgbouncer.socket
    eventually pooled plannerate_prod plannerate_production -c "SELECT 1"
    logged "passed from service manager" || fail "the service listens by itself"
    inn systemctl disable --now pgbouncer.socket 2>/dev/null
    inn systemctl restart pgbouncer
    equal plannerate_prod pooled plannerate_prod plannerate_production -c "SELECT current_user"
    ok "sockets and service are back after a reboot, and go back to the service"
}

# By the lines that the unit itself gives for it.
sockets_of_this_machine() {
    inn systemctl stop pgbouncer
    inn systemctl start pgbouncer.socket
    expect "*:6432" inn ss -Hltn
    inn mkdir -p /etc/systemd/system/pgbouncer.socket.d
    sed -n 's/^#   //p' debian/pgbouncer.socket \
        >"$machine/etc/systemd/system/pgbouncer.socket.d/override.conf"
    inn systemctl daemon-reload
    inn systemctl stop pgbouncer pgbouncer.socket 2>/dev/null
    inn systemctl start pgbouncer.socket
    equal $'127.0.0.1:6432\n[::1]:6432' inn sh -c "ss -Hltn | awk '\$4 ~ /:6432\$/ { print \$4 }' | sort"
    equal plannerate_prod pooled plannerate_prod plannerate_production -c "SELECT current_user"
    ok "the unit's lines for sockets of this machine only"
}

# Two processes of the template unit behind one port, by the examples that the package brings.
# shellcheck shell=bash

walk_peers() {
    fresh_machine
    boot
    make_roles
    install_package
    install_guide_files
    set_up_peers
    equal $'active\nactive' inn systemctl is-active pgbouncer@1 pgbouncer@2
    is_at_most 4.0 "$(exposure_of pgbouncer@1)" || fail "systemd-analyze security of the template"
    peers_share
    peers_cancel
    peers_roll
}

# By the commands that stand in the examples, and no others; the users are the guide's.
set_up_peers() {
    local said number
    said=$(inn sh -ec "$(sed -n 's/^;;   //p' debian/examples/peers/1.ini)" 2>&1) ||
        fail "the commands of the example fail: $said"
    for number in 1 2; do
        equal "" inn su postgres -s /bin/sh -c \
            "pgbouncer --check /etc/pgbouncer/$number.ini 2>&1 >/dev/null | grep -v restart || true"
    done
    equal inactive inn sh -c 'systemctl is-active pgbouncer || true'
}

# Connections spread over both.
peers_share() {
    local try
    for try in $(seq 24); do
        pooled postgres pgbouncer -c "SHOW VERSION" >/dev/null
    done
    for number in 1 2; do
        grep -q "login attempt: db=pgbouncer user=postgres" \
            "$machine/var/log/postgresql/pgbouncer-$number.log" || fail "process $number has no clients"
    done
    ok "two processes on one port share the clients"
}

# The kernel gives a cancel request to either process; it must work each time.
peers_cancel() {
    cat >"$machine/srv/cancel.py" <<'PY'
"""Starts a long query and cancels it, many times; each must end long before its time."""
import threading
import psycopg

def cancel(connection, is_over):
    # Again, should the first come before the query.
    while not is_over.wait(0.1):
        connection.cancel()

for _ in range(24):
    with psycopg.connect(autocommit=True) as connection:
        is_over = threading.Event()
        canceller = threading.Thread(target=cancel, args=(connection, is_over))
        canceller.start()
        try:
            connection.execute("SELECT pg_sleep(60)")
            raise SystemExit("the query was not cancelled")
        except psycopg.errors.QueryCanceled:
            pass
        finally:
            is_over.set()
            canceller.join()
print("cancelled")
PY
    equal cancelled inn PGPASSWORD="$(password plannerate_prod)" PGHOST=127.0.0.1 PGPORT=6432 \
        PGUSER=plannerate_prod PGDATABASE=plannerate_production python3 /srv/cancel.py
    grep -h -q ' S-.*: peer-[12].*successfully sent cancel request' "$machine"/var/log/postgresql/pgbouncer-?.log ||
        fail "no cancel request came to the wrong process"
    ok "cancel requests find their client, also through the other process"
}

# An upgrade restarts one process after the other.
peers_roll() {
    local before
    before=$(inn systemctl show -P MainPID pgbouncer@1 pgbouncer@2)
    apt_get install --reinstall "$(given)"
    equal $'active\nactive' inn systemctl is-active pgbouncer@1 pgbouncer@2
    [[ $(inn systemctl show -P MainPID pgbouncer@1 pgbouncer@2) != "$before" ]] ||
        fail "an upgrade leaves the old processes"
    equal plannerate_prod pooled plannerate_prod plannerate_production -c "SELECT current_user"
    apt_get remove pgbouncer
    [[ -z $(inn pgrep -x pgbouncer || true) ]] || fail "a process survives the removal"
    ok "an upgrade restarts both, a removal ends both"
}

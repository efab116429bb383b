# The user's guide, step by step, with its own commands and files (tests/guide).
# shellcheck shell=bash

walk_guide() {
    fresh_machine
    boot
    guide_install
    guide_configure
    guide_start
    guide_connect
    guide_operate
    guide_troubles
    guide_security
}

guide_install() {
    make_roles
    ok "1: roles with SCRAM passwords, two databases"

    install_package
    local first
    first=$(inn pgbouncer --version | head -n 1)
    [[ $first =~ ^PgBouncer\ ([0-9]+)\.([0-9]+)\.([0-9]+)$ ]] || fail "version: $first"
    printf '%s\n' 1.25.1 "${first#* }" | sort -V -C || fail "version: $first"
    equal enabled inn systemctl is-enabled pgbouncer
    # There is no database to serve, and `start` must find what the operator writes.
    equal inactive inn sh -c 'systemctl is-active pgbouncer || true'
    grep -q "names no database yet" "$run/apt" || fail "nothing tells that it is not started"
    equal "postgres:postgres 640" inn stat -c '%U:%G %a' /etc/pgbouncer/pgbouncer.ini
    equal "postgres:postgres 640" inn stat -c '%U:%G %a' /etc/pgbouncer/userlist.txt
    inn test /usr/bin/pgbouncer -ef /usr/sbin/pgbouncer || fail "/usr/bin/pgbouncer is missing"
    ok "2: apt install, $first, enabled, and not started without a database"

    inn cp /etc/pgbouncer/pgbouncer.ini /etc/pgbouncer/pgbouncer.ini.backup
    ok "3.1: there is a file to back up"
}

guide_configure() {
    install_guide_files
    equal "" inn su postgres -s /bin/sh -c \
        'pgbouncer --check /etc/pgbouncer/pgbouncer.ini 2>&1 >/dev/null | grep -v restart || true'
    ok "3.2, 3.3: the guide's files load without a warning"
}

guide_start() {
    inn sh -c 'rm -f /var/run/postgresql/.s.PGSQL.6432*'
    inn systemctl daemon-reload
    inn systemctl enable pgbouncer 2>/dev/null
    inn systemctl start pgbouncer
    expect "pgbouncer.service - connection pooler for PostgreSQL" \
        inn systemctl status --no-pager pgbouncer
    expect "Active: active (running)" inn systemctl status --no-pager pgbouncer
    expect "0.0.0.0:6432" inn ss -Hltn
    equal postgres inn ps -o user= -p "$(main_pid)"
    inn test -S /var/run/postgresql/.s.PGSQL.6432 || fail "no socket"
    equal "$(main_pid)" inn cat /var/run/postgresql/pgbouncer.pid
    logged "process up: PgBouncer" || fail "no log"
    if grep -E ' (WARNING|ERROR|FATAL) ' "$machine/var/log/postgresql/pgbouncer.log" |
        grep -v 'pooler error'; then
        fail "the guide's files give warnings"
    fi
    expect "PgBouncer 1." inn su postgres -c \
        'psql -X -A -t -p 6432 -U pgbouncer pgbouncer -c "SHOW VERSION"'
    ok "5: enabled, running as postgres, listening on 0.0.0.0:6432, socket, pid file, log"
}

guide_connect() {
    expect "plannerate_production" inn PGPASSWORD="$(password plannerate_prod)" \
        psql -h 127.0.0.1 -p 6432 -U plannerate_prod -d plannerate_production \
        -c "SELECT current_database(), current_user;"
    equal "plannerate_production|plannerate_prod" pooled plannerate_prod plannerate_production \
        -c "SELECT current_database(), current_user;"
    equal "plannerate_staging|plannerate_staging" pooled plannerate_staging plannerate_staging \
        -c "SELECT current_database(), current_user;"
    ok "6.1: production and staging, each as its own role"

    local tables
    tables=$(inn PGPASSWORD="$(password postgres)" psql -h 127.0.0.1 -p 6432 -U postgres pgbouncer \
        -c "SHOW POOLS;" -c "SHOW STATS;")
    [[ $tables = *maxwait_us*total_xact_count* ]] || fail "two tables expected: $tables"
    ok "6.2: SHOW POOLS and SHOW STATS"

    inn ip netns add elsewhere
    inn ip link add here type veth peer name there netns elsewhere
    inn ip address add 10.66.0.1/24 dev here
    inn ip link set here up
    inn ip -n elsewhere address add 10.66.0.2/24 dev there
    inn ip -n elsewhere link set there up
    equal "plannerate_prod" inn PGPASSWORD="$(password plannerate_prod)" ip netns exec elsewhere \
        psql -X -A -t -h 10.66.0.1 -p 6432 -U plannerate_prod plannerate_production \
        -c "SELECT current_user;"
    eventually logged "plannerate_production/plannerate_prod@10.66.0.2:"
    ok "6.3: the same from another host"
}

guide_operate() {
    local command
    for command in POOLS STATS CLIENTS SERVERS DATABASES CONFIG; do
        pooled postgres pgbouncer -c "SHOW $command;" >/dev/null || fail "SHOW $command"
    done
    for command in RELOAD PAUSE RESUME; do
        expect "$command" inn PGPASSWORD="$(password postgres)" \
            psql -h 127.0.0.1 -p 6432 -U postgres pgbouncer -c "$command;"
    done
    eventually in_journal "process up: PgBouncer"
    eventually in_journal "RELOAD command issued"
    logged "RELOAD command issued" || fail "the log lacks the reload"

    ok "8: the console's commands; journal and log both have the lines"
}

guide_troubles() {
    local ini=/etc/pgbouncer/pgbouncer.ini
    refuse "unix socket is in use, cannot continue: process $(main_pid) listens on" \
        inn su postgres -s /bin/sh -c "sed 's/^pidfile.*//' $ini >/tmp/second.ini; \
            pgbouncer /tmp/second.ini"
    inn systemctl kill -s KILL pgbouncer
    eventually inn test -S /var/run/postgresql/.s.PGSQL.6432
    eventually logged "that nobody listened on"
    eventually pooled plannerate_prod plannerate_production -c "SELECT 1"
    ok "trouble: a socket in use names its process; one left behind is taken over, the service back"

    refuse "authentication failed" inn PGPASSWORD=wrong psql -h 127.0.0.1 -p 6432 \
        -U plannerate_prod plannerate_production -c "SELECT 1"
    eventually logged "wrong password"
    refuse "authentication failed" inn PGPASSWORD=x psql -h 127.0.0.1 -p 6432 -U nobody \
        plannerate_production -c "SELECT 1"
    eventually logged "no such user"
    ok "trouble: authentication failed, and the log says why"

    inn sh -c 'echo "\"outsider\" \"secret\"" >>/etc/pgbouncer/userlist.txt'
    inn systemctl reload pgbouncer
    local said
    said=$(inn PGPASSWORD=secret psql -h 127.0.0.1 -p 6432 -U outsider pgbouncer -c "SHOW POOLS" 2>&1 || true)
    [[ $said = *"not allowed"* && $said = *admin_users* ]] || fail "not allowed: $said"
    ok "trouble: not allowed, and the setting is named"

    refuse "no such database: nowhere" pooled plannerate_prod nowhere -c "SELECT 1"
    ok "trouble: no such database, and it is named"
}

guide_security() {
    local exposure drop_in=/etc/systemd/system/pgbouncer.service.d/hardening.conf
    exposure=$(exposure_of pgbouncer)
    is_at_most 4.0 "$exposure" || fail "systemd-analyze security: $exposure"
    inn install -D -m 644 /usr/share/doc/pgbouncer/examples/hardening.conf "$drop_in"
    inn systemctl daemon-reload
    inn systemctl restart pgbouncer
    local hardened
    hardened=$(exposure_of pgbouncer)
    is_at_most 1.5 "$hardened" || fail "with the drop-in: $hardened"
    eventually pooled plannerate_prod plannerate_production -c "SELECT 1"
    inn systemctl reload pgbouncer
    inn rm "$drop_in"
    inn systemctl daemon-reload
    inn systemctl restart pgbouncer
    ok "systemd-analyze security: $exposure as shipped, $hardened with the drop-in, and it serves"
}

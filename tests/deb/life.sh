# The life of an installation: reload, restart under load, reboot, removal, purge, installation anew.
# shellcheck shell=bash

walk_life() {
    fresh_machine
    boot
    make_roles
    install_package
    install_guide_files
    inn systemctl restart pgbouncer
    life_reload
    life_restart
    life_reboot
    life_init_script
    life_removal
    life_autopkgtest
}

life_reload() {
    local pid
    pid=$(main_pid)
    inn sed -i 's/^default_pool_size = .*/default_pool_size = 17/; s/^stats_period = .*/stats_period = 1/' \
        /etc/pgbouncer/pgbouncer.ini
    inn systemctl reload pgbouncer
    eventually config_has "default_pool_size|17|20|yes"
    eventually logged "default_pool_size: 20 -> 17"
    equal "$pid" main_pid
    pooled plannerate_prod plannerate_production -c "SELECT 1" >/dev/null
    status_tells_figures() {
        [[ $(inn systemctl show -P StatusText pgbouncer) = "stats: "*" xacts/s,"* ]]
    }
    eventually status_tells_figures
    ok "reload: the same process, the new value, a line that names it; the status tells figures"

    inn sh -c 'echo "pool_moed = session" >>/etc/pgbouncer/pgbouncer.ini'
    refuse "" inn systemctl reload pgbouncer
    eventually in_journal "pool_moed: unknown parameter, did you mean pool_mode?"
    equal "$pid" main_pid
    equal active inn systemctl is-active pgbouncer
    config_has "default_pool_size|17|20|yes" || fail "the old configuration is not in force"
    refuse "RELOAD failed" pooled postgres pgbouncer -c "RELOAD"
    inn sed -i '$d' /etc/pgbouncer/pgbouncer.ini
    inn systemctl reload pgbouncer
    ok "reload of a broken file: the command fails, the journal says why, the old one stays"
}

config_has() { pooled postgres pgbouncer -c "SHOW CONFIG" | grep -q -x -F "$1"; }

life_restart() {
    inn PGPASSWORD="$(password plannerate_prod)" pgbench -i -q -s 1 -h 127.0.0.1 -p 5432 \
        -U plannerate_prod plannerate_production >/dev/null 2>&1
    inn PGPASSWORD="$(password plannerate_prod)" timeout 180 pgbench -n -c 10 -j 2 -T 120 -h 127.0.0.1 \
        -p 6432 -U plannerate_prod plannerate_production >"$run/bench" 2>&1 &
    local bench=$! began
    eventually is_under_load
    began=$(date +%s%N)
    inn systemctl restart pgbouncer
    local took=$((($(date +%s%N) - began) / 1000000))
    # What systemd has to kill takes longer than that.
    [[ $took -lt 60000 ]] || fail "a restart under load took $took ms"
    # The clients of the old process were told that it ends; none may hang.
    wait "$bench" || true
    grep -q -i "terminat\|shutting down\|server closed\|tps = " "$run/bench" || fail "$(<"$run/bench")"
    expect "number of failed transactions: 0" inn PGPASSWORD="$(password plannerate_prod)" pgbench -n \
        -c 10 -j 2 -T 2 -h 127.0.0.1 -p 6432 -U plannerate_prod plannerate_production
    # No transaction was cut in two: pgbench's sums agree.
    equal t sql "-d plannerate_production -c \"SELECT (SELECT sum(abalance) FROM pgbench_accounts) =
        (SELECT sum(bbalance) FROM pgbench_branches)\""
    ok "restart under load: $took ms, no transaction cut in two, then it serves as before"
}

# All clients are there, and transactions were counted.
is_under_load() {
    pooled postgres pgbouncer -c "SHOW POOLS" | grep -q '^plannerate_production|plannerate_prod|10|' &&
        [[ $(sql "-d plannerate_production -c \"SELECT count(*) > 100 FROM pgbench_history\"") = t ]]
}

life_reboot() {
    halt
    [[ ! -e $machine/run/postgresql/pgbouncer.pid ]] || fail "a pid file is left"
    boot
    equal active inn systemctl is-active pgbouncer
    eventually pooled plannerate_prod plannerate_production -c "SELECT 1"
    inn test -S /run/postgresql/.s.PGSQL.6432 || fail "no socket after the reboot"
    ok "reboot: the service is back"
}

# Where there is no systemd, as in many containers.
life_init_script() {
    local script=(SYSTEMCTL_SKIP_REDIRECT=1 /etc/init.d/pgbouncer) first
    inn systemctl stop pgbouncer
    refuse "is not running" inn "${script[@]}" status
    inn "${script[@]}" start >/dev/null || fail "the init script does not start"
    expect "is running" inn "${script[@]}" status
    inn "${script[@]}" start >/dev/null || fail "starting twice is an error"
    equal postgres inn ps -o user= -C pgbouncer
    pooled plannerate_prod plannerate_production -c "SELECT 1" >/dev/null
    first=$(inn cat /run/postgresql/pgbouncer.pid)
    inn sed -i 's/^default_pool_size = .*/default_pool_size = 16/' /etc/pgbouncer/pgbouncer.ini
    inn "${script[@]}" reload >/dev/null || fail "the init script does not reload"
    eventually logged "default_pool_size: 17 -> 16"
    inn sh -c 'echo broken >>/etc/pgbouncer/pgbouncer.ini'
    refuse "" inn "${script[@]}" reload
    inn sed -i '$d' /etc/pgbouncer/pgbouncer.ini
    equal "$first" inn cat /run/postgresql/pgbouncer.pid
    inn "${script[@]}" restart >/dev/null || fail "the init script does not restart"
    [[ $(inn cat /run/postgresql/pgbouncer.pid) != "$first" ]] || fail "the old process goes on"
    pooled plannerate_prod plannerate_production -c "SELECT 1" >/dev/null
    inn "${script[@]}" stop >/dev/null || fail "the init script does not stop"
    [[ -z $(inn pgrep -x pgbouncer || true) ]] || fail "it runs on"
    ok "the init script starts, reloads, restarts and stops it"
}

life_removal() {
    local before
    before=$(files_of_etc)
    apt_get remove pgbouncer
    equal "$before" files_of_etc
    [[ -z $(inn pgrep -x pgbouncer || true) ]] || fail "it runs after its removal"
    install_package
    equal "$before" files_of_etc
    eventually pooled plannerate_prod plannerate_production -c "SELECT 1"
    ok "removed and installed again: the files were kept, it serves"

    apt_get purge pgbouncer
    local left
    left=$(inn sh -c 'ls -d /etc/pgbouncer /etc/init.d/pgbouncer /etc/default/pgbouncer \
        /etc/systemd/system/*/pgbouncer* /var/lib/systemd/deb-systemd-helper-enabled/*/pgbouncer* \
        /var/log/postgresql/pgbouncer* /usr/share/pgbouncer /etc/rc?.d/*pgbouncer 2>/dev/null' || true)
    [[ -z $left ]] || fail "a purge leaves: $left"
    install_package
    equal "enabled inactive" service_state
    inn cmp /etc/pgbouncer/pgbouncer.ini /usr/share/pgbouncer/pgbouncer.ini ||
        fail "no fresh configuration"
    ok "purged: nothing is left; installed again: as on the first day"
}

# The test that the package brings for Debian's own machinery.
life_autopkgtest() {
    fresh_machine
    boot
    install_package
    cp debian/tests/connect "$machine/mnt/connect"
    inn sh /mnt/connect >"$run/connect" 2>&1 || fail "debian/tests/connect: $(<"$run/connect")"
    ok "the package's own test"
}

# Names, owners, modes and content of what the operator wrote.
files_of_etc() {
    inn sh -c 'cd /etc/pgbouncer && stat -c "%n %U:%G %a" * && sha256sum *'
}

# What goes wrong on real machines: each time the journal says why, and what can serve goes on.
# shellcheck shell=bash

walk_trouble() {
    fresh_machine
    boot
    make_roles
    install_package
    install_guide_files
    inn systemctl restart pgbouncer
    trouble_files
    trouble_places
    trouble_disk
    trouble_kill
    trouble_mkauth
}

# Starts the service anew, which must fail, and the journal must have the words.
start_fails() {
    refuse "" inn systemctl restart pgbouncer
    eventually in_journal "$1"
    # It gives up after some attempts.
    inn systemctl stop pgbouncer
    inn systemctl reset-failed pgbouncer 2>/dev/null || true
}

serves_again() {
    inn systemctl restart pgbouncer
    pooled plannerate_prod plannerate_production -c "SELECT 1" >/dev/null || fail "it does not serve"
}

trouble_files() {
    local etc=/etc/pgbouncer
    inn sh -c "chown root: $etc/pgbouncer.ini && chmod 600 $etc/pgbouncer.ini"
    start_fails "could not load file \"$etc/pgbouncer.ini\": Permission denied"
    inn sh -c "chown postgres: $etc/pgbouncer.ini"
    serves_again
    ok "an ini that cannot be read"

    inn chown root: $etc/userlist.txt
    inn systemctl restart pgbouncer
    eventually in_journal "could not open auth_file $etc/userlist.txt: Permission denied"
    refuse "authentication failed" pooled plannerate_prod plannerate_production -c "SELECT 1"
    inn chown postgres: $etc/userlist.txt
    inn systemctl reload pgbouncer
    pooled plannerate_prod plannerate_production -c "SELECT 1" >/dev/null || fail "no reload helps"
    ok "a userlist of another owner: it starts, says so, lets nobody in; a reload cures it"
}

trouble_places() {
    inn systemctl stop pgbouncer
    inn systemd-run -q --unit=squatter \
        python3 -c 'import socket, time
held = socket.create_server(("0.0.0.0", 6432))
time.sleep(600)'
    eventually inn sh -c 'ss -Hltn | grep -q 0.0.0.0:6432'
    start_fails "cannot listen on 0.0.0.0:6432: bind(): Address already in use"
    eventually in_journal "failed to listen on any address in listen_addr list: 0.0.0.0"
    inn systemctl stop squatter
    serves_again
    ok "a port in use"

    inn sed -i 's|^unix_socket_dir = .*|unix_socket_dir = /run/missing|' /etc/pgbouncer/pgbouncer.ini
    start_fails "/run/missing/.s.PGSQL.6432"
    eventually in_journal "No such file or directory"
    inn sed -i 's|^unix_socket_dir = .*|unix_socket_dir = /var/run/postgresql|' \
        /etc/pgbouncer/pgbouncer.ini
    serves_again
    ok "a directory for the socket that is missing"
}

trouble_disk() {
    inn mkdir /var/log/small
    inn mount -t tmpfs -o size=16k,mode=777 tmpfs /var/log/small
    inn sed -i 's|^logfile = .*|logfile = /var/log/small/log|' /etc/pgbouncer/pgbouncer.ini
    inn systemctl restart pgbouncer
    inn sh -c 'cat /dev/zero >/var/log/small/full 2>/dev/null || true'
    local try
    for try in $(seq 30); do
        pooled plannerate_prod plannerate_production -c "SELECT $try" >/dev/null || fail "it stops"
    done
    inn rm /var/log/small/full
    pooled plannerate_prod plannerate_production -c "SELECT 1" >/dev/null
    eventually inn grep -q "lines that the log file did not take: " /var/log/small/log
    inn sed -i 's|^logfile = .*|logfile = /var/log/postgresql/pgbouncer.log|' \
        /etc/pgbouncer/pgbouncer.ini
    inn systemctl reload pgbouncer
    inn umount /var/log/small
    ok "a full disk: it serves on, and counts the lines that were lost"
}

trouble_kill() {
    local pid
    pid=$(main_pid)
    inn kill -KILL "$pid"
    back_as_another() { [[ $(main_pid) != "$pid" && $(main_pid) != 0 ]]; }
    eventually back_as_another
    eventually pooled plannerate_prod plannerate_production -c "SELECT 1"
    ok "kill -9: another process serves"
}

# The script that fills a userlist: with what the server stores, clients and servers go by SCRAM.
trouble_mkauth() {
    local list=/etc/pgbouncer/userlist.txt
    printf 'CREATE ROLE "two\nlines" LOGIN PASSWORD $$x$$;\n' >"$machine/srv/odd.sql"
    sql -f /srv/odd.sql
    inn su postgres -c "/usr/share/pgbouncer/mkauth $list 'dbname=postgres'" ||
        fail "mkauth fails"
    equal "postgres:postgres 600" inn stat -c '%U:%G %a' $list
    equal 4 inn grep -c '" "SCRAM-SHA-256' $list
    inn systemctl reload pgbouncer
    equal plannerate_prod pooled plannerate_prod plannerate_production -c "SELECT current_user"
    local before
    before=$(inn stat -c %Y.%i $list)
    inn su postgres -c "/usr/share/pgbouncer/mkauth $list"
    # By the name that it has in Debian's package, in both ways to start it.
    inn su postgres -c "/usr/share/pgbouncer/mkauth.py $list 'dbname=postgres'"
    inn su postgres -c "python3 /usr/share/pgbouncer/mkauth.py $list 'dbname=postgres'"
    equal "$before" inn stat -c %Y.%i $list
    refuse "is as it was" inn su postgres -c "/usr/share/pgbouncer/mkauth $list 'port=1'"
    equal "$before" inn stat -c %Y.%i $list
    inn sh -c "echo >>$list"
    inn /usr/share/pgbouncer/mkauth $list \
        "host=127.0.0.1 user=postgres password=$(password postgres) dbname=postgres" ||
        fail "mkauth fails as root"
    equal "postgres:postgres 600" inn stat -c '%U:%G %a' $list
    equal 4 inn grep -c . $list
    equal "" inn sh -c "ls /etc/pgbouncer | grep userlist.txt. || true"
    ok "mkauth: a userlist of stored secrets, with which clients come in and servers are opened"
}

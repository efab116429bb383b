# TLS by Debian's own certificate, which PostgreSQL shows too, and a new one under load.
# shellcheck shell=bash

snakeoil=/etc/ssl/certs/ssl-cert-snakeoil.pem
snakeoil_key=/etc/ssl/private/ssl-cert-snakeoil.key

walk_tls() {
    fresh_machine
    boot
    make_roles
    install_package
    install_guide_files
    tls_enable
    tls_verify
    tls_rotate
}

tls_enable() {
    # That of the root bears the name of the machine which made the root.
    renew_snakeoil
    inn systemctl reload postgresql
    expect ssl-cert inn id -nG postgres
    equal "root:ssl-cert 640" inn stat -c '%U:%G %a' "$snakeoil_key"
    inn sed -i "s/^client_tls_sslmode = .*/client_tls_sslmode = require/
        s/^server_tls_sslmode = .*/server_tls_sslmode = require/
        s/^stats_period = .*/stats_period = 1/
        \$a client_tls_cert_file = $snakeoil
        \$a client_tls_key_file = $snakeoil_key" /etc/pgbouncer/pgbouncer.ini
    equal "" inn su postgres -s /bin/sh -c \
        'pgbouncer --check /etc/pgbouncer/pgbouncer.ini 2>&1 >/dev/null | grep -v restart || true'
    inn systemctl restart pgbouncer
    eventually over_tls require -c "SELECT 1"
    refuse "SSL required" over_tls disable -c "SELECT 1"
    equal t over_tls require \
        -c "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    [[ $(pooled postgres pgbouncer -c "SHOW TLS") = client*"$snakeoil"* ]] || fail "SHOW TLS"
    ok "Debian's certificate for clients, TLS to PostgreSQL: no warning, and nothing goes in plain"
}

# The certificate has the name of the machine.
tls_verify() {
    local name
    name=$(inn hostname)
    inn sh -c "echo 127.0.0.1 $name >>/etc/hosts"
    equal 1 inn PGPASSWORD="$(password plannerate_prod)" psql -X -q -A -t \
        "host=$name port=6432 user=plannerate_prod dbname=plannerate_production
        sslmode=verify-full sslrootcert=$snakeoil" -c "SELECT 1"
    inn sed -i "s/^plannerate_production = host=127.0.0.1/plannerate_production = host=$name \
sslmode=verify-full sslrootcert=${snakeoil//\//\\/}/" /etc/pgbouncer/pgbouncer.ini
    inn systemctl reload pgbouncer
    equal t over_tls require \
        -c "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    ok "verify-full on both sides"
}

# Clients come and go all the while: none is refused, and new ones get the new certificate.
tls_rotate() {
    inn PGPASSWORD="$(password plannerate_prod)" pgbench -i -q -s 1 -h 127.0.0.1 -p 5432 \
        -U plannerate_prod plannerate_production >/dev/null 2>&1
    local before
    before=$(shown_serial)
    inn PGPASSWORD="$(password plannerate_prod)" PGSSLMODE=require timeout 180 pgbench -n -S -C \
        -c 5 -j 2 -T 30 -h 127.0.0.1 -p 6432 -U plannerate_prod plannerate_production \
        >"$run/bench" 2>&1 &
    local bench=$!
    renew_snakeoil
    inn systemctl reload postgresql
    inn systemctl reload pgbouncer
    eventually shows_file
    [[ $(shown_serial) != "$before" ]] || fail "the old certificate is shown"
    ok "a new certificate is taken by a reload"

    before=$(shown_serial)
    renew_snakeoil
    inn systemctl reload postgresql
    eventually shows_file
    [[ $(shown_serial) != "$before" ]] || fail "the old certificate is shown"
    eventually logged "has changed, and is in force for new connections"
    wait "$bench" || fail "clients were refused: $(<"$run/bench")"
    grep -q "number of failed transactions: 0" "$run/bench" || fail "$(<"$run/bench")"
    equal 1 over_tls require -c "SELECT 1"
    ok "a new certificate is taken without one; of the clients meanwhile none was refused"
}

renew_snakeoil() { inn make-ssl-cert generate-default-snakeoil --force-overwrite; }

shown_serial() {
    inn sh -c 'openssl s_client -connect 127.0.0.1:6432 -starttls postgres </dev/null 2>/dev/null |
        openssl x509 -noout -serial'
}

shows_file() { [[ $(shown_serial) = $(inn openssl x509 -noout -serial -in "$snakeoil") ]]; }

# over_tls SSLMODE PSQL-ARGUMENTS...: the pooler as production, secured so.
over_tls() {
    local mode=$1
    shift
    inn PGSSLMODE="$mode" PGPASSWORD="$(password plannerate_prod)" psql -X -q -A -t \
        -v ON_ERROR_STOP=1 -h 127.0.0.1 -p 6432 -U plannerate_prod -d plannerate_production "$@"
}

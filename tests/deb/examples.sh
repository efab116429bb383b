# The examples that the package brings, each put in force as it tells to: the pooler serves with it,
# and PostgreSQL, which runs as the same user, does not notice its restarts.
# shellcheck shell=bash

walk_examples() {
    fresh_machine
    boot
    make_roles
    install_package
    install_guide_files
    inn systemctl restart pgbouncer
    examples_hardening
    examples_peers
}

examples_hardening() {
    local drop_in=/etc/systemd/system/pgbouncer.service.d/hardening.conf
    inn install -D -m 644 /usr/share/doc/pgbouncer/examples/hardening.conf "$drop_in"
    inn systemctl daemon-reload
    restarts_harm_nobody pgbouncer
    inn rm "$drop_in"
    inn systemctl daemon-reload
    ok "hardening.conf: two restarts, and PostgreSQL answers with and without the pooler"
}

examples_peers() {
    set_up_peers
    restarts_harm_nobody pgbouncer@1 pgbouncer@2
    ok "peers: two restarts of each, and PostgreSQL answers with and without the pooler"
}

# restarts_harm_nobody UNIT...: after each of two restarts, PostgreSQL has what it had, and answers on
# its own port and through the pooler.
restarts_harm_nobody() {
    local had missing round
    had=$(shared_memory)
    [[ $had = *0x* ]] || fail "where is PostgreSQL's shared memory? $had"
    for round in first second; do
        inn systemctl restart "$@"
        missing=$(comm -23 <(echo "$had") <(shared_memory))
        [[ -z $missing ]] || fail "the $round restart of $* takes away from PostgreSQL: $missing"
        equal t through 5432 plannerate_prod plannerate_production -c "$parallel"
        eventually pooled plannerate_prod plannerate_production -c "SELECT 1"
        equal t pooled plannerate_prod plannerate_production -c "$parallel"
    done
}

# The workers of a query in parallel meet in shared memory.
parallel="SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
    SET min_parallel_table_scan_size = 0; SELECT count(*) > 0 FROM pg_catalog.pg_class"

# What user postgres has of both kinds, sorted.
shared_memory() {
    inn sh -c 'ipcs -m | awk "\$3 == \"postgres\" { print \$1, \$5 }"
        find /dev/shm -user postgres -name "PostgreSQL.*"' | LC_ALL=C sort
}

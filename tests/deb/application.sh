# The guide's application: 35 workers of PHP and Python, first at PostgreSQL's port, then at the
# pooler's, with nothing else changed. Prints what that does to connections, time and memory.
# shellcheck shell=bash

workers=35

walk_application() {
    fresh_machine
    boot
    make_roles
    install_package
    install_guide_files
    inn systemctl restart pgbouncer
    cp tests/guide/application.* tests/guide/articles.sql "$machine/mnt/"
    sql "-d plannerate_production -f /mnt/articles.sql"
    echo "   $workers workers, ${LOAD_SECONDS:-10} s each time; PDO with and without emulated prepares, psycopg"
    local mode
    for mode in each kept; do
        inn systemctl restart postgresql
        inn systemctl restart pgbouncer
        measure "$mode" 5432
        local direct=$connections
        inn systemctl restart postgresql
        eventually pooled plannerate_prod plannerate_production -c "SELECT 1"
        measure "$mode" 6432
        [[ $mode = each || $direct -ge $workers ]] || fail "only $direct connections without a pool"
        [[ $connections -le 15 ]] || fail "$connections server connections through the pool"
    done
    ok "7: the application works on either port, with at most 15 server connections for 35"
}

# Runs all workers against a port, and prints a line of figures; leaves the number of PostgreSQL's
# connections in `connections`.
measure() {
    local mode=$1 port=$2 number pids=()
    rm -rf "$run"/worker-* "$machine/mnt/workers"
    mkdir "$machine/mnt/workers"
    for number in $(seq "$workers"); do
        worker "$number" "$mode" "$port" >"$run/worker-$number" 2>&1 &
        pids+=($!)
        # As containers start, not all in the same millisecond.
        sleep 0.05
    done
    eventually all_at_work
    watch_postgresql "${LOAD_SECONDS:-10}"
    touch "$machine/mnt/workers/stop"
    for number in "${!pids[@]}"; do
        wait "${pids[number]}" || fail "a worker fails: $(<"$run/worker-$((number + 1))")"
    done
    awk -v mode="$mode" -v port="$port" -v most="$connections" -v memory="$memory" '
        { requests += $1; spent += $2 }
        END {
            printf "   connection %-18s port %d: %2d server connections, %6.2f ms a request " \
                "(%d requests), PostgreSQL %.0f MB\n",
                mode == "each" ? "for each request," : "kept,",
                port, most, spent / requests, requests, memory / 1024
        }' "$run"/worker-*
}

# Each has had an answer, however slowly the machine starts them.
all_at_work() {
    local files=("$machine"/mnt/workers/*)
    [[ ${#files[@]} = "$workers" ]]
}

worker() {
    local number=$1 mode=$2 port=$3 program
    case $((number % 3)) in
    0) program=(php /mnt/application.php "$mode" emulated /mnt/workers) ;;
    1) program=(php /mnt/application.php "$mode" native /mnt/workers) ;;
    2) program=(python3 /mnt/application.py "$mode" /mnt/workers) ;;
    esac
    inn DB_HOST=127.0.0.1 DB_PORT="$port" DB_DATABASE=plannerate_production \
        DB_USERNAME=plannerate_prod DB_PASSWORD="$(password plannerate_prod)" "${program[@]}"
}

# While the workers work: the most connections that PostgreSQL has, and the most memory that its
# processes take, each page that several share counted in parts, in kB.
watch_postgresql() {
    local end=$((SECONDS + $1 - 1)) now
    connections=0 memory=0
    while ((SECONDS < end)); do
        now=$(sql "-c \"SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'plannerate%'\"")
        ((now <= connections)) || connections=$now
        # Some of them end meanwhile.
        now=$(inn sh -c 'for pid in $(pgrep -x postgres); do
                cat /proc/$pid/smaps_rollup 2>/dev/null || true
            done' | awk '/^Pss:/ { sum += $2 } END { print sum + 0 }')
        ((now <= memory)) || memory=$now
        sleep 1
    done
}

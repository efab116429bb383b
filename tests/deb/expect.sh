# What the steps of scripts/test-deb compare answers with, and the commands that they share.
# shellcheck shell=bash

ok() { echo "ok: $*"; }

# expect WORDS COMMAND...: the command succeeds, and the words are in what it prints.
expect() {
    local words=$1 said
    shift
    said=$("$@" 2>&1) || fail "this failed: $*: $said"
    [[ $said = *"$words"* ]] || fail "expected \"$words\" of: $*: $said"
}

# refuse WORDS COMMAND...: the command fails, and the words are in what it prints.
refuse() {
    local words=$1 said
    shift
    if said=$("$@" 2>&1); then fail "this succeeded: $*: $said"; fi
    [[ $said = *"$words"* ]] || fail "expected \"$words\" of: $*: $said"
}

# equal EXPECTED COMMAND...: the command succeeds and prints just that.
equal() {
    local expected=$1 said
    shift
    said=$("$@" 2>&1) || fail "this failed: $*: $said"
    [[ $said = "$expected" ]] || fail "expected \"$expected\" of: $*: $said"
}

# eventually COMMAND...: within a minute it succeeds.
eventually() {
    local end=$((SECONDS + 60))
    while ((SECONDS < end)); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.2
    done
    fail "this never succeeded: $*"
}

# The log of the service has a line with these words.
logged() { grep -q -F -- "$*" "$machine/var/log/postgresql/pgbouncer.log"; }

# The journal of the service has a line with these words.
in_journal() {
    local lines
    lines=$(inn journalctl --no-pager -q -u pgbouncer)
    [[ $lines = *"$*"* ]]
}

# apt_get COMMAND ARGUMENTS...: as from a script, where nobody answers questions.
apt_get() {
    local command=$1
    shift
    inn apt-get "$command" -y "$@" </dev/null >"$run/apt" 2>&1 ||
        { tail -n 20 "$run/apt" >&2; fail "this failed: apt-get $command $*"; }
}

# Copies the package into the machine and installs it as an operator does.
install_package() {
    cp "$package" "$machine/mnt/"
    apt_get install "$(given)"
    if grep -q -i 'configuration file .*modified\|What would you like to do' "$run/apt"; then
        fail "the installation asks something: $(<"$run/apt")"
    fi
}

# Where the package stands in the machine.
given() { echo "/mnt/${package##*/}"; }

sql() { inn su postgres -c "psql -X -q -A -t -v ON_ERROR_STOP=1 $*"; }

# The roles and databases of the guide.
make_roles() {
    cp tests/guide/roles.sql "$machine/srv/roles.sql"
    sql -f /srv/roles.sql >/dev/null
}

# pooled USER DATABASE PSQL-ARGUMENTS...: through the pooler, with the password of the guide.
pooled() { through 6432 "$@"; }

through() {
    local port=$1 user=$2 database=$3
    shift 3
    inn PGPASSWORD="$(password "$user")" PGCONNECT_TIMEOUT=20 psql -X -q -A -t \
        -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$port" -U "$user" -d "$database" "$@"
}

password() { sed -n "s/^\"$1\" \"\(.*\)\"$/\1/p" tests/guide/userlist.txt; }

# The files of the guide, in the guide's places.
install_guide_files() {
    cp tests/guide/pgbouncer.ini tests/guide/userlist.txt "$machine/etc/pgbouncer/"
    inn chmod 600 /etc/pgbouncer/userlist.txt
    inn chown postgres:postgres /etc/pgbouncer/userlist.txt
}

main_pid() { inn systemctl show -P MainPID pgbouncer; }

# How much of the system a service could reach: 0 is least, 10 all.
exposure_of() {
    inn systemd-analyze security --no-pager "$1" |
        sed -n 's/.*Overall exposure level for .*: \([0-9.]*\).*/\1/p'
}

# is_at_most LIMIT NUMBER, with fractions.
is_at_most() { awk "BEGIN { exit !($2 <= $1) }"; }

# Whether it is enabled, and whether it runs.
service_state() {
    echo "$(inn systemctl is-enabled pgbouncer)" "$(inn systemctl is-active pgbouncer)"
}

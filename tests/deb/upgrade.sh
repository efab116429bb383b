# Over Debian's own package and back, as operators have it: files of each kind edited, with somebody
# at the terminal and with nobody, with a configuration that this program refuses. Nothing is asked,
# nothing is lost, and at every moment something serves.
# shellcheck shell=bash

# What an operator may have edited, and the package of Debian brings as a conffile.
edited=(/etc/pgbouncer/pgbouncer.ini /etc/pgbouncer/userlist.txt /etc/default/pgbouncer
    /etc/init.d/pgbouncer)

walk_upgrade() {
    local way
    for way in unattended attended; do
        debians_package_in_use
        upgrade_and_back "$way"
    done
    upgrade_refused
    upgrade_untouched
    upgrade_of_nothing
}

# A machine with Debian's package, edited and at work. Leaves its version in `version`.
debians_package_in_use() {
    fresh_machine
    boot
    make_roles
    apt_get install --no-download pgbouncer
    version=$(inn dpkg-query -W -f '${Version}' pgbouncer)
    install_guide_files
    local file
    for file in "${edited[@]}"; do
        # A comment in all of them.
        [[ $file = *userlist.txt ]] && continue
        inn sh -c "echo '# edited by hand' >>$file"
    done
    # Mistakes that Debian's program gets past.
    inn sh -c "printf '%s\n' 'max_user_connections = -1' 'server_tls_ca_file = /nonexistent' \
        >>/etc/pgbouncer/pgbouncer.ini"
    inn systemctl restart pgbouncer
    eventually pooled plannerate_prod plannerate_production -c "SELECT 1"
}

upgrade_and_back() {
    local way=$1 before
    before=$(state_of_files)
    "install_$way" "$(give_package)"
    serves_as "PgBouncer 1.26" "$before"
    expect "pgbouncer-rs" inn pgbouncer --version
    inn systemctl reload pgbouncer
    ok "over $version, $way, with edited files of each kind: nothing asked, every byte kept"

    "install_$way" --no-download --allow-downgrades "pgbouncer=$version"
    serves_as "PgBouncer ${version%%-*}" "$before"
    ok "back to $version, $way: nothing asked, every byte kept"

    "install_$way" "$(give_package)"
    serves_as "PgBouncer 1.26" "$before"
    inn systemctl disable --now pgbouncer 2>/dev/null
    "install_$way" --reinstall "$(given)"
    equal "disabled inactive" service_state
    ok "and forth; who has disabled the service finds it so after an upgrade"
}

# serves_as VERSION FILES: the package is whole, the service up, the files as they were.
serves_as() {
    is_whole
    equal "$2" state_of_files
    equal "enabled active" service_state
    eventually pooled plannerate_prod plannerate_production -c "SELECT 1"
    expect "$1" pooled postgres pgbouncer -c "SHOW VERSION"
}

is_whole() { equal "install ok installed" inn dpkg-query -W -f '${Status}' pgbouncer; }

# Nobody is there to answer.
install_unattended() {
    apt_get install "$@"
    asked_nothing
}

# At a terminal, and nobody is asked: a question would find the end of the input, and fail.
install_attended() {
    inn DEBIAN_FRONTEND=dialog TERM=linux script -qec "apt-get install -y $*" /dev/null \
        </dev/null >"$run/apt" 2>&1 || fail "this failed, attended: apt-get install $*: $(<"$run/apt")"
    asked_nothing
}

asked_nothing() {
    if grep -q -i 'configuration file.*modified\|What would you like to do' "$run/apt"; then
        fail "the installation asks something: $(<"$run/apt")"
    fi
}

# A mistake is in the file while the old process runs: that one serves on, and the mistake is told.
upgrade_refused() {
    debians_package_in_use
    local before pid
    inn sh -c 'echo "pool_moed = session" >>/etc/pgbouncer/pgbouncer.ini'
    before=$(state_of_files)
    pid=$(main_pid)
    install_unattended "$(give_package)"
    grep -q "pool_moed: unknown parameter, did you mean pool_mode?" "$run/apt" ||
        fail "the mistake is not told: $(<"$run/apt")"
    grep -q "pgbouncer.service runs on" "$run/apt" || fail "nothing tells what became of it"
    equal "$pid" main_pid
    serves_as "PgBouncer ${version%%-*}" "$before"
    install_unattended --reinstall "$(given)"
    equal "$pid" main_pid
    inn sed -i '$d' /etc/pgbouncer/pgbouncer.ini
    inn systemctl restart pgbouncer
    expect "PgBouncer 1.26" pooled postgres pgbouncer -c "SHOW VERSION"
    ok "with a file that is refused: told by apt, the old process serves on until it is mended"

    inn systemctl stop pgbouncer
    inn sh -c 'echo "pool_moed = session" >>/etc/pgbouncer/pgbouncer.ini'
    install_unattended --reinstall "$(given)"
    is_whole
    grep -q "pgbouncer.service is not started" "$run/apt" || fail "nothing tells that it is not started"
    equal "enabled inactive" service_state
    ok "and where none runs, none is started"
}

# What nobody has configured goes there and back, and each package finds files that it can read.
upgrade_untouched() {
    fresh_machine
    boot
    install_unattended "$(give_package)"
    equal "enabled inactive" service_state
    install_unattended --reinstall "$(given)"
    equal "enabled inactive" service_state
    install_attended --no-download --allow-downgrades pgbouncer="$version"
    is_whole
    equal "enabled active" service_state
    ok "a first installation, and back to $version: nothing asked, and that one starts"

    # Debian's program with the file that ours brings, as one who has edited it finds it.
    inn cp /usr/sbin/pgbouncer /mnt/theirs
    install_unattended "$(give_package)"
    inn sh -c "sed -E 's,^(logfile|pidfile|auth_file|unix_socket_dir) =.*,,; s,^listen_port.*,listen_port = 7432,' \
        /usr/share/pgbouncer/pgbouncer.ini >/mnt/ours.ini"
    refuse "LOG process up: PgBouncer ${version%%-*}" inn timeout 3 su postgres -c '/mnt/theirs /mnt/ours.ini'
    ok "$version reads the file that ours brings"
}

# An edited file of a first installation stays when Debian's package comes, if dpkg is told so.
upgrade_of_nothing() {
    fresh_machine
    boot
    make_roles
    install_unattended "$(give_package)"
    install_guide_files
    inn sed -i '/^log_connections/d' /etc/pgbouncer/pgbouncer.ini
    inn systemctl start pgbouncer
    local before
    before=$(inn sh -c 'stat -c "%n %U:%G %a" /etc/pgbouncer/*.*; sha256sum /etc/pgbouncer/*.*')
    install_unattended --no-download --allow-downgrades -o Dpkg::Options::=--force-confold \
        pgbouncer="$version"
    equal "$before" inn sh -c \
        'stat -c "%n %U:%G %a" /etc/pgbouncer/pgbouncer.ini /etc/pgbouncer/userlist.txt
            sha256sum /etc/pgbouncer/pgbouncer.ini /etc/pgbouncer/userlist.txt'
    is_whole
    equal "enabled active" service_state
    expect "PgBouncer ${version%%-*}" pooled postgres pgbouncer -c "SHOW VERSION"
    ok "a first installation that was configured, and back by the command of README.Debian"
}

# Names, owners, modes and content of what the operator has edited.
state_of_files() { inn stat -c '%n %U:%G %a' "${edited[@]}"; inn sha256sum "${edited[@]}"; }

# Puts the package into the machine, and prints where.
give_package() {
    cp "$package" "$machine/mnt/"
    given
}

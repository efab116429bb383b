# What the release's own lintian says of the package: nothing. And what the package says of the crates
# that are linked into the program: all.
# shellcheck shell=bash

walk_lintian() {
    fresh_machine
    boot
    local said
    inn install -d -m 755 /srv/lintian
    cp "${package%/*}"/*.deb "${package%/*}"/*.changes "${package%/*}"/*.buildinfo "$machine/srv/lintian/"
    inn sh -c 'chmod 644 /srv/lintian/*'
    # It will not be root.
    said=$(inn HOME=/nonexistent setpriv --reuid nobody --regid nogroup --clear-groups sh -c \
        'lintian --fail-on error,warning --tag-display-limit 0 /srv/lintian/*.changes' 2>&1) ||
        fail "lintian of $suite: $said"
    ok "lintian of $suite has nothing to say"

    local crate
    dpkg-deb --fsys-tarfile "$package" | tar -xO ./usr/share/doc/pgbouncer/copyright >"$run/copyright"
    for crate in $(cargo tree --locked --edges normal,no-proc-macro --prefix none --format '{p}' |
        cut -d ' ' -f 1 | sort -u); do
        [[ $crate = pgbouncer-rs ]] || grep -q -x -F "Files: vendor/$crate/*" "$run/copyright" ||
            fail "no notice of $crate is in the package"
    done
    ok "the notices of all linked crates are in the package"
}

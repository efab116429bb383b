# The example of a container: the steps of its Dockerfile, carried out in a root of its own, and what
# comes of them run as docker would, with a root that cannot be written to.
# shellcheck shell=bash

example=etc/examples/docker

walk_docker() {
    fresh_machine
    boot
    make_roles
    docker_build
    docker_serves
    docker_with_a_file
    docker_refuses
    umount "$image"
}

# Follows the Dockerfile. Leaves what it says of the running container in variables.
docker_build() {
    image=$run/image image_user='' stop_signal='' health='' entry=''
    mkdir -p "$image" "$run/image-upper" "$run/image-work"
    mount -t overlay overlay \
        -o "lowerdir=$root,upperdir=$run/image-upper,workdir=$run/image-work" "$image"
    rm -rf "$run/context"
    cp -r "$example" "$run/context"
    cp "$package" "$run/context/pgbouncer.deb"
    local word rest
    while read -r word rest; do
        case $word in
        FROM) [[ $rest = debian:*-slim ]] || fail "not Debian's image: $rest" ;;
        COPY) (cd "$run/context" && docker_copy $rest) ;;
        RUN) chroot "$image" sh -ec "$rest" || fail "this step fails: RUN $rest" ;;
        USER) image_user=$rest ;;
        EXPOSE) [[ $rest = 6432 ]] || fail "EXPOSE $rest" ;;
        STOPSIGNAL) stop_signal=$rest ;;
        HEALTHCHECK) health=$(docker_word "$rest") ;;
        ENTRYPOINT) entry=$(docker_word "$rest") ;;
        *) fail "what is $word?" ;;
        esac
    done < <(sed '/^#/d' "$example/Dockerfile" | sed -e ':a' -e '/\\$/N; s/\\\n *//; ta')
    [[ -n $image_user && -n $stop_signal && -n $health && -n $entry ]] || fail "the Dockerfile lacks a word"
    ok "the steps of the Dockerfile"
}

docker_copy() {
    local to=$image${*: -1}
    cp "${@:1:$#-1}" "$to"
}

# The program of an instruction in its JSON form.
docker_word() { sed 's/.*\["\([^"]*\)"\].*/\1/' <<<"$1"; }

# docker_run [-v FILE] VARIABLE...: the container, in the network of the machine, as process 1 of its
# own. Leaves its process in `container`.
docker_run() {
    local file=
    if [[ $1 = -v ]]; then file=$2; shift 2; fi
    nsenter -t "$leader" -n unshare --mount --pid --fork --kill-child sh -ec '
        image=$1 user=$2 entry=$3 file=$4
        shift 4
        mount --bind "$image" "$image"
        if [ -n "$file" ]; then
            mkdir -p "$image/etc/pgbouncer"
            : >"$image/etc/pgbouncer/pgbouncer.ini"
            mount --bind "$file" "$image/etc/pgbouncer/pgbouncer.ini"
        fi
        mount -o remount,ro,bind "$image"
        mount -t tmpfs -o uid=6432,mode=0700 tmpfs "$image/run/pgbouncer"
        mount -t proc proc "$image/proc"
        exec chroot --userspec="$user" "$image" env -i \
            PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@" "$entry"' \
        sh "$image" "$image_user" "$entry" "$file" "$@" >"$run/container" 2>&1 8>&- &
    container=$!
}

# Its health, asked as docker asks.
docker_is_healthy() { nsenter -t "$leader" -n chroot "$image" "$health"; }

# Sends what docker sends, and waits for the end.
docker_stop() {
    pkill -"$stop_signal" -P "$container" || fail "the container is gone: $(<"$run/container")"
    wait "$container" || fail "the container ends with $?: $(<"$run/container")"
}

docker_serves() {
    ! docker_is_healthy 2>/dev/null || fail "healthy before it starts"
    printf '%s\n' "$(password plannerate_prod)" >"$run/image-upper/secret"
    chmod 644 "$run/image-upper/secret"
    docker_run DB_HOST=127.0.0.1 DB_USER=plannerate_prod DB_PASSWORD_FILE=/secret \
        PGBOUNCER_POOL_MODE=transaction
    eventually docker_is_healthy
    equal plannerate_prod pooled plannerate_prod plannerate_production -c "SELECT current_user"
    expect "pool_mode|transaction|" pooled plannerate_prod pgbouncer -c "SHOW CONFIG"
    pooled plannerate_prod plannerate_production -c "SELECT pg_sleep(3), 'ended'" >"$run/sleeper" 2>&1 &
    local sleeper=$!
    sleeps() { [[ $(sql "-c \"SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(3)%'\"") = 2 ]]; }
    eventually sleeps
    docker_stop
    wait "$sleeper" || fail "the stop cuts a transaction off: $(<"$run/sleeper")"
    ok "healthy, serves with a root that it cannot write to; a stop lets a transaction end"
}

docker_with_a_file() {
    cat >"$run/mounted.ini" <<'INI'
[databases]
* = host=127.0.0.1
[pgbouncer]
listen_addr = *
auth_type = any
unix_socket_dir =
INI
    docker_run -v "$run/mounted.ini" ANY=thing
    eventually docker_is_healthy
    expect "listen_addr|*|" pooled plannerate_prod pgbouncer -c "SHOW CONFIG"
    docker_stop
    # What the mount stood on.
    rm "$image/etc/pgbouncer/pgbouncer.ini"
    ok "a file that is mounted is taken in place of the variables"
}

docker_refuses() {
    docker_run DB_USER=x
    ! wait "$container" || fail "it starts without knowing where PostgreSQL is"
    grep -q "neither /etc/pgbouncer/pgbouncer.ini is there nor is DB_HOST set" "$run/container" ||
        fail "$(<"$run/container")"
    ok "without a host it says what is missing"
}

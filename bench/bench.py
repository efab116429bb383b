#!/usr/bin/env python3
"""Our pooler beside Debian's pgbouncer and the floor, on one machine, in one run.

What counts is the pooler's own CPU time per transaction, which the scheduler accounts for to the
nanosecond: throughput and latency, given beside it, are shared with pgbench and PostgreSQL on the
same cores. Peers take turns within a round, so that a machine that drifts hits all of them alike;
the table gives medians over the rounds, and ratios to the pooler that `--against` names.
"""
import argparse
import contextlib
import json
import os
import resource
import shlex
import statistics
import sys
import time
from pathlib import Path

import crowds
import draw
import workloads
import servers
from servers import Failed, Peer, PostgreSQL, Scratch, Tls, cpu_ns, floor, memory_kb, pooler

# Columns of the tables: key, title, digits, whether a ratio is worth showing.
COLUMNS = [
    ("cpu_us", "CPU us/{unit}", 2, True),
    ("calm_us", "CPU us, calm", 2, True),
    ("rise", "times calm", 3, True),
    ("tps", "per second", 0, True),
    ("mb_s", "MB/s", 0, True),
    ("ms", "latency ms", 3, False),
    ("p99_ms", "p99 of waits ms", 2, True),
    ("calm_p99_ms", "p99, calm", 2, True),
    ("storm_s", "storm, s", 2, False),
    ("start_ms", "start ms", 1, True),
    ("start_cpu_ms", "of CPU ms", 1, True),
    ("same_ms", "RELOAD CPU ms", 1, True),
    ("same_stop_ms", "longest wait ms", 1, True),
    ("changed_ms", "with a change", 1, True),
    ("changed_stop_ms", "longest wait ms", 1, True),
    ("answer_ms", "slowest answer ms", 1, False),
    ("show_ms", "CPU ms/SHOW CLIENTS", 2, True),
    ("calm_ms", "others, calm ms", 1, False),
    ("stall_ms", "others, SHOW ms", 1, False),
    ("client_bytes", "bytes/client", 0, True),
    ("least_bytes", "at least", 0, False),
    ("most_bytes", "at most", 0, False),
    ("memory_kb", "memory kB", 0, False),
    ("after_kb", "after RELOADs kB", 0, False),
]

# Numbers of idle clients at which memory is measured.
STEPS = 8


def options():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pooler", help="the program to measure")
    parser.add_argument("--debian", help="Debian's pgbouncer, where it was unpacked")
    parser.add_argument("--work", default=",".join(workloads.ALL), help="default: %(default)s")
    parser.add_argument("--peers", help="only these: ours, watched, reset, debian, reference, floor, direct")
    parser.add_argument("--against", help="whom ratios are taken to, where it takes part; else debian")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4, help="per workload, peer and round")
    parser.add_argument("--clients", type=int, default=4000, help="of the workload idle")
    parser.add_argument("--tls", choices=Tls.WORDS, default="none",
                        help="who is under TLS: none, clients, both sides; default: %(default)s")
    parser.add_argument("--out", help="write every single result to this file, as JSON")
    parser.add_argument("--draw", help="draw the ratios of CPU time into this file, as SVG")
    chosen = parser.parse_args()
    unknown = set(chosen.work.split(",")) - set(workloads.ALL)
    if unknown:
        parser.error(f"no such workload: {', '.join(sorted(unknown))}")
    return chosen


def main():
    chosen = options()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    os.environ["BENCH_TLS"] = chosen.tls
    servers.TLS = Tls(chosen.tls)
    scratch, postgres = Scratch(), None
    try:
        if servers.TLS.clients:
            scratch.certificate()
        postgres = PostgreSQL(scratch)
        postgres.fill()
        taking_part = peers(chosen, scratch, postgres)
        print(f"{os.cpu_count()} cores; TLS: {chosen.tls}; {chosen.rounds} rounds of {chosen.seconds} s; "
              + ", ".join(f"{peer.name} ({peer.banner})" for peer in taking_part))
        failures = measure(chosen, taking_part, scratch)
    finally:
        if postgres:
            postgres.stop()
        scratch.remove()
    if failures:
        print("\nFAILED RUNS: the figures above are not to be trusted")
        print("\n".join(f"  {failure}" for failure in failures))
    return 1 if failures else 0


def peers(chosen, scratch, postgres):
    """Ours, ours with a scrape each second and the page open, ours with session_state = reset, Debian's, the command in PGBOUNCER_REFERENCE, the floor, and no pooler at all."""
    found = {"ours": lambda: pooler("ours", [chosen.pooler], scratch, postgres),
             "watched": lambda: pooler("watched", [chosen.pooler], scratch, postgres,
                                       servers.free_port()),
             "reset": lambda: pooler("reset", [chosen.pooler], scratch, postgres,
                                     more="session_state = reset\n")}
    if chosen.debian and Path(chosen.debian).exists():
        found["debian"] = lambda: pooler("debian", [chosen.debian], scratch, postgres)
    if command := os.environ.get("PGBOUNCER_REFERENCE"):
        found["reference"] = lambda: pooler("reference", shlex.split(command), scratch, postgres)
    if not servers.TLS.clients:
        found["floor"] = lambda: floor(scratch, postgres)
    if servers.TLS.servers or not servers.TLS.clients:
        found["direct"] = lambda: Peer("direct", postgres.port, banner="PostgreSQL itself")
    wanted = chosen.peers.split(",") if chosen.peers else list(found)
    if missing := set(wanted) - set(found):
        raise Failed(f"no such peer: {', '.join(sorted(missing))}")
    return [found[name]() for name in wanted]


def measure(chosen, peers, scratch):
    results, failures = {}, []
    for work in chosen.work.split(","):
        for number in range(1 if work in ("idle", "console") else chosen.rounds):
            for peer in peers:
                if not makes_sense(work, peer):
                    continue
                try:
                    row = one_run(chosen, peer, work, scratch.path)
                    results.setdefault(work, {}).setdefault(peer.name, []).append(row)
                except Exception as error:  # whatever it was, it is shown, and the rest goes on
                    failures.append(f"{work}, {peer.name}, round {number + 1}: {error}")
                    print(f"FAILED {failures[-1]}", file=sys.stderr, flush=True)
        show(work, results.get(work, {}), [chosen.against, "debian", "reference", "ours"])
    if chosen.out:
        Path(chosen.out).write_text(json.dumps(results, indent=1))
    if chosen.draw:
        Path(chosen.draw).write_text(draw.picture(results))
    return failures


def makes_sense(work, peer):
    if peer.name == "watched":
        return work == "simple"
    if peer.name == "reset":
        return work in ("simple", "extended", "prepared", "pipeline", "pipeline_prepared")
    if servers.TLS.clients and work in workloads.CROWDS:
        return False
    if work in ("prepared", "pipeline_prepared"):
        return peer.tracks_statements
    # Without a pooler, such crowds measure how PostgreSQL starts its processes.
    is_pooler = peer.name not in ("floor", "direct")
    return is_pooler or work not in ("logins", "idle", "console", *workloads.CROWDS)


# Workloads that measure what they compare themselves, by the peer and the seconds.
WHOLE = {
    "console": workloads.console,
    "crowd500": lambda peer, seconds: crowds.busy_crowd(peer, seconds, 500),
    "crowd5000": lambda peer, seconds: crowds.busy_crowd(peer, seconds, 5000),
    "idle_crowd": crowds.idle_crowd,
    "storm": crowds.storm,
}

# Those that begin with files of their own.
WITH_FILES = {"files": crowds.many_files, "handshakes": crowds.handshakes}


def one_run(chosen, peer, work, folder):
    if work in WITH_FILES:
        return with_files(peer, WITH_FILES[work], chosen.seconds)
    peer.start()
    try:
        if work == "idle":
            return idle(peer, chosen.clients)
        if work == "logins" and not servers.TLS.clients:
            return crowds.logins(peer, chosen.seconds)
        if work in WHOLE:
            return WHOLE[work](peer, chosen.seconds)
        drive = {
            "copy": lambda seconds: workloads.copy(peer, workloads.COPY_MB if seconds > 1 else 5),
            "copyin": lambda seconds: workloads.copyin(peer, workloads.COPY_MB if seconds > 1 else 5),
            "logins": lambda seconds: workloads.logins(peer, seconds),
        }.get(work, lambda seconds: workloads.pgbench(peer, work, seconds, folder))
        drive(1)
        before = cpu_ns(peer.pid)
        row = drive(max(2, chosen.seconds))
        if peer.pid:
            row["cpu_us"] = (cpu_ns(peer.pid) - before) / row["n"] / 1000
            row["memory_kb"] = memory_kb(peer.pid)
        return row
    finally:
        peer.stop()


def with_files(peer, measure, seconds):
    try:
        return measure(peer, seconds)
    finally:
        peer.stop()
        peer.configure()


def idle(peer, count):
    """CPU and memory that clients cost which log in and then do nothing.

    Memory grows in steps (slabs that double, tables that double), so that a single number of
    clients says little: the figure is the mean over eight of them, up to the number that is asked
    for. It counts the pages that are the process's own, since how much of the libraries it shares
    hangs on what else runs."""
    with workloads.IdleClients(peer, 20):
        pass  # whatever is set up once is there now
    before, base = cpu_ns(peer.pid), memory_kb(peer.pid, "Anonymous")
    step, each = max(1, count // STEPS), []
    with contextlib.ExitStack() as clients:
        for number in range(1, STEPS + 1):
            clients.enter_context(workloads.IdleClients(peer, step))
            time.sleep(0.5)
            own = memory_kb(peer.pid, "Anonymous") - base
            each.append(own * 1024 / (step * number))
        cpu, used = cpu_ns(peer.pid) - before, memory_kb(peer.pid)
    return {"n": step * STEPS, "cpu_us": cpu / (step * STEPS) / 1000, "memory_kb": used,
            "client_bytes": statistics.mean(each), "least_bytes": min(each),
            "most_bytes": max(each)}


def show(work, rows, preferred):
    """A table of medians, with ratios to the first of the preferred peers that took part."""
    unit = workloads.UNITS.get(work, "transaction")
    against = next((name for name in preferred if name in rows), None)

    def median(name, key):
        values = [row[key] for row in rows.get(name, []) if row.get(key) is not None]
        return statistics.median(values) if values else None

    present = [column for column in COLUMNS if any(median(name, column[0]) is not None
                                                   for name in rows)]
    print(f"\n{work}  (x: {against} is 1)")
    titles = [column[1].format(unit=unit) for column in present]
    print("  " + f"{'':10}" + "".join(f"{title:>24}" for title in titles))
    for name in rows:
        cells = []
        for key, _, digits, has_ratio in present:
            value, base = median(name, key), median(against, key)
            text = "" if value is None else f"{value:,.{digits}f}"
            if has_ratio and value is not None and base:
                text += f"  x{value / base:.2f}"
            cells.append(f"{text:>24}")
        print(f"  {name:10}" + "".join(cells))
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failed:
        sys.exit(f"bench: {failed}")

#!/usr/bin/env python3
"""Draws what was measured: CPU time per unit of ours and of the floor, as ratios to PgBouncer.

draw.py PICTURE RESULTS...     results as `bench.py --out` writes them; what stands in several is
                               taken together
"""
import json
import statistics
import sys
from pathlib import Path
from xml.sax.saxutils import escape

# What is drawn, in this order, where it was measured.
TITLES = {
    "simple": "simple queries, 16 clients",
    "extended": "extended queries, 16 clients",
    "prepared": "prepared statements, 16 clients",
    "single": "simple queries, one client",
    "pipeline": "pipelines of 20 queries",
    "pipeline_prepared": "pipelines of 20 prepared",
    "rows": "results of 1,000 rows",
    "copy": "COPY out",
    "copyin": "COPY in",
    "crowd500": "500 busy clients",
    "crowd5000": "5,000 busy clients",
    "idle_crowd": "16 beside 10,000 idle clients",
    "logins": "login by SCRAM",
    "churn": "connect, select, disconnect",
}

# The floor opens a server for each client, which is no floor where clients come and go.
FLOORLESS = ["churn"]

# Whom ratios are taken to, the first that took part.
REFERENCES = ["reference", "debian"]

# Measures of the picture, in pixels; a ratio of 1 is so far to the right.
LEFT, ONE, RIGHT, ROW, TOP = 240, 380, 120, 26, 44
OURS, FLOOR, TEXT, FAINT = "#2f6f9f", "#b9c4cc", "#24292f", "#8c959f"


def ratios(results):
    """Rows of a title, our ratio, and the floor's where there is one."""
    for work, title in TITLES.items():
        cost = {name: statistics.median(row["cpu_us"] for row in rows)
                for name, rows in results.get(work, {}).items() if rows and "cpu_us" in rows[0]}
        base = next((cost[name] for name in REFERENCES if name in cost), None)
        if base and "ours" in cost:
            has_floor = "floor" in cost and work not in FLOORLESS
            yield title, cost["ours"] / base, cost["floor"] / base if has_floor else None


def text(x, y, words, color=TEXT, anchor="start"):
    return (f'<text x="{x:.0f}" y="{y:.0f}" fill="{color}" text-anchor="{anchor}">'
            f"{escape(words)}</text>")


def bar(y, height, ratio, color):
    return (f'<rect x="{LEFT}" y="{y}" width="{ratio * ONE:.1f}" height="{height}" '
            f'fill="{color}"/>')


def picture(results):
    rows = list(ratios(results))
    width, height = LEFT + ONE + RIGHT, TOP + ROW * len(rows) + 12
    one = LEFT + ONE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        text(LEFT, 20, "CPU time per query, MB or login; PgBouncer 1.26.1 is 1"),
        text(LEFT, 36, "here", OURS), text(LEFT + 40, 36, "floor: bytes passed on unread", FAINT),
    ]
    for place, (title, ours, floor) in enumerate(rows):
        y = TOP + ROW * place
        parts.append(text(LEFT - 10, y + 16, title, anchor="end"))
        parts.append(bar(y + 4, 10, min(ours, 1.25), OURS))
        if floor:
            parts.append(bar(y + 15, 5, min(floor, 1.25), FLOOR))
        parts.append(text(LEFT + max(min(ours, 1.25), 1) * ONE + 8, y + 16, f"{ours:.2f}"))
    parts.append(f'<line x1="{one}" y1="{TOP}" x2="{one}" y2="{height - 10}" stroke="{FAINT}"/>')
    return "\n".join([*parts, "</svg>", ""])


def main():
    path, *files = sys.argv[1:]
    results = {}
    for file in files:
        for work, peers in json.loads(Path(file).read_text()).items():
            for peer, rows in peers.items():
                results.setdefault(work, {}).setdefault(peer, []).extend(rows)
    Path(path).write_text(picture(results))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Runs larder beside its peers, and writes what came out into docs/benchmarks.md.

    compare.py LARDER FOLDER CORPUS...      ("nights" and "scale": see nights.py and scale.py)

Each tool in turn makes a repository in FOLDER and takes each step in a process of its own, measured from outside; all of
it is done three times, the tools one after the other, and the median of each figure counts. Source and binaries are in
the page cache, nothing is left to be flushed when a step begins. Nothing is deleted before the end: for minutes ext4
steps over inodes that were freed, which makes whoever creates files next pay for it. Restores are compared with the source.
"""

import importlib
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import corpora

ROUNDS = int(os.environ.get("LARDER_BENCH_ROUNDS", 3))
REPORT = Path(__file__).resolve().parents[2] / "docs/benchmarks.md"

# {repo} {cache} {source} {target} are folders, {name} is of the newest snapshot. A step of several commands is measured as one.
TOOLS = {
    "larder": {
        "env": {"LARDER_REPO": "{repo}", "LARDER_KEY_FILE": "{cache}/key", "XDG_CACHE_HOME": "{cache}"},
        "version": "larder version",
        "init": ["larder -q init"],
        "backup": ["larder -q backup {source}"],
        "restore": ["larder -q restore latest --to {target}"],
        "check": ["larder -q check --data all"],
    },
    "bupstash": {
        "env": {"BUPSTASH_REPOSITORY": "{repo}", "BUPSTASH_KEY": "{cache}/key", "HOME": "{cache}"},
        "version": "bupstash --version",
        "init": ["bupstash init", "bupstash new-key -o {cache}/key"],
        "backup": ["bupstash put -q --no-progress name={name} {source}"],
        "restore": ["bupstash restore -q --into {target} name={name}"],
        # It has no check: this reads the data of one snapshot.
        "check": ["bupstash get -q name={name}"],
    },
    "restic": {
        "env": {"RESTIC_REPOSITORY": "{repo}", "RESTIC_PASSWORD": "bench", "RESTIC_CACHE_DIR": "{cache}"},
        "version": "restic version",
        "init": ["restic -q init"],
        "backup": ["restic -q backup ."],
        "restore": ["restic -q restore latest --target {target}"],
        "check": ["restic -q check --read-data"],
    },
    "borg": {
        "env": {"BORG_REPO": "{repo}", "BORG_PASSPHRASE": "bench", "BORG_BASE_DIR": "{cache}",
                "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes", "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"},
        "version": "borg --version",
        "init": ["borg init -e repokey-blake2"],
        # The newest file of a backup it reads again in the next: where there is but one, nothing is ever skipped.
        "backup": ["borg create -C zstd,3 ::{name} ."],
        "restore": ["env -C {target} borg extract ::{name}"],
        "check": ["borg check --verify-data"],
    },
    "cp -a": {"env": {}, "version": None, "restore": ["cp -a {source}/. {target}"]},
}
# What the peers do with a database: its file as it is, neither one state of it for sure, nor checked.
TOOLS["larder, as files"] = TOOLS["larder"] | {"version": None, "backup": ["larder -q backup --raw-databases {source}"]}
ALL = ["bupstash", "restic", "borg", "cp -a"]
# What is measured without peers.
ALONE = ["nights", "scale"]
PEERS = {"manyfiles": ["bupstash", "restic", "cp -a"], "manyfiles-500k": ["restic", "cp -a"], "media": ["bupstash", "cp -a"]}
PEERS |= dict.fromkeys(["sqlite", "sqlite-skewed", "sqlite-light"], ["larder, as files", *ALL])


def measure(commands, env, home, folder):
    """In this folder: seconds of wall and processor, and the most memory of a process in MB."""
    sums = {"wall": 0, "user": 0, "system": 0, "rss": 0}
    os.sync()
    for command in commands:
        # A child's peak of memory begins with that of this process, which begins anew.
        Path("/proc/self/clear_refs").write_text("5")
        start = time.monotonic()
        with open(home / "log", "wb") as log:
            sink = log if "get" not in command else subprocess.DEVNULL
            process = subprocess.Popen(command.split(), env=env, cwd=folder, stdout=sink, stderr=log)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            sys.exit(f"{command}: exit {process.returncode}: {(home / 'log').read_text(errors='replace')[-500:]}")
        sums["wall"] += time.monotonic() - start
        sums["user"] += used.ru_utime
        sums["system"] += used.ru_stime
        sums["rss"] = max(sums["rss"], used.ru_maxrss * 1024 / 1e6)
    sums["cpu"] = sums["user"] + sums["system"]
    return sums


def size(folder):
    return sum(path.lstat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 1e6


def flip(corpus):
    """Exchanges what is different on the other night."""
    live, other, aside = corpus / "live", corpus / "other", corpus / "aside"
    for path in (corpus / "delta.list").read_text().splitlines():
        for a, b in [(live / path, aside), (other / path, live / path), (aside, other / path)]:
            if os.path.lexists(a):
                b.parent.mkdir(parents=True, exist_ok=True)
                a.rename(b)


def compare(a, b):
    """Content, and what `find` tells of the rest. In processes of their own: a child's peak of memory counts from that of
    this one."""
    told = f"cd '{{}}' && find . -mindepth 1 -printf '%P %y %m %U:%G %T@ %l\\n' | sort"
    script = f"diff -r -q --no-dereference '{a}' '{b}' && cmp <({told.format(a)}) <({told.format(b)})"
    if subprocess.run(["bash", "-c", script]).returncode != 0:
        sys.exit(f"{b} is not like {a}")


def run(tool, corpus, work, is_first):
    spec, source = TOOLS[tool], corpus / "live"
    places = {"repo": work / "repo", "cache": work / "cache", "target": work / "target", "source": source, "name": "first"}
    for name in ["cache", "target"]:
        places[name].mkdir(parents=True)
    fill = lambda text: text.format(**places)
    env = {"PATH": os.environ["PATH"], "HOME": str(work)} | {key: fill(value) for key, value in spec["env"].items()}

    def step(what, name=None):
        places["name"] = name or places["name"]
        return measure([fill(command) for command in spec[what]], env, work, source if what == "backup" else work)

    warm = lambda: subprocess.run("tar -c . | cat > /dev/null", shell=True, cwd=source, check=True)
    warm()
    found = {}
    if "init" in spec:
        step("init")
        found["first"] = step("backup")
        found["first"]["size"] = size(places["repo"])
        same = [step("backup", f"same-{number}") for number in range(3)]
        found["same"] = {key: statistics.median(one[key] for one in same) for key in same[0]}
        before = size(places["repo"])
        flip(corpus)
        try:
            warm()
            found["next"] = step("backup", "next")
            found["next"]["size"] = size(places["repo"]) - before
            found["restore"] = step("restore")
            if is_first:
                compare(source, places["target"])
        finally:
            flip(corpus)
        found["check"] = step("check")
    else:
        found["restore"] = step("restore")
    return found


ROWS = [
    ("first, CPU s", "first", "cpu", 2), ("first, wall s", "first", "wall", 2), ("first, memory MB", "first", "rss", 0),
    ("repository MB", "first", "size", 1), ("same, CPU s", "same", "cpu", 2), ("same, wall s", "same", "wall", 2),
    ("same, memory MB", "same", "rss", 0), ("next night, CPU s", "next", "cpu", 2),
    ("next night, adds MB", "next", "size", 2), ("restore, user CPU s", "restore", "user", 2),
    ("restore, CPU s", "restore", "cpu", 2), ("restore, wall s", "restore", "wall", 2),
    ("restore, memory MB", "restore", "rss", 0), ("check of all data, CPU s", "check", "cpu", 2),
    ("check of all data, wall s", "check", "wall", 2), ("check of all data, memory MB", "check", "rss", 0),
]


def table(rounds):
    """Medians, and what larder's are to the best peer's."""
    tools = list(rounds[0])
    lines = ["| | " + " | ".join(tools) + " | larder : best peer |", "|---" * (len(tools) + 2) + "|"]
    for name, step, key, digits in ROWS:
        values = {tool: statistics.median(one[tool][step][key] for one in rounds) for tool in tools if step in rounds[0][tool]}
        peers = [value for tool, value in values.items() if tool != "cp -a" and not tool.startswith("larder")]
        shown = [f"{values[tool]:.{digits}f}" if tool in values else "" for tool in tools]
        ratio = values["larder"] / min(peers) if min(peers) > 0 else 0
        lines.append(f"| {name} | " + " | ".join(shown) + f" | {ratio:.2f} |")
    return "\n".join(lines)


def facts(corpus):
    script = "find . -type f -printf '%s\\n' | awk '{ sum += $1 } END { printf \"%d files, %.0f MB\", NR, sum / 1e6 }'"
    return subprocess.run(script, shell=True, cwd=corpus / "live", capture_output=True, text=True, check=True).stdout


def versions(tools, env):
    told = [subprocess.run(TOOLS[tool]["version"].split(), capture_output=True, text=True, env=env, check=True).stdout
            for tool in tools if TOOLS[tool]["version"]]
    return ", ".join(" ".join(text.split()[:2]) for text in told)


def commit():
    git = lambda *command: subprocess.run(["git", *command], capture_output=True, text=True, cwd=REPORT.parent).stdout.strip()
    return git("rev-parse", "--short", "HEAD") + (", with changes" if git("status", "--porcelain", "--", "../src") else "")


def cores():
    """How many, and of which kind: what costs how much beside what differs with it."""
    models = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    return f"{os.cpu_count()} cores ({models[0]})" if models else f"{os.cpu_count()} cores"


def put(name, text):
    """Puts a section into the report, in the place of the one before."""
    report = REPORT.read_text()
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    if begin not in report:
        report += f"\n{begin}{end}"
    before, rest = report.split(begin)
    REPORT.write_text(before + begin + text + end + rest.split(end)[1])


def main(larder, folder, names):
    os.environ["PATH"] = f"{Path(larder).resolve().parent}:{os.environ['PATH']}"
    for name in names or [*corpora.BUILDERS, *ALONE]:
        if name in ALONE:
            importlib.import_module(name).main(larder, folder)
            continue
        corpus = corpora.build(folder, name)
        tools = ["larder", *PEERS.get(name, ALL)]
        loads, rounds, work = [], [], Path(folder) / "work"
        shutil.rmtree(work, ignore_errors=True)
        for number in range(ROUNDS):
            loads.append(os.getloadavg()[0])
            place = lambda tool: work / "".join(c if c.isalnum() else "-" for c in f"{number} {tool}")
            rounds.append({tool: run(tool, corpus, place(tool), number == 0) for tool in tools})
            for tool, found in rounds[-1].items():
                steps = ", ".join(f"{step} {one['wall']:.2f}/{one['cpu']:.2f}" for step, one in found.items())
                print(f"{name} {number + 1} {tool}: {steps}", flush=True)
        shutil.rmtree(work)
        # The load before a round is that of others, but for the first minute of its own.
        put(name, f"### {name}\n\n{facts(corpus)}. {time.strftime('%Y-%m-%d')}, commit {commit()}, {cores()}, "
                  f"load before the rounds {', '.join(f'{load:.1f}' for load in loads)}; "
                  f"{versions(tools, dict(os.environ))}.\n\n{table(rounds)}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])

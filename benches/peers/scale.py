#!/usr/bin/env python3
"""What grows with a repository, and what must not.

    scale.py LARDER FOLDER [ROW...]     (million, deep, snapshots, history, killed, cache)

Writes a section into docs/benchmarks.md; rows that are not asked for stay as they were. Takes an hour and a half, most of it to take ten
thousand snapshots, and 6 GB.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import compare
import corpora

COMPONENTS = 4096
PATH_BYTES = 32 << 10


class Machine:
    """A repository and what belongs to it."""

    def __init__(self, larder, folder):
        self.larder, self.folder, self.repo = larder, Path(folder), Path(folder) / "repo"
        self.folder.mkdir(parents=True)
        self.env = {"PATH": os.environ["PATH"], "HOME": str(folder), "LARDER_REPO": str(self.repo),
                    "LARDER_KEY_FILE": str(self.folder / "key"), "XDG_CACHE_HOME": str(self.folder / "cache")}
        self.measure("init")

    def measure(self, *command):
        return compare.measure([" ".join([self.larder, "-q", *command])], self.env, self.folder, self.folder)

    def start(self, *command):
        return subprocess.Popen([self.larder, "-q", *command], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def size(self):
        return compare.size(self.repo)


def warm(*paths):
    for path in paths:
        subprocess.run("tar -c . | cat > /dev/null", shell=True, cwd=path, check=True)


def million(larder, folder, _):
    source = folder / "million"
    source.mkdir()
    for number in range(1_000_000):
        os.close(os.open(source / f"file-{number:07}", os.O_CREAT | os.O_WRONLY))
    machine = Machine(larder, folder / "m")
    first, size = machine.measure("backup", str(source)), machine.size()
    os.utime(source / "file-0500000")
    touched = machine.measure("backup", str(source))
    yield ("one million empty files in one folder, first backup",
           f"{first['cpu']:.1f} s CPU, {first['wall']:.1f} s wall, {first['rss']:.0f} MB of memory, repository {size:.1f} MB")
    yield ("one of them touched, next backup",
           f"adds {(machine.size() - size) * 1000:.1f} KB; {touched['cpu']:.1f} s CPU, {touched['rss']:.0f} MB")


def descend(root, names):
    """A file below so many folders. Paths are longer than the system takes at once, so each is entered."""
    home = os.open(".", os.O_RDONLY)
    os.chdir(root)
    for name in names:
        os.mkdir(name)
        os.chdir(name)
    Path("file").write_text("deep")
    os.fchdir(home)


def deep(larder, folder, _):
    machine = Machine(larder, folder / "m")
    source = folder / "deep"
    wide = [f"{number:03}" + "x" * 197 for number in range((PATH_BYTES - 16) // 201)]
    for name, names in {"depth": ["d"] * (COMPONENTS - 2), "length": wide}.items():
        (source / name).mkdir(parents=True)
        descend(source / name, names)
    used = machine.measure("backup", str(source))
    machine.measure("restore", "latest", "--to", str(folder / "back"))
    count = lambda place: subprocess.run("find . | wc -l; find . | awk '{ print length }' | sort -n | tail -1",
                                         shell=True, cwd=place, capture_output=True, text=True, check=True).stdout.split()
    if count(source) != count(folder / "back"):
        sys.exit("what is deep came back otherwise")
    (source / "more").mkdir()
    descend(source / "more", ["d"] * COMPONENTS)
    process = machine.start("backup", str(source))
    told = process.communicate()[1]
    if process.returncode != 3 or "4096" not in told:
        sys.exit(f"exit {process.returncode}: {told}")
    yield (f"{COMPONENTS} components, or a path of 32 KiB ({count(source)[0]} entries)",
           f"saved in {used['cpu']:.2f} s CPU, and restored; beyond that: named, left out, exit 3")


def snapshots(larder, folder, _):
    source = folder / "tiny"
    source.mkdir()
    machine = Machine(larder, folder / "m")
    for number in range(10_000):
        (source / "file").write_text(str(number))
        machine.start("backup", str(source)).wait()
    times = {}
    for command in [("snapshots",), ("snapshots", "--json")]:
        machine.measure(*command)
        runs = [machine.measure(*command) for _ in range(5)]
        times[command] = [statistics.median(run[key] for run in runs) for key in ["wall", "cpu"]]
    (wall, cpu), (json_wall, _) = times.values()
    yield "10 000 snapshots, `snapshots`", f"{wall:.2f} s wall, {cpu:.2f} s CPU; `--json` {json_wall:.2f} s"


def history(larder, folder, corpora_folder):
    """A thousand nights of the tree, with three files changed in each."""
    source = corpora.build(corpora_folder, "tree") / "live"
    files = sorted(path for path in source.rglob("*.c") if path.is_file())[:3000]
    kept = {path: (path.read_bytes(), path.stat()) for path in files}
    machine = Machine(larder, folder / "m")
    warm(source)
    picked, backups, checks, data = [10, 100, 1000], [], [], []
    try:
        for number in range(1, max(picked) + 1):
            for path in files[number * 3 - 3:number * 3]:
                path.write_bytes(kept[path][0] + f"/* night {number} */\n".encode())
            used = machine.measure("backup", str(source))
            if number in picked:
                backups.append(used)
                checks.append(machine.measure("check"))
                data.append(machine.measure("check", "--data", "all") | {"size": machine.size()})
    finally:
        for path, (content, stat) in kept.items():
            path.write_bytes(content)
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    seconds = lambda runs: ", ".join(f"{run['cpu']:.2f}" for run in runs)
    of = ", ".join(map(str, picked))
    yield f"backup of the tree with 3 files changed, snapshots {of}", f"{seconds(backups)} s CPU"
    yield f"`check` of its {of} snapshots", f"{seconds(checks)} s CPU"
    yield (f"`check --data all` of these", f"{seconds(data)} s CPU, for {', '.join(format(run['size'], '.0f') for run in data)} MB")


def read_by(process):
    try:
        return int(Path(f"/proc/{process.pid}/io").read_text().split()[1])
    except (OSError, IndexError):
        return 0


def killed(larder, folder, corpora_folder):
    shares = []
    for name, command in {"tree": "backup", "media": "backup", "sqlite": "backup --raw-databases", "sqlite image": "backup"}.items():
        source = corpora.build(corpora_folder, name.split()[0]) / "live"
        total = sum(path.stat().st_size for path in source.rglob("*") if path.is_file() and not path.is_symlink())
        warm(source)
        found = []
        for turn in range(4):
            machine = Machine(larder, folder / f"{name} {turn}".replace(" ", "-"))
            process = machine.start(*command.split(), str(source))
            while process.poll() is None and read_by(process) < 0.9 * total:
                time.sleep(0.003)
            process.kill()
            process.communicate()
            process, read = machine.start(*command.split(), str(source)), 0
            while process.poll() is None:
                read = max(read, read_by(process))
                time.sleep(0.003)
            if process.returncode != 0:
                sys.exit(f"{name}: exit {process.returncode}: {process.communicate()[1]}")
            found.append(read / total * 100)
        shares.append(f"{name} {min(found):.1f}–{max(found):.1f} %")
    yield ("a first backup killed when it has read 90 %, four times each: what the next run reads, of what there is (`rchar` of "
           "/proc/PID/io, so with what it reads of the repository)",
           ", ".join(shares))


def cached(path):
    told = subprocess.run(["fincore", "-b", "-n", "-o", "RES", path], capture_output=True, text=True, check=True).stdout
    return int(told or 0)


def cool(path):
    os.sync()
    file = os.open(path, os.O_RDONLY)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


def cache(larder, folder, corpora_folder):
    source = folder / "source"
    source.mkdir()
    for name in ["hot", "cold"]:
        (source / name).write_bytes(os.urandom(200 << 20))
    shutil.copyfile(corpora.build(corpora_folder, "sqlite") / "live/archive.db", source / "cold.db")
    for path in source.iterdir():
        cool(path)
    (source / "hot").read_bytes()
    machine = Machine(larder, folder / "m")
    machine.measure("backup", str(source))
    machine.measure("check", "--data", "all")
    packs = [path for path in (machine.repo / "packs").rglob("*") if path.is_file()]
    share = lambda paths: f"{sum(map(cached, paths)) / 1e6:.1f} of {sum(path.stat().st_size for path in paths) / 1e6:.0f} MB"
    yield ("in the page cache after a backup and a `check --data all`",
           f"of a file that was there before, {share([source / 'hot'])}; of one that was not, {share([source / 'cold'])}; "
           f"of a database that was not, {share([source / 'cold.db'])}; of packs, {share(packs)}")


ROWS = {row.__name__: row for row in [million, deep, snapshots, history, killed, cache]}


def main(larder, folder, names=()):
    kept = Path(folder) / "scale.json"
    found = json.loads(kept.read_text()) if kept.exists() else {}
    for name in names or ROWS:
        work = Path(folder) / "work"
        subprocess.run(["rm", "-rf", work], check=True)
        work.mkdir()
        about = f"{time.strftime('%Y-%m-%d')}, {compare.commit()}"
        found[name] = [(what, figure, about) for what, figure in ROWS[name](larder, work, folder)]
        for what, figure, _ in found[name]:
            print(f"{what}: {figure}", flush=True)
        subprocess.run(["rm", "-rf", work], check=True)
        kept.write_text(json.dumps(found))
    lines = ["| what | figure | when, commit |", "|---|---|---|"]
    lines += [f"| {what} | {figure} | {about} |" for name in ROWS for what, figure, about in found.get(name, [])]
    compare.put("scale", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])

#!/usr/bin/env python3
"""Night after night of one database, and what it then takes to have them back.

    nights.py LARDER FOLDER [NIGHTS]        (30)

The database of the corpus `sqlite` changes by 1 % every night, and is saved as a file. The first two, the middle and the
last night are also saved to a repository each that knows nothing else, where all is stored whole. Then each is restored
from there and from the one with all nights, in turn; five rounds, medians. Writes a section into docs/benchmarks.md.
"""

import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import compare
import corpora

ROUNDS = 5


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "blake2b").digest()


def main(larder, folder, nights=30):
    work = Path(folder) / "work"
    shutil.rmtree(work, ignore_errors=True)
    source = work / "source"
    source.mkdir(parents=True)
    database = source / "archive.db"
    shutil.copyfile(corpora.build(folder, "sqlite") / "live/archive.db", database)

    def run(repository, *command):
        place = work / repository
        env = {"PATH": os.environ["PATH"], "HOME": str(work), "LARDER_REPO": str(place / "repo"),
               "LARDER_KEY_FILE": str(place / "key"), "XDG_CACHE_HOME": str(place / "cache")}
        place.mkdir(exist_ok=True)
        return compare.measure([" ".join([larder, "-q", *command])], env, place, work)

    def save(repository):
        before = compare.size(work / repository / "repo")
        used = run(repository, "backup", "--raw-databases", str(source))
        return used | {"adds": compare.size(work / repository / "repo") - before}

    picked = sorted({1, 2, nights // 2, nights})
    run("nights", "init")
    saved, sums = [], {}
    for night in range(1, nights + 1):
        if night > 1:
            subprocess.run([sys.executable, "-B", corpora.__file__, "--night", str(night - 1), str(database)], check=True)
        saved.append(save("nights"))
        print(f"night {night} adds {saved[-1]['adds']:.1f} MB in {saved[-1]['cpu']:.1f} s", flush=True)
        if night in picked:
            run(f"whole-{night}", "init")
            save(f"whole-{night}")
            sums[night] = digest(database)

    def restore(repository, name, night):
        used = run(repository, "restore", name, "--to", str(work / "target"))
        if digest(work / "target/archive.db") != sums[night]:
            sys.exit(f"night {night} of {repository} is not what it was")
        shutil.rmtree(work / "target")
        return used

    found = {night: [] for night in picked}
    for _ in range(ROUNDS):
        for night in picked:
            pair = restore(f"whole-{night}", "latest", night), restore("nights", f"latest~{nights - night}", night)
            found[night].append(pair)
    lines = ["| restore of | whole, CPU s | CPU s | to whole | whole, wall s | wall s | memory MB |", "|---|---|---|---|---|---|---|"]
    for night, pairs in found.items():
        median = lambda key, which: statistics.median(pair[which][key] for pair in pairs)
        lines.append(f"| night {night} | {median('cpu', 0):.2f} | {median('cpu', 1):.2f} | {median('cpu', 1) / median('cpu', 0):.2f} "
                     f"| {median('wall', 0):.2f} | {median('wall', 1):.2f} | {median('rss', 1):.0f} |")
    later = [one["adds"] for one in saved[2:]]
    text = (f"### {nights} nights of a database\n\n{database.stat().st_size / 1e6:.0f} MB at the end. {time.strftime('%Y-%m-%d')}, "
            f"commit {compare.commit()}, {compare.cores()}. Night 1 takes {saved[0]['adds']:.0f} MB, night 2 adds {saved[1]['adds']:.1f}, "
            f"the later ones {statistics.mean(later):.1f} in the mean ({statistics.mean(later) / saved[1]['adds']:.2f} x), "
            f"{max(later):.1f} at most, in {statistics.median(one['cpu'] for one in saved[2:]):.1f} s CPU, with "
            f"{max(one['rss'] for one in saved):.0f} MB of memory.\n\n" + "\n".join(lines) + "\n")
    compare.put("nights", text)
    shutil.rmtree(work)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))

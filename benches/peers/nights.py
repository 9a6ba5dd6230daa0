#!/usr/bin/env python3
"""Night after night of one database, and what it then takes to have them back.

    nights.py LARDER FOLDER [NIGHTS]        (30)

The database of the corpus `sqlite` changes by 1 % every night, and is saved as a file. Then the first, the middle and the
last night are restored, in turn with the last one from a repository that knows nothing else, where all is stored whole;
five rounds, medians. Writes a section into docs/benchmarks.md.
"""

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

    run("nights", "init")
    saved = [save("nights")]
    for night in range(1, nights):
        subprocess.run([sys.executable, "-B", corpora.__file__, "--night", str(night), str(database)], check=True)
        saved.append(save("nights"))
        print(f"night {night + 1} adds {saved[-1]['adds']:.1f} MB in {saved[-1]['cpu']:.1f} s", flush=True)
    run("whole", "init")
    save("whole")

    picked = sorted({0, nights // 2 - 1, nights - 1})
    restores = {("whole", "latest"): []} | {("nights", f"latest~{nights - 1 - night}"): [] for night in picked}
    for _ in range(ROUNDS):
        for (repository, name), found in restores.items():
            found.append(run(repository, "restore", name, "--to", str(work / "target")))
            shutil.rmtree(work / "target")
    median = lambda found, key: statistics.median(one[key] for one in found)
    whole = median(restores["whole", "latest"], "cpu")
    shown = ["the last, stored whole"] + [f"night {night + 1}" for night in picked]
    lines = ["| restore of | CPU s | to whole | wall s | memory MB |", "|---|---|---|---|---|"]
    for name, found in zip(shown, restores.values()):
        cpu, wall, rss = (median(found, key) for key in ["cpu", "wall", "rss"])
        lines.append(f"| {name} | {cpu:.2f} | {cpu / whole:.2f} | {wall:.2f} | {rss:.0f} |")
    later = [one["adds"] for one in saved[2:]]
    text = (f"### {nights} nights of a database\n\n{database.stat().st_size / 1e6:.0f} MB at the end. {time.strftime('%Y-%m-%d')}, "
            f"commit {compare.commit()}. Night 1 takes {saved[0]['adds']:.0f} MB, night 2 adds {saved[1]['adds']:.1f}, "
            f"the later ones {statistics.mean(later):.1f} in the mean ({statistics.mean(later) / saved[1]['adds']:.2f} x), "
            f"{max(later):.1f} at most, in {statistics.median(one['cpu'] for one in saved[2:]):.1f} s CPU, with "
            f"{max(one['rss'] for one in saved):.0f} MB of memory.\n\n" + "\n".join(lines) + "\n")
    compare.put("nights", text)
    shutil.rmtree(work)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))

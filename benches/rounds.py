#!/usr/bin/env python3
"""Two backups and a prune at once on two real trees, each killed now and then.

    benches/rounds.py LARDER ROUNDS SEED TREE_A TREE_B WORK

Each round changes some files of two copies, runs two backups and a prune beside each other, kills one of the three or none,
then checks that every snapshot that was said to be saved is listed. At the end all data are read, all that stays is restored
and compared, and the size is set against that of a fresh repository of the same snapshots.
"""
import json
import os
import random
import shutil
import subprocess
import sys
import time

CHANGED_FILES = 40
PATIENCE = 0.8  # seconds within which one is killed


def size(path):
    """bytes of all files but the space that is set aside"""
    return sum(os.path.getsize(os.path.join(d, f)) for d, _, fs in os.walk(path) for f in fs if f != "reserve")


class Machine:
    """a repository, and what runs of larder see"""

    def __init__(self, larder, work, name):
        self.larder, self.repository = larder, f"{work}/{name}"
        self.env = dict(os.environ, LARDER_REPO=self.repository, LARDER_KEY_FILE=f"{work}/{name}.key",
                        XDG_CACHE_HOME=f"{work}/{name}.cache", XDG_STATE_HOME=f"{work}/{name}.cache")
        self.run("init")

    def start(self, *args):
        return subprocess.Popen([self.larder, *args], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *args):
        process = self.start(*args)
        out, err = process.communicate()
        if process.returncode != 0:
            sys.exit(f"{args}: exit {process.returncode}\n{out}\n{err}")
        return out

    def snapshots(self):
        return {one["id"] for one in json.loads(self.run("snapshots", "--json"))["snapshots"]}


def files_of(tree):
    paths = (os.path.join(d, f) for d, _, fs in os.walk(tree) for f in fs)
    return [path for path in paths if os.path.isfile(path) and not os.path.islink(path)]


def change(files, chance):
    for path in chance.sample(files, min(CHANGED_FILES, len(files))):
        with open(path, "rb") as file:
            data = bytearray(file.read() or b"x")
        for _ in range(3):
            at = chance.randrange(len(data))
            data[at:at + 20] = chance.randbytes(20)
        with open(path, "wb") as file:
            file.write(data)


def one_round(machine, trees, files, number, chance, killed):
    """two backups and a prune; the ids of what was saved"""
    for tree in files:
        change(tree, chance)
    how = ["--no-trash", "--max-unused", "0%"] if number % 3 else []
    processes = [machine.start("backup", "--json", tree) for tree in trees] + [machine.start("prune", "--quiet", *how)]
    time.sleep(chance.random() * PATIENCE)
    victim = chance.randrange(4)
    if victim < 3:
        processes[victim].kill()
    saved = set()
    for n, process in enumerate(processes):
        out, err = process.communicate()
        if process.returncode not in ((0, -9) if n == victim else (0,)):
            sys.exit(f"round {number}: process {n} ended with {process.returncode}\n{out}\n{err}")
        killed[n // 2] += process.returncode == -9
        if n < 2 and process.returncode == 0:
            saved |= {json.loads(line)["snapshot"] for line in out.splitlines() if '"type":"summary"' in line}
    return saved


def compare(machine, tree, name, work):
    machine.run("restore", f"latest:{name}", "--to", f"{work}/to-{name}", "--quiet")
    differ = subprocess.run(["rsync", "-naHAXi", "--delete", "--checksum", f"{tree}/", f"{work}/to-{name}/"],
                            check=True, capture_output=True, text=True).stdout
    if differ:
        sys.exit(f"{name} came back different:\n{differ[:1000]}")


def main(larder, rounds, seed, a, b, work):
    chance = random.Random(int(seed))
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    machine = Machine(larder, work, "repository")
    trees = [f"{work}/a", f"{work}/b"]
    for source, tree in zip((a, b), trees):
        subprocess.run(["cp", "-a", source, tree], check=True)
        machine.run("backup", "--quiet", tree)
    files = [files_of(tree) for tree in trees]
    saved, killed = set(), [0, 0]
    for number in range(int(rounds)):
        saved |= one_round(machine, trees, files, number, chance, killed)
        lost = saved - machine.snapshots()
        if lost:
            sys.exit(f"round {number}: lost {lost}")
        if number % 5 == 4:
            machine.run("forget", "--keep-last", "3", "--force", "--quiet")
            saved &= machine.snapshots()
        if number % 50 == 49:
            machine.run("check", "--data", "all", "--quiet")
    for tree in trees:
        machine.run("backup", "--quiet", tree)
    machine.run("forget", "--keep-last", "1", "--force", "--quiet")
    machine.run("prune", "--no-trash", "--max-unused", "0%", "--quiet")
    machine.run("check", "--data", "all", "--quiet")
    for tree in trees:
        compare(machine, tree, os.path.basename(tree), work)
    fresh = Machine(larder, work, "fresh")
    for tree in trees:
        fresh.run("backup", "--quiet", tree)
    share = size(machine.repository) / size(fresh.repository)
    print(f"figure: two backups and a prune at once, kill -9 = {rounds} rounds, {killed[0]} backups and {killed[1]} prunes "
          f"killed, 0 lost; then {share:.3f} x the size of a fresh repository")
    shutil.rmtree(work)
    if share > 1.05:
        sys.exit("more than 5 % above a fresh repository")


if __name__ == "__main__":
    if len(sys.argv) != 7:
        sys.exit(__doc__)
    main(*sys.argv[1:])

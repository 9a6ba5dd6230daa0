#!/usr/bin/env python3
"""Builds what is backed up in benchmarks: real data from Debian's archive, as it is on two nights.

    corpora.py FOLDER NAME...
    corpora.py --night N DATABASE

FOLDER/NAME/live is the source on the first night; FOLDER/NAME/other has what is different on the second, and `delta.list`
names it, a path a line: these are exchanged between the two, and nothing else is touched. A path that is not in `other`
is deleted on the second night. Needs apt, dpkg-deb, tar, xz and zcat; image needs mkfs.ext4, pgdump PostgreSQL's server.

With --night a database like that of corpus sqlite has one more night like its second, in place: each N is another one.
"""

import gzip
import itertools
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

MEDIA = ["flare-game", "firefox-esr", "chromium", "libreoffice-core", "widelands-data", "libllvm14", "texlive-fonts-extra",
         "supertuxkart-data", "linux-source-6.1"]


def out(*command, **more):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **more).stdout


def versions(package):
    """All that the archive has, oldest first."""
    found = {line.split("|")[1].strip() for line in out("apt-cache", "madison", package).splitlines()}
    return out("sort", "-V", input="\n".join(found)).split()


def deb(package, version):
    """The package's file, fetched once."""
    folder = ROOT / "debs"
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{package}_{version.replace(':', '%3a')}_*.deb"
    if not list(folder.glob(name)):
        subprocess.run(["apt-get", "download", "-qq", f"{package}={version}"], cwd=folder, check=True)
    return next(folder.glob(name))


def kernels():
    """Two point releases of the kernel, one after the other."""
    releases = {version.split("-")[0]: version for version in reversed(versions("linux-source-6.1"))}
    return [deb("linux-source-6.1", version) for version in list(reversed(releases.values()))[:2]]


def untar(package, tar):
    """Gives the kernel's source to a tar command."""
    inner = f"dpkg-deb --fsys-tarfile '{package}' | tar -xO --wildcards '*linux-source-6.1.tar.xz' | xz -dc -T0"
    return subprocess.Popen(f"{inner} | {tar}", shell=True, stdout=subprocess.PIPE)


def kinds(root):
    """Path -> whether it is a folder."""
    paths = Path(root).rglob("*")
    return {str(path.relative_to(root)): path.is_dir() and not path.is_symlink() for path in paths}


def is_same(a, b):
    if a.is_symlink() or b.is_symlink():
        return a.is_symlink() and b.is_symlink() and os.readlink(a) == os.readlink(b)
    return a.stat().st_mode == b.stat().st_mode and a.read_bytes() == b.read_bytes()


def move(a, b):
    b.parent.mkdir(parents=True, exist_ok=True)
    a.rename(b)


def tree(corpus):
    """The source of the kernel, and its next point release."""
    live, other, next_live = corpus / "live", corpus / "other", corpus / "next"
    for package, folder in zip(kernels(), [live, next_live]):
        folder.mkdir(exist_ok=True)
        assert untar(package, f"tar -x -C '{folder}' --strip-components=1").wait() == 0
    before, after = kinds(live), kinds(next_live)
    files = [path for path in sorted(before | after) if not (before.get(path, True) and after.get(path, True))]
    there = lambda path: path in before and path in after
    delta = [path for path in files if not (there(path) and is_same(live / path, next_live / path))]
    for path in delta:
        if path in after:
            move(next_live / path, other / path)
    shutil.rmtree(next_live)
    return delta


def manyfiles(corpus, count):
    """Slices of the kernel's text, 1 to 4 KiB each, 500 in a folder; then a few are written anew, deleted, added."""
    chance, text = random.Random(7), untar(kernels()[0], "tar -xO").stdout
    write = lambda path: (path.parent.mkdir(parents=True, exist_ok=True),
                          path.write_bytes(text.read(chance.randint(1024, 4096))))
    place = lambda n: f"{n // 25000:02d}/{n // 500:04d}/f{n:06d}.txt"
    for n in range(count):
        write(corpus / "live" / place(n))
    delta = []
    for n in chance.sample(range(count), count // 400):
        what = chance.choice(["deleted", "added", "anew", "anew", "anew"])
        path = place(n).replace(".txt", ".new.txt" if what == "added" else ".txt")
        if what != "deleted":
            write(corpus / "other" / path)
        delta.append(path)
    text.close()
    return delta


def media(corpus):
    """Compressed files of all sizes; then one is deleted, one moved, one new."""
    for package in MEDIA:
        shutil.copy(deb(package, versions(package)[0]), corpus / "live")
    gone, moved = sorted(path.name for path in (corpus / "live").iterdir())[:2]
    (corpus / "other/sorted").mkdir()
    shutil.copy2(corpus / "live" / moved, corpus / "other/sorted")
    shutil.copy(deb("endless-sky-high-dpi", versions("endless-sky-high-dpi")[0]), corpus / "other/new.deb")
    return [gone, moved, f"sorted/{moved}", "new.deb"]


def contents():
    """Path and package of every file in Debian."""
    for line in out("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages").splitlines():
        uri, release, component = line.split()
        if component != "main" or "-" in release:
            continue
        for architecture in ["all", out("dpkg", "--print-architecture").strip()]:
            file = ROOT / f"debs/Contents-{architecture}.gz"
            if not file.exists():
                helper = out("apt-config", "shell", "D", "Dir::Bin::methods").split("'")[1].rsplit("/methods")[0]
                fetch = [f"{helper}/apt-helper", "-o", "APT::Sandbox::User=root", "download-file"]
                subprocess.run([*fetch, f"{uri}dists/{release}/main/{file.name}", file], check=True, stdout=subprocess.DEVNULL)
            with gzip.open(file, "rt", errors="replace") as lines:
                yield from (match.groups() for match in (re.match(r"(\S.*?)\s+(\S+)$", line) for line in lines) if match)
        return


def sqlite(corpus, rows=5_000_000):
    """Debian's packages and their files in four tables with indices; then 1 % of the rows are changed at random, 0.2 %
    deleted, 0.3 % added."""
    chance, dirs = random.Random(3), {}
    (ROOT / "debs").mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(corpus / "live/archive.db", isolation_level=None)
    db.executescript("""
        PRAGMA page_size = 4096; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -400000; BEGIN;
        CREATE TABLE package(id INTEGER PRIMARY KEY, name TEXT NOT NULL, version TEXT, section TEXT, maintainer TEXT,
                             size INTEGER, sha256 TEXT, depends TEXT, description TEXT);
        CREATE TABLE dir(id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE);
        CREATE TABLE file(id INTEGER PRIMARY KEY, dir_id INTEGER NOT NULL, name TEXT NOT NULL, package TEXT NOT NULL,
                          seen INTEGER NOT NULL, hits INTEGER NOT NULL DEFAULT 0, etag BLOB);
        CREATE TABLE event(id INTEGER PRIMARY KEY, file_id INTEGER NOT NULL, at INTEGER NOT NULL, what TEXT NOT NULL);""")
    fields = ["Package", "Version", "Section", "Maintainer", "Size", "SHA256", "Depends", "Description"]
    for stanza in out("apt-cache", "dumpavail").split("\n\n"):
        said = dict(re.findall(r"^(\S+): ((?:.*)(?:\n .*)*)", stanza, re.M))
        if said:
            db.execute("INSERT INTO package VALUES(NULL,?,?,?,?,?,?,?,?)", [said.get(field) for field in fields])

    def files():
        for n, (path, package) in enumerate(itertools.islice(contents(), rows), 1):
            folder, _, name = path.rpartition("/")
            seen = 1_700_000_000 + chance.randrange(10**7)
            yield n, dirs.setdefault(folder, len(dirs) + 1), name, package.rpartition("/")[2], seen, 0, chance.randbytes(12)

    def events(count):
        for n in range(4, count, 4):
            what = chance.choice(["installed", "removed", "verified", "changed"])
            yield chance.randrange(1, n + 1), 1_700_000_000 + n // 7, what

    count = db.executemany("INSERT INTO file VALUES(?,?,?,?,?,?,?)", files()).rowcount
    db.executemany("INSERT INTO event(file_id, at, what) VALUES(?,?,?)", events(count))
    db.executemany("INSERT INTO dir(path, id) VALUES(?,?)", dirs.items())
    # What is open, executescript commits first.
    db.executescript("""
        BEGIN; CREATE INDEX file_dir ON file(dir_id, name); CREATE INDEX file_package ON file(package);
        CREATE INDEX file_seen ON file(seen); CREATE INDEX event_file ON event(file_id);
        CREATE INDEX package_name ON package(name); COMMIT;""")
    db.close()
    shutil.copy(corpus / "live/archive.db", corpus / "other")
    night(corpus / "other/archive.db", chance)
    return ["archive.db"]


def altered(path, chance):
    """The database, in a transaction; what its SQL draws at random is drawn from this chance."""
    db = sqlite3.connect(path, isolation_level=None)
    db.create_function("randomblob", 1, chance.randbytes)
    db.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -400000; BEGIN;")
    return db


def night(path, chance):
    """Of the rows 1 % are changed, which is an event each, 0.2 % deleted, and copies of 0.3 % added, all at random."""
    db = altered(path, chance)
    count, = db.execute("SELECT max(id) FROM file").fetchone()
    ids = [(n,) for n in chance.sample(range(1, count + 1), count // 100 + count // 500 + count * 3 // 1000)]
    changed, deleted, copied = ids[: count // 100], ids[count // 100: -count * 3 // 1000], ids[-count * 3 // 1000:]
    db.executemany("UPDATE file SET hits = hits + 1, seen = seen + 86400, etag = randomblob(12) WHERE id = ?", changed)
    db.executemany("""INSERT INTO file(dir_id, name, package, seen, etag)
        SELECT dir_id, name || '.new', package, seen + 86400, randomblob(12) FROM file WHERE id = ?""", copied)
    db.executemany("DELETE FROM file WHERE id = ?", deleted)
    add_events(db, changed)


def add_events(db, changed):
    db.executemany("INSERT INTO event(file_id, at, what) SELECT id, seen, 'changed' FROM file WHERE id = ?", sorted(changed))
    db.execute("COMMIT")
    db.close()


def copy_of_sqlite(corpus):
    """The first night of corpus sqlite, twice. Of its two states it is the smaller, wherever it is."""
    source = build(ROOT, "sqlite")
    first = min((source / folder / "archive.db" for folder in ["live", "other"]), key=lambda path: path.stat().st_size)
    for folder in ["live", "other"]:
        shutil.copyfile(first, corpus / folder / "archive.db")
    return corpus / "other/archive.db"


def sqlite_skewed(corpus):
    """The database of sqlite; then 1 % of the rows are changed in columns without an index, which is an event each, nine of
    ten of them in the newest 3 %."""
    chance = random.Random(4)
    db = altered(copy_of_sqlite(corpus), chance)
    count, = db.execute("SELECT max(id) FROM file").fetchone()
    newest, hot = count * 97 // 100, count * 9 // 1000
    changed = chance.sample(range(newest, count + 1), hot) + chance.sample(range(1, newest), count // 100 - hot)
    changed = [(n,) for n in changed]
    db.executemany("UPDATE file SET hits = hits + 1, etag = randomblob(12) WHERE id = ?", changed)
    add_events(db, changed)
    return ["archive.db"]


def sqlite_light(corpus):
    """The database of sqlite; then a column without an index is changed, of 0.02 % of the rows at random: in place."""
    chance = random.Random(5)
    db = altered(copy_of_sqlite(corpus), chance)
    count, = db.execute("SELECT max(id) FROM file").fetchone()
    changed = chance.sample(range(1, count + 1), count // 5000)
    db.executemany("UPDATE file SET hits = hits + 1 WHERE id = ?", ((n,) for n in changed))
    db.execute("COMMIT")
    db.close()
    return ["archive.db"]


def image(corpus, size=420 << 20, count=300):
    """A file system with the kernel's source but for two of its folders; then blocks of files here and there have text of
    one of these, and nothing else is changed: 1.2 MB, a third of that compressed."""
    chance, kernel, files, top = random.Random(6), kernels()[0], corpus / "files", "linux-source-6.1"
    files.mkdir()
    assert untar(kernel, f"tar -x -C '{files}' --exclude={top}/arch --exclude={top}/drivers --strip-components=1").wait() == 0
    made, other = corpus / "disk.img", corpus / "other/disk.img"
    with open(made, "wb") as disk:
        disk.truncate(size)
    fixed = ["-U", "00000000-0000-4000-8000-000000000001", "-E", "hash_seed=00000000-0000-4000-8000-000000000002"]
    out("/sbin/mkfs.ext4", "-q", "-b", "4096", "-i", "8192", "-m", "0", *fixed, "-d", files, made)
    for folder in ["live", "other"]:
        out("cp", made, corpus / folder)  # Both with the same holes.
    made.unlink()
    shutil.rmtree(files)
    with untar(kernel, f"tar -xO {top}/drivers/usb").stdout as stream:
        text = stream.read()
    with open(other, "r+b") as disk:
        is_text = lambda block: len(block) == 4096 and block.isascii() and b"\0" not in block
        used = [n for n, block in enumerate(iter(lambda: disk.read(4096), b"")) if is_text(block)]
        for n, start in zip(chance.sample(used, count), chance.sample(range(0, len(text) - 4096, 4096), count)):
            disk.seek(n * 4096)
            disk.write(text[start:start + 4096])
    return ["disk.img"]


def pgdump(corpus, scale=60, transactions=20_000):
    """A dump of pgbench's tables and of one of text; then there were transactions: each has a row more, at the end, and
    changes three elsewhere, which moves these to where there was room."""
    user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    # Debian has a folder of programs for each version of the server, outside of the path.
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), default=".")
    cluster = (corpus / "cluster").resolve()
    cluster.mkdir()
    if user:
        shutil.chown(cluster, "postgres")
    env = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "PGHOST": str(cluster), "PGUSER": "postgres"}
    run = lambda *command, **more: out(*command, env=env, cwd=cluster, **more)
    options = f"-k '{cluster}' -c listen_addresses= -c fsync=off -c full_page_writes=off -c autovacuum=off -c max_wal_size=4GB"
    run(*user, "initdb", "-D", cluster / "data", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-locale")
    run(*user, "pg_ctl", "start", "-w", "-D", cluster / "data", "-l", cluster / "log", "-o", options)
    try:
        run("pgbench", "-q", "-i", "-s", str(scale), stderr=subprocess.DEVNULL)
        run("psql", "-q", "-c", "CREATE TABLE contents(path text, package text)")
        escaped = lambda text: text.replace("\\", "\\\\").replace("\t", "\\t")
        with open(corpus / "rows", "w+", encoding="utf-8") as rows:
            rows.writelines("\t".join(map(escaped, row)) + "\n" for row in itertools.islice(contents(), scale * 30_000))
            rows.seek(0)
            run("psql", "-q", "-c", "COPY contents FROM STDIN", stdin=rows)
        (corpus / "rows").unlink()
        run("pg_dump", "-f", corpus.resolve() / "live/bench.sql")
        run("pgbench", "-n", "-c", "4", "-j", "1", "-t", str(transactions // 4), "--random-seed=42", stderr=subprocess.DEVNULL)
        run("pg_dump", "-f", corpus.resolve() / "other/bench.sql")
    finally:
        run(*user, "pg_ctl", "stop", "-m", "immediate", "-D", cluster / "data")
        shutil.rmtree(cluster)
    return ["bench.sql"]


BUILDERS = {
    "tree": tree,
    "manyfiles": lambda corpus: manyfiles(corpus, 50_000),
    "manyfiles-500k": lambda corpus: manyfiles(corpus, 500_000),
    "media": media,
    "sqlite": sqlite,
    "sqlite-skewed": sqlite_skewed,
    "sqlite-light": sqlite_light,
    "image": image,
    "pgdump": pgdump,
}


def build(root, name):
    global ROOT
    ROOT = Path(root)
    corpus = ROOT / name
    if (corpus / "delta.list").exists():
        return corpus
    shutil.rmtree(corpus, ignore_errors=True)
    for folder in ["live", "other"]:
        (corpus / folder).mkdir(parents=True)
    print(f"building {name}", file=sys.stderr)
    delta = BUILDERS[name](corpus)
    (corpus / "delta.list").write_text("".join(f"{path}\n" for path in delta))
    return corpus


if __name__ == "__main__":
    if sys.argv[1] == "--night":
        night(sys.argv[3], random.Random(int(sys.argv[2])))
    else:
        for name in sys.argv[2:]:
            build(sys.argv[1], name)

"""A project in one file, and back: round trips, kills, people who vote meanwhile, and archives that mean harm."""

import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import zipfile
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from registries import new_database, postgres, team
from watched import project as watched

from germane import cli
from germane.pipeline import backup as verb
from germane.pipeline import watch
from germane.registry import accounts, database
from germane.registry.database import open_registry
from germane.store import archives
from germane.types import InputError

NOW = datetime(2026, 3, 4, 9, tzinfo=UTC)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(database, "open_registry", partial(database.open_registry, clock=lambda: NOW))


@pytest.fixture(scope="module")
def server():
    with postgres() as url:
        yield url


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with two watched days, accounts, a share secret, vectors, and files of every folder."""
    folder = watched(tmp_path_factory.mktemp("made") / "shop", days=2, anchors=True)
    real = database.open_registry
    database.open_registry = partial(real, clock=lambda: NOW)
    try:
        watch.run(folder)
        registry = database.open_registry(folder / "registry.sqlite")
        team(registry, olga="owner")
        registry.close()
    finally:
        database.open_registry = real
    for name in ("judges/ce/model.bin", "cards/c.json", "guides/ü ber.md", "reports/r.html", "vectors/v.npy", "designs/d.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode() * 50)
    (folder / "web-secret").write_bytes(b"s" * 64)
    with sqlite3.connect(folder / "reports/notes.sqlite") as other:
        other.execute("CREATE TABLE n (x)")
        other.execute("INSERT INTO n VALUES (7)")
    other.close()
    return folder


def told(folder):
    """What `watch status` says, but for where the registry lies."""
    return watch.status(folder)._replace(registry="")


def content(folder, *, but=()):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith("registry.sqlite") and path.relative_to(folder).parts[0] not in but
    }


def test_a_round_trip_is_the_project_again(made, tmp_path):
    saved = verb.backup(tmp_path / "b.zip", made)
    assert saved.registry > 100
    assert (tmp_path / "b.zip").stat().st_mode & 0o777 == 0o600
    found = verb.restore(tmp_path / "b.zip", tmp_path / "again")
    again = tmp_path / "again"
    assert told(again) == told(made)
    missing = ("vectors", "web-secret", "logs")
    before, after = content(made, but=missing), content(again)
    assert before.pop("reports/notes.sqlite") is not None
    assert after.pop("reports/notes.sqlite") is not None
    assert after == before
    with sqlite3.connect(again / "reports/notes.sqlite") as other:
        assert other.execute("SELECT x FROM n").fetchall() == [(7,)]
    other.close()
    assert {p.stat().st_mtime_ns for p in again.rglob("sample.parquet")} == {
        p.stat().st_mtime_ns for p in made.rglob("sample.parquet")
    }
    said = " ".join(found.notes)
    for each in ("vectors", "web-secret", "watch.log: logs/{date}.parquet"):
        assert each in said
    registry = open_registry(again / "registry.sqlite")
    assert [account.name for account in accounts.listed(registry)] == ["olga"]
    registry.close()
    shutil.copytree(made / "logs", again / "logs")  # once what comes from elsewhere is there, watching goes on
    assert watch.run(again).days == ()
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_vectors_are_kept_when_asked_for(made, tmp_path):
    verb.backup(tmp_path / "b.zip", made, vectors=True)
    verb.restore(tmp_path / "b.zip", tmp_path / "again")
    assert (tmp_path / "again/vectors/v.npy").read_bytes() == (made / "vectors/v.npy").read_bytes()


@pytest.mark.parametrize("there", [False, True])
def test_a_project_goes_from_sqlite_to_postgresql_and_back(made, tmp_path, server, there):
    url = new_database(server, f"backup_{int(there)}")
    verb.backup(tmp_path / "b.zip", made)
    found = verb.restore(tmp_path / "b.zip", tmp_path / "team", registry=url)
    assert found.registry == url.partition("?")[0]
    assert not (tmp_path / "team/registry.sqlite").exists()
    settings = tmp_path / "team/germane.toml"
    settings.write_text(settings.read_text() + '\nregistry_env = "TEAM"\n')
    os.environ["TEAM"] = url
    try:
        assert told(tmp_path / "team") == told(made)
        if there:
            with pytest.raises(InputError, match="holds something"):
                verb.restore(tmp_path / "b.zip", tmp_path / "third", registry=url)
            assert not (tmp_path / "third").exists()
            verb.restore(tmp_path / "b.zip", tmp_path / "third", registry=url, replace=True)
        verb.backup(tmp_path / "c.zip", tmp_path / "team")
        with pytest.raises(InputError, match="holds something"):
            verb.restore(tmp_path / "c.zip", tmp_path / "fourth")
        verb.restore(tmp_path / "c.zip", tmp_path / "fourth", registry="registry.sqlite")
    finally:
        del os.environ["TEAM"]
    text = (tmp_path / "fourth/germane.toml").read_text()
    (tmp_path / "fourth/germane.toml").write_text(text.replace('registry_env = "TEAM"', ""))
    assert told(tmp_path / "fourth") == told(made)


def test_what_is_there_stays_without_replace_and_is_kept_beside_with_it(made, tmp_path):
    verb.backup(tmp_path / "b.zip", made)
    with pytest.raises(InputError, match="is there already"):
        verb.backup(tmp_path / "b.zip", made)
    verb.backup(tmp_path / "b.zip", made, replace=True)
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something"):
        verb.restore(tmp_path / "b.zip", folder)
    assert content(folder) == {"mine.txt": b"mine"}
    found = verb.restore(tmp_path / "b.zip", folder, replace=True)
    old = Path(next(note for note in found.notes if "what was there" in note).removeprefix("what was there lies in "))
    assert (old / "mine.txt").read_text() == "mine"
    assert told(folder) == told(made)
    (tmp_path / "empty").mkdir()
    verb.restore(tmp_path / "b.zip", tmp_path / "empty")


def test_files_outside_and_links_and_secrets_are_told_of(tmp_path):
    folder, outside = watched(tmp_path / "p", days=0), tmp_path / "outside"
    outside.mkdir()
    (outside / "model").write_text("m")
    (folder / "germane.toml").write_text(
        (folder / "germane.toml").read_text().replace('judge = "fake"', 'judge = "../outside"')
        + '[folders]\nguides = "../outside"\n[serve]\nkeys_file = "cards/keys"\n'
    )
    (folder / "cards").mkdir()
    (folder / "cards/keys").write_text("secret key")
    (folder / "cards/link").symlink_to(outside / "model")
    (folder / "judges").symlink_to(outside)
    saved = verb.backup(tmp_path / "b.zip", folder)
    said = " ".join(saved.left_out)
    for each in ("watch.judge", "folders.guides", "folders.judges", "keys: a secret", "link: a link is not followed"):
        assert each in said, each
    with zipfile.ZipFile(tmp_path / "b.zip") as file:
        assert set(file.namelist()) == {"germane.toml", "docs.parquet", "backup.json"}
    assert saved.registry is None
    found = verb.restore(tmp_path / "b.zip", tmp_path / "again")
    assert found.registry is None


# --- meanwhile ------------------------------------------------------------------------------------------------------------


def test_people_vote_and_files_grow_meanwhile(made, tmp_path):
    folder = tmp_path / "p"
    shutil.copytree(made, folder)
    over = threading.Event()
    registry = open_registry(folder / "registry.sqlite")

    def busy():
        number = 0
        while not over.is_set():
            number += 1
            with registry.writing() as connection:
                database.record(connection, NOW, "olga", "voted", str(number))
            with (folder / "reports/alerts.jsonl").open("a") as file:
                file.write('{"a": 1}\n' * 1000)
            (folder / "reports/.draft.tmp").write_text("x")

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        for number in range(3):
            verb.backup(tmp_path / f"b{number}.zip", folder)
            verb.restore(tmp_path / f"b{number}.zip", tmp_path / f"again{number}")
            lines = tmp_path / f"again{number}/reports/alerts.jsonl"
            assert not lines.is_file() or set(lines.read_text()) <= set('{"a": 1}\n')
            assert not (tmp_path / f"again{number}/reports/.draft.tmp").exists()
            assert told(tmp_path / f"again{number}") == told(made)
    finally:
        over.set()
        thread.join()
        registry.close()


def test_a_file_that_is_rewritten_all_the_time_is_said(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"a" * 10)
    real, count = os.fstat, [0]

    def moving(handle):
        found = real(handle)
        count[0] += 1
        values = list(found)
        return os.stat_result(values, {"st_mtime_ns": count[0]})

    monkeypatch.setattr(archives, "AGAIN", 2)
    monkeypatch.setattr(os, "fstat", moving)
    with pytest.raises(InputError, match="written all the time"), archives.writing(tmp_path / "b.zip", {}) as archive:
        archive.add("x", path)
    assert not (tmp_path / "b.zip").exists()


def test_a_large_file_is_streamed_and_one_that_shrinks_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "CHUNK", 7)
    (tmp_path / "x").write_bytes(bytes(range(200)))
    with archives.writing(tmp_path / "b.zip", {}) as archive:
        archive.add("x", tmp_path / "x")
    (tmp_path / "out").mkdir()
    archives.unpack(tmp_path / "b.zip", tmp_path / "out")
    assert (tmp_path / "out/x").read_bytes() == bytes(range(200))
    real, sizes = archives.Archive._write, [50, 40]

    def shorter(self, name, *given, **said):
        if sizes:
            os.truncate(tmp_path / "x", sizes.pop())
        return real(self, name, *given, **said)

    monkeypatch.setattr(archives.Archive, "_write", shorter)
    with archives.writing(tmp_path / "c.zip", {}) as archive:
        archive.add("x", tmp_path / "x")
        archive.put("y", b"y")
    (tmp_path / "more").mkdir()
    archives.unpack(tmp_path / "c.zip", tmp_path / "more")
    assert content(tmp_path / "more") == {"x": bytes(range(40)) + bytes(10), "y": b"y"}


KILLED = """
import os, signal, sys
from pathlib import Path
from germane.pipeline import backup as verb
from germane.store import archives
what, at, *paths = sys.argv[1:]
count = 0
def dies(real):
    def called(*given, **said):
        global count
        count += 1
        if count == int(at):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*given, **said)
    return called
if what == "backup":
    archives.Archive._write = dies(archives.Archive._write)
    os.replace = dies(os.replace)
    verb.backup(Path(paths[0]), Path(paths[1]))
else:
    archives._unpack = dies(archives._unpack)
    Path.rename = dies(Path.rename)
    verb.restore(Path(paths[0]), Path(paths[1]), replace=True)
"""


def killed(*words):
    done = subprocess.run([sys.executable, "-c", KILLED, *map(str, words)], capture_output=True, text=True)
    return done.returncode == -signal.SIGKILL


def test_a_kill_at_any_moment_leaves_no_half_archive(made, tmp_path):
    files = verb.backup(tmp_path / "whole.zip", made).files
    for at in (1, files // 2, files + 1):  # the last is the rename
        assert killed("backup", at, tmp_path / "b.zip", made), at
        assert not (tmp_path / "b.zip").exists()
    verb.backup(tmp_path / "b.zip", made)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.zip", "whole.zip"]  # drafts of the dead are swept


def test_a_kill_at_any_moment_leaves_no_half_project(made, tmp_path):
    files = verb.backup(tmp_path / "b.zip", made).files
    for at in (files // 2, files + 1):
        assert killed("restore", at, tmp_path / "b.zip", tmp_path / "p"), at
        assert not (tmp_path / "p").exists()
    verb.restore(tmp_path / "b.zip", tmp_path / "p")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.zip", "p"]
    assert told(tmp_path / "p") == told(made)
    assert killed("restore", files + 2, tmp_path / "b.zip", tmp_path / "p")  # between the two renames
    (old,) = tmp_path.glob("p.replaced-*")
    assert told(old) == told(made)
    verb.restore(tmp_path / "b.zip", tmp_path / "p")


def test_a_full_disk_is_one_line_and_nothing_is_left(made, tmp_path, monkeypatch):
    verb.backup(tmp_path / "b.zip", made)
    free = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    with pytest.raises(InputError, match="MB are needed"):
        verb.restore(tmp_path / "b.zip", tmp_path / "p")
    with pytest.raises(InputError, match="MB are needed"):
        verb.backup(tmp_path / "c.zip", made)
    assert [path.name for path in tmp_path.iterdir()] == ["b.zip"]


# --- archives that mean harm ------------------------------------------------------------------------------------------------


def archive(path, files, *, said=None, infos=(), kinds=()):
    """An archive with a list that fits its files, unless said otherwise."""
    import hashlib

    entries = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "changed": 0} for name, data in files.items()
    }
    found = {"form": archives.FORM, "registry": None, "left_out": [], "files": entries} | (said or {})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = dict(kinds).get(name, stat.S_IFREG | 0o644) << 16
            file.writestr(info, data)
        for name, data in infos:
            file.writestr(name, data)
        file.writestr(archives.LIST, json.dumps(found))
    return path


@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "a/../../x", "a\\..\\x", "..\\x", "a//b", "./x", "a/./b", "..", "a/.. /x", "a/", "x\n/../y"]
)
def test_a_name_that_leaves_the_folder_is_refused(tmp_path, name):
    bad = archive(tmp_path / "b.zip", {"germane.toml": b"", name: b"x"})
    with pytest.raises(InputError):
        verb.restore(bad, tmp_path / "in" / "p")
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError):
        verb.restore(bad, tmp_path / "in" / "p")
    assert list((tmp_path / "in").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.zip", "in"]


def test_links_and_devices_are_refused(tmp_path):
    for kind in (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFDIR):
        bad = archive(tmp_path / "b.zip", {"germane.toml": b"", "x": b"/etc/passwd"}, kinds=[("x", kind | 0o777)])
        with pytest.raises(InputError, match="no file inside"):
            verb.restore(bad, tmp_path / "p")
        assert not (tmp_path / "p").exists()


def test_a_bomb_is_refused_before_a_byte_is_written(tmp_path):
    bad = archive(tmp_path / "b.zip", {"germane.toml": b"", "x": bytes(80 << 20)})
    with pytest.raises(InputError, match="no backup packs so tightly"):
        verb.restore(bad, tmp_path / "p")
    inner = archive(tmp_path / "inner.zip", {"about.json": bytes(80 << 20)})
    bad = archive(
        tmp_path / "b.zip", {"germane.toml": b"", verb.REGISTRY: inner.read_bytes()}, said={"registry": verb.REGISTRY}
    )
    with pytest.raises(InputError, match="no backup packs so tightly"):
        verb.restore(bad, tmp_path / "p")
    assert not (tmp_path / "p").exists()


def test_an_archive_whose_list_does_not_fit_is_refused(tmp_path):
    files = {"germane.toml": b'scale = "esci"\n', "cards/c": b"c"}
    good = {"sha256": "0" * 64, "size": 1, "changed": 0}
    wrong = [
        {"form": "other"},
        {"files": {}},
        {"files": {"germane.toml": good}},
        {"files": {name: good for name in files}},
        {"files": {name: good | {"size": len(data)} for name, data in files.items()}},
        {"files": {name: good | {"size": len(data), "more": 1} for name, data in files.items()}},
        {"files": [1]},
    ]
    for said in wrong:
        with pytest.raises(InputError, match=r"no whole backup|is not what the backup's list says"):
            verb.restore(archive(tmp_path / "b.zip", files, said=said), tmp_path / "p")
    with pytest.raises(InputError, match="no whole backup"):
        verb.restore(archive(tmp_path / "b.zip", files, infos=[("more", b"")]), tmp_path / "p")
    with pytest.raises(InputError, match="no whole backup"):
        verb.restore(archive(tmp_path / "b.zip", files | {"cards": b"x"}), tmp_path / "p")
    assert [path.name for path in tmp_path.iterdir()] == ["b.zip"]
    verb.restore(archive(tmp_path / "b.zip", files), tmp_path / "p")
    assert content(tmp_path / "p") == files


@pytest.mark.parametrize("registry", ["../r.sqlite", "/elsewhere/r.sqlite", "postgresql://evil.example/x"])
def test_settings_of_an_archive_put_no_registry_outside(tmp_path, made, registry):
    verb.backup(tmp_path / "b.zip", made)
    with zipfile.ZipFile(tmp_path / "b.zip") as file:
        kept = file.read(verb.REGISTRY)
    files = {"germane.toml": f'[watch]\nregistry = "{registry}"\n'.encode(), verb.REGISTRY: kept}
    bad = archive(tmp_path / "bad.zip", files, said={"registry": verb.REGISTRY})
    with pytest.raises(InputError, match="outside of it"):
        verb.restore(bad, tmp_path / "p")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.zip", "bad.zip"]


def test_a_damaged_archive_is_one_line(made, tmp_path):
    verb.backup(tmp_path / "b.zip", made)
    whole = (tmp_path / "b.zip").read_bytes()
    for at in (0, 10, len(whole) // 3, len(whole) // 2, len(whole) - 30):
        (tmp_path / "c.zip").write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
        problem = None
        try:
            verb.restore(tmp_path / "c.zip", tmp_path / "p")
        except InputError as found:
            problem = str(found)
        if problem is None:  # a byte that says nothing, such as a time
            shutil.rmtree(tmp_path / "p")
        assert "\n" not in (problem or "")
        assert not (tmp_path / "p").exists()
    for cut in (0, 100, len(whole) - 1):
        (tmp_path / "c.zip").write_bytes(whole[:cut])
        with pytest.raises(InputError):
            verb.restore(tmp_path / "c.zip", tmp_path / "p")
    with pytest.raises(InputError, match="no such file"):
        verb.restore(tmp_path / "nowhere.zip", tmp_path / "p")


def test_the_command_says_what_it_did_and_what_is_wrong(made, tmp_path, monkeypatch, capsys):
    def called(*words):
        monkeypatch.setattr(sys, "argv", ["germane", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return ended.value.code or 0, said.out, said.err

    monkeypatch.chdir(tmp_path)
    code, _, err = called("backup", "b.zip")
    assert (code, err.count("\n")) == (2, 1)
    assert "no germane.toml" in err
    code, out, _ = called("backup", "b.zip", "--project", made, "--output", "json")
    assert code == 0
    assert json.loads(out)["files"] > 10
    code, out, _ = called("restore", "b.zip", "--project", "p")
    assert (code, "web-secret" in out) == (0, True)
    code, _, err = called("restore", "b.zip", "--project", "p")
    assert (code, err.count("\n")) == (2, 1)


def rewritten(whole, path, change, *, files=None):
    """An archive with another list, or other files, whose digests fit."""
    import hashlib

    with zipfile.ZipFile(whole) as file:
        said = json.loads(file.read(archives.LIST))
        data = {name: file.read(name) for name in said["files"]} | (files or {})
    said["files"] = {
        name: {"sha256": hashlib.sha256(each).hexdigest(), "size": len(each), "changed": 1} for name, each in data.items()
    }
    change(said)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, each in data.items():
            file.writestr(name, each)
        file.writestr(archives.LIST, json.dumps(said))
    return path


def nested(whole, change):
    """The registry of a backup, once it was changed and signed again."""
    import hashlib
    import io

    with zipfile.ZipFile(whole) as file, zipfile.ZipFile(io.BytesIO(file.read(verb.REGISTRY))) as inner:
        about = json.loads(inner.read("about.json"))
        rows = {name: inner.read(f"{name}.jsonl") for name in about["rows"]}
    change(about, rows)
    about["sha256"] = {name: hashlib.sha256(each).hexdigest() for name, each in rows.items()}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("about.json", json.dumps(about))
        for name, each in rows.items():
            file.writestr(f"{name}.jsonl", each)
    return out.getvalue()


def test_a_list_of_other_kinds_is_one_line(made, tmp_path):
    verb.backup(tmp_path / "b.zip", made)
    changes = [
        lambda said: said.update(left_out=5),
        lambda said: said.update(left_out=[5]),
        lambda said: said.update(registry="../x"),
        lambda said: said.update(registry=None),
        *(
            lambda said, name=name, value=value: said["files"]["germane.toml"].update({name: value})
            for name, value in (("changed", 10**30), ("changed", 1.5), ("changed", None), ("sha256", 5), ("size", "1"))
        ),
    ]
    for change in changes:
        with pytest.raises(InputError, match="no whole backup"):
            verb.restore(rewritten(tmp_path / "b.zip", tmp_path / "c.zip", change), tmp_path / "p")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.zip", "c.zip"]


def test_a_registry_of_other_kinds_is_one_line(made, tmp_path):
    verb.backup(tmp_path / "b.zip", made)

    def one(table, row):
        def change(about, rows):
            rows[table], about["rows"][table] = row, 1

        return change

    changes = [
        one("days", b"{bad\n"),
        one("accounts", b"[1, 2]\n"),
        one("accounts", b'{"id": 1, "evil\\"; drop": 2}\n'),
        one("accounts", b'{"id": 1, "name": "x", "made_at": "zz"}\n'),
        one("accounts", b'{"id": %d}\n' % 10**40),
        one("log", b'{"id": 1, "at": 5}\n'),
        one("accounts", b"[" * 100_000 + b"\n"),
        lambda about, rows: about.pop("revision"),
        lambda about, rows: about.update(revision=[1]),
        lambda about, rows: about.update(revision="x"),
        lambda about, rows: about.update(rows=[*rows]),
    ]
    for change in changes:
        files = {verb.REGISTRY: nested(tmp_path / "b.zip", change)}
        bad = rewritten(tmp_path / "b.zip", tmp_path / "c.zip", lambda said: None, files=files)
        with pytest.raises(InputError) as found:
            verb.restore(bad, tmp_path / "p")
        assert "\n" not in str(found.value)
        assert "restoring" not in str(found.value)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["b.zip", "c.zip"]


@pytest.mark.parametrize("packing", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_flipped_bytes_of_a_list_are_one_line(tmp_path, packing):
    with zipfile.ZipFile(tmp_path / "b.zip", "w", packing) as file:
        file.writestr(archives.LIST, json.dumps({"form": archives.FORM, "files": {}, "more": list(range(1000))}))
        at = file.getinfo(archives.LIST).header_offset + 30 + len(archives.LIST) + 14
    data = bytearray((tmp_path / "b.zip").read_bytes())
    data[at : at + 20] = bytes(each ^ 0xA5 for each in data[at : at + 20])
    (tmp_path / "b.zip").write_bytes(data)
    with pytest.raises(InputError):
        verb.restore(tmp_path / "b.zip", tmp_path / "p")
    assert not (tmp_path / "p").exists()


def test_a_name_that_is_not_utf_8_is_said(tmp_path):
    folder = watched(tmp_path / "p", days=0)
    (folder / "cards").mkdir()
    try:
        Path(os.fsdecode(os.fsencode(folder / "cards") + b"/\xff.json")).write_text("x")
    except (OSError, UnicodeError):
        pytest.skip("this file system takes UTF-8 alone")
    saved = verb.backup(tmp_path / "b.zip", folder)
    assert "cards/[U+DCFF].json: its name is not UTF-8; rename it to keep it" in saved.left_out
    verb.restore(tmp_path / "b.zip", tmp_path / "again")


def test_a_url_whose_port_is_none_is_one_line(made, tmp_path):
    verb.backup(tmp_path / "b.zip", made)
    with pytest.raises(InputError, match="not a URL"):
        verb.restore(tmp_path / "b.zip", tmp_path / "p", registry="postgresql://u:x@h:abc/d")
    assert [path.name for path in tmp_path.iterdir()] == ["b.zip"]


def test_what_is_backed_up_is_restored_whatever_it_is_called_and_however_it_packs(tmp_path):
    folder = watched(tmp_path / "p", days=0, more='\n[folders]\nreports = "."')
    names = {
        "cards/10:30 r.",
        "cards/a\\b",
        "cards/ x ",
        "cards/x\ny",
        "cards/tight.json",
        "cards/zeros.jsonl",
        "k/backup.json",
    }
    for name in {*names, "backup.json", "registry.germane.zip", ".env", "cards/...", "cards/..\\x"}:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    (folder / "cards/tight.json").write_bytes(b"0" * (40 << 20))
    (folder / "cards/zeros.jsonl").write_bytes(bytes(40 << 20))
    saved = verb.backup(tmp_path / "b.zip", folder)
    said = " ".join(saved.left_out)
    for each in (
        ".env: a secret",
        "backup.json: the archive",
        "registry.germane.zip: the archive",
        "cards/...: `restore`",
        "cards/..\\x: `restore`",
    ):
        assert each in said, each
    verb.restore(tmp_path / "b.zip", tmp_path / "again")
    found = content(tmp_path / "again")
    assert names <= set(found)
    assert found["cards/tight.json"] == b"0" * (40 << 20)
    with zipfile.ZipFile(tmp_path / "b.zip") as file:
        assert len(set(file.namelist())) == len(file.namelist())


def test_a_registry_that_packs_tightly_is_restored(tmp_path, monkeypatch):
    from germane.registry import backups

    monkeypatch.setattr(backups, "TIGHTEST", 2)
    registry = open_registry(tmp_path / "r.sqlite")
    with registry.writing() as connection:
        for number in range(300):
            database.record(connection, NOW, "olga", "voted", str(number))
    data, kept = backups.snapshot(registry)
    registry.close()
    (tmp_path / "r.zip").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "r.zip") as file:
        assert {info.compress_type for info in file.infolist()} == {zipfile.ZIP_STORED}
    assert backups.restore(tmp_path / "s.sqlite", tmp_path / "r.zip", actor="olga").rows == kept.rows


def changing(monkeypatch, change, times):
    """Files that are changed so many times just after they were read."""
    real, left = archives.Archive._write, [times]

    def written(self, name, *given, **said):
        found = real(self, name, *given, **said)
        if left[0] and name != "y":
            left[0] -= 1
            change()
        return found

    monkeypatch.setattr(archives.Archive, "_write", written)


@pytest.mark.parametrize("name", ["x.json", "x.jsonl"])
def test_a_file_that_is_rewritten_in_place_and_grows_is_never_torn(tmp_path, monkeypatch, name):
    (tmp_path / name).write_bytes(b"a" * 10)
    changing(monkeypatch, lambda: (tmp_path / name).write_bytes(b"b" * 20), 1)
    with archives.writing(tmp_path / "b.zip", {}) as archive:
        archive.add(name, tmp_path / name)
        archive.put("y", b"y")
    with zipfile.ZipFile(tmp_path / "b.zip") as file:
        assert file.read(name) == b"b" * 20
    assert archive.grew == []


@pytest.mark.parametrize(("name", "length"), [("x.jsonl", 3), ("x.txt", 15)])
def test_a_file_that_grows_all_the_time_is_cut(tmp_path, monkeypatch, name, length):
    (tmp_path / name).write_bytes(b"{}\n")

    def grow():
        with (tmp_path / name).open("ab") as file:
            file.write(b"{}\n")

    changing(monkeypatch, grow, 100)
    with archives.writing(tmp_path / "b.zip", {}) as archive:
        archive.add(name, tmp_path / name)
    with zipfile.ZipFile(tmp_path / "b.zip") as file:
        assert len(file.read(name)) == length
    assert archive.grew == [name]


def test_files_that_settings_name_are_kept_or_told_of(tmp_path):
    folder = watched(
        tmp_path / "p", days=0, more='metrics = "m.prom"\nanchors = "../anchors.parquet"\n\n[llm]\nprices = "p.toml"'
    )
    text = (folder / "germane.toml").read_text()
    (folder / "germane.toml").write_text(text.replace('docs = "docs.parquet"', 'pairs = "pairs/of-{date}.parquet"'))
    for name in ("p.toml", "m.prom", "pairs/of-2026-03-02.parquet", "pairs/of-2026-03-03.parquet", "../anchors.parquet"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    saved = verb.backup(tmp_path / "b.zip", folder)
    said = " ".join(saved.left_out)
    for each in ("watch.anchors: ", "anchors.parquet lies outside", "watch.metrics: m.prom: the next run writes it"):
        assert each in said, each
    verb.restore(tmp_path / "b.zip", tmp_path / "again")
    kept = {"germane.toml", "p.toml", "pairs/of-2026-03-02.parquet", "pairs/of-2026-03-03.parquet"}
    assert set(content(tmp_path / "again")) == kept


@pytest.mark.parametrize("reports", ["reports", "."])
def test_a_link_inside_the_project_is_kept_under_its_own_name(made, tmp_path, reports):
    folder = tmp_path / "p"
    shutil.copytree(made, folder)
    (folder / "data").mkdir()
    (folder / "watch").rename(folder / "data/w")
    (folder / "watch").symlink_to("data/w")
    (folder / "germane.toml").rename(tmp_path / "settings")
    (folder / "germane.toml").symlink_to(tmp_path / "settings")
    (tmp_path / "settings").write_text((tmp_path / "settings").read_text() + f'\n[folders]\nreports = "{reports}"\n')
    verb.backup(tmp_path / "b.zip", folder)
    verb.restore(tmp_path / "b.zip", tmp_path / "again")
    assert told(tmp_path / "again") == told(folder)
    assert content(tmp_path / "again/watch") == content(made / "watch")


def test_settings_that_name_another_place_are_told_of(made, tmp_path):
    verb.backup(tmp_path / "b.zip", made)
    found = verb.restore(tmp_path / "b.zip", tmp_path / "p", registry="other.sqlite")
    note = 'germane.toml still names another registry, registry.sqlite: under [watch], write registry = "other.sqlite"'
    assert note in found.notes
    assert (tmp_path / "p/other.sqlite").stat().st_mode & 0o777 == 0o600
    assert not any("still names" in note for note in verb.restore(tmp_path / "b.zip", tmp_path / "q").notes)
    with pytest.raises(InputError, match=r"--registry /x\.sqlite lies outside"):
        verb.restore(tmp_path / "b.zip", tmp_path / "r", registry="/x.sqlite")
    shutil.copytree(made, tmp_path / "far")
    text = (tmp_path / "far/germane.toml").read_text()
    (tmp_path / "far/germane.toml").write_text(text + f'\nfolder = "{tmp_path}/far/watch"\n')
    verb.backup(tmp_path / "c.zip", tmp_path / "far")
    found = verb.restore(tmp_path / "c.zip", tmp_path / "s")
    assert (
        f"germane.toml names absolute paths, which may be those of the original: watch.folder {tmp_path}/far/watch"
        in found.notes
    )


def test_codes_of_a_hostile_list_are_shown(made, tmp_path):
    verb.backup(tmp_path / "b.zip", made)
    bad = rewritten(tmp_path / "b.zip", tmp_path / "c.zip", lambda said: said.update(left_out=["\x1b[2Jhello\n\nfoo"]))
    assert "not in the backup: [U+001B][2Jhello foo" in verb.restore(bad, tmp_path / "p").notes


def test_a_file_that_is_shorter_when_read_again_leaves_nothing_behind(tmp_path, monkeypatch):
    (tmp_path / "x").write_bytes(os.urandom(300_000))
    changing(monkeypatch, lambda: (tmp_path / "x").write_bytes(b"b"), 1)
    with archives.writing(tmp_path / "b.zip", {}) as archive:
        archive.add("x", tmp_path / "x")
    (tmp_path / "out").mkdir()
    archives.unpack(tmp_path / "b.zip", tmp_path / "out")
    assert content(tmp_path / "out") == {"x": b"b"}
    assert (tmp_path / "b.zip").stat().st_size < 1000

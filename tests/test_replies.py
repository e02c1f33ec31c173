"""Replies on disk: there once they are put, whole or not at all, and found by what was asked."""

import json
import subprocess
import sys

import pytest

from germane.judges.replies import Replies, Reply, Usage, key_of

KEY = "0123456789abcdef" * 2


def key(n):
    return f"{n:032x}"


def reply(text="yes", **more):
    return Reply(text, usage=Usage(10, 4, 2), engine={"model_name": "m"}, seconds=0.5, **more)


def test_what_is_put_is_found_by_this_process_and_by_the_next(tmp_path):
    kept = Replies(tmp_path)
    kept.put(KEY, reply(tops={"E": -0.1}))
    assert kept.get(KEY) == reply(tops={"E": -0.1})
    kept.put(key(2), reply("naïve 椅子 \ud800"))  # half a pair of surrogates, as broken servers send
    assert kept.get(key(2)).text == "naïve 椅子 ?"
    kept.close()
    again = Replies(tmp_path)
    assert (len(again), again.get(KEY), again.get(key(3))) == (2, reply(tops={"E": -0.1}), None)
    assert KEY in again
    again.close()


def test_a_closed_folder_goes_on_in_its_own_file(tmp_path):
    kept = Replies(tmp_path)
    kept.put(key(1), reply("one"))
    kept.close()
    kept.put(key(2), reply("two"))
    assert [kept.get(key(n)).text for n in (1, 2)] == ["one", "two"]
    kept.close()
    assert len(list(tmp_path.iterdir())) == 1


def test_without_a_folder_replies_live_as_long_as_the_process():
    kept = Replies()
    kept.put(KEY, reply())
    assert kept.get(KEY) == reply()
    assert [each.text for each in kept.all()] == ["yes"]


def test_a_line_that_a_kill_cut_off_is_left_out_and_so_is_what_is_not_ours(tmp_path):
    kept = Replies(tmp_path)
    for n in range(5):
        kept.put(key(n), reply(str(n)))
    kept.close()
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rindex(b'{"key"') + 30])
    odd = [
        "not json",
        "[1]",
        '{"key": "zz", "text": "x"}',
        '{"key": 3}',
        json.dumps({"key": key(9), "text": "x", "usage": "y"}),
    ]
    (tmp_path / "other.replies.jsonl").write_text("\n".join([*odd, "", ""]), encoding="utf-8")
    again = Replies(tmp_path)
    assert [again.get(key(n)) is not None for n in range(5)] == [True] * 4 + [False]
    assert len(again) == 4
    again.close()


def test_two_processes_write_side_by_side(tmp_path):
    code = (
        "import sys; from pathlib import Path; from germane.judges.replies import *\n"
        "r = Replies(Path(sys.argv[1])); start = int(sys.argv[2])\n"
        "[r.put(f'{start + n:032x}', Reply('x' * 100)) for n in range(300)]"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(1000 * i)]) for i in range(2)]
    assert [each.wait() for each in running] == [0, 0]
    kept = Replies(tmp_path)
    assert len(kept) == 600
    kept.close()


def test_a_process_that_is_killed_has_lost_nothing_that_it_put(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from germane.judges.replies import *\n"
        "r = Replies(Path(sys.argv[1]))\n"
        "for n in range(50): r.put(f'{n:032x}', Reply(str(n)))\n"
        "print('put', flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-9, "put\n")
    kept = Replies(tmp_path)
    assert len(kept) == 50
    kept.close()


def test_a_key_is_of_all_that_was_asked_and_not_of_the_marker():
    said = [{"role": "user", "content": "<query-ab12cd34> chair"}]
    other = [{"role": "user", "content": "<query-99999999> chair"}]
    one = key_of(["m"], said, "ab12cd34", 0)
    assert one == key_of(["m"], other, "99999999", 0)
    assert len({one, key_of(["n"], said, "ab12cd34", 0), key_of(["m"], said, "ab12cd34", 1), key_of(["m"], other, "", 0)}) == 4


def test_files_of_replies_are_for_their_owner_alone(tmp_path):
    kept = Replies(tmp_path)
    kept.put(KEY, reply())
    kept.close()
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o077 == 0
    assert json.loads(path.read_text())["usage"] == [10, 4, 2]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    from germane.types import InputError

    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        Replies(tmp_path / "file" / "replies").put(KEY, reply())

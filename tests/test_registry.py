"""The registry: its tables on both databases, accounts, sessions, tasks, and that votes are only added to."""

import json
import stat
import threading
from dataclasses import replace

import pyarrow as pa
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from registries import PASSWORD, Clock, a_task, new_database, postgres, some_pairs, team

from germane.registry import accounts, assigning, backups, tasks, telling
from germane.registry.columns import metadata
from germane.registry.database import connect, open_registry
from germane.registry.migrations import migrate, revision, scripts
from germane.registry.tasks import Asked, NewPair, TaskKind
from germane.scales import get
from germane.types import InputError, Refusal


@pytest.fixture(scope="module")
def server():
    with postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    """Where an empty registry may be made, on each database."""
    if request.param == "sqlite":
        return str(tmp_path / "registry.sqlite")
    return new_database(request.getfixturevalue("server"), f"t{abs(hash(request.node.name)) % 10**9}_{tmp_path.name[-12:]}")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def registry(place, clock):
    opened = open_registry(place, clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def small(tmp_path, clock):
    """A registry in a file, for what no database decides."""
    opened = open_registry(tmp_path / "small.sqlite", clock=clock)
    yield opened
    opened.close()


# --- tables -----------------------------------------------------------------------------------------------------------


def test_the_steps_from_the_first_on_lead_to_the_tables_that_the_code_knows(place):
    engine = connect(place)
    with engine.begin() as connection:
        for step in reversed([*scripts().walk_revisions()]):
            migrate(connection, step.revision)
            assert revision(connection) == step.revision
        found = compare_metadata(MigrationContext.configure(connection), metadata)
    engine.dispose()
    assert found == []


def test_a_registry_of_the_first_step_keeps_its_votes_when_it_is_opened(place, clock):
    engine = connect(place)
    with engine.begin() as connection:
        migrate(connection, "0001")
        at = clock()
        connection.execute(metadata.tables["log"].insert().values(at=at, actor="a", action="b", subject="c", detail={"d": 1}))
    engine.dispose()
    opened = open_registry(place, clock=clock)
    assert [(entry.actor, entry.at) for entry in telling.entries(opened)] == [("a", at)]
    opened.close()


def test_two_servers_that_start_at_once_make_one_registry(place):
    found = []
    threads = [threading.Thread(target=lambda: found.append(open_registry(place))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for opened in found:
        opened.close()


@pytest.mark.parametrize("statement", ["UPDATE votes SET relevance = 0", "DELETE FROM votes", "DELETE FROM log"])
def test_the_database_itself_keeps_votes_and_log_as_they_are(registry, statement):
    task, ana = a_task(registry), team(registry, ana="rater")["ana"]
    given = assigning.take(registry, task, ana)
    assigning.vote(registry, task, ana, assigning.Ballot(given.id, given.token, 3))
    with pytest.raises(sa.exc.DBAPIError, match="only added"), registry.engine.begin() as connection:
        connection.execute(sa.text(statement))
    assert len(telling.votes_of(registry, task)) == 1


def test_sqlite_writes_through_to_the_disk(small):
    with small.reading() as connection:
        values = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous", "busy_timeout")
        ]
    assert values == ["wal", 2, 20000]


@pytest.mark.parametrize(
    ("where", "complaint"),
    [
        ("nowhere/there/x.sqlite", "a folder that is there"),
        ("mysql://root:secret@host/db", "no database known here"),
        ("postgresql://me:secret@/x?host=/nowhere", "a PostgreSQL server that is running"),
        ("not a url://", "not a URL"),
    ],
)
def test_a_wrong_place_is_one_line_without_a_password(where, complaint):
    with pytest.raises(InputError, match=complaint) as caught:
        open_registry(where)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_registry_and_one_of_a_newer_germane_are_refused(tmp_path):
    (tmp_path / "text.sqlite").write_text("hello " * 1000)
    with pytest.raises(InputError, match="not a database"):
        open_registry(tmp_path / "text.sqlite")
    opened = open_registry(tmp_path / "new.sqlite")
    with opened.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    opened.close()
    with pytest.raises(InputError, match="newer germane"):
        open_registry(tmp_path / "new.sqlite")


# --- accounts ---------------------------------------------------------------------------------------------------------


def test_a_password_is_kept_as_argon2_and_a_cookie_as_its_digest(registry):
    team(registry, ana="rater")
    cookie = accounts.log_in(registry, "ANA", PASSWORD, address="::1")
    with registry.reading() as connection:
        kept = json.dumps(
            [
                list(map(str, row))
                for name in ("accounts", "sessions")
                for row in connection.execute(sa.select(metadata.tables[name]))
            ]
        )
    assert "$argon2id$" in kept
    assert PASSWORD not in kept
    assert cookie not in kept
    assert accounts.session_of(registry, cookie).account.name == "ana"


@pytest.mark.parametrize(
    ("name", "role", "password", "complaint"),
    [
        ("Ana", "rater", PASSWORD, "there already"),
        ("ben", "king", PASSWORD, "expected rater, adjudicator, owner"),
        ("ben", "rater", "short", "expected 10 or more"),
        ("<b>", "rater", PASSWORD, "letters, digits"),
        ("a\u202eb", "rater", PASSWORD, "letters, digits"),
    ],
)
def test_accounts_that_cannot_be_are_refused(small, name, role, password, complaint):
    team(small, ana="rater")
    with pytest.raises(InputError, match=complaint):
        accounts.add(small, name, role, password, actor="test")


def test_wrong_passwords_lock_an_account_for_a_while_and_after_a_restart_too(registry, place, clock):
    team(registry, ana="rater", ben="rater")
    for _ in range(accounts.PER_ACCOUNT):
        assert accounts.log_in(registry, "ana", "wrong wrong", address="1.2.3.4") is None
    again = open_registry(place, clock=clock)
    with pytest.raises(accounts.TooOften, match="15 minutes"):
        accounts.log_in(again, "ana", PASSWORD, address="5.6.7.8")
    assert accounts.log_in(again, "ben", PASSWORD, address="1.2.3.4")
    clock.pass_(minutes=16)
    assert accounts.log_in(again, "ana", PASSWORD, address="5.6.7.8")
    again.close()


def test_many_wrong_passwords_from_one_address_lock_the_address(small, monkeypatch):
    monkeypatch.setattr(accounts, "PER_ADDRESS", 3)
    team(small, ana="rater")
    for name in ("x", "y", "z"):
        accounts.log_in(small, name, "wrong wrong", address="1.2.3.4")
    with pytest.raises(accounts.TooOften):
        accounts.log_in(small, "ana", PASSWORD, address="1.2.3.4")
    assert accounts.log_in(small, "ana", PASSWORD, address="9.9.9.9")


def test_sessions_end_by_idleness_by_age_by_logout_by_a_new_password_and_with_the_account(small, clock):
    team(small, ana="rater")

    def cookie():
        return accounts.log_in(small, "ana", PASSWORD, address="a")

    first = cookie()
    clock.pass_(hours=7)
    assert accounts.session_of(small, first)  # seen: eight more hours
    clock.pass_(hours=7)
    session = accounts.session_of(small, first)
    assert session
    clock.pass_(hours=9)
    assert accounts.session_of(small, first) is None
    second = cookie()
    for _ in range(30):
        clock.pass_(hours=6)
        accounts.session_of(small, second)
    assert accounts.session_of(small, second) is None  # a week is the most
    third = cookie()
    accounts.log_out(small, accounts.session_of(small, third))
    assert accounts.session_of(small, third) is None
    fourth = cookie()
    accounts.set_password(small, "ana", "another password", actor="owner")
    assert accounts.session_of(small, fourth) is None
    fifth = accounts.log_in(small, "ana", "another password", address="a")
    accounts.disable(small, "ana", actor="owner")
    assert accounts.session_of(small, fifth) is None
    assert accounts.log_in(small, "ana", "another password", address="a") is None


def test_the_last_owner_stays(small):
    team(small, olga="owner")
    with pytest.raises(InputError, match="the last owner"):
        accounts.disable(small, "olga", actor="olga")


# --- tasks ------------------------------------------------------------------------------------------------------------


def test_a_task_that_is_loaded_again_gets_what_is_new_of_it(registry):
    first = a_task(registry, 4)
    again = tasks.load(registry, "golden", TaskKind.GOLDEN, get("esci"), some_pairs(6), Asked(raters=3), actor="test")
    assert (again.new, again.known, again.task.id, again.task.asked.raters) == (2, 4, first.id, 3)
    with pytest.raises(InputError, match="not fewer"):
        tasks.load(registry, "golden", TaskKind.GOLDEN, get("esci"), some_pairs(6), Asked(raters=2), actor="test")
    with pytest.raises(InputError, match="of kind golden"):
        tasks.load(registry, "golden", TaskKind.AUDIT, get("esci"), [], Asked(raters=3), actor="test")
    with pytest.raises(InputError, match="on scale 'esci', not on 'trec'"):
        tasks.load(registry, "golden", TaskKind.GOLDEN, get("trec"), [], Asked(raters=3), actor="test")


def test_a_larger_draw_brings_its_odds_to_pairs_that_were_there_and_another_draw_is_refused(small):
    def drawn(n, chance, start=0, entropy=None):
        return [
            NewPair(f"q{i}", "d", f"query {i}", (("title", "x"),), entropy=entropy, more={"inclusion_probability": chance})
            for i in range(start, n)
        ]

    columns = {"inclusion_probability": "double"}
    asked = {"name": "t", "kind": TaskKind.GOLDEN, "scale": get("esci"), "asked": Asked(raters=1, entropy_bar=1.0)}
    task = tasks.load(small, given=drawn(4, 0.25), columns=columns, actor="test", **asked).task
    ana = team(small, ana="rater")["ana"]
    while given := assigning.take(small, task, ana):
        assigning.vote(small, task, ana, assigning.Ballot(given.id, given.token, 3))
    assert telling.progress(small, task).waiting == 0
    loaded = tasks.load(small, given=drawn(8, 0.5, entropy=1.5), columns=columns, actor="test", **asked)
    assert (loaded.new, loaded.known) == (4, 4)
    assert telling.entries(small)[0].detail["changed"] == 4
    with small.reading() as connection:
        kept = connection.execute(sa.select(metadata.tables["pairs"].c.more)).scalars().all()
    assert [more["inclusion_probability"] for more in kept] == [0.5] * 8
    assert telling.progress(small, task).waiting == 4, "an entropy that came later is heeded"
    tasks.load(small, given=[replace(pair, more={}) for pair in drawn(2, 0.1)], actor="test", **asked)
    with small.reading() as connection:
        assert connection.execute(sa.select(metadata.tables["pairs"].c.more)).scalars().all() == kept, "odds are not lost"
    with pytest.raises(InputError, match="two draws have no odds in common"):
        tasks.load(small, given=drawn(12, 0.1, start=8), columns=columns, actor="test", **asked)


def test_golden_and_audit_pairs_are_kept_apart_by_id_and_by_words(small):
    a_task(small, 4)
    audit = {"name": "audit", "kind": TaskKind.AUDIT, "scale": get("esci"), "asked": Asked(), "actor": "test"}
    same_ids = [NewPair("q0", "d1", some_pairs(2)[1].query, (("title", "else"),))]
    same_words = [NewPair("other", "ids", "Query, number 0!", some_pairs(1)[0].fields)]
    fresh = [NewPair("q9", "d9", "new", (("title", "new"),))]
    long = tuple((name, " ".join(f"{name}{i}" for i in range(40))) for name in ("title", "text"))
    tasks.load(small, "golden", TaskKind.GOLDEN, get("esci"), [NewPair("l", "l", "a lamp", long)], Asked(), actor="test")
    nearly = [NewPair("l2", "l2", "a lamp", (*long, ("brand", "Acme")))]
    for given in (same_ids, same_words, nearly):
        with pytest.raises(Refusal, match=r"are in a task of kind golden already.*--allow golden-audit"):
            tasks.load(small, given=given, **audit)
    with pytest.raises(Refusal, match="used in prompts or training"):
        tasks.load(small, given=fresh, used=[pa.table({"query_id": ["q9"], "doc_id": ["d9"]})], **audit)
    assert tasks.load(small, given=fresh, **audit).new == 1
    with pytest.raises(Refusal, match="of kind audit already"):
        tasks.load(small, "golden", TaskKind.GOLDEN, get("esci"), fresh, Asked(), actor="test")
    loaded = tasks.load(small, given=same_ids, allow=["golden-audit"], **audit)
    assert loaded.overrides[0].startswith("--allow golden-audit: 1 of 1 pairs")
    assert telling.entries(small)[0].detail["overrides"]


def test_a_new_guide_is_a_new_version_and_votes_keep_theirs(small, clock):
    ana = team(small, ana="rater")["ana"]
    task = a_task(small, 4)
    given = assigning.take(small, task, ana)
    assigning.vote(small, task, ana, assigning.Ballot(given.id, given.token, 3))
    scale = replace(get("esci"), guide="Another guide.")
    task = tasks.load(small, "golden", TaskKind.GOLDEN, scale, [], Asked(), actor="test").task
    given = assigning.take(small, task, ana)  # held since before the change: shown anew, under the new guide
    assigning.vote(small, task, ana, assigning.Ballot(given.id, given.token, 3))
    assert [one.guide_version for one in telling.votes_of(small, task)] == [get("esci").version, scale.version]
    assert [version for version, _, _ in tasks.versions(small, task)] == [get("esci").version, scale.version]


def test_text_that_no_database_keeps_is_kept_as_what_it_is(registry):
    nasty = [NewPair("q\x00", "d", "null \x00 and half \ud800 and \U0001f600", (("title", "'; DROP TABLE votes; --\x00"),))]
    task = tasks.load(registry, "nasty", TaskKind.GOLDEN, get("esci"), nasty, Asked(), actor="test").task
    ana = team(registry, ana="rater")["ana"]
    shown = telling.pair_of(registry, task, assigning.take(registry, task, ana).pair_id)
    assert shown.query == "null \u2400 and half ? and \U0001f600"
    assert shown.fields == (("title", "'; DROP TABLE votes; --\u2400"),)


# --- backups ----------------------------------------------------------------------------------------------------------


def test_a_backup_holds_everything_but_logins_and_goes_into_either_database(registry, place, tmp_path, clock):
    people = team(registry, ana="rater", ben="rater")
    task = a_task(registry, 4, controls=1)
    for who in people.values():
        while given := assigning.take(registry, task, who):
            clock.pass_(seconds=3.5)
            assigning.vote(registry, task, who, assigning.Ballot(given.id, given.token, 3, note="ä\u2028"))
    accounts.log_in(registry, "ana", PASSWORD, address="a")
    before = telling.votes_of(registry, task)
    kept = backups.backup(registry, tmp_path / "b.zip", actor="test")
    assert kept.votes == len(before) >= 8
    assert stat.S_IMODE((tmp_path / "b.zip").stat().st_mode) == 0o600
    backups.restore(tmp_path / "other.sqlite", tmp_path / "b.zip", actor="test")
    other = open_registry(tmp_path / "other.sqlite", clock=clock)
    assert telling.votes_of(other, tasks.find(other, "golden")) == before
    assert accounts.log_in(other, "ana", PASSWORD, address="a")
    other.close()
    with pytest.raises(InputError, match=r"holds something.*--replace"):
        backups.restore(place, tmp_path / "b.zip", actor="test")
    registry.close()
    backups.restore(place, tmp_path / "b.zip", replace=True, actor="test")
    again = open_registry(place, clock=clock)
    assert telling.votes_of(again, tasks.find(again, "golden")) == before
    cem = team(again, cem="rater")["cem"]  # new rows follow the old ones
    assert cem.id > max(person.id for person in people.values())
    again.close()


def test_a_damaged_backup_and_a_missing_one_are_refused_and_change_nothing(small, tmp_path):
    team(small, ana="rater")
    backups.backup(small, tmp_path / "b.zip", actor="test")
    data = bytearray((tmp_path / "b.zip").read_bytes())
    (tmp_path / "cut.zip").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.zip").write_text("hello")
    for name in ("cut.zip", "text.zip"):
        with pytest.raises(InputError, match="no whole backup"):
            backups.restore(tmp_path / "small.sqlite", tmp_path / name, replace=True, actor="test")
    with pytest.raises(InputError, match="no such file"):
        backups.restore(tmp_path / "small.sqlite", tmp_path / "none.zip", replace=True, actor="test")
    assert [account.name for account in accounts.listed(small)] == ["ana"]


def test_a_backup_of_a_newer_germane_is_one_line(small, tmp_path):
    import zipfile

    backups.backup(small, tmp_path / "b.zip", actor="test")
    with zipfile.ZipFile(tmp_path / "b.zip") as old, zipfile.ZipFile(tmp_path / "new.zip", "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "about.json":
                data = json.dumps(json.loads(data) | {"revision": "9999"}).encode()
            new.writestr(name, data)
    with pytest.raises(InputError, match=r"written by a newer germane.*'9999'.*update germane"):
        backups.restore(tmp_path / "other.sqlite", tmp_path / "new.zip", actor="test")

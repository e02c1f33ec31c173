"""Who judges what: random orders, leases, controls and adjudicators, and never a vote too many, whoever comes at once."""

import threading
from collections import Counter

import pytest
from registries import Clock, a_task, new_database, postgres, team

from germane.registry import adjudicating, assigning, telling
from germane.registry.adjudicating import RemarkKind
from germane.registry.assigning import Ballot, Counted, NotYours
from germane.registry.database import open_registry
from germane.registry.tables import assignments, pairs
from germane.types import InputError, VoteKind


@pytest.fixture(scope="module")
def server():
    with postgres() as url:
        yield url


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def registry(tmp_path, clock):
    opened = open_registry(tmp_path / "registry.sqlite", clock=clock)
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request, tmp_path):
    """A registry with the real clock, on each database."""
    where = tmp_path / "r.sqlite"
    if request.param == "postgresql":
        where = new_database(request.getfixturevalue("server"), f"a{abs(hash(request.node.name)) % 10**9}")
    opened = open_registry(where)
    yield opened
    opened.close()


def say(registry, task, who, grade, **more):
    """One vote of somebody on the pair that they hold; the pair's number."""
    given = assigning.take(registry, task, who)
    assert given is not None
    counted = assigning.vote(registry, task, who, Ballot(given.id, given.token, grade, **more))
    assert counted == Counted.RECORDED
    return given.pair_id


def everything(registry, task, who, grade=lambda pair: 3):
    """Judge until nothing is left; the pairs, in order."""
    met = []
    while given := assigning.take(registry, task, who):
        assigning.vote(registry, task, who, Ballot(given.id, given.token, grade(given.pair_id)))
        met.append(given.pair_id)
    return met


def votes_per_pair(registry, task):
    return Counter((v.query_id, v.doc_id) for v in telling.standing(telling.votes_of(registry, task), VoteKind.VOTE))


# --- at once ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("raters", [1, 2, 3])
def test_many_raters_at_once_give_each_pair_exactly_the_votes_that_were_asked(either, raters):
    task = a_task(either, 25, controls=2, raters=raters)
    people = team(either, **{f"r{i}": "rater" for i in range(12)})
    faults = []

    def work(who):
        try:
            everything(either, task, who)
        except Exception as problem:
            faults.append(problem)

    threads = [threading.Thread(target=work, args=(who,)) for who in people.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    counts = votes_per_pair(either, task)
    assert len(counts) == 25
    assert set(counts.values()) == {raters}
    assert telling.progress(either, task).filled == 25


def test_the_same_ballot_sent_many_times_at_once_is_counted_once(either):
    task, ana = a_task(either, 3), team(either, ana="rater")["ana"]
    given = assigning.take(either, task, ana)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(assigning.vote(either, task, ana, Ballot(given.id, given.token, 2))))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [Counted.RECORDED] + [Counted.REPLAYED] * 7
    assert len(telling.votes_of(either, task)) == 1


# --- orders -----------------------------------------------------------------------------------------------------------


def test_each_rater_has_an_order_of_their_own_that_stays(registry):
    task = a_task(registry, 40, raters=3)
    people = team(registry, ana="rater", ben="rater", cem="rater")
    orders = [everything(registry, task, who) for who in people.values()]
    assert len({tuple(order) for order in orders}) == 3
    assert all(sorted(order) == sorted(orders[0]) for order in orders)
    with registry.reading() as connection:
        places = [row.id for row in connection.execute(pairs.select().order_by(pairs.c.place))]
    assert places != sorted(places)  # the file's order tells nothing either
    assert places not in orders


def test_a_page_that_is_loaded_again_shows_the_same_pair(registry):
    task, ana = a_task(registry, 10), team(registry, ana="rater")["ana"]
    assert len({assigning.take(registry, task, ana).pair_id for _ in range(5)}) == 1


def test_raters_work_on_the_same_pairs_so_that_pairs_get_finished(registry, monkeypatch):
    monkeypatch.setattr(assigning, "BLOCK", 5)
    task = a_task(registry, 60)
    people = team(registry, ana="rater", ben="rater")
    for _ in range(20):
        for who in people.values():
            say(registry, task, who, 3)
    assert telling.progress(registry, task).filled >= 15


# --- leases -----------------------------------------------------------------------------------------------------------


def test_a_pair_whose_rater_walked_away_goes_to_somebody_else(registry, clock):
    task = a_task(registry, 1, raters=1)
    people = team(registry, ana="rater", ben="rater")
    first = assigning.take(registry, task, people["ana"])
    assert assigning.take(registry, task, people["ben"]) is None
    clock.pass_(minutes=31)
    assert assigning.take(registry, task, people["ben"]).pair_id == first.pair_id


def test_a_late_vote_counts_while_the_slot_is_free_and_not_when_it_would_be_one_too_many(registry, clock):
    task = a_task(registry, 1, raters=1)
    people = team(registry, ana="rater", ben="rater")
    ana, ben = people["ana"], people["ben"]
    late = assigning.take(registry, task, ana)
    clock.pass_(minutes=31)
    taken = assigning.take(registry, task, ben)
    assert assigning.vote(registry, task, ana, Ballot(late.id, late.token, 1)) == Counted.LATE
    assert assigning.vote(registry, task, ben, Ballot(taken.id, taken.token, 3)) == Counted.RECORDED
    assert [(v.rater, v.relevance) for v in telling.votes_of(registry, task)] == [("ben", 3)]
    assert any(entry.action == "late vote not counted" for entry in telling.entries(registry))
    # nobody came meanwhile: the slot is still Ana's
    other = a_task(registry, 1, raters=1, name="other", seed=2)
    late = assigning.take(registry, other, ana)
    clock.pass_(hours=3)
    assert assigning.vote(registry, other, ana, Ballot(late.id, late.token, 1)) == Counted.RECORDED


def test_a_late_vote_takes_another_slot_where_one_is_free(registry, clock):
    task = a_task(registry, 1, raters=2)
    people = team(registry, ana="rater", ben="rater", cem="rater")
    late = assigning.take(registry, task, people["ana"])
    assigning.take(registry, task, people["ben"])
    clock.pass_(minutes=31)
    assigning.take(registry, task, people["cem"])  # takes Ana's slot; Ben's has run out too
    assert assigning.vote(registry, task, people["ana"], Ballot(late.id, late.token, 1)) == Counted.RECORDED
    say(registry, task, people["cem"], 2)
    assert sorted(v.rater for v in telling.votes_of(registry, task)) == ["ana", "cem"]
    assert assigning.take(registry, task, people["ben"]) is None


def test_a_rater_who_goes_on_keeps_the_pair(registry, clock):
    task = a_task(registry, 1, raters=1)
    people = team(registry, ana="rater", ben="rater")
    for _ in range(4):
        assert assigning.take(registry, task, people["ana"])
        clock.pass_(minutes=20)
    assert assigning.take(registry, task, people["ben"]) is None


# --- ballots ----------------------------------------------------------------------------------------------------------


def test_forged_ballots_are_refused(registry):
    task = a_task(registry, 6)
    people = team(registry, ana="rater", ben="rater")
    given = assigning.take(registry, task, people["ana"])
    forged = [
        (people["ben"], Ballot(given.id, given.token, 3)),  # somebody else's pair
        (people["ana"], Ballot(given.id + 1000, given.token, 3)),
        (people["ana"], Ballot(given.id, "another token", 3)),
        (people["ana"], Ballot(given.id, "ünïcode\u202e", 3)),
    ]
    for who, ballot in forged:
        with pytest.raises(NotYours, match="nothing was counted"):
            assigning.vote(registry, task, who, ballot)
    for grade, reason in ((4, ""), (-1, ""), (None, "  ")):
        with pytest.raises(InputError):
            assigning.vote(registry, task, people["ana"], Ballot(given.id, given.token, grade, reason))
    assert telling.votes_of(registry, task) == []


def test_a_vote_keeps_note_reason_and_the_time_that_the_page_was_looked_at(registry, clock):
    task, ana = a_task(registry, 4), team(registry, ana="rater")["ana"]
    assigning.take(registry, task, ana)
    clock.pass_(seconds=90)
    say(registry, task, ana, None, reason="not my language", note="n" * 5000, seconds=12.5)
    assigning.take(registry, task, ana)
    clock.pass_(seconds=5)
    say(registry, task, ana, 1, seconds=1e9)  # no page was looked at longer than it was shown
    first, second = telling.votes_of(registry, task)
    assert (first.relevance, first.reason, len(first.note), first.seconds) == (None, "not my language", 2000, 12.5)
    assert second.seconds == 5
    assert first.stratum in ("head", "tail")


def test_undo_withdraws_the_latest_vote_and_a_changed_mind_is_a_new_row(registry, clock):
    task, ana = a_task(registry, 4), team(registry, ana="rater")["ana"]
    assert assigning.undo(registry, task, ana) is None
    pair = say(registry, task, ana, 0)
    clock.pass_(seconds=1)
    waiting = assigning.take(registry, task, ana)
    clock.pass_(seconds=1)
    again = assigning.undo(registry, task, ana)
    assert again.pair_id == pair
    assert assigning.take(registry, task, ana) == again
    assert say(registry, task, ana, 3) == pair
    assert assigning.take(registry, task, ana).pair_id == waiting.pair_id
    rows = telling.votes_of(registry, task)
    assert [(v.relevance, v.withdrawn) for v in rows] == [(0, False), (None, True), (3, False)]
    assert [v.relevance for v in telling.standing(rows)] == [3]


def test_an_undone_pair_can_be_judged_by_somebody_else_only_after_its_lease(registry, clock):
    task = a_task(registry, 1, raters=1)
    people = team(registry, ana="rater", ben="rater")
    say(registry, task, people["ana"], 0)
    assert telling.progress(registry, task).filled == 1
    assigning.undo(registry, task, people["ana"])
    assert telling.progress(registry, task).filled == 0
    assert assigning.take(registry, task, people["ben"]) is None
    clock.pass_(minutes=31)
    say(registry, task, people["ben"], 1)
    assert votes_per_pair(registry, task).most_common(1)[0][1] == 1


# --- controls ---------------------------------------------------------------------------------------------------------


def test_hidden_controls_come_once_in_so_many_pairs_to_everybody_and_fill_no_slot(registry):
    task = a_task(registry, 40, controls=3, control_every=5)
    people = team(registry, ana="rater", ben="rater", cem="rater")
    for who in people.values():
        everything(registry, task, who)
    said = telling.votes_of(registry, task)
    controls = [v for v in said if v.kind == VoteKind.CONTROL]
    assert Counter(v.rater for v in controls) == {"ana": 3, "ben": 3} | ({"cem": 3} if len(controls) == 9 else {})
    assert set(votes_per_pair(registry, task).values()) == {2}
    with registry.reading() as connection:
        kinds = [
            row.kind
            for row in connection.execute(
                assignments.select().where(assignments.c.account_id == people["ana"].id).order_by(assignments.c.id)
            )
        ]
    assert [kinds[start : start + 5].count("control") for start in (0, 5, 10)] == [1, 1, 1]
    assert {r.name: (r.controls, r.right) for r in telling.raters(registry, task)}["ana"] == (3, 0)


# --- adjudication -----------------------------------------------------------------------------------------------------


def disputed(registry, task, people, n=1):
    """Ana and Ben differ on the first n pairs that they get."""
    low = set(everything(registry, task, people["ana"], lambda pair: 3)[:n])
    everything(registry, task, people["ben"], lambda pair: 1 if pair in low else 3)
    return low


def test_pairs_on_which_raters_differ_wait_for_a_third_person(registry):
    task = a_task(registry, 5)
    people = team(registry, ana="rater", ben="rater", cem="adjudicator")
    low = disputed(registry, task, people, 2)
    waiting = adjudicating.queue(registry, task, people["cem"])
    assert {w.pair_id for w in waiting} == low
    assert {w.entropy for w in waiting} == {1.0}
    given = adjudicating.open_pair(registry, task, people["cem"])
    assert sorted(row.relevance for row in adjudicating.opinions(registry, given.pair_id)) == [1, 3]
    with pytest.raises(InputError, match="needs its reason"):
        adjudicating.decide(registry, task, people["cem"], Ballot(given.id, given.token, 2))
    ballot = Ballot(given.id, given.token, 2, note="it fits, mostly")
    assert adjudicating.decide(registry, task, people["cem"], ballot) == Counted.RECORDED
    assert adjudicating.decide(registry, task, people["cem"], ballot) == Counted.REPLAYED
    assert len(adjudicating.queue(registry, task, people["cem"])) == 1
    row = telling.votes_of(registry, task)[-1]
    assert (row.kind, row.relevance, row.reason, row.rater) == (VoteKind.ADJUDICATION, 2, "it fits, mostly", "cem")


def test_two_adjudicators_never_decide_one_pair(registry, clock):
    task = a_task(registry, 4)
    people = team(registry, ana="rater", ben="rater", cem="adjudicator", dia="adjudicator")
    low = disputed(registry, task, people)
    mine = adjudicating.open_pair(registry, task, people["cem"])
    assert adjudicating.open_pair(registry, task, people["dia"]) is None
    with pytest.raises(NotYours, match="somebody else is deciding"):
        adjudicating.open_pair(registry, task, people["dia"], mine.pair_id)
    clock.pass_(minutes=31)
    hers = adjudicating.open_pair(registry, task, people["dia"])
    assert {hers.pair_id} == low
    adjudicating.decide(registry, task, people["dia"], Ballot(hers.id, hers.token, 3, note="yes"))
    with pytest.raises(NotYours, match="nothing was counted"):
        adjudicating.decide(registry, task, people["cem"], Ballot(mine.id, mine.token, 0, note="no"))


def test_an_adjudicator_who_voted_leaves_the_pair_to_another_where_there_is_one(registry):
    task = a_task(registry, 3)
    people = team(registry, ana="rater", ben="adjudicator")
    disputed(registry, task, people)
    assert [w.mine for w in adjudicating.queue(registry, task, people["ben"])] == [True]  # there is nobody else
    more = team(registry, cem="adjudicator")
    assert adjudicating.queue(registry, task, people["ben"]) == []
    assert adjudicating.left_to_others(registry, task, people["ben"]) == 1
    assert [w.mine for w in adjudicating.queue(registry, task, more["cem"])] == [False]


def test_a_decided_pair_is_not_undone_by_its_raters_but_its_adjudicator_may_think_again(registry):
    task = a_task(registry, 1)
    people = team(registry, ana="rater", ben="rater", cem="adjudicator")
    disputed(registry, task, people)
    given = adjudicating.open_pair(registry, task, people["cem"])
    adjudicating.decide(registry, task, people["cem"], Ballot(given.id, given.token, 3, note="yes"))
    with pytest.raises(InputError, match="adjudicated since"):
        assigning.undo(registry, task, people["ana"])
    assert adjudicating.reopen(registry, task, people["cem"]) == given.pair_id
    again = adjudicating.open_pair(registry, task, people["cem"])
    assert again.token != given.token
    adjudicating.decide(registry, task, people["cem"], Ballot(again.id, again.token, 1, note="no"))
    decisions = [v for v in telling.votes_of(registry, task) if v.kind == VoteKind.ADJUDICATION]
    assert [(v.relevance, v.withdrawn) for v in decisions] == [(3, False), (None, True), (1, False)]


def test_discussion_takes_a_pair_out_of_the_queue_and_questions_are_collected(registry):
    task = a_task(registry, 3)
    people = team(registry, ana="rater", ben="rater", cem="adjudicator", dia="adjudicator")
    (pair,) = disputed(registry, task, people)
    adjudicating.open_pair(registry, task, people["cem"])
    adjudicating.remark(registry, task, people["cem"], pair, RemarkKind.DISCUSSION, "What do we do with bundles?")
    adjudicating.remark(registry, task, people["cem"], pair, RemarkKind.QUESTION, "Is a bundle a substitute?")
    assert adjudicating.open_pair(registry, task, people["dia"]) is None
    assert adjudicating.open_pair(registry, task, people["dia"], pair)  # from the list of discussions
    (asked,) = adjudicating.remarks_of(registry, task, RemarkKind.QUESTION)
    assert (asked.author, asked.closed, asked.guide_version) == ("cem", False, task.scale.version)
    adjudicating.close(registry, task, people["dia"], asked.id)
    assert adjudicating.remarks_of(registry, task, RemarkKind.QUESTION)[0].closed
    with pytest.raises(InputError, match="empty question"):
        adjudicating.remark(registry, task, people["cem"], pair, RemarkKind.QUESTION, " ")


def test_pairs_that_a_judge_was_unsure_of_are_adjudicated_although_people_agree(registry):
    from germane.registry import tasks
    from germane.registry.tasks import Asked, NewPair, TaskKind
    from germane.scales import get

    given = [NewPair("q", f"d{i}", "query", (("title", f"item {i}"),), entropy=entropy) for i, entropy in enumerate((0.2, 1.5))]
    task = tasks.load(registry, "t", TaskKind.GOLDEN, get("esci"), given, Asked(entropy_bar=1.0), actor="test").task
    people = team(registry, ana="rater", ben="rater", cem="adjudicator")
    for name in ("ana", "ben"):
        everything(registry, task, people[name])
    (waiting,) = adjudicating.queue(registry, task, people["cem"])
    assert waiting.title == "item 1"


@pytest.mark.parametrize(("rule", "waiting"), [("any", 1), ("majority", 0)])
def test_a_majority_decides_where_it_is_told_to(registry, rule, waiting):
    task = a_task(registry, 1, raters=3, adjudicate=rule)
    people = team(registry, ana="rater", ben="rater", cem="rater", dia="adjudicator")
    for name, grade in (("ana", 3), ("ben", 3), ("cem", 2)):
        say(registry, task, people[name], grade)
    assert len(adjudicating.queue(registry, task, people["dia"])) == waiting


def test_pace_and_time_left_are_of_the_rater_s_own_votes(registry, clock):
    task, ana = a_task(registry, 10, raters=1), team(registry, ana="rater")["ana"]
    assert telling.pace(registry, task, ana).minutes_left is None
    for _ in range(4):
        assigning.take(registry, task, ana)
        clock.pass_(seconds=30)
        say(registry, task, ana, 3)
    assert telling.pace(registry, task, ana) == (4, 6, 30.0)
    assert telling.pace(registry, task, ana).minutes_left == 3


def test_a_task_that_asks_otherwise_now_finds_its_pairs_where_they_stand_now(either):
    who = team(either, ana="rater", ben="rater", dia="rater", cem="adjudicator")
    task = a_task(either, 2, raters=2)
    for name, grade in (("ana", 3), ("ben", 2)):
        everything(either, task, who[name], lambda pair, grade=grade: grade)
    assert len(adjudicating.queue(either, task, who["cem"])) == 2
    more = a_task(either, 2, raters=3, adjudicate="majority")
    assert adjudicating.queue(either, more, who["cem"]) == [], "the third vote is still to come"
    everything(either, more, who["dia"], lambda pair: 3)
    assert adjudicating.queue(either, more, who["cem"]) == [], "two of three agree"
    strict = a_task(either, 2, raters=3, adjudicate="any")
    assert len(adjudicating.queue(either, strict, who["cem"])) == 2


def test_another_answer_from_a_page_that_was_answered_is_not_acknowledged(registry):
    ana = team(registry, ana="rater")["ana"]
    task = a_task(registry, 2)
    given = assigning.take(registry, task, ana)
    ballot = Ballot(given.id, given.token, 2)
    assert assigning.vote(registry, task, ana, ballot) == Counted.RECORDED
    assert assigning.vote(registry, task, ana, ballot) == Counted.REPLAYED
    with pytest.raises(NotYours, match="answered already"):
        assigning.vote(registry, task, ana, ballot._replace(relevance=0))
    assigning.undo(registry, task, ana)
    with pytest.raises(NotYours, match="answered already"):
        assigning.vote(registry, task, ana, ballot)


def test_notes_with_what_postgresql_cannot_keep_are_kept_as_what_they_show(either):
    ana = team(either, ana="rater")["ana"]
    task = a_task(either, 1)
    given = assigning.take(either, task, ana)
    assigning.vote(either, task, ana, Ballot(given.id, given.token, 2, note="a\x00b\ud800"))
    (vote,) = telling.votes_of(either, task)
    assert vote.note == "a\u2400b?"


def test_an_undo_that_is_sent_twice_takes_one_vote_back(registry):
    ana = team(registry, ana="rater")["ana"]
    task = a_task(registry, 4)
    for _ in range(3):
        say(registry, task, ana, 2)
    assert assigning.undo(registry, task, ana, done=3) is not None
    with pytest.raises(NotYours, match="nothing was taken back"):
        assigning.undo(registry, task, ana, done=3)
    assert sum(vote.withdrawn for vote in telling.votes_of(registry, task)) == 1

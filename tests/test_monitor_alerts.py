from dataclasses import replace

import numpy as np
import pytest
from sample_days import dates, history

from germane.monitor.alerts import SPENT, Rules, _allowed, _chains, detect
from germane.monitor.changes import MIX, PAIRED, TAILS, Change
from germane.monitor.detecting import Learned
from germane.simulate.years import Incident, Market, year
from germane.stats.steps import NOISES, Noise, false_alarms, steady, step_threshold
from germane.stats.steps import told as days_told
from germane.types import InputError

TENTH = "interest=toys"
SE = 0.0025


def noise(days: int, seed: int = 1, step_at: int | None = None, step: float = 0.0) -> list[float]:
    """Changes of a level whose noise comes and goes; the first is none."""
    level = np.random.default_rng(seed).normal(0, SE / np.sqrt(2), days)
    if step_at is not None:
        level[step_at:] += step
    return np.diff(level, prepend=level[0]).tolist()


def told(
    values: list[float], segment: str = "all", metric: str = "sdcg@25", part: str = PAIRED, n: int = 400
) -> list[list[Change]]:
    return [[]] + [[Change(metric, segment, value, SE, n, part)] for value in values[1:]]


def joined(*histories: list[list[Change]]) -> list[list[Change]]:
    return [[c for day in days for c in day] for days in zip(*histories, strict=True)]


def test_a_quiet_history_has_no_alert():
    assert detect(told(noise(60)), dates(60)) == []
    assert detect([], []) == []
    assert detect([[]], dates(1)) == []


def test_a_step_is_found_with_its_day_its_size_and_its_direction():
    [alert] = detect(told(noise(60, step_at=40, step=-0.012)), dates(60))
    assert alert.since == dates(60)[40]
    assert dates(60)[40] <= alert.date <= dates(60)[42]
    assert alert.direction == "down"
    assert alert.size.low < -0.012 < alert.size.high
    assert alert.evidence >= alert.threshold > 2
    [up] = detect(told(noise(60, step_at=40, step=0.012)), dates(60))
    assert up.direction == "up"


def test_an_alert_rests_on_no_later_day():
    days, when = told(noise(60, step_at=40, step=-0.012)), dates(60)
    [whole] = detect(days, when)
    now = when.index(whole.date) + 1
    assert detect(days[:now], when[:now]) == [whole]
    assert detect(days[: now - 1], when[: now - 1]) == []


def test_the_order_of_a_day_s_changes_does_not_matter():
    days = joined(
        told(noise(50, 1, 40, -0.012)), told(noise(50, 2), "language=de"), told(noise(50, 3, 40, -0.012), "language=fr")
    )
    forth = detect(days, dates(50))
    back = detect([list(reversed(day)) for day in days], dates(50))
    assert [(a.date, a.segment, a.since) for a in forth] == [(a.date, a.segment, a.since) for a in back]


def test_a_level_that_stays_low_alarms_once_and_its_return_is_a_rise():
    values = noise(80, step_at=40, step=-0.015)
    values[60] += 0.015
    down, up = detect(told(values), dates(80))
    assert (down.direction, up.direction) == ("down", "up")
    assert up.since == dates(80)[60]


def test_a_line_is_never_read_as_a_drop():
    values, when = noise(60, step_at=40, step=-0.05), dates(60)
    assert detect(told(values), when)
    assert detect(told(values), when, lines=[when[40]]) == []
    values[50] -= 0.02  # and the detectors go on after it
    [alert] = detect(told(values), when, lines=[when[40]])
    assert alert.since == when[50]


def test_a_gap_is_a_gap():
    """Three missing days: the change over them is read; after more than `gap` the level starts anew."""
    values, when = noise(60, step_at=40, step=-0.015), dates(60)
    late = when[:40] + dates(20, "2026-02-17")
    [alert] = detect(told(values), late)
    assert alert.since == late[40]
    far = when[:40] + dates(20, "2026-03-20")
    assert detect(told(values), far) == []


def test_a_series_that_misses_a_day_starts_anew():
    days = told(noise(60, step_at=40, step=-0.05))
    days[40] = []
    assert detect(days, dates(60)) == []


def test_few_queries_are_not_watched():
    assert detect(told(noise(60, step_at=40, step=-0.05), n=29), dates(60)) == []
    assert detect(told(noise(60, step_at=40, step=-0.05), n=29), dates(60), Rules(least=20)) != []


def test_no_alarm_while_learning():
    assert detect(told(noise(30, step_at=8, step=-0.05)), dates(30)) == []
    assert detect(told(noise(30, step_at=8, step=-0.05)), dates(30), Rules(learning=5)) != []


def test_weekdays_teach_and_do_not_alarm():
    """Weekends are ten standard errors lower, from the first week on."""
    days = 84
    low = np.where(np.arange(days) % 7 >= 5, -10 * SE, 0.0)
    values = (np.array(noise(days)) + np.diff(low, prepend=low[0])).tolist()
    late = [a for a in detect(told(values), dates(days)) if a.date > dates(days)[28]]
    assert late == []


def test_one_event_is_one_alert_and_its_carriers_are_named():
    drop = -0.02
    days = joined(
        told(noise(60, 1, 40, drop / 2), n=2000),
        told(noise(60, 2, 40, drop), "language=de"),
        told(noise(60, 3), "language=fr"),
        told(noise(60, 4, 40, drop / 2), "device=mobile"),
        told(noise(60, 5, 40, drop), "language=de", "relevant@25"),
    )
    [alert] = detect(days, dates(60))
    assert alert.carried_by[0] == "language=de"
    assert "language=fr" not in alert.carried_by
    assert len(alert.also) >= 1


def test_two_values_of_a_column_that_fall_together_are_one_event_that_both_carry():
    days = joined(told(noise(60, 1, 40, -0.02), "language=de"), told(noise(60, 2, 40, -0.02), "language=fr"))
    [alert] = detect(days, dates(60))
    assert set(alert.carried_by) == {"language=de", "language=fr"}


def test_two_values_of_a_column_that_fall_on_different_days_are_two_events():
    days = joined(told(noise(60, 1, 40, -0.02), "language=de"), told(noise(60, 2, 43, -0.02), "language=fr"))
    assert {a.segment for a in detect(days, dates(60))} == {"language=de", "language=fr"}


def test_a_part_is_watched_by_itself():
    [alert] = detect(joined(told(noise(60)), told(noise(60, 2, 40, -0.02), part=MIX)), dates(60))
    assert alert.part == MIX


def test_only_named_metrics_are_watched():
    days = told(noise(60, step_at=40, step=-0.02))
    assert detect(days, dates(60), Rules(metrics=("relevant@25",))) == []


def test_the_false_alarms_allowed_add_up():
    order = [(part, metric, segment) for part in (PAIRED, MIX) for metric in "ab" for segment in ("all", "x=1", "x=2")]
    for series in (order, order[:6], order[:1], [("judge", "judge", "all"), *order]):
        down, up = _allowed(series, Rules(per_quarter=2))
        assert (down.sum() + up.sum()) * 90 == pytest.approx(2 * SPENT)
        assert down.sum() == pytest.approx(4 * up.sum())


def test_a_change_that_never_varied_alarms_when_it_does():
    """A judge that says the same of its anchors each day: the first different answers are news."""
    days = [[]] + [[Change("judge", "all", 0.0, 0.0, 300)] for _ in range(39)]
    days[30] = [Change("judge", "all", -0.01, 0.003, 300)]
    [alert] = detect(days, dates(40))
    assert alert.since == dates(40)[30]


@pytest.mark.parametrize(
    ("when", "told_"),
    [(["2026-01-05", "2026-01-05"], "follows"), (["2026-01-05"], "1 dates"), (["2026-01-05", "soon"], "no date")],
)
def test_wrong_dates_are_refused(when, told_):
    with pytest.raises(InputError, match=told_):
        detect([[], [Change("m", "all", 0.0, 0.1, 50)]], when)


def test_a_change_given_twice_is_refused():
    with pytest.raises(InputError, match="two changes of one metric"):
        detect([[], [Change("m", "all", 0.0, 0.1, 50)] * 2], dates(2))


@pytest.mark.parametrize("wrong", [{"down": 2}, {"per_quarter": 0}, {"window": 0}, {"learning": 1}])
def test_rules_that_cannot_be_are_refused(wrong):
    with pytest.raises(InputError):
        replace(Rules(), **wrong)


# --- thresholds -----------------------------------------------------------------------------------------------------------


def test_a_threshold_has_its_rate():
    for memory in (0.0, 0.45, 0.9):
        h = step_threshold(2e-4, memory=memory)
        assert false_alarms(h, memory=memory) == pytest.approx(2e-4, rel=1e-6)


def test_more_memory_and_more_days_cost_more():
    assert step_threshold(1e-4, memory=0.9) > step_threshold(1e-4, memory=0.3) > step_threshold(1e-4)
    assert step_threshold(1e-4, memory=0.9, window=7) > step_threshold(1e-4, memory=0.9, window=1)
    with pytest.raises(InputError):
        step_threshold(0.7)
    with pytest.raises(InputError):
        false_alarms(3.0, memory=1.0)
    with pytest.raises(InputError):
        false_alarms(3.0, memory=0.5, lasting=1.0)


def filtered(noise: Noise, days: int = 4000) -> tuple[float, float, list[float]]:
    """An oracle: the textbook filter with two states, level and noise, no error of observation. Gain, error, a step's trace."""
    s = steady(noise)
    move = np.diag([1.0, noise.lasting])
    q = np.diag([s.wander, s.own * (1 - noise.lasting**2)])
    p, h = np.diag([1.0, s.own]), np.ones((1, 2))
    for _ in range(days):
        p = move @ p @ move.T + q
        f = float((h @ p @ h.T)[0, 0])
        k = p @ h.T / f
        p = p - k @ h @ p
    state, trace = np.zeros((2, 1)), []
    for _ in range(5):  # a level that is 1 from now on, of which the filter knows nothing
        state = move @ state
        error = 1.0 - float((h @ state)[0, 0])
        trace.append(error)
        state = state + k * error
    return float(k[0, 0]), f, trace


@pytest.mark.parametrize("noise", [Noise(0.9), Noise(0.75, 0.3), Noise(0.82, 0.6), Noise(0.6, 0.8)])
def test_the_forecast_is_the_textbook_filter_s(noise):
    gain, error, trace = filtered(noise)
    assert steady(noise).gain == pytest.approx(gain, rel=1e-4)
    assert steady(noise).error == pytest.approx(error, rel=1e-4)
    assert days_told(noise, 5) == pytest.approx(np.cumsum(np.square(trace)), rel=1e-3)


@pytest.mark.parametrize("noise", NOISES)
def test_a_day_s_change_has_the_variance_that_is_told(noise):
    """A day's change of a level that wanders and is seen with such noise: 1."""
    s = steady(noise)
    assert s.wander + 2 * s.own * (1 - noise.lasting) == pytest.approx(1.0)


def test_noises_are_in_the_order_of_what_a_step_tells():
    tells = [days_told(noise, 5)[-1] / steady(noise).error for noise in NOISES]
    assert tells == sorted(tells)
    assert NOISES[0] == Noise(0.0)


def test_noise_that_lasts_is_told_from_noise_that_goes():
    days, when = 400, dates(400)
    rng = np.random.default_rng(4)
    found = {}
    for lasting in (0.0, 0.6):
        series = []
        for s in range(4):
            noise = rng.normal(0, 1, days)
            for t in range(1, days):
                noise[t] = lasting * noise[t - 1] + np.sqrt(1 - lasting**2) * noise[t]
            series.append(told((np.diff(noise, prepend=noise[0]) * SE / np.sqrt(2 * (1 - lasting))).tolist(), f"x={s}"))
        _, chains = _chains(joined(*series), when, Rules(), set())
        learned = Learned(4, chains.group, 2)
        for t in range(1, days):
            change, variance = chains.values[t], chains.variances[t]
            learned.learn(change, change - learned.usual(t % 7, 1)[0], np.sqrt(variance), t % 7, 1)
        found[lasting] = NOISES[int(learned.noise()[1][0])]
    assert found[0.0].lasting <= 0.15
    assert found[0.6].lasting >= 0.45


@pytest.mark.simulation
def test_first_crossings_are_no_more_than_the_bound(repetitions):
    """Steps of the last five days in independent forecast errors: first crossings a day, within 4 Monte Carlo SDs."""
    days, memory, h = repetitions(reduced=400_000, whole=4_000_000), 0.9, 3.0
    a = np.random.default_rng(5).normal(size=days)
    trace = memory ** np.arange(5)
    z = np.full((5, days), -np.inf)
    for k in range(5):  # a step k days ago
        told = sum(trace[j] * a[j : days - k + j] for j in range(k + 1))
        z[k, k:] = told / np.sqrt((trace[: k + 1] ** 2).sum())
    new = np.zeros(days, bool)
    new |= z[0] > h
    for k in range(1, 5):
        new[1:] |= (z[k, 1:] > h) & (z[k - 1, :-1] <= h)
    bound = false_alarms(h, memory=memory)
    assert new.mean() <= bound + 4 * np.sqrt(bound / days)
    assert new.mean() >= bound / 3


# --- years whose truth is known -------------------------------------------------------------------------------------------


@pytest.mark.simulation
@pytest.mark.parametrize("market", [Market(), Market(lasting=0.3), Market(lasting=0.6), Market(wave=0.03)])
def test_false_alarms_are_within_the_budget(market, repetitions):
    """At most 1 in 90 days, over 52 series; tolerance: 3 Poisson SDs of so many quarters."""
    years = repetitions(reduced=3, whole=100)
    quarters = years * 365 / 90
    count = sum(len(detect(history(year(market, metrics=2, seed=seed)), dates(365))) for seed in range(years))
    assert count <= quarters + 3 * np.sqrt(quarters)


@pytest.mark.simulation
def test_drops_are_found_in_time(repetitions):
    """2 % in a tenth within 3 days and 1 % overall within 5, in 80 % at least; tolerance: 3 binomial SDs."""
    times = repetitions(reduced=16, whole=200)
    when = dates(100)
    for segment, drop, within in ((TENTH, 0.02, 3), ("all", 0.01, 5)):
        found = 0
        for seed in range(times):
            struck = 80 + seed % 7
            y = year(Market(), incidents=[Incident(struck, "search", segment, drop)], days=100, metrics=2, seed=seed)
            found += any(
                when[struck] <= a.date < when[struck + within]
                and a.direction == "down"
                and segment in {a.segment, *a.carried_by}
                for a in detect(history(y), when)
            )
        assert found >= 0.8 * times - 3 * np.sqrt(times * 0.16)


@pytest.mark.simulation
def test_metrics_of_which_few_queries_move_alarm_no_more_often(repetitions):
    """One query of 200 moves on an average day, by 0.3, and back on the next; 26 series; tolerance: 3 Poisson SDs."""
    years, series, n = repetitions(reduced=3, whole=40), 26, 200
    count, when = 0, dates(365)
    for seed in range(years):
        rng = np.random.default_rng(seed)
        up, down = rng.poisson(0.5, (2, 365, series))
        change = np.diff((up - down) * 0.3 / n, axis=0, prepend=np.nan)
        moved = np.diff(np.cumsum(up + down, axis=0), axis=0, prepend=0) + np.vstack([np.zeros((1, series)), (up + down)[:-1]])
        se = np.sqrt(moved) * 0.3 / n * (1 + TAILS / np.maximum(moved, 1))
        days = [[Change("m", f"x={s}", change[t, s], se[t, s], n) for s in range(series)] if t else [] for t in range(365)]
        count += len(detect(days, when))
    quarters = years * 365 / 90
    assert count <= quarters + 3 * np.sqrt(quarters)


@pytest.mark.parametrize(("loss", "share"), [(0.3, 0.5), (0.4, 0.1), (0.05, 0.5)])
def test_an_alert_s_interval_holds_the_step_also_where_it_hits_some_queries_alone(loss, share, repetitions):
    """The panel is one of many: another would have had other queries among those that are hit. 5,000 queries, 300 of them."""
    from datetime import date, timedelta

    from germane.monitor.changes import changes
    from germane.monitor.days import Day

    count, drawn, inside, found = 5000, 300, 0, 0
    dates = [str(date(2025, 1, 1) + timedelta(days=t)) for t in range(34)]
    for seed in range(times := repetitions(reduced=40, whole=400)):
        rng = np.random.default_rng(seed)
        mean, hit, panel = rng.uniform(0.4, 0.9, count), rng.random(count) < share, rng.random(count) < drawn / count
        n = int(panel.sum())
        columns = (np.arange(count).astype(str)[panel], np.ones(n), np.full(n, n / count), np.full(n, "a"), np.ones(n, bool))
        days, before = [], None
        for t, day in enumerate(dates):
            values = np.clip(mean + rng.normal(0, 0.02, count) - (loss * hit if t >= 30 else 0), 0, 1)
            now = Day(day, *columns, metrics={"m": values[panel]})
            days.append(changes(before, now) if before else [])
            before = now
        if alerts := [a for a in detect(days, dates) if a.since == dates[30]]:
            found += 1
            inside += alerts[0].size.low <= -(loss * hit).mean() <= alerts[0].size.high
    assert found > 0.9 * times
    assert inside / found > 0.95 - 4 * np.sqrt(0.95 * 0.05 / found)

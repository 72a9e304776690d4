#!/usr/bin/env python3
"""A second opinion on Ingot's schedules: Debian's cron, simulated minute by minute.

    second_opinion.py            compare table.tsv and bad_lines.tsv with the simulation
    second_opinion.py --write    fill table.tsv's times column from the simulation
    second_opinion.py --slow     walk every minute, without the shortcut over idle days
                                 (takes some minutes: rows reach into the next century)
    second_opinion.py --verbose  also list where croniter has rules of its own

Ingot computes the next time of a schedule in closed form.  A test that used the same
kind of reasoning would repeat the same mistakes, so this script does not reason at
all: it is a cron daemon with a fake clock.  It wakes every UTC minute, looks at the
wall clock of the zone and does what the daemon's main loop would do.  It needs only the
standard library (zoneinfo).  If PyPI's croniter can be imported it is asked as well:

    python3 -m venv /tmp/cronvenv && /tmp/cronvenv/bin/pip install croniter
    /tmp/cronvenv/bin/python tests/cron/second_opinion.py

The files
---------
Both .tsv files have one header line.  A reader must not trim the first column: blanks
around a schedule are part of what is tested.  In the first column `\\t` stands for a tab
and `\\n` for a line feed.  The five times are strictly later than `after`.

What Debian does (source package cron 3.0pl1-162, bookworm: entry.c, cron.c)
---------------------------------------------------------------------------
* A schedule is a "wildcard job" if its minute or hour field BEGINS with `*` (`*/15`
  does, `0-59` and `5,*/15` do not), or if it is @hourly; otherwise a "fixed-time job".
* The day fields are joined with AND if one of them begins with `*`, else with OR.
* Clock forward by 6 minutes to 3 hours (main loop, case 2): wildcard jobs run for the
  new minute only; fixed-time jobs run, in that same minute, for every skipped minute
  and for the new one.  A jump of exactly 3 hours is already a "correction".
* Clock back by less than 3 hours (case 3): wildcard jobs run by the clock; fixed-time
  jobs wait until the clock has passed the latest time it had already shown.
* Anything bigger: the new time counts at once, nothing is made up for.
* A number with a step but no range (`5/2`) is an error; steps longer than the range
  are not (`*/90` is minute 0); day of week runs from 0 to 7, so `*/7` is Sunday alone.

How far this can be trusted
---------------------------
On 2026-11-26 all rows were also run through Debian's own entry.c and cron.c, compiled
with a fake time(), sleep() and job_add().  All agreed, except that Debian's minutes are
an int which it multiplies by 60: the daemon goes astray in 2038 (rows with leap days;
they agree with that int made a long).  Rows were chosen so that tzdata 2025b and 2026f
give the same times; America/Havana in winter is left out because they do not.

Where Ingot is stricter, on purpose
-----------------------------------
Debian takes these lines and Ingot refuses them (bad_lines.tsv), because each would
silently do something else than it says: a backwards range (Debian: empty set), what
is left over after a range (`5#3`, `1-5-7`, `1.5`, `*5`: the rest is skipped), numbers
that overflow an int, and dates that never come (30 feb).

One idealisation: the real daemon sleeps 10 seconds after each batch of jobs it makes
up for, so that long batches spill into the next minutes.  Here the daemon is never
late: everything made up for belongs to the first minute after the jump.  Two matches
in one gap are therefore the same instant, that is one time.

Where croniter 7 differs
------------------------
* Day fields.  By default croniter joins `*/2` and a weekday with OR.  It is asked
  with implement_cron_bug=True, which is Debian's AND.
* Clock changes.  croniter does not know fixed-time and wildcard jobs.  It is only
  binding here for rows without a change of the zone's offset from 3 hours before
  `after` to the fifth time; for the others an agreement is counted and a disagreement is listed with
  --verbose, but is not an error.
* KNOWN_DIFFERENCES below: rows it reads differently although no clock changes.
"""

import re
import sys
from datetime import date, datetime, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

HERE = Path(__file__).resolve().parent
HEADER = ["line", "zone", "after", "next five times", "what it shows"]
UTC = timezone.utc
DAY = 24 * 60
EPOCH_ORDINAL = date(1970, 1, 1).toordinal()

# Lines croniter reads differently (or refuses) with no clock change involved.
KNOWN_DIFFERENCES = {
    "0,0,0-0 12 * * *": "croniter takes 0-0 for the whole field; Debian for 0",
    "0 12 1,* * mon": "croniter shortens `1,*` to `*` (AND); Debian looks at the first character (OR)",
    "  @daily\\t": "croniter does not trim blanks around a macro",
}

MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
WEEKDAYS = "sun mon tue wed thu fri sat".split()
FIELDS = [
    ("minute", 0, 59, []),
    ("hour", 0, 23, []),
    ("day of month", 1, 31, []),
    ("month", 1, 12, MONTHS),
    ("day of week", 0, 7, WEEKDAYS),
]
# What Debian's load_entry sets for each macro, written as the line with the same bits.
# (@daily has no star flags there, but with both day sets full AND and OR are the same.)
MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


class BadLine(Exception):
    """A line that is refused: the field's name and the reason."""


class Entry:
    """A schedule as Debian's `entry` struct holds it: five sets and the star flags."""

    def __init__(self, line):
        if "\n" in line or "\r" in line:
            raise BadLine("line", "more than one line")
        # Only blank and tab separate; str.split() alone would take NBSP and others too.
        words = re.split(r"[ \t]+", line.strip(" \t"))
        if words[0].startswith("@"):
            if len(words) != 1 or words[0] not in MACROS:
                raise BadLine("line", "unknown macro")
            words = MACROS[words[0]].split()
        if len(words) != 5:
            raise BadLine("line", "not five fields")
        sets = [read_field(w, *f) for w, f in zip(words, FIELDS)]
        self.minutes, self.hours, self.days, self.months, self.weekdays = sets
        if self.weekdays & {0, 7}:
            self.weekdays |= {0, 7}
        minute, hour, day, _, weekday = (w.startswith("*") for w in words)
        self.wildcard = minute or hour
        self.day_fields_joined_with_and = day or weekday
        self._day_cache = {}

    def on_day(self, day_number):
        """Whether the date fields let the job run on this day (days since 1970)."""
        answer = self._day_cache.get(day_number)
        if answer is None:
            d = date.fromordinal(EPOCH_ORDINAL + day_number)
            day = d.day in self.days
            weekday = d.isoweekday() in self.weekdays
            both = (day and weekday) if self.day_fields_joined_with_and else (day or weekday)
            answer = self._day_cache[day_number] = d.month in self.months and both
        return answer

    def matches(self, wall_minute):
        """Whether the job is due at this wall-clock minute (minutes since 1970)."""
        day_number, minute_of_day = divmod(wall_minute, DAY)
        hour, minute = divmod(minute_of_day, 60)
        return minute in self.minutes and hour in self.hours and self.on_day(day_number)

    def ever(self):
        """Whether there is any date at all: the calendar repeats after 400 years."""
        start = date(2000, 1, 1).toordinal() - EPOCH_ORDINAL
        return any(self.on_day(start + n) for n in range(146097))


def read_field(text, name, low, high, names):
    out = set()
    for part in text.split(","):
        m = re.fullmatch(r"(?:(\*)|([0-9A-Za-z]+)(?:-([0-9A-Za-z]+))?)(?:/([0-9]+))?", part)
        if not m:
            raise BadLine(name, "not understood")
        star, first, last, step = m.groups()
        if star:
            a, b = low, high
        else:
            a = read_number(first, name, low, names)
            b = read_number(last, name, low, names) if last else a
        if not (low <= a <= high and low <= b <= high):
            raise BadLine(name, "out of range")
        if a > b:
            raise BadLine(name, "backwards range")
        if step is not None:
            if not star and not last:
                raise BadLine(name, "step without range")
            if not 0 < int(step) < 2**31:
                raise BadLine(name, "bad step")
        out.update(range(a, b + 1, int(step or 1)))
    return out


def read_number(text, name, low, names):
    if text.lower() in names:
        return names.index(text.lower()) + low
    if not re.fullmatch("[0-9]+", text):
        raise BadLine(name, "not a number or name")
    return int(text)


class Clock:
    """The wall clock of a zone, in minutes since 1970, as cron's set_time() sees it."""

    def __init__(self, zone):
        self.tz = ZoneInfo(zone)

    def offset(self, utc_minute):
        off = datetime.fromtimestamp(utc_minute * 60, self.tz).utcoffset()
        return int(off.total_seconds()) // 60

    def wall(self, utc_minute):
        return utc_minute + self.offset(utc_minute)

    def constant(self, first, last):
        """Whether the offset is the same all the way, looked at every quarter hour."""
        off = self.offset(first)
        return all(self.offset(m) == off for m in [*range(first, last, 15), last])


def simulate(entry, zone, after, count=5, slow=False):
    """The first `count` UTC minutes strictly after `after` in which cron starts the job."""
    clock = Clock(zone)
    # The daemon has been running for a while, so that it remembers a clock change
    # just before `after`.  It forgets changes within 3 hours.
    utc = int(after.timestamp()) // 60 - 8 * 60
    virtual = clock.wall(utc)
    out = []
    while len(out) < count:
        utc += 1
        if not slow and utc % DAY == 0 and virtual == clock.wall(utc - 1):
            # Nothing can start on a day without a clock change on which the date
            # fields never match.  (A change just before would show in `virtual`.)
            today = clock.wall(utc) // DAY, clock.wall(utc + DAY - 1) // DAY
            if clock.constant(utc - 1, utc + DAY - 1) and not any(map(entry.on_day, today)):
                utc += DAY - 1
                virtual = clock.wall(utc)
                continue
        running = clock.wall(utc)
        difference = running - virtual
        due = False
        if difference == 1:
            virtual = running
            due = entry.matches(running)
        elif -180 < difference <= 0:
            # The clock went back: only wildcard jobs, virtual time stands still.
            due = entry.wildcard and entry.matches(running)
        elif 1 < difference <= 5:
            # A small jump is a daemon that overslept: all jobs, minute by minute.
            while virtual < running:
                virtual += 1
                due = due or entry.matches(virtual)
        elif 5 < difference <= 180:
            # The clock went forward: wildcard jobs for the new minute only, fixed-time
            # jobs for each minute that was skipped and for the new one.
            if entry.wildcard:
                due = entry.matches(running)
            while virtual < running:
                virtual += 1
                due = due or (not entry.wildcard and entry.matches(virtual))
        else:
            virtual = running
            due = entry.matches(running)
        start = datetime.fromtimestamp(utc * 60, UTC)
        if due and start > after:
            out.append(start)
    return out


def ask_croniter(line, zone, after, count=5):
    """croniter's answer, None if it is not installed, or its error message."""
    try:
        from croniter import croniter
    except ImportError:
        return None
    try:
        it = croniter(
            line,
            after.astimezone(ZoneInfo(zone)),
            implement_cron_bug=True,
            max_years_between_matches=60,
        )
        return [it.get_next(datetime).astimezone(UTC) for _ in range(count)]
    except Exception as e:  # whatever it raises is its answer
        return f"{type(e).__name__}: {e}"


def unescape(text):
    return text.replace("\\t", "\t").replace("\\n", "\n")


def stamp(t):
    return t.strftime("%Y-%m-%dT%H:%M:%SZ")


def read_tsv(path):
    lines = path.read_text(encoding="utf-8").split("\n")
    return lines[0].split("\t"), [l.split("\t") for l in lines[1:] if l != ""]


def check_table(write, slow, verbose):
    path = HERE / "table.tsv"
    header, rows = read_tsv(path)
    problems, agree, with_croniter, own_rules, installed = [], 0, 0, [], False
    for number, row in enumerate(rows, 2):
        if len(row) != 5:
            problems.append(f"table.tsv:{number}: {len(row)} columns instead of 5: {row}")
            continue
        line, zone, after = unescape(row[0]), row[1], datetime.fromisoformat(row[2])
        try:
            times = simulate(Entry(line), zone, after, slow=slow)
        except BadLine as e:
            problems.append(f"table.tsv:{number}: `{row[0]}` is refused: {': '.join(e.args)}")
            continue
        expected = ",".join(map(stamp, times))
        where = f"table.tsv:{number}: `{row[0]}` in {zone} after {row[2]}"
        if write:
            row[3] = expected
        if row[3] == expected:
            agree += 1
        else:
            problems.append(
                f"{where} ({row[4]})\n"
                f"    table:      {row[3].replace(',', ' ')}\n"
                f"    simulation: {expected.replace(',', ' ')}"
            )
        other = ask_croniter(line, zone, after)
        if other is None:
            continue
        installed = True
        if other == times:
            with_croniter += 1
            continue
        said = other if isinstance(other, str) else " ".join(map(stamp, other))
        # A clock change up to 3 hours before `after` still matters to fixed-time jobs.
        first = int(after.timestamp()) // 60 - 180
        if not Clock(zone).constant(first, int(times[-1].timestamp()) // 60):
            own_rules.append(f"{where}\n    croniter's own rules for clock changes: {said}")
        elif row[0] in KNOWN_DIFFERENCES:
            own_rules.append(f"{where}\n    {KNOWN_DIFFERENCES[row[0]]}: {said}")
        else:
            problems.append(
                f"{where} ({row[4]})\n"
                f"    simulation: {expected.replace(',', ' ')}\n"
                f"    croniter:   {said}"
            )
    if write:
        text = "\n".join("\t".join(r) for r in [HEADER, *rows]) + "\n"
        path.write_text(text, encoding="utf-8")
    elif header != HEADER:
        problems.append(f"table.tsv:1: header {header}")
    if verbose:
        print("\n".join(own_rules))
    croniter = f"{with_croniter} also with croniter" if installed else "croniter is not installed"
    return problems, f"{agree} rows agree with the simulation, {croniter}"


def check_bad_lines():
    _, rows = read_tsv(HERE / "bad_lines.tsv")
    problems, refused = [], 0
    for number, row in enumerate(rows, 2):
        where = f"bad_lines.tsv:{number}: `{row[0]}`"
        if len(row) != 3:
            problems.append(f"{where}: {len(row)} columns instead of 3")
            continue
        try:
            entry = Entry(unescape(row[0]))
            if entry.ever():
                problems.append(f"{where} is taken, but should be refused ({row[2]})")
                continue
            field, never = "line", True
        except BadLine as e:
            field, never = e.args[0], False
        if field != row[1] or never != row[2].startswith("never happens"):
            problems.append(f"{where} is refused for {field}, never={never}, not {row[1:]}")
        else:
            refused += 1
    return problems, f"{refused} bad lines are refused"


def main():
    known = {"--write", "--slow", "--verbose"}
    options = set(sys.argv[1:])
    if options - known:
        sys.exit(f"usage: second_opinion.py [{'] ['.join(sorted(known))}]")
    table = check_table("--write" in options, "--slow" in options, "--verbose" in options)
    bad = check_bad_lines()
    problems = table[0] + bad[0]
    for p in problems:
        print(p)
    print(f"{table[1]}; {bad[1]}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()

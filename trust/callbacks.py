"""Callbacks: are the right ones accepted and no other, does time tell where one is wrong, and is each handled once?

    python -m trust.callbacks [--quick] [--samples N] [--json FILE]

Time is told from the test of dudect (Reparaz, Balasch, Verbauwhede: "dude, is my code constant time?", 2017): two
classes of input in random order, each call timed, Welch's t of the two, over all calls and with the slowest left out at
several percentiles. Here it is made for each stretch of 4,000 calls with inputs of its own; what counts is how far the
mean of these t is from 0, as Student's t, and the largest |t| of all percentiles. Beside the verifier stand the peers
that are installed, a loop that ends at the first wrong digit, and the verifier with a plain `==`: nothing is promised
where the measurement does not see the leak of that.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import gc
import hashlib
import hmac
import itertools
import json
import math
import multiprocessing
import operator
import random
import sqlite3
import statistics
import tempfile
import time
from array import array
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fetch_hive_sdk import (
    SIGNATURE_HEADER,
    CallbackVerificationError,
    CallbackVerifier,
    Deliveries,
    DeliveryInProgressError,
    SQLiteDeliveryStore,
    callbacks,
)

from .callback_vectors import VECTORS, Vector
from .figures import OURS, Options, Report, main, versions

SECRET = "whsec_of_the_measurement"
OLD_SECRET = "whsec_that_was_before"
BODY = b'{"event_type":"workflow.completed","request_id":"req_1","data":{"output":"Brief"}}'
LONG = BODY[:-3] + b"x" * 70_000 + BODY[-3:]  # more than the 64 KB that many a buffer has
BLANKS = {
    "a zero byte": b"\0",
    "zero bytes": b"\0" * 64,
    "a space": b" ",
    "a newline": b"\n",
    "a CRLF": b"\r\n",
    "a tab": b"\t",
    "a no-break space": "\xa0".encode(),
    "a byte order mark": b"\xef\xbb\xbf",
}

SAMPLES = 1_000_000  # of each class
QUICK_SAMPLES = 20_000
LIMIT = 4.5  # |t| above which dudect takes times to differ
PLAIN = "`==`"
PERCENTILES = (50, 75, 90, 95, 99, 100)
STRETCH = 4_000  # calls with the same inputs, in which the machine is about equally fast
POOL = 64  # inputs of each class, made in turns, so that no place in memory stands for a class

PROCESSES = 4


# --- what is accepted -----------------------------------------------------------------------------------


def is_accepted(verifier: CallbackVerifier, body: bytes, signature: object) -> bool:
    """Whether a body passes with this signature; any other error than the documented one goes through."""
    try:
        verifier.verify(body, {SIGNATURE_HEADER: signature})
    except CallbackVerificationError:
        return False
    return True


def agrees(vector: Vector) -> bool:
    """Whether a published value is accepted or refused as it has to be."""
    return is_accepted(CallbackVerifier(vector.key), vector.message, vector.signature) is vector.right


def right_ones() -> Iterator[tuple[str, bytes]]:
    """Bodies that have to be accepted with their MAC as Python's `hmac` makes it: what is special, and the body."""
    yield "usual", BODY
    yield "empty", b""
    yield f"{len(LONG):,} bytes", LONG
    yield "no UTF-8", b"\xff\xfe" + BODY
    for name, blank in BLANKS.items():
        yield f"{name} alone", blank
        yield f"{name} at the end", BODY + blank
        yield f"{name} at the end of {len(LONG):,} bytes", LONG + blank
        yield f"{name} at the beginning", blank + BODY


def forgeries(seed: int, count: int) -> Iterator[tuple[str, bytes, object]]:
    """What must not be accepted under SECRET: why, body and signature. After the systematic ones `count` at random."""
    chance = random.Random(seed)
    mac = hmac.digest(SECRET.encode(), BODY, "sha256")
    for bit in range(256):
        changed = bytearray(mac)
        changed[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit} flipped, hex", BODY, changed.hex()
        yield f"bit {bit} flipped, base64", BODY, base64.b64encode(changed).decode()
        yield f"bit {bit} flipped, sha256=", BODY, f"sha256={changed.hex()}"
    for bit in range(8 * len(BODY)):
        body = bytearray(BODY)
        body[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit} of the body flipped", bytes(body), mac.hex()
    for length in range(64):
        yield f"hex cut to {length}", BODY, mac.hex()[:length]
        yield f"hex cut to {length} and filled up", BODY, mac.hex()[:length].ljust(64, "0") + "0"
        yield f"the body cut by {length + 1}", BODY[: -length - 1], mac.hex()
        yield f"the body longer by {length + 1}", BODY + b" " * (length + 1), mac.hex()
    for length in range(43):
        yield f"base64 cut to {length}", BODY, base64.b64encode(mac).decode()[:length]
    keys = {"the empty key": b"", "a space": b" ", "the name": SIGNATURE_HEADER.encode(), "another key": b"whsec_"}
    for name, key in keys.items():
        yield name, BODY, hmac.digest(key, BODY, "sha256").hex()
    yield "the hash alone", BODY, hashlib.sha256(BODY).hexdigest()
    yield "the key before the body, no HMAC", BODY, hashlib.sha256(SECRET.encode() + BODY).hexdigest()
    yield "the key after the body, no HMAC", BODY, hashlib.sha256(BODY + SECRET.encode()).hexdigest()
    for algorithm in ("md5", "sha1", "sha224", "sha384", "sha512", "sha3_256", "blake2s"):
        other = hmac.digest(SECRET.encode(), BODY, algorithm)
        yield f"HMAC with {algorithm}", BODY, other.hex()
        yield f"HMAC with {algorithm}, in 64 digits", BODY, other.hex()[:64].ljust(64, "0")
    yield from _other_bodies(mac)
    yield "two in one header", BODY, [mac.hex(), "0" * 64]
    yield "two joined", BODY, f"{mac.hex()},{mac.hex()}"
    for _ in range(count):
        yield "random", BODY, chance.randbytes(32).hex()


def _other_bodies(mac: bytes) -> Iterator[tuple[str, bytes, object]]:
    """Bodies that differ from what was signed where a check may not look: in their blank ends, or far behind."""
    for name, blank in BLANKS.items():
        yield f"{name} put at the end", BODY + blank, mac.hex()
        yield f"{name} put at the beginning", blank + BODY, mac.hex()
        yield f"{name} taken from the end", BODY, _signed(BODY + blank)
        yield f"{name} taken from the beginning", BODY, _signed(blank + BODY)
    of_long = _signed(LONG)
    for power in range(6, 17):
        for length in (2**power - 1, 2**power, 2**power + 1):
            yield f"the first {length:,} bytes alone signed", LONG, _signed(LONG[:length])
            yield f"the last {length:,} bytes alone signed", LONG, _signed(LONG[-length:])
            yield f"the body cut to {length:,}", LONG[:length], of_long
            for place in (length, -length):
                changed = bytearray(LONG)
                changed[place] ^= 1
                yield f"byte {place:,} of a long body changed", bytes(changed), of_long
    for tail in (*BLANKS.values(), LONG[-1:]):
        yield f"a long body followed by {tail!r}", LONG + tail, of_long


def _signed(body: bytes) -> str:
    return hmac.digest(SECRET.encode(), body, "sha256").hex()


def rotation_cases() -> Iterator[tuple[str, bool, bool]]:
    """How a secret is renewed: which case, whether a callback has to be accepted, and whether it is."""
    verifiers = {
        "old": CallbackVerifier(OLD_SECRET),
        "old, new": CallbackVerifier([OLD_SECRET, SECRET]),
        "new, old": CallbackVerifier([SECRET, OLD_SECRET]),
        "new": CallbackVerifier(SECRET),
    }
    signers = {"old": OLD_SECRET, "new": SECRET, "neither": "whsec_of_somebody_else"}
    for secrets, verifier in verifiers.items():
        for signer, secret in signers.items():
            accepted = is_accepted(verifier, BODY, CallbackVerifier(secret).sign(BODY))
            yield f"secrets {secrets}; signed with {signer}", signer in secrets.split(", "), accepted


# --- time -----------------------------------------------------------------------------------------------

Check = Callable[[str], object]


@dataclass(frozen=True)
class Question:
    """Two classes of signatures whose times have to be the same."""

    first: Sequence[str]
    second: Sequence[str]


def changed_at(signature: str, position: int, chance: random.Random) -> str:
    """A hex signature with another digit at a position."""
    digit = chance.choice([digit for digit in "0123456789abcdef" if digit != signature[position]])
    return signature[:position] + digit + signature[position:][1:]


def wrong_first_or_last(right: str, chance: random.Random) -> Question:
    """Wrong in the first digit, and wrong in the last."""
    both = [(changed_at(right, 0, chance), changed_at(right, len(right) - 1, chance)) for _ in range(POOL)]
    return Question([one for one, _ in both], [other for _, other in both])


def fixed_or_random(right: str, chance: random.Random) -> Question:
    """Always the same wrong signature, and random ones."""
    fixed = changed_at(right, len(right) - 1, chance)
    both = [(copied(fixed), chance.randbytes(32).hex()) for _ in range(POOL)]
    return Question([one for one, _ in both], [other for _, other in both])


def right_by_first_or_second(first: str, second: str) -> Question:
    """Two right signatures."""
    both = [(copied(first), copied(second)) for _ in range(POOL)]
    return Question([one for one, _ in both], [other for _, other in both])


def copied(text: str) -> str:
    """The same text in another place of memory."""
    return (text + " ")[:-1]


def near_first_or_second(first: str, second: str, chance: random.Random) -> Question:
    """Wrong in the last digit alone, as compared with the first of two signatures, and with the second."""
    both = [tuple(changed_at(right, len(right) - 1, chance) for right in (first, second)) for _ in range(POOL)]
    return Question([one for one, _ in both], [other for _, other in both])


Stretch = tuple["array[int]", "array[int]"]


def timed(check: Check, ask: Callable[[], Question], samples: int, chance: random.Random) -> Iterator[Stretch]:
    """The nanoseconds of so many calls of each class, about, in random order, stretch by stretch.

    Each stretch has inputs of its own, because what is quick for its place in memory alone is so all the time.
    """
    clock = time.perf_counter_ns
    for begun in range(0, 2 * samples, STRETCH):
        question = ask()
        # No class has a place of its own: in what order its inputs are made and where its times are kept is chance.
        side = chance.getrandbits(1)
        inputs = [*((side, one) for one in question.first), *((1 - side, other) for other in question.second)]
        chance.shuffle(inputs)
        pools: tuple[list[tuple[int, str]], list[tuple[int, str]]] = [], []
        for kind, signature in inputs:
            pools[kind].append((kind, copied(signature)))
        taken = array("q"), array("q")
        order = [chance.choice(pools[chance.getrandbits(1)]) for _ in range(min(STRETCH, 2 * samples - begun))]
        gc.collect()
        gc.disable()
        try:
            for kind, pooled in order:
                signature = copied(pooled)  # wherever memory was free last
                began = clock()
                check(signature)
                ended = clock()  # alone: to look up where it is kept takes time, too, and not the same for both
                taken[kind].append(ended - began)
        finally:
            gc.enable()
        yield (taken[side], taken[1 - side])


def largest_t(stretches: Iterable[Stretch]) -> float:
    """The largest |t|, over all times and over those below each percentile of their stretch.

    Each stretch has a t of its own by Welch's test. What counts is how far their mean is from 0, in units of what
    chance would do, as the stretches tell by how far they are apart.
    """
    found: defaultdict[int, list[float]] = defaultdict(list)
    for taken in stretches:
        one, other = map(sorted, taken)
        together = sorted([*one, *other])
        for percentile in PERCENTILES:
            limit = together[min(len(together) - 1, len(together) * percentile // 100)]
            kept = [values[: bisect_left(values, limit + (percentile == 100))] for values in (one, other)]
            if min(map(len, kept)) > 100:
                found[percentile].append(welch_t(*kept))
    return max((abs(_student_t(ts)) for ts in found.values() if len(ts) > 1), default=0.0)


def _student_t(values: Sequence[float]) -> float:
    """Student's t: how far the mean of values is from 0, in units of what chance would do."""
    # At least 1, as Welch's t is by chance alone, lest a few that are alike by accident tell much.
    return statistics.fmean(values) * math.sqrt(len(values)) / max(statistics.stdev(values), 1.0)


def welch_t(first: Sequence[int], second: Sequence[int]) -> float:
    """Welch's t: how far two means are apart, in units of what chance would do."""
    means, errors = [], []
    for values in (first, second):
        mean = sum(values) / len(values)
        variance = max(sum(map(operator.mul, values, values)) / len(values) - mean**2, 0.0)
        means.append(mean)
        errors.append(variance / len(values))
    apart = means[0] - means[1]
    return apart / math.sqrt(sum(errors)) if sum(errors) else math.copysign(math.inf, apart) if apart else 0.0


def leaky(right: str) -> Check:
    """A check that ends at the first wrong digit."""

    def check(signature: str) -> bool:
        hmac.digest(SECRET.encode(), BODY, "sha256")  # the work that a verifier has anyway
        return all(one == other for one, other in zip(signature, right, strict=True))

    return check


def verified_by(verifier: CallbackVerifier) -> Check:
    """The SDK's check, with the header in a dict that is made before."""
    headers = {"Content-Type": "application/json", SIGNATURE_HEADER: ""}

    def check(signature: str) -> None:
        headers[SIGNATURE_HEADER] = signature
        with contextlib.suppress(CallbackVerificationError):
            verifier.verify(BODY, headers)

    return check


@contextlib.contextmanager
def plain_comparison(turns: Sequence[Callable[[Any, Any], bool]] = (operator.eq,)) -> Iterator[None]:
    """Let the SDK compare with `==` in place of `hmac.compare_digest`, which is the mistake that has to be seen.

    Args:
        turns: What is called for the first secret, the second and so on, if not all are compared so.
    """
    following = itertools.cycle(turns)

    def in_turn(given: Any, right: Any) -> bool:
        return next(following)(given, right)

    compare = in_turn if len(turns) > 1 else turns[0]
    whole = callbacks.hmac
    callbacks.hmac = SimpleNamespace(compare_digest=compare)  # type: ignore[assignment]
    try:
        yield
    finally:
        callbacks.hmac = whole


def peers() -> dict[str, Callable[[random.Random], tuple[Check, Callable[[], Question]]]]:
    """Of the peers that are installed: their check, and what is wrong in the first and in the last place."""
    found: dict[str, Callable[[random.Random], tuple[Check, Callable[[], Question]]]] = {}
    names = versions(["standardwebhooks", "stripe"])
    if "standardwebhooks" in names:
        found[names["standardwebhooks"]] = _standardwebhooks
    if "stripe" in names:
        found[names["stripe"]] = _stripe
    return found


def _standardwebhooks(chance: random.Random) -> tuple[Check, Callable[[], Question]]:
    import datetime

    import standardwebhooks

    webhook = standardwebhooks.Webhook(base64.b64encode(SECRET.encode()).decode())
    now = datetime.datetime.now(tz=datetime.timezone.utc)
    # A time ahead, within what it tolerates, so that a long measurement does not run out of it.
    moment = now + datetime.timedelta(minutes=4)
    text = BODY.decode()
    right = base64.b64decode(webhook.sign("msg_1", moment, text).split(",")[1])
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(moment.timestamp())), "webhook-signature": ""}

    def check(signature: str) -> None:
        headers["webhook-signature"] = signature
        with contextlib.suppress(standardwebhooks.WebhookVerificationError):
            webhook.verify(text, headers)

    def ask() -> Question:
        hexes = wrong_first_or_last(right.hex(), chance)
        return Question(
            *(
                [f"v1,{base64.b64encode(bytes.fromhex(wrong)).decode()}" for wrong in two]
                for two in (hexes.first, hexes.second)
            )
        )

    return check, ask


def _stripe(chance: random.Random) -> tuple[Check, Callable[[], Question]]:
    import stripe

    moment, text = int(time.time()), BODY.decode()
    right = hmac.digest(SECRET.encode(), f"{moment}.{text}".encode(), "sha256").hex()

    def check(signature: str) -> None:
        with contextlib.suppress(stripe.SignatureVerificationError):
            stripe.WebhookSignature.verify_header(text, signature, SECRET, 3600)

    def ask() -> Question:
        wrong = wrong_first_or_last(right, chance)
        return Question(*([f"t={moment},v1={one}" for one in two] for two in (wrong.first, wrong.second)))

    return check, ask


# --- once -----------------------------------------------------------------------------------------------


def deliver_all(path: str, log: str, count: int, seed: int, together: Barrier) -> None:
    """Deliver each event until it is taken as handled; handling takes about a millisecond, and fails now and then.

    All processes begin with each event at once, in the same order, so that they meet at it, and rest after each
    statement of SQL, where the system may stop a process too. What was handled is written to a file, a line for each
    time.
    """
    sqlite3.connect = partial(sqlite3.connect, factory=_Halting)  # type: ignore[assignment]
    chance = random.Random(seed)
    verifier = CallbackVerifier(SECRET)
    deliveries = Deliveries(SQLiteDeliveryStore(path, timeout=60), lease=600)
    with _aborting(together), open(log, "a", encoding="utf-8") as handled:
        for body in map(event_of, range(count)):
            event = verifier.unwrap(body, {SIGNATURE_HEADER: verifier.sign(body)})
            together.wait(60)
            while True:
                with contextlib.suppress(HandlerFailed, DeliveryInProgressError), deliveries.once(event) as first:
                    if first:
                        time.sleep(0.001)
                        fail_sometimes(chance)
                        handled.write(f"{event.request_id}\n")
                        handled.flush()
                    break


class _Halting(sqlite3.Connection):
    """A connection that lets others in after each statement."""

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        cursor = super().execute(*arguments)
        time.sleep(0.0005)
        return cursor


@contextlib.contextmanager
def _aborting(together: Barrier) -> Iterator[None]:
    """Let nobody wait for this process if it fails."""
    try:
        yield
    except BaseException:
        together.abort()
        raise


class HandlerFailed(Exception):
    """What a handler may raise."""


def fail_sometimes(chance: random.Random) -> None:
    """Be the handler that fails, one time in five."""
    if chance.random() < 0.2:
        raise HandlerFailed


def event_of(number: int) -> bytes:
    """The body of one of many events."""
    event = {"event_type": "workflow.completed", "request_id": f"req_{number}", "data": {"output": "Brief"}}
    return json.dumps(event).encode()


def times_handled(count: int, processes: int, seed: int) -> Counter[str]:
    """How often each of so many events was handled, when every process was posted every event.

    Raises:
        RuntimeError: A process failed; what it raised stands on standard error.
    """
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(processes)
    with tempfile.TemporaryDirectory() as folder:
        path, logs = str(Path(folder, "deliveries.sqlite3")), [str(Path(folder, f"{n}.log")) for n in range(processes)]
        workers = [
            context.Process(target=deliver_all, args=(path, log, count, seed + number, together))
            for number, log in enumerate(logs)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if any(worker.exitcode for worker in workers):
            raise RuntimeError(f"Processes ended with {[worker.exitcode for worker in workers]}.")
        return Counter(line for log in logs for line in Path(log).read_text(encoding="utf-8").split())


# --- the report -----------------------------------------------------------------------------------------


def measure(options: Options) -> Report:
    """Ask all questions."""
    report = Report("Callbacks: who is let in, what time tells, and what is handled twice")
    _tell_what_is_accepted(report, options)
    _tell_times(report, options)
    _tell_duplicates(report, options)
    return report


def _tell_what_is_accepted(report: Report, options: Options) -> None:
    wrong = [vector.source for vector in VECTORS if not agrees(vector)]
    report.add(
        "published values that are right (RFC 4231, RFC 7515, GitHub, Slack, Svix, Wycheproof)",
        {OURS: f"{len(VECTORS) - len(wrong)} of {len(VECTORS)}"},
        "all",
        not wrong,
    )
    report.failures += [f"{source}: accepted or refused wrongly" for source in wrong]

    verifier = CallbackVerifier(SECRET)
    assert is_accepted(verifier, BODY, verifier.sign(BODY))
    bodies = list(right_ones())
    refused = [what for what, body in bodies if not is_accepted(verifier, body, _signed(body))]
    report.add(
        "callbacks with the right signature that are accepted (long, empty, blank at either end)",
        {OURS: f"{len(bodies) - len(refused)} of {len(bodies)}"},
        "all",
        not refused,
    )
    report.failures += [f"a right callback was refused: {what}" for what in refused]
    tried = 0
    accepted: list[str] = []
    for why, body, signature in forgeries(options.seed, 1_000 if options.quick else 300_000):
        tried += 1
        if is_accepted(verifier, body, signature):
            accepted.append(why)
    report.add("forgeries accepted", {OURS: f"{len(accepted)} of {tried:,}"}, "none", not accepted)
    report.failures += [f"a forgery was accepted: {why}" for why in accepted]

    cases = list(rotation_cases())
    failed = [case for case, expected, accepted in cases if expected is not accepted]
    report.add(
        "a secret renewed (old, both in either order, new): cases that end as they have to",
        {OURS: f"{len(cases) - len(failed)} of {len(cases)}"},
        "signed with any of them, and no other",
        not failed,
    )
    report.failures += failed


def _tell_times(report: Report, options: Options) -> None:
    chance = random.Random(options.seed)
    asked = getattr(options.arguments, "samples", None)
    samples = asked or (QUICK_SAMPLES if options.quick else SAMPLES)
    one, two = CallbackVerifier(SECRET), CallbackVerifier([SECRET, OLD_SECRET])
    right, old = one.sign(BODY), CallbackVerifier(OLD_SECRET).sign(BODY)

    def t_of(check: Check, question: Callable[[], Question], samples: int = samples) -> float:
        return largest_t(timed(check, question, samples, chance))

    def row(
        what: str, verifier: CallbackVerifier, question: Callable[[], Question], beside: dict[str, float], *turns: Any
    ) -> None:
        check = verified_by(verifier)
        with plain_comparison(turns or (operator.eq,)):
            control = t_of(check, question)
        t = t_of(check, question)
        if t > LIMIT:
            again = t_of(check, question, 2 * samples)
            report.notes.append(
                f"{what}: |t| was {t:.2f}. Measured once more with twice as many calls, which decides, because of a "
                f"leak it would grow: {again:.2f}."
            )
            t = again
        seen = control > LIMIT
        figures = {OURS: t, **beside, PLAIN: control}
        report.add(f"|t| of time, {what}", figures, f"up to {LIMIT}" if seen else "", t <= LIMIT if seen else None)
        if not seen:
            unseen.append(what)

    unseen: list[str] = []
    question = partial(wrong_first_or_last, right, chance)
    beside = {name: t_of(*prepare(chance)) for name, prepare in peers().items()}
    loop = t_of(leaky(right), question, QUICK_SAMPLES)
    row("wrong in the first digit or in the last", one, question, {**beside, "a loop that leaks": loop})
    if loop <= LIMIT:
        report.failures.append(f"the measurement does not see the leak of the loop: |t| is {loop:.2f}")
    row("wrong always alike or at random", one, partial(fixed_or_random, right, chance), {})
    near = partial(near_first_or_second, right, old, chance)
    what = "nearly right by the first or by the second of two secrets"
    row(what, two, near, {}, operator.eq, hmac.compare_digest)
    report.notes.append(
        f"{samples:,} calls of each class; the loop that leaks: {QUICK_SAMPLES:,}. The column {PLAIN} is this SDK with "
        "that in place of hmac.compare_digest (of two secrets, for the first alone)."
    )
    if unseen:
        report.notes.append(
            f"Nothing is promised where {PLAIN} stays below {LIMIT}, too, because a leak as small as that is not seen "
            f"with so few calls: {'; '.join(unseen)}."
        )
    # Of no use to anybody: who can send a right signature knows the secret that it was made with.
    report.add(
        "|t| of time, right by the first or by the second of two secrets",
        {OURS: t_of(verified_by(two), partial(right_by_first_or_second, right, old))},
    )
    missing = {"standardwebhooks", "stripe"} - set(versions(["standardwebhooks", "stripe"]))
    report.notes += [f"{name} is not installed, and was skipped." for name in sorted(missing)]


def _tell_duplicates(report: Report, options: Options) -> None:
    count = 50 if options.quick else 500
    try:
        times = times_handled(count, PROCESSES, options.seed)
    except RuntimeError as error:
        report.failures.append(f"callbacks posted to {PROCESSES} processes: {error}")
        return
    twice, lost = sum(times[name] > 1 for name in times), count - len(times)
    report.add(
        f"{count} callbacks, each posted to {PROCESSES} processes at once until it was taken, while every fifth "
        "handler failed: handled twice, and lost",
        {OURS: f"{twice} and {lost}"},
        "none",
        twice == lost == 0,
    )


def _more_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--samples", type=int, metavar="N", help=f"calls of each class, in place of {SAMPLES:,}")


if __name__ == "__main__":
    main(measure, _more_options)

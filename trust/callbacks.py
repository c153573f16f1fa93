"""Callbacks: are the right ones accepted and no other, does time tell where one is wrong, and is each handled once?

    python -m trust.callbacks [--quick] [--samples N] [--json FILE]

Time is told from the test of dudect (Reparaz, Balasch, Verbauwhede: "dude, is my code constant time?", 2017): two
classes of input in random order, each call timed, Welch's t of the two. It is computed over all calls and with the
slowest left out at several percentiles, and the largest of these |t| counts. Beside the verifier stand a loop that ends
at the first wrong digit, to show that a leak is seen, and the peers that are installed.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import gc
import hashlib
import hmac
import json
import math
import multiprocessing
import random
import tempfile
import time
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from operator import mul
from pathlib import Path

from fetch_hive_sdk import (
    SIGNATURE_HEADER,
    CallbackVerificationError,
    CallbackVerifier,
    Deliveries,
    DeliveryInProgressError,
    SQLiteDeliveryStore,
)

from .callback_vectors import VECTORS, Vector
from .figures import OURS, Options, Report, main, versions

SECRET = "whsec_of_the_measurement"
OLD_SECRET = "whsec_that_was_before"
BODY = b'{"event_type":"workflow.completed","request_id":"req_1","data":{"output":"Brief"}}'

SAMPLES = 1_000_000  # of each class
QUICK_SAMPLES = 20_000
LIMIT = 4.5  # |t| above which dudect takes times to differ
QUICK_LIMIT = 10.0  # with few samples on a machine that does other things
PERCENTILES = (50, 75, 90, 95, 99, 100)
BATCH = 20_000
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
    yield "two in one header", BODY, [mac.hex(), "0" * 64]
    yield "two joined", BODY, f"{mac.hex()},{mac.hex()}"
    for _ in range(count):
        yield "random", BODY, chance.randbytes(32).hex()


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


def timed(check: Check, question: Question, samples: int, chance: random.Random) -> tuple[array[int], array[int]]:
    """The nanoseconds of so many calls of each class, about, in random order."""
    taken = array("q"), array("q")
    clock = time.perf_counter_ns
    pools = [[(0, one) for one in question.first], [(1, one) for one in question.second]]
    left = 2 * samples
    gc.collect()
    gc.disable()
    try:
        while left > 0:
            order = [chance.choice(pools[chance.getrandbits(1)]) for _ in range(min(BATCH, left))]
            left -= len(order)
            for kind, pooled in order:
                signature = copied(pooled)  # wherever memory was free last
                began = clock()
                check(signature)
                taken[kind].append(clock() - began)
            gc.collect()
    finally:
        gc.enable()
    return taken


def largest_t(first: Sequence[int], second: Sequence[int]) -> float:
    """The largest |t| of Welch's test, over all times and over those below each percentile of all."""
    one, other = sorted(first), sorted(second)
    together = sorted([*one, *other])
    found = 0.0
    for percentile in PERCENTILES:
        limit = together[min(len(together) - 1, len(together) * percentile // 100)]
        kept = [values[: bisect_left(values, limit + (percentile == 100))] for values in (one, other)]
        if min(map(len, kept)) > 100:
            found = max(found, abs(welch_t(*kept)))
    return found


def welch_t(first: Sequence[int], second: Sequence[int]) -> float:
    """Welch's t: how far two means are apart, in units of what chance would do."""
    means, errors = [], []
    for values in (first, second):
        mean = sum(values) / len(values)
        variance = max(sum(map(mul, values, values)) / len(values) - mean**2, 0.0)
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


def peers() -> dict[str, Callable[[random.Random], tuple[Check, Question]]]:
    """Of the peers that are installed: their check, and what is wrong in the first and in the last place."""
    found: dict[str, Callable[[random.Random], tuple[Check, Question]]] = {}
    names = versions(["standardwebhooks", "stripe"])
    if "standardwebhooks" in names:
        found[names["standardwebhooks"]] = _standardwebhooks
    if "stripe" in names:
        found[names["stripe"]] = _stripe
    return found


def _standardwebhooks(chance: random.Random) -> tuple[Check, Question]:
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

    written: list[tuple[str, str]] = []
    for _ in range(POOL):
        digits = [changed_at(right.hex(), place, chance) for place in (0, 63)]
        one, other = (f"v1,{base64.b64encode(bytes.fromhex(wrong)).decode()}" for wrong in digits)
        written.append((one, other))
    return check, Question([one for one, _ in written], [other for _, other in written])


def _stripe(chance: random.Random) -> tuple[Check, Question]:
    import stripe

    moment, text = int(time.time()), BODY.decode()
    right = hmac.digest(SECRET.encode(), f"{moment}.{text}".encode(), "sha256").hex()

    def check(signature: str) -> None:
        with contextlib.suppress(stripe.SignatureVerificationError):
            stripe.WebhookSignature.verify_header(text, signature, SECRET, 3600)

    question = wrong_first_or_last(right, chance)
    return check, Question(*([f"t={moment},v1={one}" for one in two] for two in (question.first, question.second)))


# --- once -----------------------------------------------------------------------------------------------


def deliver_all(path: str, log: str, count: int, seed: int) -> None:
    """Deliver each event until it is taken as handled, in an order of its own; handling fails now and then.

    What was handled is written to a file, a line for each time.
    """
    chance = random.Random(seed)
    verifier = CallbackVerifier(SECRET)
    deliveries = Deliveries(SQLiteDeliveryStore(path, timeout=60), lease=600)
    waiting = [verifier.unwrap(body, {SIGNATURE_HEADER: verifier.sign(body)}) for body in map(event_of, range(count))]
    chance.shuffle(waiting)
    with open(log, "a", encoding="utf-8") as handled:
        while waiting:
            event = waiting.pop(0)
            try:
                with deliveries.once(event) as first:
                    if first:
                        fail_sometimes(chance)
                        handled.write(f"{event.request_id}\n")
                        handled.flush()
            except (HandlerFailed, DeliveryInProgressError):
                waiting.append(event)


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
    """How often each of so many events was handled, when every process was posted every event."""
    with tempfile.TemporaryDirectory() as folder:
        path, logs = str(Path(folder, "deliveries.sqlite3")), [str(Path(folder, f"{n}.log")) for n in range(processes)]
        with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
            for worker in [pool.submit(deliver_all, path, log, count, seed + n) for n, log in enumerate(logs)]:
                worker.result()
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
    limit = QUICK_LIMIT if samples < SAMPLES else LIMIT
    if samples < SAMPLES:
        report.notes.append(
            f"{samples:,} calls of each class are too few for a verdict; only |t| above {limit:g} counts."
        )
    one, two = CallbackVerifier(SECRET), CallbackVerifier([SECRET, OLD_SECRET])
    right, old = one.sign(BODY), CallbackVerifier(OLD_SECRET).sign(BODY)

    def t_of(check: Check, question: Question, samples: int = samples) -> float:
        return largest_t(*timed(check, question, samples, chance))

    def row(what: str, verifier: CallbackVerifier, question: Question, beside: dict[str, float]) -> None:
        t = t_of(verified_by(verifier), question)
        if t > limit:
            again = t_of(verified_by(verifier), question)
            report.notes.append(f"{what}: |t| was {t:.2f}; measured once more: {again:.2f}.")
            t = min(t, again)
        report.add(f"|t| of time, {what}", {OURS: t, **beside}, f"up to {limit:g}", t <= limit)

    question = wrong_first_or_last(right, chance)
    beside = {name: t_of(*prepare(chance)) for name, prepare in peers().items()}
    control = t_of(leaky(right), question, QUICK_SAMPLES)
    row("wrong in the first digit or in the last", one, question, {**beside, "a loop that leaks": control})
    if control <= limit:
        report.failures.append(f"the measurement does not see the leak of the loop: |t| is {control:.2f}")
    report.notes.append(f"The loop that leaks was called {QUICK_SAMPLES:,} times of each class.")
    row("wrong always alike or at random", one, fixed_or_random(right, chance), {})
    row("nearly right by the first or by the second of two secrets", two, near_first_or_second(right, old, chance), {})
    # Of no use to anybody: who can send a right signature knows the secret that it was made with.
    report.add(
        "|t| of time, right by the first or by the second of two secrets",
        {OURS: t_of(verified_by(two), right_by_first_or_second(right, old))},
    )
    missing = {"standardwebhooks", "stripe"} - set(versions(["standardwebhooks", "stripe"]))
    report.notes += [f"{name} is not installed, and was skipped." for name in sorted(missing)]


def _tell_duplicates(report: Report, options: Options) -> None:
    count = 50 if options.quick else 500
    times = times_handled(count, PROCESSES, options.seed)
    twice, lost = sum(times[name] > 1 for name in times), count - len(times)
    report.add(
        f"{count} callbacks, each posted to {PROCESSES} processes until it was taken, while every fifth handler "
        "failed: handled twice, and lost",
        {OURS: f"{twice} and {lost}"},
        "none",
        twice == lost == 0,
    )


def _more_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--samples", type=int, metavar="N", help=f"calls of each class, in place of {SAMPLES:,}")


if __name__ == "__main__":
    main(measure, _more_options)

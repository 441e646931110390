"""What the Python clients share: what they write, and how the steps of a scenario are run.

    CLIENT.py BOOTSTRAP PREFIX    topics, groups and transactional ids begin with PREFIX

Every step prints a line. A step that fails does not end the scenario, for the others may say more;
the program then ends with 1.
"""

import sys
import traceback

PARTITIONS = 3
COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")
LIMIT_SECONDS = 30
FIRST_TIMESTAMP_MS = 1_700_000_000_000


def records(null_header=True):
    """Partition, key, value, headers and timestamp of each record that a producer is given."""
    wanted = []
    for number in range(40 * PARTITIONS):
        key = None if number % 7 == 0 else f"key-{number}".encode()
        value = None if key and number % 11 == 0 else f"value {number} ".encode() * 20
        headers = [("number", str(number).encode()), ("twice", b"a"), ("twice", b"\x00\xff"),
                   ("empty", b"")] + null_header * [("null", None)]
        wanted.append((number % PARTITIONS, key, value, headers if number % 4 else [],
                       FIRST_TIMESTAMP_MS + number))
    return wanted


def equal(found, expected, what):
    if found != expected:
        raise AssertionError(f"{what}: found {found!r}, expected {expected!r}")


def same_records(found, expected, what):
    """The same of both, partition by partition in order; says the first one that differs."""
    for partition in range(PARTITIONS):
        pairs = zip([r for r in found if r[0] == partition], [r for r in expected if r[0] == partition])
        for at, (one, other) in enumerate(pairs):
            equal(one, other, f"{what}: record {at} of partition {partition}")
    equal(len(found), len(expected), f"{what}: count of records")


def refused(error, call, what):
    """The call is refused with an error that says this."""
    try:
        answer = call()
    except Exception as raised:
        if error not in f"{type(raised).__name__} {raised!r}":
            raise AssertionError(f"{what}: found {raised!r}, expected {error}") from raised
    else:
        raise AssertionError(f"{what}: found {answer!r}, expected {error}")


def run(client):
    """Every public method of the client, in the order in which they stand."""
    failed = 0
    for name, step in vars(type(client)).items():
        if name.startswith("_"):
            continue
        try:
            step(client)
            print(f"ok      {name}", flush=True)
        except Exception as error:
            failed += 1
            print(f"FAILED  {name}: {type(error).__name__}: {error}", flush=True)
            traceback.print_exc(file=sys.stderr)
    sys.exit(1 if failed else 0)

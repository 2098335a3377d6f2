"""Runs a program's checks in order and prints one line of JSON for each (see ../../checks.ts)."""

import inspect
import json
import os
import sys
import traceback

# Each check is the function of that name; a driver's own `errors` keeps its name, so that check is `error_fields`.
CHECKS = (
    "connect",
    "text",
    "binary",
    "prepared",
    "batch",
    "copy",
    "notify",
    "cancel",
    "large_objects",
    "errors",
    "refused",
    "refused_in_transaction",
    "refused_in_batch",
    "limited",
)

# Server connections are shared: a session is served by another process with each transaction.
IS_POOLED = os.environ["CHECKS_POOLED"] == "1"

# SQL that marks a session, and that shows the same value in this very session only.
SESSION_MARK = os.environ["SESSION_MARK"]
SESSION_SEEN = os.environ["SESSION_SEEN"]


class NoApi(Exception):
    """The driver has no way to do this; the message says what is missing."""


def print_report(check, ok, detail):
    print(json.dumps({"check": check, "ok": ok, "detail": detail}, ensure_ascii=False), flush=True)


async def run_checks(module):
    """Runs the checks of a program, given by its `__name__`, one after the other; they may be coroutines."""
    program = sys.modules[module]
    for name in CHECKS:
        check = getattr(program, "error_fields" if name == "errors" else name)
        try:
            detail = check()
            print_report(name, True, await detail if inspect.isawaitable(detail) else detail)
        except NoApi as missing:
            print_report(name, None, str(missing))
        except Exception as error:
            print_report(name, False, "".join(traceback.format_exception_only(error)).strip())
            traceback.print_exc()


def expect(actual, wanted):
    if actual != wanted:
        raise AssertionError(f"{actual!r}, not {wanted!r}")

"""Runs a program's checks in order and prints one line of JSON for each (see ../../checks.ts)."""

import json
import traceback


class NoApi(Exception):
    """The driver has no way to do this; the message says what is missing."""


def print_report(check, ok, detail):
    print(json.dumps({"check": check, "ok": ok, "detail": detail}, ensure_ascii=False), flush=True)


def run_check(name, check):
    try:
        print_report(name, True, check())
    except NoApi as missing:
        print_report(name, None, str(missing))
    except Exception as error:
        print_report(name, False, "".join(traceback.format_exception_only(error)).strip())
        traceback.print_exc()


async def run_check_async(name, check):
    try:
        print_report(name, True, await check())
    except NoApi as missing:
        print_report(name, None, str(missing))
    except Exception as error:
        print_report(name, False, "".join(traceback.format_exception_only(error)).strip())
        traceback.print_exc()


def expect(actual, wanted):
    if actual != wanted:
        raise AssertionError(f"{actual!r}, not {wanted!r}")

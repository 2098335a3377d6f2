"""psycopg 3, with its pipeline mode."""

import asyncio
import os
import threading
import time
from contextlib import contextmanager

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus

from report import IS_POOLED, SESSION_MARK, SESSION_SEEN, NoApi, expect, run_checks

GUARDED = "DELETE FROM guarded WHERE id = %s"


@contextmanager
def connection():
    with psycopg.connect(autocommit=True) as opened:
        yield opened


def describe(error):
    return f"{error.sqlstate} {error.diag.message_primary} / {error.diag.message_detail} / {error.diag.message_hint}"


def value(opened, sql, parameters=None, **options):
    return opened.execute(sql, parameters, **options).fetchone()[0]


def failure(opened, sql, parameters=None):
    try:
        opened.execute(sql, parameters)
    except psycopg.Error as error:
        return error
    raise AssertionError(f"{sql} did not fail")


def connect():
    with connection() as opened:
        who = value(opened, "SELECT current_user || ' as ' || current_setting('application_name')")
    if os.environ["PGSSLMODE"] != "disable":
        with psycopg.connect(sslnegotiation="direct") as direct:
            who += f"; direct TLS {direct.pgconn.ssl_in_use}"
    try:
        psycopg.connect(password="wrong")
    except psycopg.OperationalError as error:
        expect("password authentication failed for user" in str(error), True)
        return f"{who}; wrong password refused"
    raise AssertionError("a wrong password got in")


def text():
    sql = "SELECT concat_ws('|', %t::int4 + 1, %t::text, %t::numeric * 2, %t::bool, coalesce(%t::text, 'null'))"
    with connection() as opened:
        row = value(opened, sql, (41, "naïve ✓", "1.25", True, None), binary=False)
    expect(row, "42|naïve ✓|2.50|t|null")
    return row


def binary():
    with connection() as opened:
        row = opened.execute(
            "SELECT %b::int8, %b::float8, %b::bytea", (9007199254740993, 0.1, b"\x00\xff\x10"), binary=True
        ).fetchone()
    expect(row, (9007199254740993, 0.1, b"\x00\xff\x10"))
    return f"{row[0]}|{row[1]}|{row[2].hex()}"


def prepared():
    with connection() as opened:
        opened.prepare_threshold = 0
        names = [value(opened, "SELECT name FROM items WHERE id = %s", (number,), prepare=True) for number in (1, 2)]
        expect(names, ["one", "two"])
        held = value(opened, "SELECT string_agg(name, ',') FROM pg_prepared_statements WHERE statement LIKE '%%items%%'", ())
        opened.execute("DEALLOCATE ALL")
        again = value(opened, "SELECT name FROM items WHERE id = %s", (3,), prepare=True)
        return f"{names}, held as {held}, after DEALLOCATE ALL {again}"


def batch():
    with connection() as opened:
        with opened.pipeline():
            cursors = [opened.execute("SELECT %s::int * 2", (number,)) for number in (1, 2, 3)]
        values = [cursor.fetchone()[0] for cursor in cursors]
        expect(values, [2, 4, 6])
        with opened.cursor() as cursor:
            cursor.executemany("INSERT INTO items VALUES (%s, 'many', 1)", [(40,), (41,)])
        try:
            with opened.pipeline():
                opened.execute("INSERT INTO items VALUES (10, 'ten', 1)")
                opened.execute("SELECT 1 / 0")
                opened.execute("INSERT INTO items VALUES (11, 'eleven', 1)")
        except errors.DivisionByZero as error:
            failed = error.sqlstate
        kept = value(opened, "SELECT string_agg(id::text, ',' ORDER BY id) FROM items")
        return f"{values}; {failed}; kept {kept}; {opened.info.transaction_status.name}"


def copy():
    with connection() as opened, opened.cursor() as cursor:
        with cursor.copy("COPY items FROM STDIN") as copying:
            for number in range(1000, 2000):
                copying.write_row((number, "copied ✓", 1))
        entered = cursor.rowcount
        with cursor.copy("COPY (SELECT * FROM items WHERE id >= 1000 ORDER BY id) TO STDOUT (FORMAT binary)") as copying:
            left = b"".join(bytes(block) for block in copying)
        try:
            with cursor.copy("COPY items FROM STDIN") as copying:
                copying.write("no number\tx\t1\n")
        except psycopg.Error as error:
            failed = error.sqlstate
        return f"in {entered}, out {len(left)} bytes, bad row {failed}, then {value(opened, 'SELECT 1')}"


def notify():
    with connection() as listener, connection() as speaker:
        listener.execute("LISTEN news")
        sender = value(speaker, "SELECT pg_backend_pid() FROM pg_notify('news', 'hello ✓')")
        heard = next(listener.notifies(timeout=10))
        expect(heard.pid, sender)
        if not IS_POOLED:
            expect(sender, speaker.info.backend_pid)
        listener.execute("NOTIFY news, 'self'")
        own = next(listener.notifies(timeout=10))
        return f"{heard.channel}: {heard.payload}, {own.payload}"


def cancel():
    # Protocol 3.2: a cancel key of 32 bytes, and the cancel itself goes over TLS.
    with psycopg.connect(autocommit=True, max_protocol_version="3.2") as opened:
        timer = threading.Timer(0.3, opened.cancel_safe)
        started = time.monotonic()
        timer.start()
        failed = failure(opened, "SELECT pg_sleep(20)")
        timer.join()
        expect(time.monotonic() - started < 10, True)
        with connection() as older:
            threading.Timer(0.3, older.cancel).start()
            expect(failure(older, "SELECT pg_sleep(20)").sqlstate, "57014")
        return f"{failed.sqlstate} {failed.diag.message_primary}, then {value(opened, 'SELECT 1')}"


def large_objects():
    raise NoApi("no large-object interface in psycopg 3")


def error_fields():
    with connection() as opened:
        twice = failure(opened, "INSERT INTO items VALUES (1, 'again', 1)").diag
        name = failure(opened, "SELECT nme FROM items").diag
        return (
            f"{twice.sqlstate} {twice.severity} {twice.schema_name}.{twice.table_name} {twice.constraint_name} "
            f"{twice.message_detail}; {name.sqlstate} at {name.statement_position} {name.message_hint}"
        )


def refused():
    with connection() as opened:
        mark = value(opened, SESSION_MARK)
        simple = failure(opened, "DELETE FROM guarded")
        extended = failure(opened, GUARDED, (1,))
        expect(value(opened, SESSION_SEEN), mark)
        return f"{type(simple).__name__} {describe(simple)}; {describe(extended)}; {opened.info.transaction_status.name}"


def refused_in_transaction():
    with connection() as opened:
        opened.execute("BEGIN")
        opened.execute("INSERT INTO items VALUES (20, 'twenty', 1)")
        first = failure(opened, GUARDED, (1,))
        state = opened.info.transaction_status
        expect(state, TransactionStatus.INERROR)
        second = failure(opened, "SELECT 1")
        opened.execute("ROLLBACK")
        left = value(opened, "SELECT count(*) FROM items WHERE id = 20")
        return f"{describe(first)}; {state.name}; {second.sqlstate}; rows {left}; {opened.info.transaction_status.name}"


def refused_in_batch():
    with connection() as opened:
        try:
            with opened.pipeline():
                opened.execute("INSERT INTO items VALUES (30, 'thirty', 1)")
                opened.execute(GUARDED, (1,))
                opened.execute("INSERT INTO items VALUES (31, 'thirty-one', 1)")
        except psycopg.Error as error:
            first = describe(error)
        left = value(opened, "SELECT count(*) FROM items WHERE id IN (30, 31)")
        return f"{first}; rows {left}; {opened.info.transaction_status.name}"


def limited():
    with connection() as opened:
        looks = []
        for _ in range(2):
            try:
                opened.execute("SELECT count(*) FROM limited")
                looks.append("ok")
            except psycopg.Error as error:
                looks.append(f"{error.sqlstate} {error.diag.message_primary}")
        return f"first: {looks[0]}, second: {looks[1]}, then {value(opened, 'SELECT 1')}"


asyncio.run(run_checks(__name__))

"""SQLAlchemy 2 on psycopg 3: its pool, its transactions, its bulk inserts."""

import asyncio
import threading
import time

from sqlalchemy import URL, create_engine, exc, text as sql

from report import SESSION_MARK, SESSION_SEEN, NoApi, expect, run_checks

engine = create_engine(URL.create("postgresql+psycopg"))


def describe(error):
    cause = error.orig
    return f"{cause.sqlstate} {cause.diag.message_primary} / {cause.diag.message_detail} / {cause.diag.message_hint}"


def failure(connection, statement, parameters=None):
    try:
        connection.execute(sql(statement), parameters or {})
    except exc.DBAPIError as error:
        expect(error.connection_invalidated, False)
        return error
    raise AssertionError(f"{statement} did not fail")


def value(statement, parameters=None):
    with engine.connect() as connection:
        return connection.scalar(sql(statement), parameters or {})


def connect():
    who = value("SELECT current_user || ' as ' || current_setting('application_name')")
    try:
        create_engine(URL.create("postgresql+psycopg", query={"password": "wrong"})).connect()
    except exc.OperationalError as error:
        expect("password authentication failed for user" in str(error), True)
        return f"{who}; wrong password refused"
    raise AssertionError("a wrong password got in")


def text():
    row = value(
        "SELECT concat_ws('|', CAST(:a AS int4) + 1, CAST(:b AS text), CAST(:c AS numeric) * 2, CAST(:d AS bool), "
        "coalesce(CAST(:e AS text), 'null'))",
        {"a": 41, "b": "naïve ✓", "c": "1.25", "d": True, "e": None},
    )
    expect(row, "42|naïve ✓|2.50|t|null")
    return row


def binary():
    with engine.connect() as connection:
        row = connection.execute(
            sql("SELECT CAST(:a AS int8), CAST(:b AS float8), CAST(:c AS bytea)"),
            {"a": 9007199254740993, "b": 0.1, "c": b"\x00\xff\x10"},
        ).one()
    expect(tuple(row), (9007199254740993, 0.1, b"\x00\xff\x10"))
    return f"{row[0]}|{row[1]}|{row[2].hex()}"


def prepared():
    # psycopg prepares by itself what it has seen prepare_threshold times.
    eager = create_engine(URL.create("postgresql+psycopg"), connect_args={"prepare_threshold": 1})
    with eager.connect() as connection:
        names = [connection.scalar(sql("SELECT name FROM items WHERE id = :id"), {"id": n}) for n in (1, 2, 3)]
        held = connection.scalar(sql("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%items%'"))
    eager.dispose()
    expect(held, 1)
    return f"{names}, held {held}"


def batch():
    with engine.begin() as connection:
        connection.execute(
            sql("INSERT INTO items VALUES (:id, 'many', 1)"), [{"id": number} for number in range(40, 60)]
        )
    try:
        with engine.begin() as connection:
            connection.execute(sql("INSERT INTO items VALUES (:id, 'many', 1)"), [{"id": 10}, {"id": 1}])
    except exc.IntegrityError as error:
        failed = error.orig.sqlstate
    return f"{failed}; kept {value('SELECT count(*) FROM items')}"


def copy():
    with engine.begin() as connection:
        with connection.connection.cursor() as cursor:
            with cursor.copy("COPY items FROM STDIN") as copying:
                for number in range(1000, 2000):
                    copying.write_row((number, "copied ✓", 1))
            entered = cursor.rowcount
            with cursor.copy("COPY (SELECT * FROM items WHERE id >= 1000 ORDER BY id) TO STDOUT") as copying:
                left = b"".join(bytes(block) for block in copying)
    return f"in {entered}, out {len(left)} bytes"


def notify():
    with engine.connect() as listener:
        listener.exec_driver_sql("LISTEN news")
        listener.commit()
        with engine.begin() as speaker:
            speaker.execute(sql("SELECT pg_notify('news', 'hello ✓')"))
        heard = next(listener.connection.driver_connection.notifies(timeout=10))
    return f"{heard.channel}: {heard.payload}"


def cancel():
    with engine.connect() as connection:
        timer = threading.Timer(0.3, connection.connection.driver_connection.cancel_safe)
        started = time.monotonic()
        timer.start()
        failed = failure(connection, "SELECT pg_sleep(20)")
        timer.join()
        expect(time.monotonic() - started < 10, True)
        connection.rollback()
        return f"{describe(failed)}, then {connection.scalar(sql('SELECT 1'))}"


def large_objects():
    raise NoApi("no large-object interface in SQLAlchemy or psycopg 3")


def error_fields():
    with engine.connect() as connection:
        twice = failure(connection, "INSERT INTO items VALUES (1, 'again', 1)")
        connection.rollback()
        name = failure(connection, "SELECT nme FROM items")
    first, second = twice.orig.diag, name.orig.diag
    return (
        f"{type(twice).__name__} {first.sqlstate} {first.severity} {first.schema_name}.{first.table_name} "
        f"{first.constraint_name} {first.message_detail}; {type(name).__name__} {second.sqlstate} "
        f"at {second.statement_position} {second.message_hint}"
    )


def refused():
    with engine.connect() as connection:
        mark = connection.scalar(sql(SESSION_MARK))
        connection.commit()
        simple = failure(connection, "DELETE FROM guarded")
        connection.rollback()
        extended = failure(connection, "DELETE FROM guarded WHERE id = :id", {"id": 1})
        connection.rollback()
        expect(connection.scalar(sql(SESSION_SEEN)), mark)
    return f"{type(simple).__name__} {describe(simple)}; {describe(extended)}; pool {engine.pool.checkedin()} in"


def refused_in_transaction():
    with engine.connect() as connection:
        transaction = connection.begin()
        connection.execute(sql("INSERT INTO items VALUES (20, 'twenty', 1)"))
        first = failure(connection, "DELETE FROM guarded WHERE id = :id", {"id": 1})
        second = failure(connection, "SELECT 1")
        transaction.rollback()
        left = connection.scalar(sql("SELECT count(*) FROM items WHERE id = 20"))
    with engine.begin() as connection:
        connection.execute(sql("INSERT INTO items VALUES (21, 'kept', 1)"))
        savepoint = connection.begin_nested()
        failure(connection, "DELETE FROM guarded")
        savepoint.rollback()
    kept = value("SELECT count(*) FROM items WHERE id = 21")
    return f"{describe(first)}; {second.orig.sqlstate}; rows {left}; around a savepoint {kept}"


def refused_in_batch():
    with engine.connect() as connection:
        transaction = connection.begin()
        try:
            connection.execute(sql("DELETE FROM guarded WHERE id = :id"), [{"id": 1}, {"id": 2}])
        except exc.DBAPIError as error:
            first = describe(error)
        transaction.rollback()
        return f"{first}; then {connection.scalar(sql('SELECT 1'))}"


def limited():
    looks = []
    for _ in range(2):
        with engine.connect() as connection:
            try:
                connection.execute(sql("SELECT count(*) FROM limited"))
                looks.append("ok")
            except exc.DBAPIError as error:
                looks.append(f"{error.orig.sqlstate} {error.orig.diag.message_primary}")
    return f"first: {looks[0]}, second: {looks[1]}, then {value('SELECT 1')}"


asyncio.run(run_checks(__name__))

"""asyncpg. It speaks binary wherever it can; text parameters are given through codecs of its own."""

import asyncio
import io
import os
import ssl
import time

import asyncpg

from report import IS_POOLED, SESSION_MARK, SESSION_SEEN, NoApi, expect, run_checks

GUARDED = "DELETE FROM guarded WHERE id = $1"


async def open_connection(**options):
    context = None
    if os.environ["PGSSLMODE"] != "disable":
        context = ssl.create_default_context(cafile=os.environ["PGSSLROOTCERT"])
    settings = {"application_name": os.environ["PGAPPNAME"]}
    return await asyncpg.connect(**{"ssl": context or False, "server_settings": settings, **options})


def with_connection(check):
    async def run():
        connection = await open_connection()
        try:
            return await check(connection)
        finally:
            await connection.close()

    return run


def describe(error):
    return f"{error.sqlstate} {error.message} / {error.detail} / {error.hint}"


async def failure(promise):
    try:
        await promise
    except asyncpg.PostgresError as error:
        return error
    raise AssertionError("no failure")


@with_connection
async def connect(connection):
    who = await connection.fetchval("SELECT current_user || ' as ' || current_setting('application_name')")
    refusal = await failure(open_connection(password="wrong"))
    expect(refusal.sqlstate, "28P01")
    return f"{who}; wrong password {refusal.sqlstate}"


@with_connection
async def text(connection):
    for name in ("int4", "text", "numeric", "bool"):
        await connection.set_type_codec(name, schema="pg_catalog", encoder=str, decoder=str, format="text")
    row = await connection.fetchval(
        "SELECT concat_ws('|', $1::int4 + 1, $2::text, $3::numeric * 2, $4::bool, coalesce($5::text, 'null'))",
        41, "naïve ✓", "1.25", True, None,
    )
    expect(row, "42|naïve ✓|2.50|t|null")
    return row


@with_connection
async def binary(connection):
    row = await connection.fetchrow(
        "SELECT $1::int8, $2::float8, $3::bytea", 9007199254740993, 0.1, b"\x00\xff\x10"
    )
    expect(tuple(row), (9007199254740993, 0.1, b"\x00\xff\x10"))
    return f"{row[0]}|{row[1]}|{row[2].hex()}"


@with_connection
async def prepared(connection):
    statement = await connection.prepare("SELECT name FROM items WHERE id = $1", name="by_id")
    names = [await statement.fetchval(number) for number in (1, 2)]
    expect(names, ["one", "two"])
    held = await connection.fetchval("SELECT count(*) FROM pg_prepared_statements WHERE name = 'by_id'")
    return f"{names}, held {held}"


@with_connection
async def batch(connection):
    await connection.executemany("INSERT INTO items VALUES ($1, $2, 1)", [(40, "many"), (41, "many")])
    failed = await failure(connection.executemany("INSERT INTO items VALUES ($1, $2, 1 / $3::int)", [(10, "a", 1), (11, "b", 0)]))
    several = await failure(connection.execute("INSERT INTO items VALUES (12, 'c', 1); SELECT 1 / 0"))
    kept = await connection.fetchval("SELECT string_agg(id::text, ',' ORDER BY id) FROM items")
    return f"{failed.sqlstate}; {several.sqlstate}; kept {kept}"


@with_connection
async def copy(connection):
    rows = [(number, "copied ✓", 1) for number in range(1000, 2000)]
    entered = await connection.copy_records_to_table("items", records=rows)
    left = io.BytesIO()
    await connection.copy_from_query("SELECT * FROM items WHERE id >= 1000 ORDER BY id", output=left)
    failed = await failure(connection.copy_to_table("items", source=io.BytesIO(b"no number\tx\t1\n")))
    return f"in {entered}, out {len(left.getvalue())} bytes, bad row {failed.sqlstate}, then {await connection.fetchval('SELECT 1')}"


@with_connection
async def notify(listener):
    speaker = await open_connection()
    heard = asyncio.Queue()
    await listener.add_listener("news", lambda _connection, pid, channel, payload: heard.put_nowait((pid, channel, payload)))
    sender = await speaker.fetchval("SELECT pg_backend_pid() FROM pg_notify('news', 'hello ✓')")
    pid, channel, payload = await asyncio.wait_for(heard.get(), 10)
    expect(pid, sender)
    if not IS_POOLED:
        expect(pid, speaker.get_server_pid())
    await speaker.close()
    await listener.execute("NOTIFY news, 'self'")
    own = (await asyncio.wait_for(heard.get(), 10))[2]
    return f"{channel}: {payload}, {own}"


@with_connection
async def cancel(connection):
    started = time.monotonic()
    running = asyncio.ensure_future(connection.execute("SELECT pg_sleep(20)"))
    await asyncio.sleep(0.3)
    running.cancel()  # asyncpg sends a CancelRequest and swallows the 57014
    try:
        await running
    except asyncio.CancelledError:
        pass
    one = await connection.fetchval("SELECT 1")
    late = "none"
    try:
        await connection.execute("SELECT pg_sleep(20)", timeout=0.3)
    except asyncio.TimeoutError:
        late = "timeout"
    expect(time.monotonic() - started < 10, True)
    return f"cancelled, then {one}; {late}, then {await connection.fetchval('SELECT 1')}"


async def large_objects():
    raise NoApi("no large-object interface in asyncpg")


@with_connection
async def error_fields(connection):
    twice = await failure(connection.execute("INSERT INTO items VALUES (1, 'again', 1)"))
    name = await failure(connection.fetch("SELECT nme FROM items"))
    return (
        f"{twice.sqlstate} {twice.severity} {twice.schema_name}.{twice.table_name} {twice.constraint_name} "
        f"{twice.detail}; {name.sqlstate} at {name.position} {name.hint}"
    )


@with_connection
async def refused(connection):
    mark = await connection.fetchval(SESSION_MARK)
    simple = await failure(connection.execute("DELETE FROM guarded"))
    extended = await failure(connection.execute(GUARDED, 1))
    expect(await connection.fetchval(SESSION_SEEN), mark)
    return f"{type(simple).__name__} {describe(simple)}; {describe(extended)}; in transaction {connection.is_in_transaction()}"


@with_connection
async def refused_in_transaction(connection):
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("INSERT INTO items VALUES (20, 'twenty', 1)")
    first = await failure(connection.execute(GUARDED, 1))
    second = await failure(connection.fetchval("SELECT 1"))
    await transaction.rollback()
    left = await connection.fetchval("SELECT count(*) FROM items WHERE id = 20")
    return f"{describe(first)}; {second.sqlstate}; rows {left}; in transaction {connection.is_in_transaction()}"


@with_connection
async def refused_in_batch(connection):
    several = await failure(connection.execute("INSERT INTO items VALUES (30, 'thirty', 1); DELETE FROM guarded"))
    many = await failure(connection.executemany(GUARDED, [(1,), (2,)]))
    left = await connection.fetchval("SELECT count(*) FROM items WHERE id = 30")
    return f"{describe(several)}; {describe(many)}; rows {left}"


@with_connection
async def limited(connection):
    looks = []
    for _ in range(2):
        try:
            await connection.fetchval("SELECT count(*) FROM limited")
            looks.append("ok")
        except asyncpg.PostgresError as error:
            looks.append(f"{error.sqlstate} {error.message}")
    return f"first: {looks[0]}, second: {looks[1]}, then {await connection.fetchval('SELECT 1')}"


asyncio.run(run_checks(__name__))

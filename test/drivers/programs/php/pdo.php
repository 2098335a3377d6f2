<?php
// PDO with its PostgreSQL driver.

declare(strict_types=1);

const GUARDED = 'DELETE FROM guarded WHERE id = ?';

// Server connections are shared: a session is served by another process with each transaction.
define('IS_POOLED', getenv('CHECKS_POOLED') === '1');

final class NoApi extends Exception {}

function open(?string $password = null): PDO
{
    // What the data source leaves out, libpq takes from the PG... variables.
    return new PDO('pgsql:', null, $password, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
}

function run_check(string $name, callable $check): void
{
    $print = fn (?bool $ok, string $detail) => print json_encode(
        ['check' => $name, 'ok' => $ok, 'detail' => $detail],
        JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES,
    ) . "\n";
    try {
        $print(true, $check(open()));
    } catch (NoApi $missing) {
        $print(null, $missing->getMessage());
    } catch (Throwable $failure) {
        $print(false, (string) $failure);
    }
}

function expect(mixed $actual, mixed $wanted): void
{
    if ($actual !== $wanted) {
        throw new Exception(json_encode($actual) . ', not ' . json_encode($wanted));
    }
}

function failure_of(callable $step): PDOException
{
    try {
        $step();
    } catch (PDOException $failure) {
        return $failure;
    }
    throw new Exception('no failure');
}

/** SQLSTATE and libpq's text, which has message, detail and hint in it; without where in a function it came from. */
function describe(PDOException $failure): string
{
    $text = preg_replace('/^CONTEXT:.*$/m', '', $failure->errorInfo[2]);
    return $failure->errorInfo[0] . ' ' . trim(preg_replace('/\s+/', ' ', $text));
}

function value(PDO $connection, string $sql, array $parameters = []): mixed
{
    $statement = $connection->prepare($sql);
    $statement->execute($parameters);
    return $statement->fetchColumn();
}

run_check('connect', function (PDO $connection): string {
    $who = value($connection, "SELECT current_user || ' as ' || current_setting('application_name')");
    $wrong = failure_of(fn () => open('wrong'));
    expect(str_contains($wrong->getMessage(), 'password authentication failed for user'), true);
    return "$who; wrong password refused";
});

run_check('text', function (PDO $connection): string {
    $row = value(
        $connection,
        "SELECT concat_ws('|', ?::int4 + 1, ?::text, ?::numeric * 2, ?::bool, coalesce(?::text, 'null'))",
        [41, 'naïve ✓', '1.25', 't', null],
    );
    expect($row, '42|naïve ✓|2.50|t|null');
    return $row;
});

run_check('binary', function (PDO $connection): string {
    $statement = $connection->prepare("SELECT encode(?::bytea, 'hex')");
    // Large objects' type is the one that PDO sends in binary; all results are text.
    $statement->bindValue(1, "\x00\xff\x10", PDO::PARAM_LOB);
    $statement->execute();
    $bytes = $statement->fetchColumn();
    expect($bytes, '00ff10');
    return "parameter $bytes, results in text";
});

run_check('prepared', function (PDO $connection): string {
    $statement = $connection->prepare('SELECT name FROM items WHERE id = ?');
    $names = [];
    foreach ([1, 2] as $id) {
        $statement->execute([$id]);
        $names[] = $statement->fetchColumn();
    }
    $held = value($connection, "SELECT string_agg(name, ',') FROM pg_prepared_statements WHERE statement LIKE '%items%'");
    $statement = null;
    return implode(',', $names) . ", held as $held, then "
        . value($connection, "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%FROM items%'");
});

run_check('batch', function (PDO $connection): string {
    // PDO has no batches; several statements go in one simple query.
    $connection->exec("INSERT INTO items VALUES (40, 'a', 1); INSERT INTO items VALUES (41, 'b', 1)");
    $failed = failure_of(fn () => $connection->exec("INSERT INTO items VALUES (10, 'ten', 1); SELECT 1 / 0"));
    return $failed->errorInfo[0] . '; kept ' . value($connection, "SELECT string_agg(id::text, ',' ORDER BY id) FROM items");
});

run_check('copy', function (PDO $connection): string {
    $rows = array_map(fn (int $id) => "$id\tcopied ✓\t1", range(1000, 1999));
    $entered = $connection->pgsqlCopyFromArray('items', $rows);
    $left = $connection->pgsqlCopyToArray('items');
    $bad = failure_of(fn () => $connection->pgsqlCopyFromArray('items', ["no number\tx\t1"]));
    return 'in ' . json_encode($entered) . ', out ' . count($left) . ' rows, bad row ' . $bad->errorInfo[0]
        . ', then ' . value($connection, 'SELECT 1');
});

run_check('notify', function (PDO $connection): string {
    $connection->exec('LISTEN news');
    $speaker = open();
    $sender = value($speaker, "SELECT pg_backend_pid() FROM pg_notify('news', 'hello ✓')");
    $heard = $connection->pgsqlGetNotify(PDO::FETCH_ASSOC, 10_000);
    expect($heard['pid'], $sender);
    if (!IS_POOLED) {
        expect($sender, $speaker->pgsqlGetPid());
    }
    $connection->exec("NOTIFY news, 'self'");
    $own = $connection->pgsqlGetNotify(PDO::FETCH_ASSOC, 10_000);
    return "{$heard['message']}: {$heard['payload']}, {$own['payload']}";
});

run_check('cancel', fn () => throw new NoApi('PDO cannot cancel a statement'));

run_check('large_objects', function (PDO $connection): string {
    $bytes = str_repeat('large ', 20_000);
    $connection->beginTransaction();
    $oid = $connection->pgsqlLOBCreate();
    $object = $connection->pgsqlLOBOpen($oid, 'w+');
    for ($written = 0; $written < strlen($bytes); $written += $step) {
        $step = fwrite($object, substr($bytes, $written));
    }
    fseek($object, 10);
    $part = fread($object, 6);
    expect($part, substr($bytes, 10, 6));
    $object = null;
    $unlinked = $connection->pgsqlLOBUnlink($oid);
    $connection->commit();
    return "wrote $written, part $part, unlinked " . json_encode($unlinked);
});

run_check('errors', function (PDO $connection): string {
    $twice = failure_of(fn () => $connection->exec("INSERT INTO items VALUES (1, 'again', 1)"));
    $name = failure_of(fn () => $connection->exec('SELECT nme FROM items'));
    return describe($twice) . '; ' . describe($name);
});

run_check('refused', function (PDO $connection): string {
    $mark = value($connection, getenv('SESSION_MARK'));
    $simple = failure_of(fn () => $connection->exec('DELETE FROM guarded'));
    $extended = failure_of(fn () => value($connection, GUARDED, [1]));
    expect(value($connection, getenv('SESSION_SEEN')), $mark);
    return $simple::class . ' ' . describe($simple) . '; ' . describe($extended);
});

run_check('refused_in_transaction', function (PDO $connection): string {
    $connection->beginTransaction();
    $connection->exec("INSERT INTO items VALUES (20, 'twenty', 1)");
    $first = failure_of(fn () => value($connection, GUARDED, [1]));
    $isInTransaction = $connection->inTransaction();
    $second = failure_of(fn () => $connection->exec('SELECT 1'));
    $connection->rollBack();
    $left = value($connection, 'SELECT count(*) FROM items WHERE id = 20');
    return describe($first) . '; in transaction ' . json_encode($isInTransaction) . "; {$second->errorInfo[0]}; rows $left";
});

run_check('refused_in_batch', function (PDO $connection): string {
    $several = failure_of(fn () => $connection->exec("INSERT INTO items VALUES (30, 'thirty', 1); DELETE FROM guarded"));
    return describe($several) . '; rows ' . value($connection, 'SELECT count(*) FROM items WHERE id BETWEEN 30 AND 39');
});

run_check('limited', function (PDO $connection): string {
    $looks = [];
    for ($look = 0; $look < 2; $look++) {
        try {
            $connection->query('SELECT count(*) FROM limited')->fetchColumn();
            $looks[] = 'ok';
        } catch (PDOException $failure) {
            $looks[] = describe($failure);
        }
    }
    return "first: $looks[0], second: $looks[1], then " . value($connection, 'SELECT 1');
});

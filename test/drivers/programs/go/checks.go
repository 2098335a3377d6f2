// pgx 5, with its batches, its pipelines and its query modes.

package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	guarded = "DELETE FROM guarded WHERE id = $1"
	allIDs  = "SELECT string_agg(id::text, ',' ORDER BY id) FROM items"
)

func checkConnect(ctx context.Context, connection *pgx.Conn) (string, error) {
	who := value[string](ctx, connection, "SELECT current_user || ' as ' || current_setting('application_name')")
	_, err := pgx.Connect(ctx, "password=wrong")
	expect(fieldsOf(err).Code, "28P01")
	return who + "; wrong password 28P01", nil
}

func checkText(ctx context.Context, connection *pgx.Conn) (string, error) {
	row := value[string](ctx, connection,
		"SELECT concat_ws('|', $1::int4 + 1, $2::text, $3::numeric * 2, $4::bool, coalesce($5::text, 'null'))",
		pgx.QueryExecModeExec, 41, "naïve ✓", "1.25", true, nil)
	expect(row, "42|naïve ✓|2.50|t|null")
	return row, nil
}

func checkBinary(ctx context.Context, connection *pgx.Conn) (string, error) {
	var (
		whole    int64
		fraction float64
		octets   []byte
	)
	rows := connection.QueryRow(ctx, "SELECT $1::int8, $2::float8, $3::bytea",
		pgx.QueryResultFormats{pgx.BinaryFormatCode}, int64(9007199254740993), 0.1, []byte{0, 255, 16})
	if err := rows.Scan(&whole, &fraction, &octets); err != nil {
		return "", err
	}
	row := fmt.Sprintf("%d|%v|%s", whole, fraction, hex.EncodeToString(octets))
	expect(row, "9007199254740993|0.1|00ff10")
	return row, nil
}

func checkPrepared(ctx context.Context, connection *pgx.Conn) (string, error) {
	described, err := connection.Prepare(ctx, "by_id", "SELECT name FROM items WHERE id = $1")
	if err != nil {
		return "", err
	}
	names := value[string](ctx, connection, "by_id", 1) + "," + value[string](ctx, connection, "by_id", 2)
	held := value[int64](ctx, connection, "SELECT count(*) FROM pg_prepared_statements WHERE name = 'by_id'")
	err = connection.Deallocate(ctx, "by_id")
	left := value[int64](ctx, connection, "SELECT count(*) FROM pg_prepared_statements WHERE name = 'by_id'")
	return fmt.Sprintf("parameter of type %v: %s, held %d, then %d", described.ParamOIDs, names, held, left), err
}

func checkBatch(ctx context.Context, connection *pgx.Conn) (string, error) {
	batch := &pgx.Batch{}
	for number := 1; number <= 3; number++ {
		batch.Queue("SELECT $1::int * 2", number)
	}
	results := connection.SendBatch(ctx, batch)
	var told []string
	for number := 1; number <= 3; number++ {
		var double int
		if err := results.QueryRow().Scan(&double); err != nil {
			return "", err
		}
		told = append(told, fmt.Sprint(double))
	}
	if err := results.Close(); err != nil {
		return "", err
	}
	failing := &pgx.Batch{}
	failing.Queue("INSERT INTO items VALUES (10, 'ten', 1)")
	failing.Queue("SELECT 1 / $1::int", 0)
	failing.Queue("INSERT INTO items VALUES (11, 'eleven', 1)")
	failed := connection.SendBatch(ctx, failing).Close()
	pipelined, err := runPipeline(ctx, connection, "SELECT 1 / 0")
	kept := value[string](ctx, connection, allIDs)
	return fmt.Sprintf("%s; %s; pipeline %s; kept %s", strings.Join(told, ","), codeOf(failed), pipelined, kept), err
}

// runPipeline sends two parts, each with a Sync of its own: the first has `middle` between two inserts.
func runPipeline(ctx context.Context, connection *pgx.Conn, middle string) (string, error) {
	pipeline := connection.PgConn().StartPipeline(ctx)
	pipeline.SendQueryParams("INSERT INTO items VALUES (34, 'before', 1)", nil, nil, nil, nil)
	pipeline.SendQueryParams(middle, nil, nil, nil, nil)
	pipeline.SendQueryParams("INSERT INTO items VALUES (35, 'behind', 1)", nil, nil, nil, nil)
	if err := pipeline.Sync(); err != nil {
		return "", err
	}
	pipeline.SendQueryParams("SELECT 'next part'", nil, nil, nil, nil)
	if err := pipeline.Sync(); err != nil {
		return "", err
	}
	var told []string
	for range 10 {
		result, err := pipeline.GetResults()
		switch {
		case err != nil:
			told = append(told, codeOf(err))
		case result == nil:
			return strings.Join(told, " "), pipeline.Close()
		default:
			told = append(told, strings.TrimPrefix(fmt.Sprintf("%T", result), "*pgconn."))
		}
	}
	return strings.Join(told, " "), pipeline.Close()
}

func checkCopy(ctx context.Context, connection *pgx.Conn) (string, error) {
	rows := pgx.CopyFromSlice(1000, func(index int) ([]any, error) {
		return []any{1000 + index, "copied ✓", "1"}, nil
	})
	entered, err := connection.CopyFrom(ctx, pgx.Identifier{"items"}, []string{"id", "name", "amount"}, rows)
	if err != nil {
		return "", err
	}
	var left bytes.Buffer
	tag, err := connection.PgConn().CopyTo(ctx, &left, "COPY (SELECT * FROM items WHERE id >= 1000 ORDER BY id) TO STDOUT")
	if err != nil {
		return "", err
	}
	_, bad := connection.PgConn().CopyFrom(ctx, strings.NewReader("no number\tx\t1\n"), "COPY items FROM STDIN")
	_, broken := connection.PgConn().CopyFrom(ctx, io.MultiReader(strings.NewReader("1"), brokenReader{}), "COPY items FROM STDIN")
	return fmt.Sprintf("in %d, out %s %d bytes, bad row %s, given up %s, then %d", entered, tag, left.Len(), codeOf(bad), codeOf(broken),
		value[int](ctx, connection, "SELECT 1")), nil
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

func checkNotify(ctx context.Context, listener *pgx.Conn) (string, error) {
	if _, err := listener.Exec(ctx, "LISTEN news"); err != nil {
		return "", err
	}
	speaker, err := pgx.Connect(ctx, "")
	if err != nil {
		return "", err
	}
	defer speaker.Close(ctx)
	sender := value[uint32](ctx, speaker, "SELECT pg_backend_pid() FROM pg_notify('news', 'hello ✓')")
	heard, err := listener.WaitForNotification(ctx)
	if err != nil {
		return "", err
	}
	expect(heard.PID, sender)
	if !isPooled {
		expect(sender, speaker.PgConn().PID())
	}
	if _, err = listener.Exec(ctx, "NOTIFY news, 'self'"); err != nil {
		return "", err
	}
	own, err := listener.WaitForNotification(ctx)
	if err != nil {
		return "", err
	}
	return heard.Channel + ": " + heard.Payload + ", " + own.Payload, nil
}

func checkCancel(ctx context.Context, connection *pgx.Conn) (string, error) {
	started := time.Now()
	cancelled := make(chan error, 1)
	go func() {
		time.Sleep(300 * time.Millisecond)
		cancelled <- connection.PgConn().CancelRequest(ctx)
	}()
	_, failed := connection.Exec(ctx, "SELECT pg_sleep(20)")
	if err := <-cancelled; err != nil {
		return "", err
	}
	expect(time.Since(started) < 10*time.Second, true)
	return fmt.Sprintf("%s, then %d", describe(failed), value[int](ctx, connection, "SELECT 1")), nil
}

func checkLargeObjects(ctx context.Context, connection *pgx.Conn) (string, error) {
	transaction, err := connection.Begin(ctx)
	if err != nil {
		return "", err
	}
	defer transaction.Rollback(ctx)
	objects := transaction.LargeObjects()
	oid, err := objects.Create(ctx, 0)
	if err != nil {
		return "", err
	}
	object, err := objects.Open(ctx, oid, pgx.LargeObjectModeRead|pgx.LargeObjectModeWrite)
	if err != nil {
		return "", err
	}
	octets := bytes.Repeat([]byte("large "), 20_000)
	written, err := object.Write(octets)
	if err != nil {
		return "", err
	}
	if _, err = object.Seek(10, io.SeekStart); err != nil {
		return "", err
	}
	part := make([]byte, 6)
	if _, err = io.ReadFull(object, part); err != nil {
		return "", err
	}
	expect(string(part), string(octets[10:16]))
	if err = objects.Unlink(ctx, oid); err != nil {
		return "", err
	}
	_, gone := objects.Open(ctx, oid, pgx.LargeObjectModeRead)
	return fmt.Sprintf("wrote %d, part %s, gone %s", written, part, codeOf(gone)), nil
}

func checkErrors(ctx context.Context, connection *pgx.Conn) (string, error) {
	_, err := connection.Exec(ctx, "INSERT INTO items VALUES (1, 'again', 1)")
	twice := fieldsOf(err)
	_, err = connection.Exec(ctx, "SELECT nme FROM items WHERE id = $1", 1)
	name := fieldsOf(err)
	return fmt.Sprintf("%s %s %s.%s %s %s in %s; %s at %d %s", twice.Code, twice.Severity, twice.SchemaName, twice.TableName,
		twice.ConstraintName, twice.Detail, twice.Routine, name.Code, name.Position, name.Hint), nil
}

func checkRefused(ctx context.Context, connection *pgx.Conn) (string, error) {
	mark := value[string](ctx, connection, os.Getenv("SESSION_MARK"))
	told := []string{}
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeCacheStatement,
	} {
		_, err := connection.Exec(ctx, guarded, mode, 1)
		told = append(told, describe(err))
	}
	expect(value[string](ctx, connection, os.Getenv("SESSION_SEEN")), mark)
	expect(connection.PgConn().TxStatus(), byte('I'))
	return "*pgconn.PgError " + strings.Join(told, "; "), nil
}

func checkRefusedInTransaction(ctx context.Context, connection *pgx.Conn) (string, error) {
	transaction, err := connection.Begin(ctx)
	if err != nil {
		return "", err
	}
	if _, err = transaction.Exec(ctx, "INSERT INTO items VALUES (20, 'twenty', 1)"); err != nil {
		return "", err
	}
	_, first := transaction.Exec(ctx, guarded, pgx.QueryExecModeExec, 1)
	status := connection.PgConn().TxStatus()
	_, second := transaction.Exec(ctx, "SELECT 1")
	err = transaction.Rollback(ctx)
	left := value[int](ctx, connection, "SELECT count(*) FROM items WHERE id = 20")
	return fmt.Sprintf("%s; status %c; %s; rows %d; status %c", describe(first), status, codeOf(second), left,
		connection.PgConn().TxStatus()), err
}

func checkRefusedInBatch(ctx context.Context, connection *pgx.Conn) (string, error) {
	batch := &pgx.Batch{}
	batch.Queue("INSERT INTO items VALUES (30, 'thirty', 1)")
	batch.Queue(guarded, 1)
	batch.Queue("INSERT INTO items VALUES (31, 'thirty-one', 1)")
	failed := connection.SendBatch(ctx, batch).Close()
	pipelined, err := runPipeline(ctx, connection, "DELETE FROM guarded")
	left := value[int](ctx, connection, "SELECT count(*) FROM items WHERE id BETWEEN 30 AND 39")
	return fmt.Sprintf("%s; pipeline %s; rows %d", describe(failed), pipelined, left), err
}

func checkLimited(ctx context.Context, connection *pgx.Conn) (string, error) {
	var looks []string
	for range 2 {
		_, err := connection.Exec(ctx, "SELECT count(*) FROM limited")
		look := "ok"
		if err != nil {
			look = fieldsOf(err).Code + " " + fieldsOf(err).Message
		}
		looks = append(looks, look)
	}
	return fmt.Sprintf("first: %s, second: %s, then %d", looks[0], looks[1], value[int](ctx, connection, "SELECT 1")), nil
}

func main() {
	runCheck("connect", checkConnect)
	runCheck("text", checkText)
	runCheck("binary", checkBinary)
	runCheck("prepared", checkPrepared)
	runCheck("batch", checkBatch)
	runCheck("copy", checkCopy)
	runCheck("notify", checkNotify)
	runCheck("cancel", checkCancel)
	runCheck("large_objects", checkLargeObjects)
	runCheck("errors", checkErrors)
	runCheck("refused", checkRefused)
	runCheck("refused_in_transaction", checkRefusedInTransaction)
	runCheck("refused_in_batch", checkRefusedInBatch)
	runCheck("limited", checkLimited)
}

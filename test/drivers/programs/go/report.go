// One line of JSON for each check (see ../../checks.ts), each on a connection of its own.

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// isPooled says that server connections are shared: a session is served by another process with each transaction.
var isPooled = os.Getenv("CHECKS_POOLED") == "1"

type check func(ctx context.Context, connection *pgx.Conn) (string, error)

func runCheck(name string, perform check) {
	ctx, stop := context.WithTimeout(context.Background(), 60*time.Second)
	defer stop()
	report := map[string]any{"check": name, "ok": true}
	detail, err := func() (detail string, err error) {
		connection, err := pgx.Connect(ctx, "")
		if err != nil {
			return "", err
		}
		defer connection.Close(ctx)
		defer func() {
			if cause := recover(); cause != nil {
				err = fmt.Errorf("%v", cause)
			}
		}()
		return perform(ctx, connection)
	}()
	report["detail"] = detail
	if err != nil {
		report["ok"], report["detail"] = false, fmt.Sprintf("%s [%v]", detail, err)
	}
	line, _ := json.Marshal(report)
	os.Stdout.Write(append(line, '\n'))
}

// fieldsOf gives the server's error; it panics if err is none, which fails the check.
func fieldsOf(err error) *pgconn.PgError {
	var fields *pgconn.PgError
	if !errors.As(err, &fields) {
		panic(fmt.Sprintf("not an error of the server: %v", err))
	}
	return fields
}

func describe(err error) string {
	fields := fieldsOf(err)
	return fmt.Sprintf("%s %s / %s / %s", fields.Code, fields.Message, fields.Detail, fields.Hint)
}

func expect[T comparable](actual, wanted T) {
	if actual != wanted {
		panic(fmt.Sprintf("%v, not %v", actual, wanted))
	}
}

func value[T any](ctx context.Context, connection *pgx.Conn, sql string, parameters ...any) T {
	var found T
	if err := connection.QueryRow(ctx, sql, parameters...).Scan(&found); err != nil {
		panic(err)
	}
	return found
}

func codeOf(err error) string {
	if err == nil {
		return "ok"
	}
	return fieldsOf(err).Code
}

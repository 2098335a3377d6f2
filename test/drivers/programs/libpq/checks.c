/* libpq, the C library, with its pipeline mode. */

#include <libpq/libpq-fs.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "report.h"

static const char *const GUARDED = "DELETE FROM guarded WHERE id = $1";
static const char *const ONE[] = {"1"};

static PGresult *with_text(PGconn *connection, const char *sql, int count, const char *const *values) {
  return PQexecParams(connection, sql, count, NULL, values, NULL, NULL, 0);
}

static const char *first_value(const PGresult *result) {
  return PQntuples(result) == 1 ? PQgetvalue(result, 0, 0) : "";
}

static Verdict check_connect(PGconn *connection) {
  tell_value(PQexec(connection, "SELECT current_user || ' as ' || current_setting('application_name')"));
  const bool is_asked = strcmp(getenv("PGSSLMODE"), "disable") != 0;
  bool is_right = expect(PQsslInUse(connection) == is_asked, "TLS as asked");
  PGconn *stranger = PQconnectdb("password=wrong");
  is_right &= expect(PQstatus(stranger) == CONNECTION_BAD && PQconnectionUsedPassword(stranger), "refused");
  is_right &= expect(strstr(PQerrorMessage(stranger), "password authentication failed for user") != NULL, "in words");
  PQfinish(stranger);
  tell("; wrong password refused");
  return is_right ? RIGHT : FAILED;
}

static Verdict check_text(PGconn *connection) {
  const char *values[] = {"41", "naïve ✓", "1.25", "t", NULL};
  PGresult *result = with_text(
      connection,
      "SELECT concat_ws('|', $1::int4 + 1, $2::text, $3::numeric * 2, $4::bool, coalesce($5::text, 'null'))", 5, values);
  const bool is_right = expect(strcmp(first_value(result), "42|naïve ✓|2.50|t|null") == 0, "the values");
  tell_value(result);
  return is_right ? RIGHT : FAILED;
}

static Verdict check_binary(PGconn *connection) {
  const unsigned char whole[] = {0, 0x20, 0, 0, 0, 0, 0, 1}; /* 2^53 + 1 */
  const unsigned char bytes[] = {0, 0xff, 0x10};
  const char *values[] = {(const char *)whole, (const char *)bytes};
  const int lengths[] = {sizeof whole, sizeof bytes};
  const int formats[] = {1, 1};
  PGresult *result = PQexecParams(connection, "SELECT $1::int8, $2::bytea", 2, NULL, values, lengths, formats, 1);
  const bool is_right = PQntuples(result) == 1 && PQfformat(result, 0) == 1 &&
                        memcmp(PQgetvalue(result, 0, 0), whole, sizeof whole) == 0 &&
                        PQgetlength(result, 0, 1) == sizeof bytes &&
                        memcmp(PQgetvalue(result, 0, 1), bytes, sizeof bytes) == 0;
  PQclear(result);
  tell("9007199254740993|00ff10");
  return expect(is_right, "the same bytes") ? RIGHT : FAILED;
}

static Verdict check_prepared(PGconn *connection) {
  PQclear(PQprepare(connection, "by_id", "SELECT name FROM items WHERE id = $1", 0, NULL));
  PGresult *described = PQdescribePrepared(connection, "by_id");
  tell("%d parameter of type %u, column %s: ", PQnparams(described), PQparamtype(described, 0), PQfname(described, 0));
  PQclear(described);
  const char *ids[] = {"1", "2"};
  for (int index = 0; index < 2; index++) {
    tell_value(PQexecPrepared(connection, "by_id", 1, &ids[index], NULL, NULL, 0));
    tell(", ");
  }
  tell("again: ");
  tell_value(PQprepare(connection, "by_id", "SELECT 1", 0, NULL));
  PQclear(PQexec(connection, "DEALLOCATE by_id"));
  tell(", deallocated: ");
  PGresult *gone = PQexecPrepared(connection, "by_id", 1, ids, NULL, NULL, 0);
  const bool is_right = expect(PQresultStatus(gone) == PGRES_FATAL_ERROR, "gone");
  tell_value(gone);
  return is_right ? RIGHT : FAILED;
}

/* Reads a pipeline to its end: every result, and the NULL behind each. */
static void tell_pipeline(PGconn *connection, int syncs) {
  while (syncs > 0) {
    PGresult *result = PQgetResult(connection);
    if (result == NULL) continue;
    if (PQresultStatus(result) == PGRES_PIPELINE_SYNC) syncs--;
    tell_value(result);
    tell(" ");
  }
  PQexitPipelineMode(connection);
}

static Verdict check_batch(PGconn *connection) {
  PQenterPipelineMode(connection);
  const char *numbers[] = {"1", "2", "3"};
  for (int index = 0; index < 3; index++) {
    PQsendQueryParams(connection, "SELECT $1::int * 2", 1, NULL, &numbers[index], NULL, NULL, 0);
  }
  PQpipelineSync(connection);
  PQsendQueryParams(connection, "INSERT INTO items VALUES (10, 'ten', 1)", 0, NULL, NULL, NULL, NULL, 0);
  PQsendQueryParams(connection, "SELECT 1 / 0", 0, NULL, NULL, NULL, NULL, 0);
  PQsendQueryParams(connection, "INSERT INTO items VALUES (11, 'eleven', 1)", 0, NULL, NULL, NULL, NULL, 0);
  PQpipelineSync(connection);
  PQsendQueryParams(connection, "SELECT 'after'", 0, NULL, NULL, NULL, NULL, 0);
  PQpipelineSync(connection);
  tell_pipeline(connection, 3);
  tell("kept ");
  tell_value(PQexec(connection, "SELECT string_agg(id::text, ',' ORDER BY id) FROM items"));
  return expect(PQtransactionStatus(connection) == PQTRANS_IDLE, "idle") ? RIGHT : FAILED;
}

static Verdict check_copy(PGconn *connection) {
  PQclear(PQexec(connection, "COPY items FROM STDIN"));
  for (int id = 1000; id < 2000; id++) {
    char line[64];
    PQputCopyData(connection, line, snprintf(line, sizeof line, "%d\tcopied ✓\t1\n", id));
  }
  PQputCopyEnd(connection, NULL);
  tell("in ");
  tell_value(PQgetResult(connection));
  PQclear(PQgetResult(connection));
  PQclear(PQexec(connection, "COPY (SELECT * FROM items WHERE id >= 1000 ORDER BY id) TO STDOUT (FORMAT binary)"));
  int total = 0;
  char *block;
  for (int length; (length = PQgetCopyData(connection, &block, 0)) > 0; total += length) PQfreemem(block);
  tell(", out %d bytes ", total);
  tell_value(PQgetResult(connection));
  PQclear(PQgetResult(connection));
  PQclear(PQexec(connection, "COPY items FROM STDIN"));
  PQputCopyData(connection, "no number\tx\t1\n", 14);
  PQputCopyEnd(connection, NULL);
  tell(", bad row ");
  tell_value(PQgetResult(connection));
  PQclear(PQgetResult(connection));
  PQclear(PQexec(connection, "COPY items FROM STDIN"));
  PQputCopyEnd(connection, "changed my mind");
  tell(", given up ");
  tell_value(PQgetResult(connection));
  PQclear(PQgetResult(connection));
  tell(", then ");
  tell_value(PQexec(connection, "SELECT 1"));
  return expect(total > 20000, "1000 rows out") ? RIGHT : FAILED;
}

static PGnotify *wait_for_notify(PGconn *connection) {
  for (int turn = 0; turn < 100; turn++) {
    PGnotify *heard = PQnotifies(connection);
    if (heard != NULL) return heard;
    struct pollfd socket = {.fd = PQsocket(connection), .events = POLLIN};
    poll(&socket, 1, 100);
    PQconsumeInput(connection);
  }
  return NULL;
}

static Verdict check_notify(PGconn *listener) {
  PGconn *speaker = PQconnectdb("");
  PQclear(PQexec(listener, "LISTEN news"));
  PGresult *sent = PQexec(speaker, "SELECT pg_backend_pid() FROM pg_notify('news', 'hello ✓')");
  const int sender = atoi(first_value(sent));
  PQclear(sent);
  PGnotify *heard = wait_for_notify(listener);
  bool is_right = expect(heard != NULL && heard->be_pid == sender, "the sender's pid");
  /* Server connections may be shared: a session is then served by another process with each transaction. */
  const bool is_pooled = strcmp(getenv("CHECKS_POOLED"), "1") == 0;
  is_right &= expect(is_pooled || sender == PQbackendPID(speaker), "the speaker's pid");
  if (heard != NULL) tell("%s: %s", heard->relname, heard->extra);
  PQfreemem(heard);
  PQfinish(speaker);
  PQclear(PQexec(listener, "NOTIFY news, 'self'"));
  heard = wait_for_notify(listener);
  is_right &= expect(heard != NULL, "its own");
  if (heard != NULL) tell(", %s", heard->extra);
  PQfreemem(heard);
  return is_right ? RIGHT : FAILED;
}

static Verdict check_cancel(PGconn *connection) {
  char reason[256] = "";
  const time_t started = time(NULL);
  PQsendQuery(connection, "SELECT pg_sleep(20)");
  struct timespec pause = {.tv_nsec = 300000000};
  nanosleep(&pause, NULL);
  PGcancel *canceller = PQgetCancel(connection);
  bool is_right = expect(PQcancel(canceller, reason, sizeof reason) == 1, reason);
  PQfreeCancel(canceller);
  tell_error(PQgetResult(connection));
  PQclear(PQgetResult(connection));
  is_right &= expect(time(NULL) - started < 10, "soon");
  tell(", then ");
  tell_value(PQexec(connection, "SELECT 1"));
  return is_right ? RIGHT : FAILED;
}

static Verdict check_large_objects(PGconn *connection) {
  static char bytes[100000], part[7];
  for (size_t index = 0; index < sizeof bytes; index++) bytes[index] = "large "[index % 6];
  PQclear(PQexec(connection, "BEGIN"));
  const Oid oid = lo_creat(connection, INV_READ | INV_WRITE);
  const int object = lo_open(connection, oid, INV_READ | INV_WRITE);
  tell("wrote %d, ", lo_write(connection, object, bytes, sizeof bytes));
  tell("at %d, ", lo_lseek(connection, object, 10, SEEK_SET));
  tell("read %d: ", lo_read(connection, object, part, 6));
  tell("%s, size %ld, ", part, (long)lo_lseek64(connection, object, 0, SEEK_END));
  tell("closed %d, unlinked %d, ", lo_close(connection, object), lo_unlink(connection, oid));
  PQclear(PQexec(connection, "COMMIT"));
  PQclear(PQexec(connection, "BEGIN"));
  tell("open again %d", lo_open(connection, oid, INV_READ));
  return expect(memcmp(part, bytes + 10, 6) == 0, "the same bytes") ? RIGHT : FAILED;
}

static Verdict check_errors(PGconn *connection) {
  PGresult *twice = PQexec(connection, "INSERT INTO items VALUES (1, 'again', 1)");
  tell("%s %s.%s %s in %s; ", PQresultErrorField(twice, PG_DIAG_SEVERITY), PQresultErrorField(twice, PG_DIAG_SCHEMA_NAME),
       PQresultErrorField(twice, PG_DIAG_TABLE_NAME), PQresultErrorField(twice, PG_DIAG_CONSTRAINT_NAME),
       PQresultErrorField(twice, PG_DIAG_SOURCE_FUNCTION));
  tell_error(twice);
  PGresult *name = with_text(connection, "SELECT nme FROM items WHERE id = $1", 1, ONE);
  tell("; at %s: ", PQresultErrorField(name, PG_DIAG_STATEMENT_POSITION));
  tell_error(name);
  return RIGHT;
}

static Verdict check_refused(PGconn *connection) {
  tell_error(PQexec(connection, "DELETE FROM guarded"));
  tell("; ");
  tell_error(with_text(connection, GUARDED, 1, ONE));
  tell("; then ");
  tell_value(PQexec(connection, "SELECT 1"));
  return expect(PQtransactionStatus(connection) == PQTRANS_IDLE, "idle") ? RIGHT : FAILED;
}

static Verdict check_refused_in_transaction(PGconn *connection) {
  PQclear(PQexec(connection, "BEGIN"));
  PQclear(PQexec(connection, "INSERT INTO items VALUES (20, 'twenty', 1)"));
  tell_error(with_text(connection, GUARDED, 1, ONE));
  bool is_right = expect(PQtransactionStatus(connection) == PQTRANS_INERROR, "a failed transaction");
  tell("; ");
  tell_value(PQexec(connection, "SELECT 1"));
  PQclear(PQexec(connection, "ROLLBACK"));
  is_right &= expect(PQtransactionStatus(connection) == PQTRANS_IDLE, "idle");
  tell("; rows ");
  tell_value(PQexec(connection, "SELECT count(*) FROM items WHERE id = 20"));
  return is_right ? RIGHT : FAILED;
}

static Verdict check_refused_in_batch(PGconn *connection) {
  PQenterPipelineMode(connection);
  PQsendQueryParams(connection, "INSERT INTO items VALUES (30, 'thirty', 1)", 0, NULL, NULL, NULL, NULL, 0);
  PQsendQueryParams(connection, GUARDED, 1, NULL, ONE, NULL, NULL, 0);
  PQsendQueryParams(connection, "INSERT INTO items VALUES (31, 'thirty-one', 1)", 0, NULL, NULL, NULL, NULL, 0);
  PQpipelineSync(connection);
  PQsendQueryParams(connection, "INSERT INTO items VALUES (32, 'thirty-two', 1)", 0, NULL, NULL, NULL, NULL, 0);
  PQpipelineSync(connection);
  tell_pipeline(connection, 2);
  tell_error(PQexec(connection, "INSERT INTO items VALUES (33, 'thirty-three', 1); DELETE FROM guarded"));
  tell("; rows ");
  tell_value(PQexec(connection, "SELECT string_agg(id::text, ',' ORDER BY id) FROM items WHERE id BETWEEN 30 AND 39"));
  return expect(PQtransactionStatus(connection) == PQTRANS_IDLE, "idle") ? RIGHT : FAILED;
}

static Verdict check_limited(PGconn *connection) {
  for (int look = 0; look < 2; look++) {
    PGresult *result = PQexec(connection, "SELECT count(*) FROM limited");
    tell(look == 0 ? "first: " : ", second: ");
    if (PQresultStatus(result) == PGRES_TUPLES_OK) {
      tell("ok");
      PQclear(result);
    } else {
      tell_error(result);
    }
  }
  tell(", then ");
  tell_value(PQexec(connection, "SELECT 1"));
  return RIGHT;
}

int main(void) {
  run_check("connect", check_connect);
  run_check("text", check_text);
  run_check("binary", check_binary);
  run_check("prepared", check_prepared);
  run_check("batch", check_batch);
  run_check("copy", check_copy);
  run_check("notify", check_notify);
  run_check("cancel", check_cancel);
  run_check("large_objects", check_large_objects);
  run_check("errors", check_errors);
  run_check("refused", check_refused);
  run_check("refused_in_transaction", check_refused_in_transaction);
  run_check("refused_in_batch", check_refused_in_batch);
  run_check("limited", check_limited);
}

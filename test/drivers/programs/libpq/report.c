/* One line of JSON for each check, each on a connection of its own. */

#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static char detail[8192];

void tell(const char *format, ...) {
  size_t used = strlen(detail);
  va_list values;
  va_start(values, format);
  vsnprintf(detail + used, sizeof detail - used, format, values);
  va_end(values);
}

static const char *field(const PGresult *result, int code) {
  const char *text = PQresultErrorField(result, code);
  return text == NULL ? "none" : text;
}

void tell_error(PGresult *result) {
  tell("%s %s / %s / %s", field(result, PG_DIAG_SQLSTATE), field(result, PG_DIAG_MESSAGE_PRIMARY),
       field(result, PG_DIAG_MESSAGE_DETAIL), field(result, PG_DIAG_MESSAGE_HINT));
  PQclear(result);
}

void tell_value(PGresult *result) {
  switch (PQresultStatus(result)) {
    case PGRES_TUPLES_OK:
      tell("%s", PQntuples(result) == 0 ? "no row" : PQgetvalue(result, 0, 0));
      break;
    case PGRES_COMMAND_OK:
      tell("%s", PQcmdStatus(result));
      break;
    case PGRES_PIPELINE_ABORTED:
      tell("skipped");
      break;
    case PGRES_PIPELINE_SYNC:
      tell("sync");
      break;
    default:
      tell("%s", field(result, PG_DIAG_SQLSTATE));
  }
  PQclear(result);
}

bool expect(bool is_true, const char *what) {
  if (!is_true) tell(" [not so: %s]", what);
  return is_true;
}

static void print_string(const char *text) {
  putchar('"');
  for (; *text != '\0'; text++) {
    if (*text == '"' || *text == '\\') printf("\\%c", *text);
    else if ((unsigned char)*text < 0x20) printf("\\u%04x", *text);
    else putchar(*text);
  }
  putchar('"');
}

void run_check(const char *name, Verdict (*check)(PGconn *)) {
  static const char *const words[] = {[FAILED] = "false", [RIGHT] = "true", [NO_API] = "null"};
  detail[0] = '\0';
  /* No parameters: everything comes from the PG… variables. */
  PGconn *connection = PQconnectdb("");
  Verdict verdict = FAILED;
  if (PQstatus(connection) == CONNECTION_OK) verdict = check(connection);
  else tell("%s", PQerrorMessage(connection));
  PQfinish(connection);
  printf("{\"check\": \"%s\", \"ok\": %s, \"detail\": ", name, words[verdict]);
  print_string(detail);
  printf("}\n");
  fflush(stdout);
}

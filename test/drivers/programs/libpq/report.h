/* One line of JSON for each check (see ../../checks.ts), and what the checks share. */

#pragma once

#include <libpq-fe.h>
#include <stdbool.h>

typedef enum { FAILED, RIGHT, NO_API } Verdict;

/* Adds to the detail of the running check, as printf does. */
void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Adds SQLSTATE, message, detail and hint, and frees the result. */
void tell_error(PGresult *result);

/* Adds the first value of a result, or its error, and frees it. */
void tell_value(PGresult *result);

/* True if `isTrue`; otherwise says in the detail what was expected. */
bool expect(bool is_true, const char *what);

void run_check(const char *name, Verdict (*check)(PGconn *));

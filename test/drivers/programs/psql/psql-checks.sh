# psql. What it does itself (variables, \bind, \copy, \lo_import, Ctrl-C) is asked of it; bash 4 runs it and compares.

set -u
export PSQLRC=/dev/null PGCONNECT_TIMEOUT=10 LC_ALL=C.UTF-8
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

ask() { psql -X --no-align --tuples-only --quiet --set VERBOSITY=verbose "$@" 2>&1; }

# Lines that name a place in the server's source are left out: a refusal by a rule has none of its own.
tell_only() { grep -v '^LOCATION:\|^CONTEXT:' | tr '\n' ' ' | sed 's/ *$//'; }

report() {
  local text=${3//\\/\\\\}
  text=${text//\"/\\\"}
  text=${text//$'\t'/\\t}
  text=${text//$'\n'/\\n}
  printf '{"check": "%s", "ok": %s, "detail": "%s"}\n' "$1" "$2" "$text"
}

# compare CHECK SEEN PATTERN: the check is right if what was seen matches the extended regular expression.
compare() {
  if [[ $2 =~ $3 ]]; then report "$1" true "$2"; else report "$1" false "$2 does not match $3"; fi
}

who=$(ask -c "SELECT current_user || ' as ' || current_setting('application_name')")
wrong=$(PGPASSWORD=wrong ask -c 'SELECT 1')
[[ $wrong == *'password authentication failed for user'* ]] && who="$who; wrong password refused"
compare connect "$who" '^scram_user as .*; wrong password refused$'

compare text "$(ask -v word='naïve ✓' <<'SQL' | tell_only
SELECT :'word' || '|' || 41 + 1;
SQL
)" '^naïve ✓\|42$'

report binary null 'psql shows text only'

compare prepared "$(ask <<'SQL' | tell_only
PREPARE by_id AS SELECT name FROM items WHERE id = $1;
EXECUTE by_id(1);
EXECUTE by_id(2);
SELECT count(*) FROM pg_prepared_statements;
DEALLOCATE by_id;
EXECUTE by_id(3);
SQL
)" '^one two 1 ERROR:  26000: '

compare batch "$(ask <<'SQL' | tell_only
SELECT 1\; SELECT 2\; SELECT 3;
INSERT INTO items VALUES (10, 'ten', 1)\; SELECT 1 / 0\; INSERT INTO items VALUES (11, 'eleven', 1);
SELECT string_agg(id::text, ',' ORDER BY id) FROM items;
SQL
)" '22012: .* 1,2,3$'

for ((id = 1000; id < 2000; id++)); do printf '%d\tcopied ✓\t1\n' "$id"; done >"$scratch/in"
compare copy "$(ask <<SQL | tell_only
\\copy items FROM '$scratch/in'
\\copy (SELECT id, name, 1 FROM items WHERE id >= 1000 ORDER BY id) TO '$scratch/out'
COPY items FROM STDIN;
no number	x	1
\\.
SELECT count(*) FROM items;
SQL
) $(cmp "$scratch/in" "$scratch/out" && echo 'out as in')" '22P02: .* 1003 out as in$'

compare notify "$(ask <<'SQL' | sed 's/PID [0-9]*/PID …/' | tell_only
LISTEN news;
NOTIFY news, 'self';
\! psql -X -q -c "SELECT pg_notify('news', 'hello ✓')" >/dev/null
SELECT 1;
SQL
)" '"news" with payload "self" .*1 .*"news" with payload "hello ✓"'

# Ctrl-C in psql sends a CancelRequest, and the script goes on.
ask -c 'SELECT pg_sleep(20)' -c "SELECT 'after'" >"$scratch/cancelled" &
sleeper=$!
sleep 0.7
kill -INT "$(pgrep -P "$sleeper" -x psql || echo "$sleeper")"
started=$SECONDS
wait "$sleeper"
[ $((SECONDS - started)) -lt 10 ] && soon=' soon' || soon=' late'
compare cancel "$(tell_only <"$scratch/cancelled")$soon" '57014: canceling statement due to user request.* soon$'

head -c 100000 /dev/zero | tr '\0' 'x' >"$scratch/large"
compare large_objects "$(ask <<SQL | sed 's/large object [0-9]*/large object …/' | tell_only
\\lo_import '$scratch/large'
SELECT length(lo_get(:LASTOID));
\\lo_export :LASTOID '$scratch/larger'
\\lo_unlink :LASTOID
SELECT lo_get(:LASTOID);
SQL
) $(cmp "$scratch/large" "$scratch/larger" && echo 'out as in')" '100000 .*42704: .*out as in$'

compare errors "$(ask <<'SQL' | tell_only
INSERT INTO items VALUES (1, 'again', 1);
SELECT nme FROM items;
SQL
)" '23505: .*SCHEMA NAME:  drivers TABLE NAME:  items CONSTRAINT NAME:  items_pkey ERROR:  42703: .*LINE 1: SELECT nme FROM items'

compare refused "$(ask <<'SQL' | tell_only
DELETE FROM guarded;
\echo :SQLSTATE :ERROR
EXPLAIN ANALYZE DELETE FROM guarded WHERE id = 1;
\echo :SQLSTATE
SELECT 'usable';
SQL
)" '42501: deletes from guarded are closed DETAIL:  .* HINT:  ask the owner of guarded 42501 true .*42501 usable$'

compare refused_in_transaction "$(ask <<'SQL' | tell_only
BEGIN;
INSERT INTO items VALUES (20, 'twenty', 1);
DELETE FROM guarded WHERE id = 1;
SELECT 1;
ROLLBACK;
SELECT 'rows ' || count(*) FROM items WHERE id = 20;
SQL
)" '42501: .*25P02: .* rows 0$'

compare refused_in_batch "$(ask <<'SQL' | tell_only
INSERT INTO items VALUES (30, 'thirty', 1)\; DELETE FROM guarded\; INSERT INTO items VALUES (31, 'thirty-one', 1);
SELECT 'rows ' || count(*) FROM items WHERE id BETWEEN 30 AND 39;
SQL
)" '42501: .* rows 0$'

look() { ask -c 'SELECT count(*) FROM limited' | sed -n 's/^0$/ok/p; s/^ERROR:  \([0-9A-Z]*\): /\1 /p'; }
first=$(look)
report limited true "first: $first, second: $(look), then $(ask -c 'SELECT 1')"

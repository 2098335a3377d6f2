# ruby-pg, with the pipeline mode of the libpq below it.

require 'json'
require 'pg'

Encoding.default_external = 'UTF-8'
$stdout.sync = true

GUARDED = 'DELETE FROM guarded WHERE id = $1'
BINARY = 1
# Server connections are shared: a session is served by another process with each transaction.
IS_POOLED = ENV.fetch('CHECKS_POOLED') == '1'

class NoApi < StandardError; end

def run_check(name)
  connection = PG.connect
  puts JSON.generate({ check: name, ok: true, detail: yield(connection) })
rescue NoApi => e
  puts JSON.generate({ check: name, ok: nil, detail: e.message })
rescue StandardError => e
  puts JSON.generate({ check: name, ok: false, detail: "#{e.class}: #{e.message}" })
  warn e.full_message
ensure
  connection&.close
end

def expect(actual, wanted)
  raise "#{actual.inspect}, not #{wanted.inspect}" unless actual == wanted
end

def failure
  yield
rescue PG::Error => e
  e
else
  raise 'no failure'
end

def code(error)
  error.result.error_field(PG::PG_DIAG_SQLSTATE)
end

def describe(error)
  result = error.result
  fields = [PG::PG_DIAG_MESSAGE_PRIMARY, PG::PG_DIAG_MESSAGE_DETAIL, PG::PG_DIAG_MESSAGE_HINT]
  "#{code(error)} #{fields.map { |field| result.error_field(field) || 'none' }.join(' / ')}"
end

def value(connection, sql, parameters = [])
  connection.exec_params(sql, parameters).getvalue(0, 0)
end

# What a pipeline answers, up to its last Sync.
def read_pipeline(connection, syncs)
  told = []
  while syncs.positive?
    result = connection.get_result
    next if result.nil?

    syncs -= 1 if result.result_status == PG::PGRES_PIPELINE_SYNC
    told << (result.error_field(PG::PG_DIAG_SQLSTATE) || result.res_status(result.result_status))
  end
  connection.exit_pipeline_mode
  told.join(' ')
end

run_check('connect') do |connection|
  who = value(connection, "SELECT current_user || ' as ' || current_setting('application_name')")
  expect(connection.ssl_in_use?, ENV.fetch('PGSSLMODE') != 'disable')
  wrong = failure { PG.connect(password: 'wrong') }
  expect(wrong.message.include?('password authentication failed for user'), true)
  "#{who}; wrong password refused"
end

run_check('text') do |connection|
  sql = "SELECT concat_ws('|', $1::int4 + 1, $2::text, $3::numeric * 2, $4::bool, coalesce($5::text, 'null'))"
  row = value(connection, sql, [41, 'naïve ✓', '1.25', true, nil])
  expect(row, '42|naïve ✓|2.50|t|null')
  row
end

run_check('binary') do |connection|
  whole = { value: [9_007_199_254_740_993].pack('q>'), type: 20, format: BINARY }
  bytes = { value: "\x00\xff\x10".b, type: 17, format: BINARY }
  row = connection.exec_params('SELECT $1, $2', [whole, bytes], BINARY)
  expect(row.getvalue(0, 0).unpack1('q>'), 9_007_199_254_740_993)
  expect(row.getvalue(0, 1).b, "\x00\xff\x10".b)
  "#{row.getvalue(0, 0).unpack1('q>')}|#{row.getvalue(0, 1).unpack1('H*')}"
end

run_check('prepared') do |connection|
  connection.prepare('by_id', 'SELECT name FROM items WHERE id = $1')
  names = [1, 2].map { |id| connection.exec_prepared('by_id', [id]).getvalue(0, 0) }
  described = connection.describe_prepared('by_id')
  connection.exec('DEALLOCATE by_id')
  gone = failure { connection.exec_prepared('by_id', [1]) }
  "#{described.nparams} parameter of type #{described.paramtype(0)}: #{names.join(',')}, then #{code(gone)}"
end

run_check('batch') do |connection|
  connection.enter_pipeline_mode
  [1, 2, 3].each { |number| connection.send_query_params('SELECT $1::int * 2', [number]) }
  connection.pipeline_sync
  connection.send_query_params("INSERT INTO items VALUES (10, 'ten', 1)", [])
  connection.send_query_params('SELECT 1 / 0', [])
  connection.send_query_params("INSERT INTO items VALUES (11, 'eleven', 1)", [])
  connection.pipeline_sync
  told = read_pipeline(connection, 2)
  several = failure { connection.exec("INSERT INTO items VALUES (12, 'twelve', 1); SELECT 1 / 0") }
  "#{told}; #{code(several)}; kept #{value(connection, "SELECT string_agg(id::text, ',' ORDER BY id) FROM items")}"
end

run_check('copy') do |connection|
  entered = connection.copy_data('COPY items FROM STDIN') do
    (1000...2000).each { |id| connection.put_copy_data("#{id}\tcopied ✓\t1\n") }
  end
  left = 0
  connection.copy_data('COPY (SELECT * FROM items WHERE id >= 1000 ORDER BY id) TO STDOUT') do
    while (row = connection.get_copy_data)
      left += row.bytesize
    end
  end
  bad = failure { connection.copy_data('COPY items FROM STDIN') { connection.put_copy_data("no number\tx\t1\n") } }
  given_up = failure { connection.copy_data('COPY items FROM STDIN') { raise PG::Error, 'changed my mind' } }
  "in #{entered.cmd_tuples}, out #{left} bytes, bad row #{code(bad)}, given up: #{given_up.message}, " \
    "then #{value(connection, 'SELECT 1')}"
end

run_check('notify') do |connection|
  connection.exec('LISTEN news')
  speaker = PG.connect
  sender = value(speaker, "SELECT pg_backend_pid() FROM pg_notify('news', 'hello ✓')")
  heard = nil
  connection.wait_for_notify(10) { |channel, pid, payload| heard = [channel, pid, payload] }
  expect(heard[1].to_s, sender)
  expect(speaker.backend_pid.to_s, sender) unless IS_POOLED
  speaker.close
  connection.exec("NOTIFY news, 'self'")
  own = nil
  connection.wait_for_notify(10) { |_channel, _pid, payload| own = payload }
  "#{heard[0]}: #{heard[2].force_encoding('UTF-8')}, #{own}"
end

run_check('cancel') do |connection|
  started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  canceller = Thread.new { sleep 0.3 and connection.cancel }
  failed = failure { connection.exec('SELECT pg_sleep(20)') }
  canceller.join
  expect(Process.clock_gettime(Process::CLOCK_MONOTONIC) - started < 10, true)
  "#{failed.class} #{describe(failed)}, then #{value(connection, 'SELECT 1')}"
end

run_check('large_objects') do |connection|
  bytes = 'large ' * 20_000
  connection.transaction do
    oid = connection.lo_creat
    object = connection.lo_open(oid, PG::INV_READ | PG::INV_WRITE)
    written = connection.lo_write(object, bytes)
    connection.lo_lseek(object, 10, PG::SEEK_SET)
    part = connection.lo_read(object, 6)
    expect(part, bytes[10, 6])
    connection.lo_close(object)
    connection.lo_unlink(oid)
    "wrote #{written}, part #{part}"
  end
end

run_check('errors') do |connection|
  twice = failure { connection.exec("INSERT INTO items VALUES (1, 'again', 1)") }
  name = failure { connection.exec('SELECT nme FROM items') }
  fields = [PG::PG_DIAG_SEVERITY, PG::PG_DIAG_SCHEMA_NAME, PG::PG_DIAG_TABLE_NAME, PG::PG_DIAG_CONSTRAINT_NAME]
  "#{twice.class} #{fields.map { |field| twice.result.error_field(field) }.join(' ')} #{describe(twice)}; " \
    "#{name.class} at #{name.result.error_field(PG::PG_DIAG_STATEMENT_POSITION)} #{describe(name)}"
end

run_check('refused') do |connection|
  simple = failure { connection.exec('DELETE FROM guarded') }
  extended = failure { connection.exec_params(GUARDED, [1]) }
  expect(connection.transaction_status, PG::PQTRANS_IDLE)
  "#{simple.class} #{describe(simple)}; #{describe(extended)}; then #{value(connection, 'SELECT 1')}"
end

run_check('refused_in_transaction') do |connection|
  connection.exec('BEGIN')
  connection.exec("INSERT INTO items VALUES (20, 'twenty', 1)")
  first = failure { connection.exec_params(GUARDED, [1]) }
  expect(connection.transaction_status, PG::PQTRANS_INERROR)
  second = failure { connection.exec('SELECT 1') }
  connection.exec('ROLLBACK')
  expect(connection.transaction_status, PG::PQTRANS_IDLE)
  "#{describe(first)}; #{code(second)}; rows #{value(connection, 'SELECT count(*) FROM items WHERE id = 20')}"
end

run_check('refused_in_batch') do |connection|
  connection.enter_pipeline_mode
  connection.send_query_params("INSERT INTO items VALUES (30, 'thirty', 1)", [])
  connection.send_query_params(GUARDED, [1])
  connection.send_query_params("INSERT INTO items VALUES (31, 'thirty-one', 1)", [])
  connection.pipeline_sync
  told = read_pipeline(connection, 1)
  several = failure { connection.exec("INSERT INTO items VALUES (32, 'x', 1); DELETE FROM guarded") }
  left = value(connection, 'SELECT count(*) FROM items WHERE id BETWEEN 30 AND 39')
  "#{told}; #{describe(several)}; rows #{left}"
end

run_check('limited') do |connection|
  looks = 2.times.map do
    connection.exec('SELECT count(*) FROM limited') && 'ok'
  rescue PG::Error => e
    "#{code(e)} #{e.result.error_field(PG::PG_DIAG_MESSAGE_PRIMARY)}"
  end
  "first: #{looks[0]}, second: #{looks[1]}, then #{value(connection, 'SELECT 1')}"
end

// pgjdbc: its batches, its server-side prepared statements, its CopyManager, its large objects.

import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.math.BigDecimal;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.PGStatement;
import org.postgresql.jdbc.AutoSave;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

public final class Checks {
  private static final String GUARDED = "DELETE FROM guarded WHERE id = ?";

  /** Server connections are shared: a session is served by another process with each transaction. */
  private static final boolean IS_POOLED = "1".equals(System.getenv("CHECKS_POOLED"));

  private interface Check {
    String perform(Connection connection) throws Exception;
  }

  private interface Step {
    void run() throws Exception;
  }

  public static void main(String[] arguments) {
    run("connect", Checks::checkConnect);
    run("text", Checks::checkText);
    run("binary", Checks::checkBinary);
    run("prepared", Checks::checkPrepared);
    run("batch", Checks::checkBatch);
    run("copy", Checks::checkCopy);
    run("notify", Checks::checkNotify);
    run("cancel", Checks::checkCancel);
    run("large_objects", Checks::checkLargeObjects);
    run("errors", Checks::checkErrors);
    run("refused", Checks::checkRefused);
    run("refused_in_transaction", Checks::checkRefusedInTransaction);
    run("refused_in_batch", Checks::checkRefusedInBatch);
    run("limited", Checks::checkLimited);
  }

  private static void run(String name, Check check) {
    try (Connection connection = open()) {
      print(name, true, check.perform(connection));
    } catch (Throwable failure) {
      print(name, false, failure.toString());
      failure.printStackTrace();
    }
  }

  private static void print(String check, boolean isOk, String detail) {
    String text = detail.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n").replace("\t", "\\t");
    byte[] line = String.format("{\"check\": \"%s\", \"ok\": %s, \"detail\": \"%s\"}%n", check, isOk, text)
        .getBytes(java.nio.charset.StandardCharsets.UTF_8);
    System.out.write(line, 0, line.length);
    System.out.flush();
  }

  private static Connection open(String... options) throws SQLException {
    Properties settings = new Properties();
    settings.setProperty("user", System.getenv("PGUSER"));
    settings.setProperty("password", System.getenv("PGPASSWORD"));
    settings.setProperty("ApplicationName", System.getenv("PGAPPNAME"));
    settings.setProperty("sslmode", System.getenv("PGSSLMODE"));
    if (System.getenv("PGSSLROOTCERT") != null) settings.setProperty("sslrootcert", System.getenv("PGSSLROOTCERT"));
    for (int index = 0; index < options.length; index += 2) settings.setProperty(options[index], options[index + 1]);
    return DriverManager.getConnection(
        "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE"),
        settings);
  }

  private static String value(Connection connection, String sql, Object... parameters) throws SQLException {
    try (PreparedStatement statement = connection.prepareStatement(sql)) {
      for (int index = 0; index < parameters.length; index++) statement.setObject(index + 1, parameters[index]);
      try (ResultSet rows = statement.executeQuery()) {
        rows.next();
        return rows.getString(1);
      }
    }
  }

  private static void execute(Connection connection, String sql) throws SQLException {
    try (Statement statement = connection.createStatement()) {
      statement.execute(sql);
    }
  }

  private static void executeGuarded(Connection connection) throws SQLException {
    try (PreparedStatement statement = connection.prepareStatement(GUARDED)) {
      statement.setInt(1, 1);
      statement.executeUpdate();
    }
  }

  private static SQLException failureOf(Step step) throws Exception {
    try {
      step.run();
    } catch (SQLException failure) {
      return failure;
    }
    throw new AssertionError("no failure");
  }

  private static ServerErrorMessage fieldsOf(SQLException failure) {
    return ((PSQLException) (failure instanceof BatchUpdateException ? failure.getCause() : failure)).getServerErrorMessage();
  }

  private static String describe(SQLException failure) {
    ServerErrorMessage fields = fieldsOf(failure);
    return failure.getSQLState() + " " + fields.getMessage() + " / " + fields.getDetail() + " / " + fields.getHint();
  }

  private static void expect(Object actual, Object wanted) {
    if (!wanted.equals(actual)) throw new AssertionError(actual + ", not " + wanted);
  }

  private static String checkConnect(Connection connection) throws Exception {
    String who = value(connection, "SELECT current_user || ' as ' || current_setting('application_name')");
    SQLException refusal = failureOf(() -> open("password", "wrong"));
    expect(refusal.getSQLState(), "28P01");
    return who + "; wrong password " + refusal.getSQLState();
  }

  private static String checkText(Connection ignored) throws Exception {
    try (Connection connection = open("binaryTransfer", "false")) {
      String row = value(
          connection,
          "SELECT concat_ws('|', ?::int4 + 1, ?::text, ?::numeric * 2, ?::bool, coalesce(?::text, 'null'))",
          41, "naïve ✓", new BigDecimal("1.25"), true, null);
      expect(row, "42|naïve ✓|2.50|t|null");
      return row;
    }
  }

  private static String checkBinary(Connection ignored) throws Exception {
    // prepareThreshold -1: prepared and in binary from the first execution on.
    try (Connection connection = open("prepareThreshold", "-1");
        PreparedStatement statement = connection.prepareStatement("SELECT ?::int8, ?::float8, ?::bytea")) {
      statement.setLong(1, 9007199254740993L);
      statement.setDouble(2, 0.1);
      statement.setBytes(3, new byte[] {0, (byte) 255, 16});
      try (ResultSet rows = statement.executeQuery()) {
        rows.next();
        String row = rows.getLong(1) + "|" + rows.getDouble(2) + "|" + HexFormat.of().formatHex(rows.getBytes(3));
        expect(row, "9007199254740993|0.1|00ff10");
        return row;
      }
    }
  }

  private static String checkPrepared(Connection connection) throws Exception {
    StringBuilder names = new StringBuilder();
    try (PreparedStatement statement = connection.prepareStatement("SELECT name FROM items WHERE id = ?")) {
      statement.unwrap(PGStatement.class).setPrepareThreshold(2);
      for (int turn = 0; turn < 6; turn++) {
        statement.setInt(1, turn % 3 + 1);
        try (ResultSet rows = statement.executeQuery()) {
          rows.next();
          names.append(rows.getString(1)).append(' ');
        }
      }
      String held = value(connection, "SELECT string_agg(name, ',') FROM pg_prepared_statements WHERE statement LIKE '%items%'");
      execute(connection, "DEALLOCATE ALL");
      statement.setInt(1, 1);
      // Outside a transaction the driver prepares again by itself.
      try (ResultSet rows = statement.executeQuery()) {
        rows.next();
        return names + "held as " + held + ", after DEALLOCATE ALL " + rows.getString(1);
      }
    }
  }

  private static String checkBatch(Connection connection) throws Exception {
    int[] counts;
    try (PreparedStatement statement = connection.prepareStatement("INSERT INTO items VALUES (?, 'many', 1)")) {
      for (int id = 40; id < 60; id++) {
        statement.setInt(1, id);
        statement.addBatch();
      }
      counts = statement.executeBatch();
    }
    expect(counts.length, 20);
    BatchUpdateException failure;
    try (Statement statement = connection.createStatement()) {
      statement.addBatch("INSERT INTO items VALUES (10, 'ten', 1)");
      statement.addBatch("INSERT INTO items VALUES (60, 'x', 1 / (SELECT 0))");
      statement.addBatch("INSERT INTO items VALUES (11, 'eleven', 1)");
      failure = (BatchUpdateException) failureOf(statement::executeBatch);
    }
    String kept = value(connection, "SELECT count(*) FROM items");
    return "20 in; " + failure.getSQLState() + " " + Arrays.toString(failure.getUpdateCounts()) + "; kept " + kept;
  }

  private static String checkCopy(Connection connection) throws Exception {
    var copies = connection.unwrap(PGConnection.class).getCopyAPI();
    StringBuilder lines = new StringBuilder();
    for (int id = 1000; id < 2000; id++) lines.append(id).append("\tcopied ✓\t1\n");
    long entered = copies.copyIn("COPY items FROM STDIN", new StringReader(lines.toString()));
    ByteArrayOutputStream left = new ByteArrayOutputStream();
    long gone = copies.copyOut("COPY (SELECT * FROM items WHERE id >= 1000 ORDER BY id) TO STDOUT", left);
    SQLException failure = failureOf(() -> copies.copyIn("COPY items FROM STDIN", new StringReader("no number\tx\t1\n")));
    return "in " + entered + ", out " + gone + " rows, " + left.size() + " bytes, bad row " + failure.getSQLState() + ", then "
        + value(connection, "SELECT 1");
  }

  private static String checkNotify(Connection listener) throws Exception {
    PGConnection ears = listener.unwrap(PGConnection.class);
    execute(listener, "LISTEN news");
    String sender;
    try (Connection speaker = open()) {
      sender = value(speaker, "SELECT pg_backend_pid() FROM pg_notify('news', 'hello ✓')");
      if (!IS_POOLED) expect(sender, String.valueOf(speaker.unwrap(PGConnection.class).getBackendPID()));
    }
    PGNotification heard = ears.getNotifications(10_000)[0];
    expect(String.valueOf(heard.getPID()), sender);
    execute(listener, "NOTIFY news, 'self'");
    PGNotification own = ears.getNotifications(10_000)[0];
    return heard.getName() + ": " + heard.getParameter() + ", " + own.getParameter();
  }

  private static String checkCancel(Connection connection) throws Exception {
    try (Statement statement = connection.createStatement()) {
      Thread canceller = new Thread(() -> {
        try {
          Thread.sleep(300);
          statement.cancel();
        } catch (Exception failure) {
          failure.printStackTrace();
        }
      });
      canceller.start();
      SQLException failure = failureOf(() -> statement.execute("SELECT pg_sleep(20)"));
      canceller.join();
      statement.setQueryTimeout(1);
      SQLException late = failureOf(() -> statement.execute("SELECT pg_sleep(20)"));
      statement.setQueryTimeout(0);
      return describe(failure) + "; timeout " + late.getSQLState() + ", then " + value(connection, "SELECT 1");
    }
  }

  private static String checkLargeObjects(Connection connection) throws Exception {
    connection.setAutoCommit(false);
    byte[] bytes = "large ".repeat(20_000).getBytes();
    var objects = connection.unwrap(PGConnection.class).getLargeObjectAPI();
    long oid = objects.createLO();
    LargeObject object = objects.open(oid);
    object.write(bytes);
    object.seek(10);
    String part = new String(object.read(6));
    expect(part, new String(bytes, 10, 6));
    long size = object.size64();
    object.close();
    objects.delete(oid);
    connection.commit();
    SQLException failure = failureOf(() -> objects.open(oid));
    connection.rollback();
    return "size " + size + ", part " + part + ", gone " + failure.getSQLState();
  }

  private static String checkErrors(Connection connection) throws Exception {
    ServerErrorMessage twice = fieldsOf(failureOf(() -> execute(connection, "INSERT INTO items VALUES (1, 'again', 1)")));
    ServerErrorMessage name = fieldsOf(failureOf(() -> execute(connection, "SELECT nme FROM items")));
    return twice.getSQLState() + " " + twice.getSeverity() + " " + twice.getSchema() + "." + twice.getTable() + " "
        + twice.getConstraint() + " " + twice.getDetail() + " in " + twice.getRoutine() + "; " + name.getSQLState() + " at "
        + name.getPosition() + " " + name.getHint();
  }

  private static String checkRefused(Connection connection) throws Exception {
    String mark = value(connection, System.getenv("SESSION_MARK"));
    SQLException simple;
    try (Connection plain = open("preferQueryMode", "simple")) {
      simple = failureOf(() -> execute(plain, "DELETE FROM guarded"));
      expect(value(plain, "SELECT 1"), "1");
    }
    SQLException extended = failureOf(() -> executeGuarded(connection));
    expect(value(connection, System.getenv("SESSION_SEEN")), mark);
    expect(connection.isValid(5), true);
    return simple.getClass().getSimpleName() + " " + describe(simple) + "; " + describe(extended);
  }

  private static String checkRefusedInTransaction(Connection connection) throws Exception {
    connection.setAutoCommit(false);
    execute(connection, "INSERT INTO items VALUES (20, 'twenty', 1)");
    SQLException first = failureOf(() -> executeGuarded(connection));
    SQLException second = failureOf(() -> execute(connection, "SELECT 1"));
    connection.rollback();
    String left = value(connection, "SELECT count(*) FROM items WHERE id = 20");
    connection.commit();
    // The driver's own savepoints around each statement: a refusal takes nothing else with it.
    connection.unwrap(PGConnection.class).setAutosave(AutoSave.ALWAYS);
    execute(connection, "INSERT INTO items VALUES (21, 'kept', 1)");
    failureOf(() -> executeGuarded(connection));
    connection.commit();
    String kept = value(connection, "SELECT count(*) FROM items WHERE id = 21");
    return describe(first) + "; " + second.getSQLState() + "; rows " + left + "; with autosave " + kept;
  }

  private static String checkRefusedInBatch(Connection connection) throws Exception {
    connection.setAutoCommit(false);
    BatchUpdateException failure;
    try (Statement statement = connection.createStatement()) {
      statement.addBatch("INSERT INTO items VALUES (30, 'thirty', 1)");
      statement.addBatch("DELETE FROM guarded");
      statement.addBatch("INSERT INTO items VALUES (31, 'thirty-one', 1)");
      failure = (BatchUpdateException) failureOf(statement::executeBatch);
    }
    connection.rollback();
    String left = value(connection, "SELECT count(*) FROM items WHERE id BETWEEN 30 AND 39");
    return describe(failure) + " " + Arrays.toString(failure.getUpdateCounts()) + "; rows " + left;
  }

  private static String checkLimited(Connection connection) throws Exception {
    String[] looks = new String[2];
    for (int look = 0; look < 2; look++) {
      try {
        value(connection, "SELECT count(*) FROM limited");
        looks[look] = "ok";
      } catch (SQLException failure) {
        looks[look] = failure.getSQLState() + " " + fieldsOf(failure).getMessage();
      }
    }
    return "first: " + looks[0] + ", second: " + looks[1] + ", then " + value(connection, "SELECT 1");
  }
}

//! sqlx. It prepares every query with parameters and keeps the statements; raw_sql is the simple protocol.

use driver_checks::{expect, hex, report_no_api, run_check, setting, Failure, Outcome};
use futures_util::TryStreamExt;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgDatabaseError, PgErrorPosition, PgListener, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Error, Executor};

const GUARDED: &str = "DELETE FROM guarded WHERE id = $1";

/// Takes everything from the PG… variables, as libpq does.
async fn open() -> Result<PgConnection, Failure> {
    Ok(PgConnectOptions::new().connect().await?)
}

fn fields_of<T>(result: Result<T, Error>) -> Result<Box<PgDatabaseError>, Failure> {
    match result {
        Ok(_) => Err("no failure".into()),
        Err(Error::Database(failure)) => Ok(failure.try_downcast().map_err(|_| "not an error of PostgreSQL")?),
        Err(failure) => Err(failure.into()),
    }
}

fn describe(fields: &PgDatabaseError) -> String {
    let (detail, hint) = (fields.detail().unwrap_or("none"), fields.hint().unwrap_or("none"));
    format!("{} {} / {detail} / {hint}", fields.code(), fields.message())
}

async fn count(connection: &mut PgConnection, condition: &str) -> Result<i64, Failure> {
    let sql = format!("SELECT count(*) FROM items WHERE {condition}");
    Ok(sqlx::query_scalar(&sql).fetch_one(connection).await?)
}

async fn check_connect() -> Outcome {
    let sql = "SELECT current_user || ' as ' || current_setting('application_name')";
    let who: String = sqlx::query_scalar(sql).fetch_one(&mut open().await?).await?;
    let refusal = fields_of(PgConnectOptions::new().password("wrong").connect().await)?;
    expect(refusal.code(), "28P01")?;
    Ok(format!("{who}; wrong password 28P01"))
}

async fn check_binary() -> Outcome {
    let (whole, fraction, bytes): (i64, f64, Vec<u8>) = sqlx::query_as("SELECT $1::int8, $2::float8, $3::bytea")
        .bind(9007199254740993_i64)
        .bind(0.1_f64)
        .bind(&[0_u8, 255, 16][..])
        .fetch_one(&mut open().await?)
        .await?;
    let told = format!("{whole}|{fraction}|{}", hex(&bytes));
    expect(told.as_str(), "9007199254740993|0.1|00ff10")?;
    Ok(told)
}

async fn check_prepared() -> Outcome {
    let mut connection = open().await?;
    let mut names = Vec::<String>::new();
    for id in [1, 2] {
        let query = sqlx::query_scalar("SELECT name FROM items WHERE id = $1").bind(id);
        names.push(query.fetch_one(&mut connection).await?);
    }
    let sql = "SELECT string_agg(name, ',') FROM pg_prepared_statements WHERE statement LIKE '%FROM items%'";
    let held: Option<String> = sqlx::query_scalar(sql).fetch_one(&mut connection).await?;
    connection.clear_cached_statements().await?;
    let left: Option<String> = sqlx::query_scalar(sql).fetch_one(&mut connection).await?;
    Ok(format!("{}, held as {held:?}, then {left:?}", names.join(",")))
}

async fn check_batch() -> Outcome {
    let mut connection = open().await?;
    // No pipelines: several statements go in one simple query.
    let rows = connection.fetch_all(sqlx::raw_sql("SELECT 1; SELECT 2; SELECT 3")).await?;
    let sql = "INSERT INTO items VALUES (10, 'ten', 1); SELECT 1 / 0";
    let failed = fields_of(connection.execute(sqlx::raw_sql(sql)).await)?;
    Ok(format!("{} rows; {}; kept {}", rows.len(), failed.code(), count(&mut connection, "true").await?))
}

async fn check_copy() -> Outcome {
    let mut connection = open().await?;
    let mut incoming = connection.copy_in_raw("COPY items FROM STDIN").await?;
    for id in 1000..2000 {
        incoming.send(format!("{id}\tcopied ✓\t1\n").into_bytes()).await?;
    }
    let entered = incoming.finish().await?;
    let sql = "COPY (SELECT * FROM items WHERE id >= 1000 ORDER BY id) TO STDOUT";
    let left: usize = {
        let blocks = connection.copy_out_raw(sql).await?;
        blocks.try_fold(0, |sum, block| async move { Ok(sum + block.len()) }).await?
    };
    let mut bad = connection.copy_in_raw("COPY items FROM STDIN").await?;
    bad.send(&b"no number\tx\t1\n"[..]).await?;
    let bad = fields_of(bad.finish().await)?;
    connection.copy_in_raw("COPY items FROM STDIN").await?.abort("changed my mind").await?;
    let kept = count(&mut connection, "id >= 1000").await?;
    Ok(format!("in {entered}, out {left} bytes, bad row {}, given up, then {kept}", bad.code()))
}

async fn check_notify() -> Outcome {
    let pool: PgPool = PgPoolOptions::new().max_connections(2).connect_with(PgConnectOptions::new()).await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen("news").await?;
    let mut speaker = open().await?;
    let sql = "SELECT pg_backend_pid() FROM pg_notify('news', 'hello ✓')";
    let pid: i32 = sqlx::query_scalar(sql).fetch_one(&mut speaker).await?;
    let heard = listener.recv().await?;
    expect(i64::from(heard.process_id()), i64::from(pid))?;
    listener.execute("NOTIFY news, 'self'").await?;
    let own = listener.recv().await?;
    Ok(format!("{}: {}, {}", heard.channel(), heard.payload(), own.payload()))
}

async fn check_errors() -> Outcome {
    let mut connection = open().await?;
    let twice = fields_of(connection.execute("INSERT INTO items VALUES (1, 'again', 1)").await)?;
    let name = fields_of(connection.execute("SELECT nme FROM items").await)?;
    let position = match name.position() {
        Some(PgErrorPosition::Original(position)) => position,
        _ => 0,
    };
    let place = [twice.schema(), twice.table(), twice.constraint(), twice.routine()].map(|part| part.unwrap_or("none"));
    let severity = twice.severity();
    Ok(format!("{severity:?} {} {}; at {position} {}", place.join(" "), describe(&twice), describe(&name)))
}

async fn check_refused() -> Outcome {
    let mut connection = open().await?;
    let mark: String = sqlx::query_scalar(&setting("SESSION_MARK")).fetch_one(&mut connection).await?;
    let simple = fields_of(connection.execute(sqlx::raw_sql("DELETE FROM guarded")).await)?;
    let extended = fields_of(sqlx::query(GUARDED).bind(1).execute(&mut connection).await)?;
    let again = fields_of(sqlx::query(GUARDED).bind(2).execute(&mut connection).await)?;
    let seen: String = sqlx::query_scalar(&setting("SESSION_SEEN")).fetch_one(&mut connection).await?;
    expect(seen, mark)?;
    Ok(format!("Error::Database {}", [&simple, &extended, &again].map(|fields| describe(fields)).join("; ")))
}

async fn check_refused_in_transaction() -> Outcome {
    let mut connection = open().await?;
    let mut transaction = connection.begin().await?;
    transaction.execute("INSERT INTO items VALUES (20, 'twenty', 1)").await?;
    let first = fields_of(sqlx::query(GUARDED).bind(1).execute(&mut *transaction).await)?;
    let second = fields_of(transaction.execute("SELECT 1").await)?;
    transaction.rollback().await?;
    let left = count(&mut connection, "id = 20").await?;
    Ok(format!("{}; {}; rows {left}", describe(&first), second.code()))
}

async fn check_refused_in_batch() -> Outcome {
    let mut connection = open().await?;
    let sql = "INSERT INTO items VALUES (30, 'thirty', 1); DELETE FROM guarded";
    let several = fields_of(connection.execute(sqlx::raw_sql(sql)).await)?;
    let left = count(&mut connection, "id BETWEEN 30 AND 39").await?;
    Ok(format!("{}; rows {left}", describe(&several)))
}

async fn check_limited() -> Outcome {
    let mut connection = open().await?;
    let mut looks = Vec::new();
    for _ in 0..2 {
        let look = sqlx::query("SELECT count(*) FROM limited").fetch_one(&mut connection).await;
        looks.push(if look.is_ok() { "ok".to_owned() } else { describe(&*fields_of(look)?) });
    }
    Ok(format!("first: {}, second: {}, then {}", looks[0], looks[1], count(&mut connection, "id = 1").await?))
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    if setting("PGHOST").is_empty() {
        panic!("the runner sets PGHOST");
    }
    run_check("connect", check_connect()).await;
    report_no_api("text", "sqlx sends parameters in binary only");
    run_check("binary", check_binary()).await;
    run_check("prepared", check_prepared()).await;
    run_check("batch", check_batch()).await;
    run_check("copy", check_copy()).await;
    run_check("notify", check_notify()).await;
    report_no_api("cancel", "sqlx cannot cancel a statement");
    report_no_api("large_objects", "no large-object interface in sqlx");
    run_check("errors", check_errors()).await;
    run_check("refused", check_refused()).await;
    run_check("refused_in_transaction", check_refused_in_transaction()).await;
    run_check("refused_in_batch", check_refused_in_batch()).await;
    run_check("limited", check_limited()).await;
}

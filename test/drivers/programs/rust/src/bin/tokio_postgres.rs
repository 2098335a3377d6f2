//! tokio-postgres, which pipelines what is asked without waiting.

use bytes::{Bytes, BytesMut};
use driver_checks::{expect, has_tls, hex, report_no_api, run_check, setting, Failure, Outcome};
use futures_util::{join, pin_mut, stream, SinkExt, StreamExt, TryStreamExt};
use native_tls::{Certificate, TlsConnector};
use postgres_native_tls::MakeTlsConnector;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver};
use tokio_postgres::config::SslMode;
use tokio_postgres::error::{DbError, ErrorPosition};
use tokio_postgres::types::{to_sql_checked, Format, IsNull, ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Config, Notification, SimpleQueryMessage};

const GUARDED: &str = "DELETE FROM guarded WHERE id = $1";

fn make_connector() -> Result<MakeTlsConnector, Failure> {
    let mut builder = TlsConnector::builder();
    if has_tls() {
        builder.add_root_certificate(Certificate::from_pem(&std::fs::read(setting("PGSSLROOTCERT"))?)?);
    }
    Ok(MakeTlsConnector::new(builder.build()?))
}

async fn open_as(password: &str) -> Result<(Client, UnboundedReceiver<Notification>), Failure> {
    let mode = if has_tls() { SslMode::Require } else { SslMode::Disable };
    let (client, mut connection) = Config::new()
        .host(setting("PGHOST"))
        .port(setting("PGPORT").parse()?)
        .user(setting("PGUSER"))
        .password(password)
        .dbname(setting("PGDATABASE"))
        .application_name(setting("PGAPPNAME"))
        .ssl_mode(mode)
        .connect(make_connector()?)
        .await?;
    let (say, heard) = unbounded_channel();
    tokio::spawn(async move {
        let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
        while let Some(Ok(message)) = messages.next().await {
            if let AsyncMessage::Notification(notification) = message {
                let _ = say.send(notification);
            }
        }
    });
    Ok((client, heard))
}

async fn open() -> Result<Client, Failure> {
    Ok(open_as(&setting("PGPASSWORD")).await?.0)
}

/// A parameter in the text format, of any type.
#[derive(Debug)]
struct Text(Option<&'static str>);

impl ToSql for Text {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        let Some(text) = self.0 else { return Ok(IsNull::Yes) };
        out.extend_from_slice(text.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

fn fields_of<T>(result: Result<T, tokio_postgres::Error>) -> Result<DbError, Failure> {
    let Err(failure) = result else { return Err("no failure".into()) };
    failure.as_db_error().cloned().ok_or_else(|| failure.into())
}

fn describe(fields: &DbError) -> String {
    let (detail, hint) = (fields.detail().unwrap_or("none"), fields.hint().unwrap_or("none"));
    format!("{} {} / {detail} / {hint}", fields.code().code(), fields.message())
}

fn code_or_ok<T>(result: Result<T, tokio_postgres::Error>) -> Result<String, Failure> {
    match result {
        Ok(_) => Ok("ok".to_owned()),
        Err(failure) => Ok(fields_of::<()>(Err(failure))?.code().code().to_owned()),
    }
}

async fn count(client: &Client, condition: &str) -> Result<i64, Failure> {
    Ok(client.query_one(&format!("SELECT count(*) FROM items WHERE {condition}"), &[]).await?.get(0))
}

async fn check_connect() -> Outcome {
    let sql = "SELECT current_user || ' as ' || current_setting('application_name')";
    let who: String = open().await?.query_one(sql, &[]).await?.get(0);
    let Err(refusal) = open_as("wrong").await else { return Err("a wrong password got in".into()) };
    let refusal = refusal.downcast::<tokio_postgres::Error>()?;
    expect(refusal.code().map(|state| state.code()), Some("28P01"))?;
    Ok(format!("{who}; wrong password 28P01"))
}

async fn check_text() -> Outcome {
    let sql = "SELECT concat_ws('|', $1::int4 + 1, $2::text, $3::numeric * 2, $4::bool, coalesce($5::text, 'null'))";
    let values = [Text(Some("41")), Text(Some("naïve ✓")), Text(Some("1.25")), Text(Some("t")), Text(None)];
    let [a, b, c, d, e] = &values;
    let row: String = open().await?.query_one(sql, &[a, b, c, d, e]).await?.get(0);
    expect(row.as_str(), "42|naïve ✓|2.50|t|null")?;
    Ok(row)
}

async fn check_binary() -> Outcome {
    let parameters: [&(dyn ToSql + Sync); 3] = [&9007199254740993_i64, &0.1_f64, &&[0_u8, 255, 16][..]];
    let row = open().await?.query_one("SELECT $1::int8, $2::float8, $3::bytea", &parameters).await?;
    let told = format!("{}|{}|{}", row.get::<_, i64>(0), row.get::<_, f64>(1), hex(row.get(2)));
    expect(told.as_str(), "9007199254740993|0.1|00ff10")?;
    Ok(told)
}

async fn check_prepared() -> Outcome {
    let client = open().await?;
    let statement = client.prepare("SELECT name FROM items WHERE id = $1").await?;
    let one: String = client.query_one(&statement, &[&1]).await?.get(0);
    let two: String = client.query_one(&statement, &[&2]).await?.get(0);
    let held = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%FROM items%'";
    let before: i64 = client.query_one(held, &[]).await?.get(0);
    let parameter = statement.params()[0].clone();
    drop(statement);
    let after: i64 = client.query_one(held, &[]).await?.get(0);
    Ok(format!("parameter of type {parameter}: {one},{two}, held {before}, then {after}"))
}

async fn check_batch() -> Outcome {
    let client = open().await?;
    let (one, two, three) = join!(
        client.query_one("SELECT 1 * 2", &[]),
        client.query_one("SELECT 2 * 2", &[]),
        client.query_one("SELECT 3 * 2", &[]),
    );
    let values: Vec<i32> = vec![one?.get(0), two?.get(0), three?.get(0)];
    let (before, failed, behind) = join!(
        client.execute("INSERT INTO items VALUES (10, 'ten', 1)", &[]),
        client.execute("SELECT 1 / 0", &[]),
        client.execute("INSERT INTO items VALUES (11, 'eleven', 1)", &[]),
    );
    let piped = format!("{} {} {}", code_or_ok(before)?, code_or_ok(failed)?, code_or_ok(behind)?);
    let several = client.batch_execute("INSERT INTO items VALUES (12, 'twelve', 1); SELECT 1 / 0").await;
    Ok(format!("{values:?}; {piped}; {}; kept {}", code_or_ok(several)?, count(&client, "true").await?))
}

async fn check_copy() -> Outcome {
    let client = open().await?;
    let sink = client.copy_in("COPY items FROM STDIN").await?;
    pin_mut!(sink);
    for id in 1000..2000 {
        sink.send(Bytes::from(format!("{id}\tcopied ✓\t1\n"))).await?;
    }
    let entered = sink.finish().await?;
    let rows = client.copy_out("COPY (SELECT * FROM items WHERE id >= 1000 ORDER BY id) TO STDOUT (FORMAT binary)").await?;
    let left: usize = rows.map_ok(|block| block.len()).try_fold(0, |sum, length| async move { Ok(sum + length) }).await?;
    let bad = client.copy_in("COPY items FROM STDIN").await?;
    pin_mut!(bad);
    bad.send(Bytes::from_static(b"no number\tx\t1\n")).await?;
    let bad = code_or_ok(bad.finish().await)?;
    // A sink that is dropped sends CopyFail.
    drop(Box::pin(client.copy_in::<_, Bytes>("COPY items FROM STDIN").await?));
    Ok(format!("in {entered}, out {left} bytes, bad row {bad}, then {}", count(&client, "id >= 1000").await?))
}

async fn check_notify() -> Outcome {
    let (listener, mut heard) = open_as(&setting("PGPASSWORD")).await?;
    listener.batch_execute("LISTEN news").await?;
    let speaker = open().await?;
    let sql = "SELECT pg_backend_pid() FROM pg_notify('news', 'hello ✓')";
    let pid: i32 = speaker.query_one(sql, &[]).await?.get(0);
    let first = heard.recv().await.ok_or("the connection is gone")?;
    expect(first.process_id(), pid)?;
    listener.batch_execute("NOTIFY news, 'self'").await?;
    let own = heard.recv().await.ok_or("the connection is gone")?;
    Ok(format!("{}: {}, {}", first.channel(), first.payload(), own.payload()))
}

async fn check_cancel() -> Outcome {
    let client = open().await?;
    let (token, started) = (client.cancel_token(), Instant::now());
    let (failed, cancelled) = join!(client.batch_execute("SELECT pg_sleep(20)"), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        token.cancel_query(make_connector()?).await.map_err(Failure::from)
    });
    cancelled?;
    expect(started.elapsed() < Duration::from_secs(10), true)?;
    Ok(format!("{}, then {}", describe(&fields_of(failed)?), count(&client, "id = 1").await?))
}

async fn check_errors() -> Outcome {
    let client = open().await?;
    let twice = fields_of(client.execute("INSERT INTO items VALUES (1, 'again', 1)", &[]).await)?;
    let name = fields_of(client.query("SELECT nme FROM items", &[]).await)?;
    let position = match name.position() {
        Some(ErrorPosition::Original(position)) => *position,
        _ => 0,
    };
    let place = [twice.schema(), twice.table(), twice.constraint(), twice.routine()].map(|part| part.unwrap_or("none"));
    Ok(format!("{} {} {}; at {position} {}", twice.severity(), place.join(" "), describe(&twice), describe(&name)))
}

async fn check_refused() -> Outcome {
    let client = open().await?;
    let simple = fields_of(client.simple_query("DELETE FROM guarded").await)?;
    let typed = fields_of(client.query_typed(GUARDED, &[(&1, Type::INT4)]).await)?;
    let extended = fields_of(client.execute(GUARDED, &[&1]).await)?;
    expect(client.is_closed(), false)?;
    let told = [&simple, &typed, &extended].map(describe).join("; ");
    Ok(format!("Error(Db) {told}; then {}", count(&client, "id = 1").await?))
}

async fn check_refused_in_transaction() -> Outcome {
    let mut client = open().await?;
    let transaction = client.transaction().await?;
    transaction.execute("INSERT INTO items VALUES (20, 'twenty', 1)", &[]).await?;
    let first = fields_of(transaction.execute(GUARDED, &[&1]).await)?;
    let second = code_or_ok(transaction.batch_execute("SELECT 1").await)?;
    transaction.rollback().await?;
    Ok(format!("{}; {second}; rows {}", describe(&first), count(&client, "id = 20").await?))
}

async fn check_refused_in_batch() -> Outcome {
    let client = open().await?;
    let (before, refused, behind) = join!(
        client.execute("INSERT INTO items VALUES (30, 'thirty', 1)", &[]),
        client.execute("DELETE FROM guarded", &[]),
        client.execute("INSERT INTO items VALUES (31, 'thirty-one', 1)", &[]),
    );
    let piped = format!("{}, {}, {}", code_or_ok(before)?, describe(&fields_of(refused)?), code_or_ok(behind)?);
    let several = client.batch_execute("INSERT INTO items VALUES (32, 'x', 1); DELETE FROM guarded").await;
    let left = count(&client, "id BETWEEN 30 AND 39").await?;
    Ok(format!("{piped}; {}; rows {left}", describe(&fields_of(several)?)))
}

async fn check_limited() -> Outcome {
    let client = open().await?;
    let mut looks = Vec::new();
    for _ in 0..2 {
        looks.push(match client.simple_query("SELECT count(*) FROM limited").await {
            Ok(messages) if messages.iter().any(|message| matches!(message, SimpleQueryMessage::Row(_))) => "ok".to_owned(),
            Ok(_) => "no row".to_owned(),
            Err(failure) => describe(&fields_of::<()>(Err(failure))?),
        });
    }
    Ok(format!("first: {}, second: {}, then {}", looks[0], looks[1], count(&client, "id = 1").await?))
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    run_check("connect", check_connect()).await;
    run_check("text", check_text()).await;
    run_check("binary", check_binary()).await;
    run_check("prepared", check_prepared()).await;
    run_check("batch", check_batch()).await;
    run_check("copy", check_copy()).await;
    run_check("notify", check_notify()).await;
    run_check("cancel", check_cancel()).await;
    report_no_api("large_objects", "no large-object interface in tokio-postgres");
    run_check("errors", check_errors()).await;
    run_check("refused", check_refused()).await;
    run_check("refused_in_transaction", check_refused_in_transaction()).await;
    run_check("refused_in_batch", check_refused_in_batch()).await;
    run_check("limited", check_limited()).await;
}

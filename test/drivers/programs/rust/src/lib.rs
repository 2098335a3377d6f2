//! One line of JSON for each check (see ../../checks.ts).

use serde_json::{json, Value};
use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

pub type Failure = Box<dyn std::error::Error + Send + Sync>;
pub type Outcome = Result<String, Failure>;

const DEADLINE: Duration = Duration::from_secs(40);

/// Runs one check with a deadline; a panic in it is a failed check.
pub async fn run_check(name: &str, check: impl Future<Output = Outcome> + Send + 'static) {
    let (ok, detail) = match tokio::time::timeout(DEADLINE, tokio::spawn(check)).await {
        Err(_) => (json!(false), "still ran at the deadline".to_owned()),
        Ok(Err(panic)) => (json!(false), panic.to_string()),
        Ok(Ok(Err(failure))) => (json!(false), format!("{failure:?}")),
        Ok(Ok(Ok(detail))) => (json!(true), detail),
    };
    print(name, ok, &detail);
}

/// The driver has no way to do this.
pub fn report_no_api(name: &str, missing: &str) {
    print(name, Value::Null, missing);
}

fn print(name: &str, ok: Value, detail: &str) {
    println!("{}", json!({ "check": name, "ok": ok, "detail": detail }));
}

pub fn expect<T: PartialEq + Debug>(actual: T, wanted: T) -> Result<(), Failure> {
    if actual == wanted {
        return Ok(());
    }
    Err(format!("{actual:?}, not {wanted:?}").into())
}

/// A variable that the runner sets.
pub fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

pub fn has_tls() -> bool {
    setting("PGSSLMODE") != "disable"
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

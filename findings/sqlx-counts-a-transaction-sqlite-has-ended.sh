#!/usr/bin/env bash
# Guess: a transaction that fails is over once its value is dropped; the pooled connection can be used for the next one.
# Truth: where SQLite rolls back by itself (disk full, RAISE(ROLLBACK)), sqlx 0.9.0 goes on counting the transaction. The
#        connection goes back to the pool with it, and every later `begin` on it fails although nothing is open.
# Why it matters: a service with one writing connection answers every write with an error until it is restarted, long after the
#        disk has room again. Close a connection whose transaction was not finished.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat >Cargo.toml <<'EOF'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"

[dependencies]
sqlx = { version = "=0.9.0", default-features = false, features = ["runtime-tokio", "sqlite"] }
tokio = { version = "=1.54.1", features = ["rt", "macros"] }
EOF
cat >src/main.rs <<'EOF'
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), sqlx::Error> {
    let options = SqliteConnectOptions::new().filename("data.db").create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
    sqlx::query("CREATE TABLE kept (body BLOB)").execute(&pool).await?;
    // As full as a disk can be: not one page more.
    sqlx::query("PRAGMA max_page_count = 2").execute(&pool).await?;

    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    let full = sqlx::query("INSERT INTO kept VALUES (zeroblob(100000))").execute(&mut *transaction).await;
    println!("insert: {}", full.expect_err("the database is full"));
    drop(transaction);

    // Room again.
    sqlx::query("PRAGMA max_page_count = 1000").execute(&pool).await?;
    let plain = sqlx::query("INSERT INTO kept VALUES (zeroblob(10))").execute(&pool).await;
    println!("insert outside of a transaction: {}", plain.map_or_else(|error| error.to_string(), |_| "ok".to_owned()));
    for _ in 0..2 {
        let begun = pool.begin_with("BEGIN IMMEDIATE").await;
        println!("begin: {}", begun.map_or_else(|error| error.to_string(), |_| "ok".to_owned()));
    }

    // A connection of its own begins without trouble.
    pool.acquire().await?.close().await?;
    let begun = pool.begin_with("BEGIN IMMEDIATE").await;
    println!("begin on a new connection: {}", begun.map_or_else(|error| error.to_string(), |_| "ok".to_owned()));
    Ok(())
}
EOF
cargo run --quiet >seen 2>errors || { cat errors >&2; exit 1; }
cat seen
cat >expected <<'EOF'
insert: error returned from database: (code: 13) database or disk is full
insert outside of a transaction: ok
begin: attempted to call begin_with at non-zero transaction depth
begin: attempted to call begin_with at non-zero transaction depth
begin on a new connection: ok
EOF
diff expected seen || { echo "sqlx behaves otherwise now" >&2; exit 1; }
echo "sqlx 0.9.0: as described"

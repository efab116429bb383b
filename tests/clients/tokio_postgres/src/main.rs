//! tokio-postgres: every statement has a name, queries are pipelined, a statement that is dropped
//! is closed; transactions, portals, errors. Each worker has a connection of its own.

use std::env;

use futures_util::future::try_join_all;
use openssl::ssl::{SslConnector, SslMethod};
use postgres_openssl::MakeTlsConnector;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Error, NoTls, Socket};

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is set"))
}

fn number(name: &str, fallback: usize) -> usize {
    env::var(name).map_or(fallback, |text| text.parse().expect("a number"))
}

/// Over TLS where an authority is named.
async fn connect() -> Result<Client, Error> {
    let Ok(authority) = env::var("PGSSLROOTCERT") else {
        return connect_by(NoTls, "disable").await;
    };
    let mut builder = SslConnector::builder(SslMethod::tls()).expect("a context");
    builder.set_ca_file(authority).expect("an authority");
    connect_by(MakeTlsConnector::new(builder.build()), "require").await
}

async fn connect_by<T>(tls: T, mode: &str) -> Result<Client, Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    let text = format!(
        "host={} port={} user={} password={} dbname={} sslmode={mode}",
        variable("PGHOST"),
        variable("PGPORT"),
        variable("PGUSER"),
        variable("PGPASSWORD"),
        variable("PGDATABASE")
    );
    let (client, connection) = tokio_postgres::connect(&text, tls).await?;
    tokio::spawn(async move { connection.await.expect("a connection that ends well") });
    Ok(client)
}

async fn values(client: &Client, mark: &str) -> Result<(), Error> {
    for n in 0..number("STATEMENTS", 10) {
        let statement = client.prepare(&format!("select $1::int + {n}, $2::text")).await?;
        let ask = async |value: i32| client.query_one(&statement, &[&value, &mark]).await;
        let rows = try_join_all((0..5).map(ask)).await?;
        for (value, row) in (0..5).zip(rows) {
            assert_eq!(row.get::<_, i32>(0), value + n as i32);
            assert_eq!(row.get::<_, &str>(1), mark);
        }
    }
    let error = client.query("select 1 / $1::int", &[&0_i32]).await.expect_err("it fails");
    assert_eq!(error.code(), Some(&SqlState::DIVISION_BY_ZERO));
    Ok(())
}

async fn transaction(client: &mut Client, mark: &str) -> Result<(), Error> {
    let transaction = client.transaction().await?;
    transaction.batch_execute("create temp table own (mark text) on commit drop").await?;
    let insert = transaction.prepare("insert into own values ($1)").await?;
    for _ in 0..20 {
        transaction.execute(&insert, &[&mark]).await?;
    }
    let portal = transaction.bind("select mark from own where mark = $1", &[&mark]).await?;
    let first = transaction.query_portal(&portal, 15).await?;
    let rest = transaction.query_portal(&portal, 15).await?;
    assert_eq!((first.len(), rest.len()), (15, 5));
    transaction.commit().await
}

async fn work(own: usize) -> Result<(), Error> {
    let mut client = connect().await?;
    let mark = format!("worker{own}");
    values(&client, &mark).await?;
    if variable("POOL_MODE") != "statement" {
        for _ in 0..3 {
            transaction(&mut client, &mark).await?;
        }
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let all = (0..number("WORKERS", 8)).map(|own| tokio::spawn(work(own)));
    for one in all.collect::<Vec<_>>() {
        one.await.expect("a worker that does not panic").expect("no error");
    }
    println!("ok");
}

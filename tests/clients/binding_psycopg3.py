"""psycopg 3 over TLS: SCRAM bound to its channel."""
import psycopg

with psycopg.connect("channel_binding=require", autocommit=True) as connection:
    assert connection.execute("select %s::int", (1,), prepare=False).fetchone() == (1,)
print("ok")

"""asyncpg over TLS. It knows no channel binding, and must come in beside those that do."""
import asyncio
import ssl
import sys

sys.path.pop(0)  # the folder holds an asyncpg.py
import asyncpg


async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = await asyncpg.connect(ssl=context, statement_cache_size=0)
    assert await connection.fetchval("select $1::int", 1) == 1
    await connection.close()


asyncio.run(main())
print("ok")

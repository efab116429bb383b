// node-postgres: simple and extended queries, its pool, transactions. PREPARE=1 names statements.
// WORKERS is the number of connections, STATEMENTS that of the statements that each has for itself.
'use strict'
const assert = require('node:assert')
const { Client, Pool } = require('pg')

const mode = process.env.POOL_MODE
const prepare = process.env.PREPARE === '1'
const workers = Number(process.env.WORKERS || 8)
const statements = Number(process.env.STATEMENTS || 10)

// A query with parameters; `name` makes pg prepare it once for each connection.
function query(text, values) {
  return prepare ? { name: text.slice(0, 63), text, values } : { text, values }
}

async function values(client, mark) {
  for (let n = 0; n < 20; n++) {
    const { rows } = await client.query(query('select $1::int as n, $2::text as mark', [n, mark]))
    assert.deepStrictEqual(rows, [{ n, mark }])
  }
  await assert.rejects(client.query(query('select 1/$1::int', [0])), { code: '22012' })
  const { rows } = await client.query(`select '${mark}' as mark from generate_series(1, 1000)`)
  assert(rows.length === 1000 && rows.every((row) => row.mark === mark))
}

async function many(client, mark) {
  for (let n = 0; n < statements; n++) {
    for (let again = 0; again < 2; again++) {
      const text = `select ${n} + $1::int as sum, $2::text as mark`
      const { rows } = await client.query(query(text, [again, mark]))
      assert.deepStrictEqual(rows, [{ sum: n + again, mark }])
    }
  }
}

async function transaction(client, mark) {
  await client.query('begin')
  await client.query('create temp table own (mark text) on commit drop')
  for (let n = 0; n < 20; n++) {
    await client.query(query('insert into own values ($1)', [mark]))
  }
  const { rows } = await client.query(query('select count(*)::int from own where mark = $1', [mark]))
  assert.strictEqual(rows[0].count, 20)
  await client.query('commit')
}

async function work(pool, number) {
  for (const step of mode === 'statement' ? [values, many] : [values, many, transaction]) {
    const client = await pool.connect()
    try {
      await step(client, `worker${number}`)
    } finally {
      client.release()
    }
  }
}

async function main() {
  const pool = new Pool({ max: workers })
  await Promise.all(Array.from({ length: 2 * workers }, (_, n) => work(pool, n)))
  await pool.end()
  const client = new Client()
  await client.connect()
  assert.strictEqual((await client.query('select 1 as one')).rows[0].one, 1)
  await client.end()
  console.log('ok')
}

main().catch((error) => { console.error(error); process.exit(1) })

// postgres.js: many queries in flight on one connection, transactions, cursors.
// PREPARE=1 leaves it its named statements (COMMIT is one of them). WORKERS is the number of
// connections, STATEMENTS that of the statements that they share.
'use strict'
const assert = require('node:assert')
const postgres = require('postgres')

const mode = process.env.POOL_MODE
const prepare = process.env.PREPARE === '1'
const workers = Number(process.env.WORKERS || 8)
const statements = Number(process.env.STATEMENTS || 10)
const ssl = process.env.PGSSLMODE || false
const sql = postgres({ max: workers, prepare, ssl, onnotice: () => {} })

async function values(mark) {
  const queries = Array.from({ length: 50 }, (_, n) => sql`select ${n}::int as n, ${mark} as mark`)
  const answers = await Promise.all(queries)
  answers.forEach((rows, n) => assert.deepStrictEqual([...rows], [{ n, mark }]))
  await assert.rejects(sql`select 1/${0}::int`, { code: '22012' })
}

async function many(mark) {
  const queries = Array.from({ length: statements }, (_, n) =>
    sql.unsafe(`select ${n} + $1::int as sum, $2 as mark`, [n, mark], { prepare }))
  const answers = await Promise.all(queries)
  answers.forEach((rows, n) => assert.deepStrictEqual([...rows], [{ sum: 2 * n, mark }]))
}

async function transaction(mark) {
  await sql.begin(async (sql) => {
    await sql`create temp table own (mark text) on commit drop`
    await Promise.all(Array.from({ length: 20 }, () => sql`insert into own values (${mark})`))
    const [{ count }] = await sql`select count(*)::int from own where mark = ${mark}`
    assert.strictEqual(count, 20)
  })
  let total = 0
  await sql.begin(async (sql) => {
    for await (const rows of sql`select generate_series(1, 1000) as n`.cursor(100)) {
      for (const { n } of rows) total += n
    }
  })
  assert.strictEqual(total, 500500)
}

async function work(number) {
  const mark = `worker${number}`
  await values(mark)
  await many(mark)
  if (mode !== 'statement') await transaction(mark)
}

async function main() {
  await Promise.all(Array.from({ length: 2 * workers }, (_, n) => work(n)))
  await sql.end()
  console.log('ok')
}

main().catch((error) => { console.error(error); process.exit(1) })

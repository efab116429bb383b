// node-postgres over TLS: SCRAM bound to its channel, which it does where it is asked to.
const { Client } = require("pg");

async function main() {
  const client = new Client({ ssl: { rejectUnauthorized: false }, enableChannelBinding: true });
  const sent = [];
  const { connection } = client;
  const original = connection.sendSASLInitialResponseMessage.bind(connection);
  connection.sendSASLInitialResponseMessage = (mechanism, response) => {
    sent.push(mechanism);
    original(mechanism, response);
  };
  await client.connect();
  const { rows } = await client.query("select $1::int as n", [1]);
  if (rows[0].n !== 1) throw new Error(JSON.stringify(rows));
  if (sent.join() !== "SCRAM-SHA-256-PLUS") throw new Error(`chose ${sent}`);
  await client.end();
  console.log("ok");
}

main();

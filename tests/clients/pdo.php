<?php
// PHP's PDO as a web application uses it: transactions, prepared statements, errors; many short
// connections one after the other. EMULATE=1 emulates prepares, so that all queries are simple.
$emulate = getenv('EMULATE') === '1';
$mode = getenv('POOL_MODE');

function check(bool $holds, string $what): void
{
    if (!$holds) {
        fwrite(STDERR, "not so: $what\n");
        exit(1);
    }
}

function connect(bool $emulate): PDO
{
    $dsn = sprintf('pgsql:host=%s;port=%s;dbname=%s', getenv('PGHOST'), getenv('PGPORT'), getenv('PGDATABASE'));
    return new PDO($dsn, getenv('PGUSER'), getenv('PGPASSWORD'), [
        PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
        PDO::ATTR_EMULATE_PREPARES => $emulate,
        PDO::ATTR_DEFAULT_FETCH_MODE => PDO::FETCH_ASSOC,
    ]);
}

for ($round = 0; $round < 10; $round++) {
    $pdo = connect($emulate);
    $mark = "round$round";
    for ($n = 0; $n < 10; $n++) {
        $statement = $pdo->prepare('select cast(? as int) as n, cast(? as text) as mark');
        for ($again = 0; $again < 3; $again++) {
            $statement->execute([$n, $mark]);
            check($statement->fetch() == ['n' => $n, 'mark' => $mark], "row $n of $mark");
        }
        unset($statement);
    }
    try {
        $pdo->query('select 1/0');
        check(false, 'a division by zero fails');
    } catch (PDOException $e) {
        check($e->getCode() === '22012', 'the SQLSTATE is that of PostgreSQL: ' . $e->getMessage());
    }
    if ($mode !== 'statement') {
        $pdo->beginTransaction();
        $pdo->exec('create temp table own (mark text) on commit drop');
        $insert = $pdo->prepare('insert into own values (?)');
        for ($n = 0; $n < 10; $n++) {
            $insert->execute([$mark]);
        }
        $count = $pdo->query('select count(*) as count from own')->fetch();
        check((int) $count['count'] === 10, 'ten rows were inserted');
        $pdo->commit();
        unset($insert);
    }
    $pdo = null;
}
echo "ok\n";

<?php
// PHP's PDO as a web application uses it: transactions, prepared statements, errors; many short
// connections one after the other, WORKERS of them at a time. EMULATE=1 emulates prepares, so that
// all queries are simple.
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

// Each statement is prepared by name, used thrice, and dropped by a simple query DEALLOCATE (by
// libpq 17 with Close).
function values(PDO $pdo, string $mark, int $statements): void
{
    for ($n = 0; $n < $statements; $n++) {
        $statement = $pdo->prepare("select $n + cast(? as int) as n, cast(? as text) as mark");
        for ($again = 0; $again < 3; $again++) {
            $statement->execute([$again, $mark]);
            check($statement->fetch() == ['n' => $n + $again, 'mark' => $mark], "row $n of $mark");
        }
        unset($statement);
    }
}

function transaction(PDO $pdo, string $mark): void
{
    $pdo->beginTransaction();
    $pdo->exec('create temp table own (mark text) on commit drop');
    $insert = $pdo->prepare('insert into own values (?)');
    for ($n = 0; $n < 10; $n++) {
        $insert->execute([$mark]);
    }
    unset($insert);
    $count = $pdo->query('select count(*) as count from own')->fetch();
    check((int) $count['count'] === 10, 'ten rows were inserted');
    $pdo->commit();
}

function work(bool $emulate, string $mode, string $mark, int $statements): void
{
    $pdo = connect($emulate);
    values($pdo, $mark, $statements);
    try {
        $pdo->query('select 1/0');
        check(false, 'a division by zero fails');
    } catch (PDOException $e) {
        check($e->getCode() === '22012', 'the SQLSTATE is that of PostgreSQL: ' . $e->getMessage());
    }
    if ($mode !== 'statement') {
        transaction($pdo, $mark);
    }
}

$workers = (int) (getenv('WORKERS') ?: 1);
$statements = (int) (getenv('STATEMENTS') ?: 10);
$children = [];
for ($worker = 0; $worker < $workers; $worker++) {
    $pid = pcntl_fork();
    if ($pid === 0) {
        for ($round = 0; $round < 10; $round++) {
            work($emulate, $mode, "worker$worker-$round", intdiv($statements + 9, 10));
        }
        exit(0);
    }
    $children[] = $pid;
}
foreach ($children as $pid) {
    pcntl_waitpid($pid, $status);
    check(pcntl_wexitstatus($status) === 0 && pcntl_wifexited($status), 'a worker has ended well');
}
echo "ok\n";

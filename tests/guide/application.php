<?php
// One worker of the guide's application, as PHP frameworks connect: PDO, a connection for each
// request or one that is kept, prepares emulated or not. Where to is told as Laravel is told.
//
//   application.php kept|each emulated|native FOLDER
//
// Leaves a file in FOLDER after its first request, and ends when there is one named `stop`. Prints
// requests, and the milliseconds that they took together.

[, $mode, $prepares, $folder] = $argv;

function connect(bool $emulates): PDO
{
    $place = sprintf(
        'pgsql:host=%s;port=%s;dbname=%s',
        getenv('DB_HOST'), getenv('DB_PORT'), getenv('DB_DATABASE')
    );
    return new PDO($place, getenv('DB_USERNAME'), getenv('DB_PASSWORD'), [
        PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
        PDO::ATTR_EMULATE_PREPARES => $emulates,
    ]);
}

function request(PDO $pdo): void
{
    $id = random_int(1, 1000);
    $find = $pdo->prepare('select title from articles where id = ?');
    $find->execute([$id]);
    if ($find->fetchColumn() !== "article $id") {
        throw new Exception("a wrong answer for $id");
    }
    $pdo->beginTransaction();
    $note = $pdo->prepare('update articles set views = views + ? where id = ?');
    $note->execute([1, $id]);
    $pdo->commit();
}

$emulates = $prepares === 'emulated';
$pdo = $mode === 'kept' ? connect($emulates) : null;
$requests = 0;
$spent = 0.0;
while (!file_exists("$folder/stop")) {
    $began = microtime(true);
    $used = $pdo ?? connect($emulates);
    request($used);
    unset($used);
    $spent += microtime(true) - $began;
    $requests++;
    touch("$folder/" . getmypid());
    clearstatcache();
    usleep(random_int(200_000, 600_000));
}
printf("%d %.3f\n", $requests, 1000 * $spent);

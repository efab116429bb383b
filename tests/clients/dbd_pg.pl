# Perl's DBD::Pg: statements with a name from their second use on, which it drops by a simple query
# DEALLOCATE; transactions, errors. Each worker is a process with a connection of its own.
use strict;
use warnings;
use DBI;

my $statements = $ENV{STATEMENTS} // 10;

sub check {
    my ($holds, $what) = @_;
    die "not so: $what\n" unless $holds;
}

sub values_of {
    my ($db, $mark) = @_;
    for my $n (1 .. $statements) {
        my $statement = $db->prepare("select cast(? as int) + $n, cast(? as text)");
        for my $again (1 .. 3) {
            $statement->execute($again, $mark);
            my @row = $statement->fetchrow_array;
            check($row[0] == $again + $n && $row[1] eq $mark, "row $n of $mark: @row");
            $statement->finish;
        }
    }
    my $bad = $db->prepare('select 1 / cast(? as int)');
    for my $again (1 .. 2) {
        check(!eval { $bad->execute(0); 1 } && $bad->state eq '22012', "a division by zero fails");
    }
}

sub transaction {
    my ($db, $mark) = @_;
    $db->begin_work;
    $db->do('create temp table own (mark text) on commit drop');
    my $insert = $db->prepare('insert into own values (?)');
    $insert->execute($mark) for 1 .. 10;
    undef $insert;
    my ($count) = $db->selectrow_array('select count(*) from own where mark = ?', undef, $mark);
    check($count == 10, "ten rows were inserted, $count are there");
    $db->commit;
}

sub work {
    my ($number) = @_;
    my $db = DBI->connect("dbi:Pg:", undef, undef, { RaiseError => 1, PrintError => 0 });
    values_of($db, "worker$number");
    transaction($db, "worker$number") if $ENV{POOL_MODE} ne 'statement';
    $db->disconnect;
}

my @workers;
for my $number (1 .. $ENV{WORKERS} // 8) {
    my $pid = fork // die "fork: $!";
    if ($pid == 0) {
        work($number);
        exit 0;
    }
    push @workers, $pid;
}
for my $pid (@workers) {
    waitpid $pid, 0;
    check($? == 0, "a worker has ended well");
}
print "ok\n";

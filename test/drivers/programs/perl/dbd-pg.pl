# DBD::Pg.

use strict;
use warnings;
use utf8;
use DBD::Pg qw(:pg_types :async);
use DBI;
use JSON::PP;
use Time::HiRes qw(sleep time);

$| = 1;
my $json = JSON::PP->new->utf8->canonical;
# Server connections are shared: a session is served by another process with each transaction.
my $is_pooled = $ENV{CHECKS_POOLED} eq '1';
my $GUARDED = 'DELETE FROM guarded WHERE id = ?';

sub open_connection {
    my %options = @_;
    my $password = delete $options{password};
    # Without a data source everything comes from the PG... variables.
    return DBI->connect('dbi:Pg:', '', $password // '', { RaiseError => 1, PrintError => 0, AutoCommit => 1, %options });
}

sub run_check {
    my ($name, $check) = @_;
    my $connection = eval { open_connection() };
    my $detail = $connection ? eval { $check->($connection) } : undef;
    my $failure = $@;
    if (ref $failure eq 'NoApi') {
        print $json->encode({ check => $name, ok => undef, detail => $$failure }), "\n";
    } else {
        my $text = defined $detail ? $detail : "$failure";
        print $json->encode({ check => $name, ok => defined $detail ? JSON::PP::true : JSON::PP::false, detail => $text }), "\n";
    }
    $connection->disconnect if $connection;
    return;
}

sub no_api { my $text = shift; die bless \$text, 'NoApi' }

sub expect {
    my ($actual, $wanted) = @_;
    die "$actual, not $wanted\n" if $actual ne $wanted;
    return;
}

sub failure_of {
    my ($step) = @_;
    eval { $step->(); 1 } and die "no failure\n";
    return;
}

# SQLSTATE, message, detail and hint of the connection's last error.
sub describe {
    my ($connection) = @_;
    return join ' / ', $connection->state, map { $connection->pg_error_field($_) // 'none' } qw(message_primary message_detail message_hint);
}

sub value { my ($connection, @query) = @_; return ($connection->selectrow_array(@query))[0] }

run_check('connect', sub {
    my ($connection) = @_;
    my $who = value($connection, q{SELECT current_user || ' as ' || current_setting('application_name')});
    eval { open_connection(password => 'wrong') } and die "a wrong password got in\n";
    expect($DBI::errstr =~ /password authentication failed for user/ ? 1 : 0, 1);
    return "$who; wrong password refused";
});

run_check('text', sub {
    my ($connection) = @_;
    my $row = value($connection, q{SELECT concat_ws('|', ?::int4 + 1, ?::text, ?::numeric * 2, ?::bool, coalesce(?::text, 'null'))},
        {}, 41, 'naïve ✓', '1.25', 't', undef);
    expect($row, '42|naïve ✓|2.50|t|null');
    return $row;
});

run_check('binary', sub {
    my ($connection) = @_;
    my $statement = $connection->prepare('SELECT ?::bytea');
    # bytea is the one type that DBD::Pg sends in binary; all results are text.
    $statement->bind_param(1, "\x00\xff\x10", { pg_type => PG_BYTEA });
    $statement->execute;
    my ($bytes) = $statement->fetchrow_array;
    expect(unpack('H*', $bytes), '00ff10');
    return 'parameter ' . unpack('H*', $bytes) . ', results in text';
});

run_check('prepared', sub {
    my ($connection) = @_;
    my $statement = $connection->prepare('SELECT name FROM items WHERE id = ?', { pg_prepare_now => 1 });
    my @names = map { $statement->execute($_); $statement->fetchrow_array } 1, 2;
    my $held = value($connection, 'SELECT count(*) FROM pg_prepared_statements WHERE name = ?', {}, $statement->{pg_prepare_name});
    undef $statement;
    my $left = value($connection, q{SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%items%'});
    return "@names, held $held, then $left";
});

run_check('batch', sub {
    my ($connection) = @_;
    # execute_array repeats one statement; several statements go in one simple query.
    my $statement = $connection->prepare(q{INSERT INTO items VALUES (?, ?, 1)});
    my $entered = $statement->execute_array({ ArrayTupleStatus => \my @status }, [ 40 .. 59 ], 'many');
    failure_of(sub { $connection->do(q{INSERT INTO items VALUES (10, 'ten', 1); SELECT 1 / 0}) });
    my $state = $connection->state;
    return "$entered in; $state; kept " . value($connection, 'SELECT count(*) FROM items');
});

run_check('copy', sub {
    my ($connection) = @_;
    $connection->do('COPY items FROM STDIN');
    $connection->pg_putcopydata("$_\tcopied ✓\t1\n") for 1000 .. 1999;
    $connection->pg_putcopyend;
    $connection->do('COPY (SELECT * FROM items WHERE id >= 1000 ORDER BY id) TO STDOUT');
    my ($rows, $bytes) = (0, 0);
    while ($connection->pg_getcopydata(my $row) >= 0) { $rows++; $bytes += length $row }
    $connection->do('COPY items FROM STDIN');
    $connection->pg_putcopydata("no number\tx\t1\n");
    failure_of(sub { $connection->pg_putcopyend });
    return "out $rows rows, $bytes characters, bad row " . $connection->state . ', then ' . value($connection, 'SELECT 1');
});

run_check('notify', sub {
    my ($connection) = @_;
    my $wait = sub {
        for (1 .. 100) {
            my $heard = $connection->pg_notifies;
            return $heard if $heard;
            sleep 0.05;
        }
        die "nothing heard\n";
    };
    $connection->do('LISTEN news');
    my $speaker = open_connection();
    my $sender = value($speaker, q{SELECT pg_backend_pid() FROM pg_notify('news', 'hello ✓')});
    my $heard = $wait->();
    expect($heard->[1], $sender);
    expect($sender, $speaker->{pg_pid}) if !$is_pooled;
    $speaker->disconnect;
    $connection->do(q{NOTIFY news, 'self'});
    return "$heard->[0]: $heard->[2], " . $wait->()->[2];
});

run_check('cancel', sub {
    my ($connection) = @_;
    my $started = time;
    my $statement = $connection->prepare('SELECT pg_sleep(20)', { pg_async => PG_ASYNC });
    $statement->execute;
    sleep 0.3;
    my $cancelled = $connection->pg_cancel ? 'cancelled' : 'not cancelled';
    my $state = $connection->state;
    expect(time - $started < 10 ? 1 : 0, 1);
    return "$cancelled, $state, then " . value($connection, 'SELECT 1');
});

run_check('large_objects', sub {
    my ($connection) = @_;
    my $bytes = 'large ' x 20_000;
    $connection->begin_work;
    my $oid = $connection->pg_lo_creat($connection->{pg_INV_READ} | $connection->{pg_INV_WRITE});
    my $object = $connection->pg_lo_open($oid, $connection->{pg_INV_READ} | $connection->{pg_INV_WRITE});
    my $written = $connection->pg_lo_write($object, $bytes, length $bytes);
    $connection->pg_lo_lseek($object, 10, 0);
    my $part = '';
    $connection->pg_lo_read($object, $part, 6);
    expect($part, substr $bytes, 10, 6);
    $connection->pg_lo_close($object);
    my $unlinked = $connection->pg_lo_unlink($oid);
    $connection->commit;
    return "wrote $written, part $part, unlinked $unlinked";
});

run_check('errors', sub {
    my ($connection) = @_;
    my $fields = sub { join ' ', map { $connection->pg_error_field($_) // 'none' } @_ };
    failure_of(sub { $connection->do(q{INSERT INTO items VALUES (1, 'again', 1)}) });
    my $twice = describe($connection) . ' ' . $fields->(qw(severity schema table constraint source_function));
    failure_of(sub { $connection->do('SELECT nme FROM items') });
    return "$twice; " . describe($connection) . ' at ' . $fields->('statement_position');
});

run_check('refused', sub {
    my ($connection) = @_;
    my $mark = value($connection, $ENV{SESSION_MARK});
    failure_of(sub { $connection->do('DELETE FROM guarded') });
    my $simple = describe($connection);
    failure_of(sub { $connection->do($GUARDED, {}, 1) });
    my $extended = describe($connection);
    my $prepared = $connection->prepare($GUARDED);
    failure_of(sub { $prepared->execute($_) }) for 1, 2;
    expect(value($connection, $ENV{SESSION_SEEN}), $mark);
    return "$simple; $extended; ping " . $connection->ping;
});

run_check('refused_in_transaction', sub {
    my ($connection) = @_;
    $connection->begin_work;
    $connection->do(q{INSERT INTO items VALUES (20, 'twenty', 1)});
    failure_of(sub { $connection->do($GUARDED, {}, 1) });
    my $first = describe($connection);
    my $ping = $connection->ping;
    failure_of(sub { $connection->do('SELECT 1') });
    my $second = $connection->state;
    $connection->rollback;
    return "$first; ping $ping; $second; rows " . value($connection, 'SELECT count(*) FROM items WHERE id = 20') . '; ping ' . $connection->ping;
});

run_check('refused_in_batch', sub {
    my ($connection) = @_;
    failure_of(sub { $connection->do(q{INSERT INTO items VALUES (30, 'thirty', 1); DELETE FROM guarded}) });
    my $several = describe($connection);
    my $statement = $connection->prepare($GUARDED);
    failure_of(sub { $statement->execute_array({ ArrayTupleStatus => \my @status }, [ 1, 2 ]) });
    return "$several; " . $connection->state . '; rows ' . value($connection, 'SELECT count(*) FROM items WHERE id BETWEEN 30 AND 39');
});

run_check('limited', sub {
    my ($connection) = @_;
    my @looks = map {
        eval { $connection->do('SELECT count(*) FROM limited') } ? 'ok' : $connection->state . ' ' . $connection->pg_error_field('message_primary')
    } 1, 2;
    return "first: $looks[0], second: $looks[1], then " . value($connection, 'SELECT 1');
});

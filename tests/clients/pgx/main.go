// pgx of Go: every statement gets a name and stays in a cache of the connection's own; batches are
// pipelined; a context that ends cancels the query and closes the connection. Each worker has a
// connection of its own, which it makes of the environment as libpq would.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
)

var background = context.Background()

func number(name string, fallback int) int {
	value, err := strconv.Atoi(os.Getenv(name))
	if err != nil {
		return fallback
	}
	return value
}

// Each statement is used several times, and so are the plain ones of the simple protocol.
func values(conn *pgx.Conn, mark string) error {
	for n := 0; n < number("STATEMENTS", 10); n++ {
		sql := fmt.Sprintf("select $1::int + %d, $2::text", n)
		for value := 0; value < 5; value++ {
			arguments := []interface{}{value, mark}
			if value == 4 {
				arguments = append([]interface{}{pgx.QuerySimpleProtocol(true)}, arguments...)
			}
			var sum int
			var text string
			if err := conn.QueryRow(background, sql, arguments...).Scan(&sum, &text); err != nil {
				return err
			}
			if sum != value+n || text != mark {
				return fmt.Errorf("%d and %q are no answer", sum, text)
			}
		}
	}
	return nil
}

// An error leaves the connection as it was.
func failure(conn *pgx.Conn) error {
	var result int
	err := conn.QueryRow(background, "select 1 / $1::int", 0).Scan(&result)
	var refusal *pgconn.PgError
	if !errors.As(err, &refusal) || refusal.Code != "22012" {
		return fmt.Errorf("a division by zero gives %v", err)
	}
	return conn.QueryRow(background, "select 1 / $1::int", 1).Scan(&result)
}

func batch(conn *pgx.Conn) error {
	var queue pgx.Batch
	for value := 0; value < 10; value++ {
		queue.Queue("select $1::int", value)
	}
	results := conn.SendBatch(background, &queue)
	for value := 0; value < 10; value++ {
		var result int
		if err := results.QueryRow().Scan(&result); err != nil {
			return err
		}
		if result != value {
			return fmt.Errorf("%d is the answer for %d", result, value)
		}
	}
	return results.Close()
}

// A COPY into a table that goes with the transaction.
func transaction(conn *pgx.Conn, mark string) error {
	transaction, err := conn.Begin(background)
	if err != nil {
		return err
	}
	defer transaction.Rollback(background)
	if _, err = transaction.Exec(background, "create temp table own (mark text) on commit drop"); err != nil {
		return err
	}
	rows := make([][]interface{}, 100)
	for row := range rows {
		rows[row] = []interface{}{mark}
	}
	if _, err = transaction.CopyFrom(background, pgx.Identifier{"own"}, []string{"mark"}, pgx.CopyFromRows(rows)); err != nil {
		return err
	}
	var count int
	if err = transaction.QueryRow(background, "select count(*) from own where mark = $1", mark).Scan(&count); err != nil {
		return err
	}
	if count != len(rows) {
		return fmt.Errorf("%d rows have come", count)
	}
	return transaction.Commit(background)
}

// The driver sends a cancel request, and does not use the connection again.
func cancel() error {
	conn, err := pgx.Connect(background, "")
	if err != nil {
		return err
	}
	defer conn.Close(background)
	short, done := context.WithTimeout(background, 300*time.Millisecond)
	defer done()
	begun := time.Now()
	_, err = conn.Exec(short, "select pg_sleep(60)")
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 30*time.Second {
		return fmt.Errorf("a query that was cancelled gives %v", err)
	}
	return nil
}

func work(own int) error {
	conn, err := pgx.Connect(background, "")
	if err != nil {
		return err
	}
	defer conn.Close(background)
	mark := fmt.Sprintf("worker%d", own)
	if err = values(conn, mark); err != nil {
		return err
	}
	if err = failure(conn); err != nil {
		return err
	}
	if err = batch(conn); err != nil {
		return err
	}
	for n := 0; n < 3 && os.Getenv("POOL_MODE") != "statement"; n++ {
		if err = transaction(conn, mark); err != nil {
			return err
		}
	}
	if own == 0 {
		return cancel()
	}
	return nil
}

func main() {
	workers := number("WORKERS", 8)
	ended := make(chan error)
	for own := 0; own < workers; own++ {
		go func(own int) { ended <- work(own) }(own)
	}
	for own := 0; own < workers; own++ {
		if err := <-ended; err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	fmt.Println("ok")
}

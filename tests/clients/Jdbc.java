// PostgreSQL's JDBC driver: with prepareThreshold=1 every statement has a name from its first use
// on, BEGIN goes in one piece with what follows it, and COMMIT is a named statement too.
// Transactions, batches, cursors, errors. Each worker is a thread with a connection of its own.
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

public class Jdbc {
    static final int WORKERS = number("WORKERS", 8);
    static final int STATEMENTS = number("STATEMENTS", 10);

    static int number(String name, int fallback) {
        String value = System.getenv(name);
        return value == null ? fallback : Integer.parseInt(value);
    }

    static void check(boolean holds, String what) {
        if (!holds) throw new IllegalStateException("not so: " + what);
    }

    static Connection connect() throws SQLException {
        String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT")
            + "/" + System.getenv("PGDATABASE") + "?prepareThreshold=1&preparedStatementCacheQueries=20";
        if (System.getenv("PGSSLMODE") != null) {
            url += "&sslmode=" + System.getenv("PGSSLMODE")
                + "&sslrootcert=" + System.getenv("PGSSLROOTCERT");
        }
        return DriverManager.getConnection(url, System.getenv("PGUSER"), System.getenv("PGPASSWORD"));
    }

    static void values(Connection connection, String mark) throws SQLException {
        for (int n = 0; n < STATEMENTS; n++) {
            String sql = "select cast(? as int) + " + n + ", cast(? as text)";
            try (PreparedStatement statement = connection.prepareStatement(sql)) {
                for (int again = 0; again < 3; again++) {
                    statement.setInt(1, again);
                    statement.setString(2, mark);
                    try (ResultSet rows = statement.executeQuery()) {
                        check(rows.next(), "a row comes");
                        check(rows.getInt(1) == again + n, "the sum of " + again + " and " + n);
                        check(rows.getString(2).equals(mark), "the row is that of " + mark);
                    }
                }
            }
        }
        try (PreparedStatement statement = connection.prepareStatement("select 1 / cast(? as int)")) {
            statement.setInt(1, 0);
            statement.executeQuery();
            check(false, "a division by zero fails");
        } catch (SQLException e) {
            check("22012".equals(e.getSQLState()), "the error is PostgreSQL's: " + e);
        }
    }

    static void transaction(Connection connection, String mark) throws SQLException {
        connection.setAutoCommit(false);
        connection.createStatement().execute("create temp table own (n int, mark text) on commit drop");
        try (PreparedStatement insert = connection.prepareStatement("insert into own values (?, ?)")) {
            for (int n = 0; n < 1000; n++) {
                insert.setInt(1, n);
                insert.setString(2, mark);
                insert.addBatch();
            }
            insert.executeBatch();
        }
        String sql = "select n from own where mark = ? order by n";
        try (PreparedStatement select = connection.prepareStatement(sql)) {
            select.setFetchSize(100);
            select.setString(1, mark);
            int count = 0;
            try (ResultSet rows = select.executeQuery()) {
                while (rows.next()) check(rows.getInt(1) == count++, "the rows are in order");
            }
            check(count == 1000, "a thousand rows, " + count + " came");
        }
        connection.commit();
        connection.setAutoCommit(true);
    }

    static void work(int number) throws SQLException {
        try (Connection connection = connect()) {
            values(connection, "worker" + number);
            if (!"statement".equals(System.getenv("POOL_MODE"))) {
                for (int again = 0; again < 3; again++) transaction(connection, "worker" + number);
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(WORKERS);
        List<Future<?>> all = new ArrayList<>();
        for (int number = 0; number < WORKERS; number++) {
            int own = number;
            all.add(pool.submit(() -> { work(own); return null; }));
        }
        for (Future<?> one : all) one.get();
        pool.shutdown();
        System.out.println("ok");
    }
}

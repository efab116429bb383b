# Rails' ActiveRecord: statements named a1, a2 ..., of which it keeps so many and drops the others
# by a simple query DEALLOCATE; transactions, errors. Each worker is a thread with a connection.
require "active_record"

MODE = ENV.fetch("POOL_MODE")
WORKERS = ENV.fetch("WORKERS", "8").to_i
STATEMENTS = ENV.fetch("STATEMENTS", "10").to_i

ActiveRecord::Base.establish_connection(
  adapter: "postgresql", host: ENV["PGHOST"], port: ENV["PGPORT"], username: ENV["PGUSER"],
  password: ENV["PGPASSWORD"], database: ENV["PGDATABASE"],
  pool: WORKERS, prepared_statements: true, statement_limit: 7, checkout_timeout: 60
)

def check(holds, what)
  raise "not so: #{what}" unless holds
end

def bind(name, value, type)
  ActiveRecord::Relation::QueryAttribute.new(name, value, type)
end

def run(connection, sql, number, mark)
  binds = [bind("n", number, ActiveModel::Type::Integer.new),
           bind("mark", mark, ActiveModel::Type::String.new)]
  connection.exec_query(sql, "test", binds, prepare: true).rows
end

def values(connection, mark)
  STATEMENTS.times do |n|
    2.times do |again|
      rows = run(connection, "select $1::int + #{n} as n, $2::text as mark", again, mark)
      check(rows == [[again + n, mark]], "row #{n} of #{mark}: #{rows}")
    end
  end
  begin
    run(connection, "select 1 / $1::int, $2::text", 0, mark)
    check(false, "a division by zero fails")
  rescue ActiveRecord::StatementInvalid => e
    check(e.cause.is_a?(PG::DivisionByZero), "the error is PostgreSQL's: #{e.cause.class}")
  end
end

def transaction(connection, mark)
  connection.transaction do
    connection.execute("create temp table own (n int, mark text) on commit drop")
    20.times { |n| run(connection, "insert into own values ($1 + #{n}, $2)", n, mark) }
    rows = run(connection, "select count(*) from own where n >= $1 and mark = $2", 0, mark)
    check(rows == [[20]], "twenty rows were inserted: #{rows}")
  end
end

threads = (1..WORKERS).map do |number|
  Thread.new do
    Thread.current.report_on_exception = true
    ActiveRecord::Base.connection_pool.with_connection do |connection|
      values(connection, "worker#{number}")
      transaction(connection, "worker#{number}") unless MODE == "statement"
    end
  end
end
threads.each(&:join)
ActiveRecord::Base.connection_pool.disconnect!
puts "ok"

fn main() -> std::process::ExitCode {
    pgbouncer::run()
}

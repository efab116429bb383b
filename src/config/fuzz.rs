//! Entry point for fuzzing of the configuration: whatever the bytes, reading them must neither
//! panic nor take long.

use std::io;

use super::diff::diff;
use super::ini::FileReader;
use super::load::{Config, load, load_text};
use super::settings::Settings;

/// Reads `data` as a configuration that may include itself, and uses the result.
pub fn fuzz(data: &[u8]) {
    let plain = load_text("plain.ini", "[pgbouncer]\n").expect("the smallest file is good");
    match load("fuzz.ini", &mut Same { data, left: READS_MAX }) {
        Ok(config) => walk(&plain, &config),
        Err(mistakes) => {
            assert!(!mistakes.is_empty(), "a file is refused for a reason");
            mistakes.iter().for_each(|mistake| assert!(!mistake.to_string().contains('\n')));
        }
    }
}

fn walk(plain: &Config, config: &Config) {
    let mut settings = plain.settings.clone();
    settings.reload(&config.settings);
    for row in Settings::rows() {
        let shown = config.settings.show(row.name);
        assert!(shown.is_some() || row.default.is_none(), "{} has a value", row.name);
    }
    for database in &config.databases {
        assert!(!database.targets("/tmp").is_empty(), "a database is somewhere");
    }
    assert!(diff(config, config).is_empty());
    let changes = diff(plain, config).lines();
    assert!(changes.iter().all(|line| !line.contains('\n')));
}

/// How many times the file may be read; after that it does not exist.
const READS_MAX: usize = 20;

/// A reader for which every file is the same.
struct Same<'a> {
    data: &'a [u8],
    left: usize,
}

impl FileReader for Same<'_> {
    fn read(&mut self, _: &str) -> Result<Vec<u8>, io::Error> {
        self.left = self.left.checked_sub(1).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.data.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::{Rng, SeededRng};

    const SEEDS: u64 = 400;

    /// Pieces that change what a line means.
    const PIECES: [&[u8]; 16] = [
        b"\n[pgbouncer]\n",
        b"\n[databases]\n",
        b"\n[users]\n",
        b"\n[peers]\n",
        b"\n%include x\n",
        b"=",
        b"'",
        b"\"",
        b"\0",
        b"\r\n",
        b",",
        b"-1",
        b"99999999999999999999",
        b"\xff",
        b" ",
        b"password=",
    ];

    fn mutate(rng: &mut SeededRng, text: &mut Vec<u8>) {
        for _ in 0..=rng.below(20) {
            let at = rng.below(text.len() as u64 + 1) as usize;
            let end = (at + rng.below(40) as usize).min(text.len());
            match rng.below(4) {
                0 => drop(text.drain(at..end)),
                1 => text.insert(at, rng.next_u64() as u8),
                2 => drop(text.splice(at..at, PIECES[rng.below(16) as usize].iter().copied())),
                _ => text.extend_from_within(at..end),
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let starts = [
            include_str!("../../tests/guide/pgbouncer.ini").to_owned(),
            super::super::reference::sample_ini().replace("\n;", "\n"),
        ];
        for seed in 0..SEEDS {
            let mut rng = SeededRng::new(seed);
            let mut text = starts[seed as usize % 2].clone().into_bytes();
            mutate(&mut rng, &mut text);
            let outcome = std::panic::catch_unwind(|| fuzz(&text));
            assert!(outcome.is_ok(), "seed {seed}: {}", String::from_utf8_lossy(&text));
        }
    }
}

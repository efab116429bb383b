//! Samples, and how they are written: the text format of Prometheus (0.0.4) and OpenMetrics (1.0).
//!
//! A snapshot is filled first, and then written slice by slice. The core may change meanwhile.

use std::io::Write;

/// The type of a family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FamilyKind {
    Counter,
    Gauge,
    Histogram,
}

/// The unit of a family's values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    One,
    /// The values are written as seconds.
    Microseconds,
}

/// Upper bounds of the buckets of histograms: as text in seconds, and in microseconds.
pub const BOUNDS: [(&str, u64); 14] = [
    ("0.00025", 250),
    ("0.0005", 500),
    ("0.001", 1_000),
    ("0.0025", 2_500),
    ("0.005", 5_000),
    ("0.01", 10_000),
    ("0.025", 25_000),
    ("0.05", 50_000),
    ("0.1", 100_000),
    ("0.25", 250_000),
    ("0.5", 500_000),
    ("1.0", 1_000_000),
    ("5.0", 5_000_000),
    ("30.0", 30_000_000),
];

/// Which kind of line of its family a sample is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    Plain,
    /// The bucket up to this index of [`BOUNDS`]; the index after the last is `+Inf`.
    Bucket(u8),
    Count,
    Sum,
}

struct Sample {
    /// The index of its labels in the snapshot.
    labels: u32,
    part: Part,
    value: u64,
}

struct Family {
    name: String,
    kind: FamilyKind,
    unit: Unit,
    help: &'static str,
    samples: Vec<Sample>,
}

/// All families and samples of one scrape.
#[derive(Default)]
pub struct Snapshot {
    families: Vec<Family>,
    /// `database="app",user="me"`, without braces; the first is empty.
    labels: Vec<Box<str>>,
}

/// A family in a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FamilyId(usize);

/// The labels of a sample in a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Labels(u32);

/// The prefix of the families' names.
const PREFIX: &str = "pgbouncer_";

impl Snapshot {
    pub fn new() -> Snapshot {
        Snapshot { families: Vec::new(), labels: vec!["".into()] }
    }

    pub const NONE: Labels = Labels(0);

    /// Adds labels, for samples to refer to.
    pub fn labels(&mut self, pairs: &[(&str, &str)]) -> Labels {
        let mut text = String::new();
        for (at, (name, value)) in pairs.iter().enumerate() {
            if at > 0 {
                text.push(',');
            }
            text.push_str(name);
            text.push_str("=\"");
            push_escaped(&mut text, value);
            text.push('"');
        }
        self.labels.push(text.into());
        Labels((self.labels.len() - 1) as u32)
    }

    /// Adds a family. The prefix is put before `name`, unless `name` begins with `/`.
    pub fn family(
        &mut self,
        name: &str,
        kind: FamilyKind,
        unit: Unit,
        help: &'static str,
    ) -> FamilyId {
        let name = match name.strip_prefix('/') {
            Some(bare) => bare.to_owned(),
            None => format!("{PREFIX}{name}"),
        };
        self.families.push(Family { name, kind, unit, help, samples: Vec::new() });
        FamilyId(self.families.len() - 1)
    }

    /// Adds a value to a family.
    pub fn sample(&mut self, family: FamilyId, labels: Labels, value: u64) {
        self.part(family, labels, Part::Plain, value);
    }

    pub fn part(&mut self, family: FamilyId, labels: Labels, part: Part, value: u64) {
        self.families[family.0].samples.push(Sample { labels: labels.0, part, value });
    }

    /// A family of one sample.
    pub fn single(&mut self, name: &str, kind: FamilyKind, help: &'static str, value: u64) {
        let family = self.family(name, kind, Unit::One, help);
        self.sample(family, Snapshot::NONE, value);
    }

    pub fn render(self, is_openmetrics: bool) -> Rendering {
        Rendering { snapshot: self, is_openmetrics, family: 0, sample: 0 }
    }
}

/// A snapshot, and how far it has been written.
pub struct Rendering {
    snapshot: Snapshot,
    is_openmetrics: bool,
    family: usize,
    sample: usize,
}

impl Rendering {
    pub fn content_type(&self) -> &'static str {
        match self.is_openmetrics {
            true => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            false => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Appends as many lines as fit into `most` bytes, but at least one. Returns whether they are
    /// the last.
    pub fn push(&mut self, out: &mut Vec<u8>, most: usize) -> bool {
        /// The most bytes that a line takes beside its labels and name.
        const ROOM_BYTES: usize = 100;
        while let Some(family) = self.snapshot.families.get(self.family) {
            while let Some(sample) = family.samples.get(self.sample) {
                let labels = &self.snapshot.labels[sample.labels as usize];
                if !out.is_empty()
                    && out.len() + family.name.len() + labels.len() + ROOM_BYTES > most
                {
                    return false;
                }
                if self.sample == 0 {
                    push_head(out, family, self.is_openmetrics);
                }
                push_sample(out, family, sample, labels);
                self.sample += 1;
            }
            self.family += 1;
            self.sample = 0;
        }
        if self.is_openmetrics {
            out.extend_from_slice(b"# EOF\n");
        }
        true
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok(), "writing to memory cannot fail");
}

fn push_head(out: &mut Vec<u8>, family: &Family, is_openmetrics: bool) {
    // OpenMetrics names the family of a counter without the `_total` of its lines.
    let name = match family.kind {
        FamilyKind::Counter if is_openmetrics => {
            family.name.strip_suffix("_total").unwrap_or(&family.name)
        }
        _ => &family.name,
    };
    let kind = match family.kind {
        FamilyKind::Counter => "counter",
        FamilyKind::Gauge => "gauge",
        FamilyKind::Histogram => "histogram",
    };
    put(out, format_args!("# HELP {name} {}.\n# TYPE {name} {kind}\n", family.help));
}

fn push_sample(out: &mut Vec<u8>, family: &Family, sample: &Sample, labels: &str) {
    let name = &family.name;
    match sample.part {
        Part::Plain if labels.is_empty() => put(out, format_args!("{name}")),
        Part::Plain => put(out, format_args!("{name}{{{labels}}}")),
        Part::Bucket(at) => {
            let bound = BOUNDS.get(usize::from(at)).map_or("+Inf", |(text, _)| text);
            let comma = if labels.is_empty() { "" } else { "," };
            put(out, format_args!("{name}_bucket{{{labels}{comma}le=\"{bound}\"}}"));
        }
        Part::Count | Part::Sum => {
            let part = if sample.part == Part::Sum { "sum" } else { "count" };
            put(out, format_args!("{name}_{part}"));
            if !labels.is_empty() {
                put(out, format_args!("{{{labels}}}"));
            }
        }
    }
    let is_time = family.unit == Unit::Microseconds
        && (family.kind != FamilyKind::Histogram || sample.part == Part::Sum);
    match is_time {
        true => push_seconds(out, sample.value),
        false => put(out, format_args!(" {}\n", sample.value)),
    }
}

/// Microseconds as seconds, without the zeros at the end.
fn push_seconds(out: &mut Vec<u8>, us: u64) {
    match (us / 1_000_000, us % 1_000_000) {
        (seconds, 0) => put(out, format_args!(" {seconds}\n")),
        (seconds, us) => {
            put(out, format_args!(" {seconds}.{us:06}"));
            while out.last() == Some(&b'0') {
                out.pop();
            }
            out.push(b'\n');
        }
    }
}

/// Backslash, quote and end of line are escaped; a label's value may hold everything else.
fn push_escaped(text: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        let mut snapshot = Snapshot::new();
        snapshot.single("up", FamilyKind::Gauge, "Whether it answers", 1);
        let waits = "waits_seconds_total";
        let waits = snapshot.family(waits, FamilyKind::Counter, Unit::Microseconds, "Waits");
        let times = "query_seconds";
        let times = snapshot.family(times, FamilyKind::Histogram, Unit::Microseconds, "Queries");
        // Samples may be added to families in any order.
        let app = snapshot.labels(&[("database", "app")]);
        snapshot.part(times, app, Part::Bucket(2), 3);
        snapshot.part(times, app, Part::Bucket(14), 4);
        let hostile = snapshot.labels(&[("database", "a\"b\\c\nd"), ("user", "{}é")]);
        snapshot.sample(waits, hostile, 1_500_000);
        snapshot.part(times, app, Part::Sum, 1_000_010);
        snapshot.part(times, app, Part::Count, 4);
        snapshot.family("empty", FamilyKind::Gauge, Unit::One, "Nothing");
        snapshot.single("/process_open_fds", FamilyKind::Gauge, "Open descriptors", 7);
        snapshot
    }

    fn text(is_openmetrics: bool) -> String {
        let mut out = Vec::new();
        assert!(snapshot().render(is_openmetrics).push(&mut out, usize::MAX));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_those_of_the_text_format() {
        let expected = "# HELP pgbouncer_up Whether it answers.\n# TYPE pgbouncer_up gauge\n\
            pgbouncer_up 1\n\
            # HELP pgbouncer_waits_seconds_total Waits.\n\
            # TYPE pgbouncer_waits_seconds_total counter\n\
            pgbouncer_waits_seconds_total{database=\"a\\\"b\\\\c\\nd\",user=\"{}é\"} 1.5\n\
            # HELP pgbouncer_query_seconds Queries.\n# TYPE pgbouncer_query_seconds histogram\n\
            pgbouncer_query_seconds_bucket{database=\"app\",le=\"0.001\"} 3\n\
            pgbouncer_query_seconds_bucket{database=\"app\",le=\"+Inf\"} 4\n\
            pgbouncer_query_seconds_sum{database=\"app\"} 1.00001\n\
            pgbouncer_query_seconds_count{database=\"app\"} 4\n\
            # HELP process_open_fds Open descriptors.\n# TYPE process_open_fds gauge\n\
            process_open_fds 7\n";
        assert_eq!(text(false), expected);
    }

    #[test]
    fn openmetrics_names_a_counter_without_its_end_and_ends_with_a_mark() {
        let text = text(true);
        assert!(text.contains("# TYPE pgbouncer_waits_seconds counter\n"));
        assert!(text.contains("\npgbouncer_waits_seconds_total{"));
        assert!(text.ends_with("process_open_fds 7\n# EOF\n"));
    }

    #[test]
    fn slices_of_any_size_make_the_same_text() {
        for most in [1, 150, 300, 1000] {
            let (mut rendering, mut all) = (snapshot().render(true), Vec::new());
            loop {
                let mut slice = Vec::new();
                let is_last = rendering.push(&mut slice, most);
                assert!(!slice.is_empty() && (slice.len() <= most + 400));
                all.extend(slice);
                if is_last {
                    break;
                }
            }
            assert_eq!(String::from_utf8(all).unwrap(), text(true), "{most}");
        }
    }
}

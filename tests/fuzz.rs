//! The entry points for fuzzing, fed with mutations of good input, by seed. `make test` gives each
//! a thousand seeds, `make fuzz` as many as SEEDS says. A failure prints its entry point and
//! seed; `PGBOUNCER_FUZZ_SEED=n cargo test --test fuzz` runs that one alone.

use std::env;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pgbouncer::fuzz;

const SEEDS: u64 = 1_000;

/// The longest input, in bytes: mutations grow what they start from.
const LONGEST: usize = 20_000;

/// Good input, and bytes that matter in it.
struct Kind {
    name: &'static str,
    entry: fn(&[u8]),
    samples: &'static [&'static [u8]],
    words: &'static [&'static [u8]],
}

const KINDS: &[Kind] = &[
    Kind {
        name: "startup",
        entry: fuzz::startup,
        samples: &[
            b"\0\0\0\x21\0\x03\0\0user\0app\0database\0app\0\0",
            b"\0\0\0\x08\x04\xd2\x16\x2f",
            b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02",
            b"\0\0\0\x35\0\x03\0\x02user\0app\0_pq_.x\x001\0options\0-c a=b --c=d\0\0",
        ],
        words: &[
            b"\xff\xff\xff\xff",
            b"\x7f\xff\xff\xff",
            b"\0",
            b"\0\0\0\0",
            b"options\0",
            b"-c ",
        ],
    },
    Kind {
        name: "ini",
        entry: fuzz::ini,
        samples: &[
            include_bytes!("guide/pgbouncer.ini"),
            b"%include fuzz.ini\n[users]\njoe = pool_mode=session\n[peers]\n1 = host=x port=1\n",
            b"[databases]\na = host='b c' port=1,2 connect_query='select ''x'''\n* = \n",
        ],
        words: &[
            b"[",
            b"]",
            b"=",
            b"'",
            b"\n",
            b"%include ",
            b"\0",
            b"99999999999999999999",
            b"-1",
        ],
    },
    Kind {
        name: "userlist",
        entry: fuzz::userlist,
        samples: &[
            include_bytes!("guide/userlist.txt"),
            b"\"a\"\"b\" \"md50123456789abcdef0123456789abcdef\"\n; comment\n",
            b"\"s\" \"SCRAM-SHA-256$4096:c2FsdA==$AAAA:BBBB\" \"more\"\n",
        ],
        words: &[b"\"", b"\"\"", b"\n", b"\0", b"SCRAM-SHA-256$", b":", b"$", b"="],
    },
    Kind {
        name: "hba",
        entry: fuzz::hba,
        samples: &[
            b"local all all peer map=m\nhost all all 127.0.0.1/32 scram-sha-256\n",
            b"hostssl \"a b\",c @f ::1/128 md5\nhost all +g 10.0.0.0 255.0.0.0 reject\n",
        ],
        words: &[b"/", b",", b"\"", b"\n", b"/33", b"/129", b"map=", b"::", b"255.", b"\0"],
    },
    Kind {
        name: "client login",
        entry: fuzz::client_login,
        samples: &[
            b"\x02SCRAM-SHA-256\0\0\0\0\x0cn,,n=,r=abcd\xffc=biws,r=abcd,p=AAAA",
            b"\x01password\0",
            b"\x00md50123456789abcdef0123456789abcdef\0",
        ],
        words: &[b"\xff", b",", b"r=", b"p=", b"c=biws", b"\0", b"=", b"\x7f\xff\xff\xff", b"n,,"],
    },
    Kind {
        name: "server login",
        entry: fuzz::server_login,
        samples: &[
            b"\x0aSCRAM-SHA-256\0\0\xff\x0br=abcd,s=c2FsdA==,i=1\xff\x0cv=AAAA\xff\0",
            b"\x05salt\xff\0",
            b"\x03\xff\0",
        ],
        words: &[b"\xff", b"i=", b"99999999999", b"-1", b"s=", b",", b"=", b"\0", b"v=", b"m="],
    },
    Kind {
        name: "ldap",
        entry: fuzz::ldap,
        samples: &[
            b"ldapserver=h ldapprefix=\"uid=\" ldapsuffix=\",dc=x\"\0\
                0\x0c\x02\x01\x04\x61\x07\x0a\x01\x31\x04\0\x04\0",
            b"ldapserver=h ldapbasedn=x ldapsearchfilter=\"(&(a=$username)(|(b=*)(!(c=d*e))))\"\0\
                0\x0c\x02\x01\x02\x61\x07\x0a\x01\0\x04\0\x04\0\
                0\x0b\x02\x01\x03\x64\x06\x04\x02cn0\0\
                0\x0c\x02\x01\x03\x65\x07\x0a\x01\0\x04\0\x04\0",
            b"ldapurl=\"ldap://h/dc=x?uid?sub\" ldaptls=1\0\
                0\x0c\x02\x01\x01\x78\x07\x0a\x01\0\x04\0\x04\0",
        ],
        words: &[b"(", b")", b"*", b"\\2a", b"\"", b"\x84\xff\xff\xff\xff", b"\x80", b"?", b"%"],
    },
    Kind {
        name: "request",
        entry: fuzz::request,
        samples: &[
            b"GET /metrics HTTP/1.1\r\nHost: db:9127\r\nUser-Agent: Prometheus/2.53.0\r\nAccept: \
                application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3\r\n\r\n",
            b"HEAD /readyz?db=a%20b&x=1 HTTP/1.0\nAuthorization: Basic YTpi\n\n",
            b"GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        ],
        words: &[
            b"\r\n",
            b"\n\n",
            b"\r\n\r\n",
            b" ",
            b":",
            b"%",
            b"%00",
            b"%ff",
            b"?db=",
            b"Transfer-Encoding: chunked\r\n",
            b"Content-Length: 18446744073709551616\r\n",
            b"Authorization: Basic ====\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x16\x03\x01",
            b"\0",
        ],
    },
    Kind {
        name: "lookup",
        entry: fuzz::lookup,
        samples: &[
            b"1\0\0\0\x042\0\0\0\x04T\0\0\0\x06\0\x02D\0\0\0\x13\0\x02\0\0\0\x03joe\0\0\0\x02pw",
            b"D\0\0\0\x0e\0\x02\xff\xff\xff\xff\xff\xff\xff\xff",
            b"E\0\0\0\x14SERROR\0Mno good\0\0",
        ],
        words: &[b"D\0\0\0", b"\0\x02", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\x03joe"],
    },
    Kind { name: "relay", entry: fuzz::relay, samples: fuzz::RELAY_SAMPLES, words: RELAY_WORDS },
];

/// Steps of the relay's scripts, and messages of both sides.
const RELAY_WORDS: &[&[u8]] = &[
    b"\xffc0",
    b"\xffc1",
    b"\xffs0",
    b"\xffs1",
    b"\xffe0",
    b"\xffx0",
    b"\xffE0",
    b"\xffX0",
    b"\xfft9",
    b"\xffw0\x01",
    b"\xffW0\x01",
    b"\xffp1",
    b"\xffc0Q\0\0\0\x0dselect 1\0",
    b"\xffs0C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I",
    b"\xffs0R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I",
    b"\xffs0E\0\0\0\x08Mno\0\0Z\0\0\0\x05E",
    b"\xffc0S\0\0\0\x04",
    b"\xffc0H\0\0\0\x04",
    b"\xffc0X\0\0\0\x04",
    b"Z\0\0\0\x05T",
    b"D\0\0\0\x0b\0\x01\0\0\0\x011",
    b"\x7f\xfe\xfe\xfe",
    b"\xfe\xfe\xfe\xfe",
    b"\0\0\0\0",
    b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02",
];

#[test]
fn no_input_makes_an_entry_point_panic() {
    for kind in KINDS {
        for seed in seeds() {
            let input = Mutator::new(seed).input(kind);
            let outcome = catch_unwind(AssertUnwindSafe(|| (kind.entry)(&input)));
            assert!(outcome.is_ok(), "{} fails with seed {seed}: {input:?}", kind.name);
        }
    }
}

#[test]
fn a_seed_gives_the_same_input_again() {
    for kind in KINDS {
        assert_eq!(Mutator::new(7).input(kind), Mutator::new(7).input(kind), "{}", kind.name);
        let differ = (0..50).any(|s| Mutator::new(s).input(kind) != kind.samples[0]);
        assert!(differ, "{}", kind.name);
    }
}

fn seeds() -> Range<u64> {
    let number = |name: &str| {
        let text = env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
    };
    if let Some(seed) = number("PGBOUNCER_FUZZ_SEED") {
        return seed..seed + 1;
    }
    0..number("PGBOUNCER_FUZZ_SEEDS").unwrap_or(SEEDS)
}

/// Changes good input at random.
struct Mutator(u64);

impl Mutator {
    fn new(seed: u64) -> Mutator {
        Mutator(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        if bound == 0 { 0 } else { (self.0 >> 11) as usize % bound }
    }

    fn input(&mut self, kind: &Kind) -> Vec<u8> {
        let mut bytes = kind.samples[self.below(kind.samples.len())].to_vec();
        for _ in 0..1 + self.below(8) {
            self.mutate(&mut bytes, kind);
            bytes.truncate(LONGEST);
        }
        bytes
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>, kind: &Kind) {
        let at = self.below(bytes.len() + 1);
        let end = at + self.below((bytes.len() - at).min(64) + 1);
        let word = kind.words[self.below(kind.words.len())];
        match self.below(7) {
            0 => drop(bytes.splice(at..at, word.iter().copied())),
            1 => drop(bytes.splice(at..end, word.iter().copied())),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let piece = bytes[at..end].repeat(1 + self.below(100));
                bytes.splice(at..at, piece);
            }
            4 => bytes.truncate(at),
            _ => {
                let byte = self.below(256) as u8;
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
        }
    }
}

//! Entry points for fuzzing. Whatever the bytes, nothing here may panic, and nobody may log in
//! without the password. The normal test run feeds them mutations of good input, made from seeds.

use crate::auth::cache::ScramCache;
use crate::auth::client::{self, AccountSecret, Candidate, ClientLogin, ClientStep, ProofMethod};
use crate::auth::ident::IdentMaps;
use crate::auth::known::Known;
use crate::auth::secret::{Password, Secret};
use crate::auth::server::{BindingData, Credential, ServerLogin, ServerStep};
use crate::auth::{hba_file, ident, userlist};
use crate::base::rng::SeededRng;
use crate::config::ChannelBinding;
use crate::crypto::scram_message::MESSAGE_BYTES_MAX;

/// What a client sends: one message per part between bytes of 0xff. The first byte chooses method
/// and secret, and whether there is a certificate to be bound to.
pub fn fuzz_client_login(data: &[u8]) {
    let Some((&choice, messages)) = data.split_first() else { return };
    let methods = [ProofMethod::Md5, ProofMethod::Plain, ProofMethod::ScramSha256];
    let method = methods[usize::from(choice) % methods.len()];
    let secret = Secret::Plain(Password::new(b"not to be guessed"));
    let account =
        if choice & 0x80 == 0 { AccountSecret::Known(&secret) } else { AccountSecret::Missing };
    let mut rng = SeededRng::new(1);
    let mut cache = ScramCache::new(&mut rng);
    let end_point = (choice & 0x40 != 0).then_some(&b"hash"[..]);
    let candidate = Candidate { user: b"joe", account, end_point };
    let mut step = client::begin(method, &candidate, 1, &mut rng);
    for message in messages.split(|&byte| byte == 0xff) {
        let ClientStep::Ask { request, next } = step else { break };
        assert!(request.code_and_data().1.len() <= 2 * MESSAGE_BYTES_MAX);
        step = ClientLogin::handle(next, message, &mut cache, &mut rng);
        step = step.at_once(&mut cache);
    }
    assert!(!matches!(step, ClientStep::Done { .. }), "came in without the password");
}

/// What a server sends: one message per part between bytes of 0xff, of which the first byte is the
/// code. The server does not know the password, so the login must not reach Ok once SCRAM has
/// begun. Half of the servers have shown a certificate.
pub fn fuzz_server_login(data: &[u8]) {
    let mut rng = SeededRng::new(1);
    let mut cache = ScramCache::new(&mut rng);
    let credential = Credential::Plain(Password::new(b"not to be guessed"));
    let channel = BindingData::of((data.len() % 2 == 1).then_some(b"hash"), ChannelBinding::Prefer);
    let mut login = ServerLogin::new(b"joe", credential, channel);
    for message in data.split(|&byte| byte == 0xff) {
        let Some((&code, body)) = message.split_first() else { return };
        let is_scram = matches!(login, ServerLogin::SaslContinue(_) | ServerLogin::SaslFinal(_));
        let step = login.handle(u32::from(code), body, &mut cache, &mut rng);
        login = match step.at_once(&mut cache) {
            ServerStep::Derive { .. } => panic!("one derivation after the other"),
            ServerStep::Send { payload, next } => {
                assert!(payload.len() <= 2 * MESSAGE_BYTES_MAX);
                next
            }
            ServerStep::Wait(_) => panic!("a server without the password proved that it has it"),
            ServerStep::Ok => return assert!(!is_scram),
            ServerStep::Fail(_) => return,
        }
    }
}

/// A user list.
pub fn fuzz_userlist(data: &[u8]) {
    let Some(list) = userlist::parse_changed(data, &Known::default()) else { return };
    assert!(list.entries.len() + list.problems.len() <= data.len());
}

/// An HBA file that names itself, and an ident map, with a byte of 0xff between.
pub fn fuzz_hba(data: &[u8]) {
    let mut parts = data.splitn(2, |&byte| byte == 0xff);
    let (text, map) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let (maps, problems) = ident::parse(map);
    maps.allows(b"map", b"root", b"joe");
    assert!(problems.len() <= map.len() + 1);
    fuzz_rules(text, &maps);
}

fn fuzz_rules(text: &[u8], maps: &IdentMaps) {
    let mut read = |_: &[u8]| Some(text.to_vec());
    let (rules, problems) = hba_file::parse(text, maps, &mut read);
    assert!(rules.rules().len() + problems.len() <= text.len() + 1);
    let mut visitor = crate::auth::hba::Visitor {
        address: Some([127, 0, 0, 1].into()),
        has_tls: false,
        wants_replication: false,
        database: b"app",
        user: b"joe",
    };
    rules.find(&visitor);
    visitor.address = None;
    rules.find(&visitor);
}

impl ClientStep {
    /// The step that follows the work, which is done at once. The loop must not call it.
    pub fn at_once(self, cache: &mut ScramCache) -> ClientStep {
        match self {
            ClientStep::Derive { work, next } => {
                let (name, keys) = work.finish();
                next.handle(name, keys, cache)
            }
            step => step,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    /// Seeds per entry point: as many as the normal test run can afford without optimisation.
    const SEEDS: u64 = 500;

    const CLIENT: [&[u8]; 4] = [
        b"\x01not the password\0",
        b"\x02SCRAM-SHA-256\0\0\0\0\x0bn,,n=,r=abc\xffc=biws,r=abcNONCE,p=PROOF",
        b"\x82SCRAM-SHA-256\0\0\0\0\x0bn,,n=,r=abc\xffc=biws,r=abcNONCE,p=PROOF",
        b"\x41SCRAM-SHA-256-PLUS\0\0\0\0\x20p=tls-server-end-point,,n=,r=abc\xff\
          c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsaGFzaA==,r=abcNONCE,p=PROOF",
    ];
    const SERVER: [&[u8]; 4] = [
        b"\x05abcd\xff\0",
        b"\x03\xff\0",
        b"\x0aSCRAM-SHA-256\0\0\xff\x0br=NONCEx,s=QUJD,i=1\xff\x0cv=PROOF\xff\0",
        b"\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0\xff\x0br=NONCEx,s=QUJD,i=1\xff\
          \x0cv=PROOF\xff\0",
    ];
    const USERLIST: [&[u8]; 2] = [
        b"\"joe\" \"secret\"\n; comment\n\"a\"\"b\" \"md5b350798a23d7544eb353a6f8dca231c2\"\r\n",
        b"\"joe\" \"SCRAM-SHA-256$4096:QUJD$QUJD:QUJD\" more\n\"two\nlines\" \"x\ny\"\n",
    ];
    const HBA: [&[u8]; 2] = [
        b"local all joe,\"a b\" peer map=m\nhost app all 127.0.0.0/8 md5 # x\n\xffm root joe\n",
        b"hostssl sameuser @file ::1 ffff:: trust\nhost replication all all reject\n\xff\"m\" a b",
    ];

    /// Fills in what an exchange needs to reach its end: the nonce that the entry points will make,
    /// and 32 bytes in base64.
    fn filled(good: &[u8]) -> Vec<u8> {
        let mut rng = SeededRng::new(1);
        ScramCache::new(&mut rng);
        let nonce = crate::crypto::nonce::scram_nonce(&mut rng);
        let proof = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let mut filled = good.to_vec();
        for (name, value) in [(&b"NONCE"[..], &nonce[..]), (b"PROOF", proof)] {
            if let Some(at) = filled.windows(5).position(|window| window == name) {
                filled.splice(at..at + 5, value.bytes());
            }
        }
        filled
    }

    /// The good input with some bytes changed, taken out, put in, doubled or cut off.
    fn mutated(good: &[&[u8]], seed: u64) -> Vec<u8> {
        let mut rng = SeededRng::new(seed);
        let mut data = filled(good[rng.below(good.len() as u64) as usize]);
        for _ in 0..rng.below(4) {
            let at = rng.below(data.len() as u64 + 1) as usize;
            let byte = *b"\0\n\"#,=@n\xff9".get(rng.below(16) as usize).unwrap_or(&(seed as u8));
            match rng.below(5) {
                0 if at < data.len() => data[at] = byte,
                1 if at < data.len() => drop(data.splice(at..=at, [])),
                2 => data.insert(at, byte),
                3 => data.extend_from_within(at..),
                _ => data.truncate(at),
            }
        }
        data
    }

    #[test]
    fn good_input_goes_through_the_whole_exchange() {
        let mut rng = SeededRng::new(1);
        let mut cache = ScramCache::new(&mut rng);
        let credential = Credential::Plain(Password::new(b"not to be guessed"));
        let mut login = ServerLogin::new(b"joe", credential, BindingData::Unbound);
        let filled = filled(SERVER[2]);
        for message in filled.split(|&byte| byte == 0xff).take(2) {
            let step = login.handle(message[0].into(), &message[1..], &mut cache, &mut rng);
            let step = step.at_once(&mut cache);
            let ServerStep::Send { next, .. } = step else { panic!("{step:?}") };
            login = next;
        }
        assert!(matches!(login, ServerLogin::SaslFinal(_)));
    }

    #[test]
    fn mutations_of_good_input_harm_nobody() {
        for seed in 0..SEEDS {
            for (fuzz, good) in [
                (fuzz_client_login as fn(&[u8]), &CLIENT[..]),
                (fuzz_server_login, &SERVER),
                (fuzz_userlist, &USERLIST),
                (fuzz_hba, &HBA),
            ] {
                let data = mutated(good, seed);
                let result = std::panic::catch_unwind(|| fuzz(&data));
                assert!(result.is_ok(), "seed {seed}, input {:?}", data.escape_ascii().to_string());
            }
        }
    }
}

//! How a client finds its parameters on whatever server it gets.
//!
//! A parameter that the client has asked for, at its login or by SET, is a wish: every server gets
//! that value. Any other parameter has the default of the present server, and another server may
//! have another default. If that default differs from the value the client was told last, the
//! client is told.
//!
//! A value is kept in the spelling that the server reported, so that 'utc' and 'UTC' do not cause a
//! second SET.

use super::value::{self, VarValue};
use super::varcache::{BY_BYTES, CLIENT_ENCODING, VarSet, VarTable, Vars};
use crate::base::interned::InternedKey;
use crate::wire::build;

/// The parameters of a client.
#[derive(Debug, Default)]
pub struct ClientVars {
    /// The values that the client has asked for or was told last.
    pub told: Vars,
    /// The parameters that the client has asked for.
    wishes: VarSet,
}

/// The parameters of a server.
#[derive(Debug, Default)]
pub struct ServerVars {
    /// The values in force: as reported, or as set if the server does not report the parameter.
    pub present: Vars,
    /// The values for a client without wishes: as reported up to the end of the login.
    defaults: Vars,
    /// The defaults that connect_query has set: RESET would not restore them.
    by_query: VarSet,
    /// Unreported parameters that may or may not be back at their defaults.
    doubtful: VarSet,
}

/// Statements for a server, and which parameters they change.
#[derive(PartialEq, Eq, Debug)]
pub struct VarsStatements {
    pub sql: Vec<u8>,
    pub change: VarsChange,
}

/// What the statements under way change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VarsChange {
    /// client_encoding, to that of a value that is set next and has this place.
    Encoding(usize),
    Values(VarSet),
}

/// What must happen to one parameter so that the server has the client's value.
enum Aim {
    Kept,
    Reset,
    Set(InternedKey),
}

impl VarTable {
    /// The client asks for a value whose encoding is unknown yet. Returns false if the parameter is
    /// not tracked.
    pub fn ask(&mut self, client: &mut ClientVars, name: &str, bytes: &[u8]) -> bool {
        let Some(place) = self.find(name) else { return false };
        self.set_in(&mut client.told, place, bytes, b"");
        client.wishes.add(place);
        true
    }

    /// At its login a client is told its wishes, and for all other parameters a server's defaults.
    pub fn greet(&mut self, client: &mut ClientVars, defaults: &Vars) {
        self.fill_unset(&mut client.told, defaults);
        self.name_encoding(&mut client.told);
    }

    /// The login of a server is over: its present values are its defaults.
    pub fn take_defaults(&mut self, server: &mut ServerVars) {
        self.name_encoding(&mut server.present);
        self.copy(&mut server.defaults, &server.present);
    }

    /// The server has run connect_query, whose SETs count as defaults.
    pub fn take_query_defaults(&mut self, server: &mut ServerVars) {
        for place in 0..self.names.len() {
            if self.key(&server.present, place) != self.key(&server.defaults, place) {
                server.by_query.add(place);
            }
        }
        self.take_defaults(server);
    }

    /// The server has reset all parameters to their defaults. It reports those that it reports at
    /// all.
    pub fn forget_unreported(&mut self, server: &mut ServerVars) {
        self.doubt_unreported(server);
        server.doubtful = VarSet::default();
    }

    /// The server may have reset one parameter or all. The values of unreported ones are unknown
    /// then, and a transaction that fails may restore the old ones.
    pub fn doubt_unreported(&mut self, server: &mut ServerVars) {
        for place in 0..self.names.len() {
            let is_reported = self.key(&server.defaults, place).is_some();
            if !is_reported && self.key(&server.present, place).is_some() {
                self.set_key(&mut server.present, place, None);
                server.doubtful.add(place);
            }
        }
    }

    /// A copy of the server's defaults, for the welcome of clients.
    pub fn copy_defaults(&mut self, server: &ServerVars) -> Vars {
        let mut vars = Vars::default();
        self.copy(&mut vars, &server.defaults);
        vars
    }

    /// A parameter has changed while the client had the server: the new value is the client's wish.
    pub fn take_over(&mut self, client: &mut ClientVars, server: &ServerVars, place: usize) {
        let key = self.key(&server.present, place);
        self.set_key(&mut client.told, place, key);
        client.wishes.add(place);
    }

    /// Whether a server has the parameters of a client.
    #[inline(always)]
    pub fn is_agreed(client: &ClientVars, server: &ServerVars) -> bool {
        client.told == server.present && server.doubtful.is_empty()
    }

    /// The next statements that give the server the client's parameters; `None` when both agree. A
    /// value that is not ASCII is sent only once the server has its encoding, which applies to the
    /// whole query.
    #[inline]
    pub fn next_step(&self, client: &ClientVars, server: &ServerVars) -> Option<VarsStatements> {
        if Self::is_agreed(client, server) { None } else { self.difference(client, server) }
    }

    fn difference(&self, client: &ClientVars, server: &ServerVars) -> Option<VarsStatements> {
        let present = self.value(&server.present, CLIENT_ENCODING).map(|value| value.bytes);
        let is_present = |needed: &[u8]| {
            needed.is_empty() || present.is_some_and(|name| value::is_same_encoding(name, needed))
        };
        // Sent apart from the others: a value that is reported together with another encoding may
        // be in either.
        let (mut now, mut last) = (VarsStatements::default(), VarsStatements::default());
        let mut other_encoding = None;
        for (place, name) in self.names.iter().enumerate() {
            match self.aim(client, server, place) {
                Aim::Kept => {}
                Aim::Reset => last.add(place, |sql| sql.extend(format!("RESET {name};").bytes())),
                Aim::Set(key) => {
                    let VarValue { bytes, encoding } = VarValue::of(self.texts.get(key));
                    let set = |sql: &mut Vec<u8>| value::push_set(sql, name, bytes);
                    match encoding {
                        None => last.add(place, set),
                        Some(needed) if is_present(needed) => now.add(place, set),
                        Some(needed) => {
                            other_encoding.get_or_insert((place, needed));
                        }
                    }
                }
            }
        }
        match other_encoding {
            _ if !now.sql.is_empty() => Some(now),
            None => Some(last).filter(|last| !last.sql.is_empty()),
            Some((place, needed)) => {
                let mut sql = Vec::new();
                value::push_set(&mut sql, &self.names[CLIENT_ENCODING], needed);
                Some(VarsStatements { sql, change: VarsChange::Encoding(place) })
            }
        }
    }

    fn aim(&self, client: &ClientVars, server: &ServerVars, place: usize) -> Aim {
        let told = self.key(&client.told, place);
        let present = self.key(&server.present, place);
        let default = self.key(&server.defaults, place);
        let is_kept = client.wishes.has(place) || BY_BYTES.has(place);
        match (told.filter(|_| is_kept), default) {
            (Some(wanted), _) if present == Some(wanted) => Aim::Kept,
            (Some(wanted), _) => Aim::Set(wanted),
            (None, None) if server.doubtful.has(place) => Aim::Reset,
            (None, default) if present == default => Aim::Kept,
            (None, Some(default)) if server.by_query.has(place) => Aim::Set(default),
            (None, _) => Aim::Reset,
        }
    }

    /// The statements of a step have succeeded. If the server reports a parameter, the client takes
    /// over the server's spelling; if not, the server counts as having the value that was set.
    pub fn step_done(
        &mut self,
        client: &mut ClientVars,
        server: &mut ServerVars,
        change: VarsChange,
    ) {
        match change {
            VarsChange::Encoding(place) => self.encoding_done(client, server, place),
            VarsChange::Values(places) => {
                for place in (0..self.names.len()).filter(|&place| places.has(place)) {
                    self.value_done(client, server, place);
                }
            }
        }
    }

    /// The server now has the encoding that a value needs, under whatever name the server reports.
    fn encoding_done(&mut self, client: &ClientVars, server: &mut ServerVars, place: usize) {
        let Aim::Set(key) = self.aim(client, server, place) else { return };
        let encoding = VarValue::of(self.texts.get(key)).encoding.unwrap_or_default().to_vec();
        self.set(&mut server.present, CLIENT_ENCODING, &encoding);
    }

    fn value_done(&mut self, client: &mut ClientVars, server: &mut ServerVars, place: usize) {
        let is_reported = self.key(&server.defaults, place).is_some();
        let is_wish = client.wishes.has(place);
        let present = self.key(&server.present, place);
        server.doubtful.remove(place);
        match (is_reported, is_wish) {
            (true, true) => self.set_key(&mut client.told, place, present),
            (true, false) if BY_BYTES.has(place) => self.set_key(&mut client.told, place, present),
            // The default may have changed since the server's login.
            (true, false) => self.set_key(&mut server.defaults, place, present),
            (false, true) => {
                let told = self.key(&client.told, place);
                self.set_key(&mut server.present, place, told);
            }
            (false, false) => self.set_key(&mut server.present, place, None),
        }
    }

    /// The server has what the client wants. Appends a ParameterStatus for each default that
    /// differs from what the client was told last.
    pub fn agree(&mut self, client: &mut ClientVars, server: &ServerVars, out: &mut Vec<u8>) {
        if client.told == server.present {
            return;
        }
        for (place, name) in self.names.iter().enumerate() {
            let present = self.key(&server.present, place);
            if let Some(key) = present.filter(|_| present != self.key(&client.told, place)) {
                let value = VarValue::of(self.texts.get(key)).bytes;
                build::parameter_status(out, name, value);
            }
        }
        self.copy(&mut client.told, &server.present);
    }

    pub fn clear_client(&mut self, client: &mut ClientVars) {
        self.clear(&mut client.told);
    }

    pub fn clear_server(&mut self, server: &mut ServerVars) {
        self.clear(&mut server.present);
        self.clear(&mut server.defaults);
    }
}

impl Default for VarsStatements {
    fn default() -> VarsStatements {
        VarsStatements { sql: Vec::new(), change: VarsChange::Values(VarSet::default()) }
    }
}

impl VarsStatements {
    fn add(&mut self, place: usize, push: impl FnOnce(&mut Vec<u8>)) {
        push(&mut self.sql);
        if let VarsChange::Values(places) = &mut self.change {
            places.add(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table, one client and one server.
    struct Scene {
        table: VarTable,
        client: ClientVars,
        server: ServerVars,
    }

    const REPORTED: &[(&str, &str)] =
        &[("client_encoding", "UTF8"), ("DateStyle", "ISO, MDY"), ("TimeZone", "UTC")];

    impl Scene {
        /// A server has reported its parameters, and a client that asks for `asked` is welcomed on
        /// its behalf.
        fn new(asked: &[(&str, &[u8])]) -> Scene {
            let table = VarTable::new([]);
            let (client, server) = (ClientVars::default(), ServerVars::default());
            let mut scene = Scene { table, client, server };
            REPORTED.iter().for_each(|(name, value)| scene.report(name, value));
            scene.table.take_defaults(&mut scene.server);
            for (name, value) in asked {
                assert!(scene.table.ask(&mut scene.client, name, value));
            }
            scene.table.greet(&mut scene.client, &scene.server.present);
            scene
        }

        fn report(&mut self, name: &str, value: &str) {
            let place = self.table.find(name).unwrap();
            self.table.set(&mut self.server.present, place, value.as_bytes());
        }

        /// The statements of the next step, which succeed.
        fn step(&mut self) -> Option<String> {
            let VarsStatements { sql, change } =
                self.table.next_step(&self.client, &self.server)?;
            self.table.step_done(&mut self.client, &mut self.server, change);
            Some(String::from_utf8_lossy(&sql).into_owned())
        }

        fn steps(&mut self) -> Vec<String> {
            std::iter::from_fn(|| self.step()).take(9).collect()
        }

        /// What the client is told when it has got the server.
        fn news(&mut self) -> Vec<u8> {
            let mut out = Vec::new();
            self.table.agree(&mut self.client, &self.server, &mut out);
            assert!(self.client.told == self.server.present);
            out
        }
    }

    #[test]
    fn only_wishes_are_set_and_case_of_names_does_not_matter() {
        let scene = Scene::new(&[("timezone", b"CET")]);
        let step = scene.table.next_step(&scene.client, &scene.server).unwrap();
        assert_eq!(step.sql, b"SET TimeZone='CET';");
        let mut scene = Scene::new(&[]);
        assert!(scene.steps().is_empty() && scene.news().is_empty());
    }

    #[test]
    fn another_clients_value_goes_back_to_the_default() {
        let mut scene = Scene::new(&[]);
        scene.report("TimeZone", "CET");
        scene.report("client_encoding", "LATIN1");
        let step = scene.table.next_step(&scene.client, &scene.server).unwrap();
        assert_eq!(step.sql, b"SET client_encoding='UTF8';RESET TimeZone;");
    }

    #[test]
    fn another_default_is_no_wish_and_is_told() {
        let mut scene = Scene::new(&[]);
        scene.report("TimeZone", "Asia/Tokyo");
        scene.table.take_defaults(&mut scene.server);
        assert!(scene.steps().is_empty());
        assert_eq!(scene.news(), b"S\0\0\0\x18TimeZone\0Asia/Tokyo\0");
        assert!(scene.news().is_empty());
    }

    #[test]
    fn what_a_query_is_read_by_stays_as_the_client_was_told() {
        let mut scene = Scene::new(&[]);
        scene.report("client_encoding", "LATIN1");
        scene.table.take_defaults(&mut scene.server);
        let step = scene.table.next_step(&scene.client, &scene.server).unwrap();
        assert_eq!(step.sql, b"SET client_encoding='UTF8';");
    }

    #[test]
    fn what_connect_query_has_set_is_set_again() {
        let mut scene = Scene::new(&[]);
        scene.report("TimeZone", "CET");
        scene.table.take_query_defaults(&mut scene.server);
        scene.report("TimeZone", "Asia/Tokyo");
        scene.report("DateStyle", "German");
        let step = scene.table.next_step(&scene.client, &scene.server).unwrap();
        assert_eq!(step.sql, b"RESET DateStyle;SET TimeZone='CET';");
    }

    #[test]
    fn the_spelling_of_the_server_is_taken_over() {
        let mut scene = Scene::new(&[("TimeZone", b"utc")]);
        assert_eq!(scene.steps(), ["SET TimeZone='utc';"]);
        assert_eq!(scene.table.named(&scene.client.told, "timezone").as_deref(), Some("UTC"));
        assert!(scene.news().is_empty());
    }

    #[test]
    fn what_the_server_does_not_report_is_remembered_and_reset_for_the_next_client() {
        let mut scene = Scene::new(&[("search_path", b"a")]);
        assert_eq!(scene.steps().len(), 1);
        scene.table.clear_client(&mut scene.client);
        scene.client = ClientVars::default();
        scene.table.greet(&mut scene.client, &scene.server.defaults);
        assert_eq!(scene.steps(), ["RESET search_path;"]);
        assert!(scene.news().is_empty());
    }

    #[test]
    fn what_may_have_been_reset_is_reset_for_the_next_client() {
        let mut scene = Scene::new(&[("search_path", b"a")]);
        assert_eq!(scene.steps().len(), 1);
        // RESET ROLE has the same command tag as RESET search_path.
        scene.table.doubt_unreported(&mut scene.server);
        scene.table.clear_client(&mut scene.client);
        scene.client = ClientVars::default();
        scene.table.greet(&mut scene.client, &scene.server.defaults);
        assert_eq!(scene.steps(), ["RESET search_path;"]);
        assert_eq!(scene.steps(), [] as [&str; 0]);
    }

    #[test]
    fn what_was_reset_for_sure_is_left_alone() {
        let mut scene = Scene::new(&[("search_path", b"a")]);
        assert_eq!(scene.steps().len(), 1);
        scene.table.doubt_unreported(&mut scene.server);
        scene.table.forget_unreported(&mut scene.server);
        scene.table.clear_client(&mut scene.client);
        scene.client = ClientVars::default();
        scene.table.greet(&mut scene.client, &scene.server.defaults);
        assert_eq!(scene.steps(), [] as [&str; 0]);
    }

    #[test]
    fn a_value_goes_to_a_server_that_has_its_encoding() {
        let set = "SELECT pg_catalog.set_config('search_path', $v$sch\u{e9}ma$v$, false);";
        let scene = || Scene::new(&[("search_path", "sch\u{e9}ma".as_bytes())]);
        assert_eq!(scene().steps(), [set]);
        // Another client has left another encoding on the server.
        let mut left = scene();
        left.report("client_encoding", "LATIN1");
        assert_eq!(left.steps(), ["SET client_encoding='UTF8';", set]);
        // The client set the value in another encoding than it has now.
        let mut changed = scene();
        let place = changed.table.find("client_encoding").unwrap();
        changed.report("client_encoding", "LATIN1");
        changed.table.take_over(&mut changed.client, &changed.server, place);
        let (there, back) = ("SET client_encoding='UTF8';", "SET client_encoding='LATIN1';");
        assert_eq!(changed.steps(), [there, set, back]);
    }

    #[test]
    fn nothing_is_left_in_the_table() {
        let mut scene = Scene::new(&[("application_name", b"\xff"), ("DateStyle", b"x")]);
        scene.report("client_encoding", "SJIS");
        scene.steps();
        scene.news();
        let mut welcome = scene.table.copy_defaults(&scene.server);
        scene.table.clear(&mut welcome);
        scene.table.clear_client(&mut scene.client);
        scene.table.clear_server(&mut scene.server);
        let usage = scene.table.usage();
        assert_eq!((usage.sets, usage.texts), (0, 0));
    }
}

//! Finds databases, users and pools by name and by each other.
//!
//! [`PoolDirectory`] finds them. Only [`Registrar`] makes and forgets them, so that a record, its
//! name and its entries in other lists always agree.

use std::collections::HashMap;

use super::calendar::Calendar;
use super::database::{Database, sites_of};
use super::limits::Limits;
use super::pool::{Pool, Purpose, Rest};
use super::site::Sites;
use super::transients::Transients;
use super::user::User;
use crate::auth::secret::Secret;
use crate::base::arena::Arena;
use crate::base::list::List;
use crate::base::places::Places;
use crate::base::time::Moment;
use crate::config::{DatabaseLine, Settings};
use crate::pool::ids::{DatabaseId, PoolId, UserId};
use crate::pool::owed::varcache::VarTable;
use crate::pool::telling::latency::LatencyTable;

#[derive(Default)]
pub struct PoolDirectory {
    /// Databases that clients may ask for, so without those that were removed.
    databases: Places,
    users: Places,
    pools: HashMap<(DatabaseId, UserId, Purpose), PoolId>,
    pub(in crate::pool) transients: Transients,
}

impl PoolDirectory {
    pub fn find_database(&self, name: &str) -> Option<DatabaseId> {
        self.databases.id(name)
    }

    pub fn find_user(&self, name: &str) -> Option<UserId> {
        self.users.id(name)
    }

    pub fn find_pool(
        &self,
        database: DatabaseId,
        user: UserId,
        purpose: Purpose,
    ) -> Option<PoolId> {
        self.pools.get(&(database, user, purpose)).copied()
    }

    /// The pools of a database and a user; the one for clients comes first.
    pub fn pools_of(
        &self,
        database: DatabaseId,
        user: UserId,
    ) -> impl Iterator<Item = PoolId> + use<> {
        let all = [Purpose::Clients, Purpose::Lookups, Purpose::Listening];
        all.map(|purpose| self.find_pool(database, user, purpose)).into_iter().flatten()
    }

    /// The number of pools.
    #[cfg(any(test, debug_assertions))]
    pub(in crate::pool) fn pool_count(&self) -> usize {
        self.pools.len()
    }
}

/// Makes databases, users and pools, and forgets databases and pools. Users stay.
pub(in crate::pool) struct Registrar<'a> {
    pub now: Moment,
    pub settings: &'a Settings,
    pub directory: &'a mut PoolDirectory,
    pub databases: &'a mut Arena<Database>,
    pub users: &'a mut Arena<User>,
    pub pools: &'a mut Arena<Pool>,
    pub live_pools: &'a mut List<Pool>,
    pub calendar: &'a mut Calendar,
    pub sites: &'a mut Sites,
    pub latencies: &'a mut LatencyTable,
    pub vars: &'a mut VarTable,
}

impl Registrar<'_> {
    /// The user of that name; a new one if there is none.
    pub fn ensure_user(&mut self, name: &str) -> UserId {
        if let Some(id) = self.directory.find_user(name) {
            return id;
        }
        let id = self.users.insert(User::new(name));
        self.directory.users.insert_id(name, id);
        id
    }

    /// The pool of a database and a user; a new one if there is none.
    pub fn ensure_pool(&mut self, database: DatabaseId, user: UserId, purpose: Purpose) -> PoolId {
        if let Some(id) = self.directory.find_pool(database, user, purpose) {
            return id;
        }
        let Registrar { settings, databases, users, pools, .. } = &*self;
        let mode = Limits { settings, databases, users, pools }.mode_of(database, user);
        let mut pool = Pool::new((database, user), purpose, mode, self.now);
        let record = &mut self.databases[database];
        pool.latency = *record.latency.get_or_insert_with(|| self.latencies.take(record.is_auto));
        let id = self.pools.insert(pool);
        self.directory.pools.insert((database, user, purpose), id);
        self.databases[database].pools.push(id);
        self.users[user].pools.push(id);
        self.live_pools.push_back(self.pools, id);
        id
    }

    /// Makes the database of a line. No database may have the name yet.
    pub fn insert_database(&mut self, line: DatabaseLine) -> DatabaseId {
        let name = line.name.clone();
        let sites = sites_of(&line, &self.settings.unix_socket_dir, self.sites);
        let id = self.databases.insert(Database::new(line, sites, self.now));
        self.directory.databases.insert_id(&name, id);
        self.adopt_forced_user(id);
        id
    }

    /// Makes a database for a name that only the `*` line covers.
    pub fn insert_auto_database(&mut self, line: DatabaseLine) -> DatabaseId {
        let id = self.insert_database(line);
        self.databases[id].is_auto = true;
        self.directory.transients.insert(self.databases, id);
        id
    }

    /// Makes the users that a database line names: the forced user, whose pool all clients share,
    /// and auth_user. The console lists both from the start.
    pub fn adopt_forced_user(&mut self, id: DatabaseId) {
        let line = &self.databases[id].line;
        let (auth_user, user) = (line.auth_user.clone(), line.user.clone());
        let password = line.password.clone();
        if let Some(name) = auth_user {
            self.ensure_user(&name);
        }
        let user = user.map(|name| self.ensure_user(&name));
        let database = &mut self.databases[id];
        database.forced_user = user;
        database.forced_secret = password.map(|password| Secret::parse(&password.expose()));
    }

    /// The configuration now names a database, so it is never forgotten.
    pub fn keep_database(&mut self, id: DatabaseId) {
        if std::mem::take(&mut self.databases[id].is_auto) {
            self.directory.transients.remove(self.databases, id);
        }
    }

    /// The configuration no longer names a database: clients do not find it, and it may be
    /// forgotten. Returns false if it was removed before.
    pub fn remove_database(&mut self, id: DatabaseId) -> bool {
        let database = &mut self.databases[id];
        if std::mem::replace(&mut database.is_removed, true) {
            return false;
        }
        self.directory.databases.remove(&database.line.name);
        if !database.is_auto {
            self.directory.transients.insert(self.databases, id);
        }
        true
    }

    /// Forgets a database and its pools, which have no connections.
    pub fn forget_database(&mut self, id: DatabaseId) {
        for pool in self.databases[id].pools.clone() {
            self.forget_pool(pool);
        }
        if self.databases[id].is_transient() {
            self.directory.transients.remove(self.databases, id);
        }
        let Some(database) = self.databases.remove(id) else { return };
        if let Some(place) = database.latency {
            self.latencies.give_back(place);
        }
        // If the database was removed before, another may have its name now.
        if self.directory.find_database(&database.line.name) == Some(id) {
            self.directory.databases.remove(&database.line.name);
        }
    }

    /// Forgets a pool, unless it has connections.
    pub fn forget_pool(&mut self, id: PoolId) {
        if !self.pools[id].is_deserted() {
            return;
        }
        self.pools[id].forget_welcome(self.vars);
        match self.pools[id].rest {
            Rest::Awake => self.live_pools.remove(self.pools, id),
            Rest::Never | Rest::Slot(_) => self.calendar.take(self.pools, id),
        }
        let Some(pool) = self.pools.remove(id) else { return };
        self.directory.pools.remove(&(pool.database, pool.user, pool.purpose));
        self.databases[pool.database].pools.retain(|other| *other != id);
        self.users[pool.user].pools.retain(|other| *other != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::records::lookup::Lookup;
    use crate::pool::records::pool::Welcome;
    use crate::pool::telling::latency::LatencyPlace;

    const NOW: Moment = Moment(60_000_000);

    /// The records, without a core.
    struct Scene {
        settings: Settings,
        directory: PoolDirectory,
        databases: Arena<Database>,
        users: Arena<User>,
        pools: Arena<Pool>,
        live_pools: List<Pool>,
        calendar: Calendar,
        sites: Sites,
        latencies: LatencyTable,
        vars: VarTable,
    }

    impl Scene {
        fn new() -> Scene {
            Scene {
                settings: Settings::default(),
                directory: PoolDirectory::default(),
                databases: Arena::new(),
                users: Arena::new(),
                pools: Arena::new(),
                live_pools: List::default(),
                calendar: Calendar::new(NOW),
                sites: Sites::default(),
                latencies: LatencyTable::default(),
                vars: VarTable::new([]),
            }
        }

        fn registrar(&mut self) -> Registrar<'_> {
            Registrar {
                now: NOW,
                settings: &self.settings,
                directory: &mut self.directory,
                databases: &mut self.databases,
                users: &mut self.users,
                pools: &mut self.pools,
                live_pools: &mut self.live_pools,
                calendar: &mut self.calendar,
                sites: &mut self.sites,
                latencies: &mut self.latencies,
                vars: &mut self.vars,
            }
        }

        fn pool(&mut self, purpose: Purpose) -> (DatabaseId, UserId, PoolId) {
            let mut registrar = self.registrar();
            let found = registrar.directory.find_database("db");
            let database = found.unwrap_or_else(|| registrar.insert_database(line("db")));
            let user = registrar.ensure_user("joe");
            (database, user, registrar.ensure_pool(database, user, purpose))
        }

        fn transients(&self) -> Vec<DatabaseId> {
            self.directory.transients.iter(&self.databases).collect()
        }
    }

    fn line(name: &str) -> DatabaseLine {
        DatabaseLine { name: name.into(), ..DatabaseLine::default() }
    }

    #[test]
    fn a_pool_is_made_once_and_found_by_all_that_name_it() {
        let mut scene = Scene::new();
        let (database, user, pool) = scene.pool(Purpose::Clients);
        assert_eq!(scene.pool(Purpose::Clients), (database, user, pool));
        assert_eq!(scene.directory.find_pool(database, user, Purpose::Clients), Some(pool));
        assert_eq!(scene.directory.find_pool(database, user, Purpose::Lookups), None);
        assert_eq!(scene.databases[database].pools, [pool]);
        assert_eq!(scene.users[user].pools, [pool]);
        assert_eq!(scene.live_pools.ids(&scene.pools), [pool]);
    }

    #[test]
    fn the_pools_of_a_database_share_its_histograms_and_each_has_its_users_mode() {
        use crate::config::{PoolMode, UserLine};
        let mut scene = Scene::new();
        let (database, _, pool) = scene.pool(Purpose::Clients);
        let ann = scene.registrar().ensure_user("ann");
        let mode = Some(PoolMode::Statement);
        scene.users[ann].line =
            Some(UserLine { name: "ann".into(), pool_mode: mode, ..UserLine::default() });
        let other = scene.registrar().ensure_pool(database, ann, Purpose::Clients);
        assert_eq!(scene.pools[pool].mode, scene.settings.pool_mode);
        assert_eq!(scene.pools[other].mode, PoolMode::Statement);
        assert_ne!(scene.pools[pool].latency, LatencyPlace::SHARED);
        assert_eq!(scene.pools[other].latency, scene.pools[pool].latency);
    }

    #[test]
    fn of_the_pools_of_a_database_and_a_user_that_of_clients_comes_first() {
        let mut scene = Scene::new();
        let (database, user, lookups) = scene.pool(Purpose::Lookups);
        let (.., listening) = scene.pool(Purpose::Listening);
        let (.., clients) = scene.pool(Purpose::Clients);
        let all: Vec<PoolId> = scene.directory.pools_of(database, user).collect();
        assert_eq!(all, [clients, lookups, listening]);
        let ann = scene.registrar().ensure_user("ann");
        assert_eq!(scene.directory.pools_of(database, ann).count(), 0);
    }

    #[test]
    fn a_forgotten_pool_is_in_no_list_whether_it_was_at_rest_or_not() {
        for is_at_rest in [false, true] {
            let mut scene = Scene::new();
            let (database, user, pool) = scene.pool(Purpose::Clients);
            if is_at_rest {
                scene.live_pools.remove(&mut scene.pools, pool);
                scene.calendar.put(&mut scene.pools, pool, NOW);
            }
            scene.registrar().forget_pool(pool);
            assert!(!scene.pools.contains(pool));
            assert_eq!(scene.directory.find_pool(database, user, Purpose::Clients), None);
            assert_eq!(scene.directory.pool_count(), 0);
            assert!(scene.databases[database].pools.is_empty());
            assert!(scene.users[user].pools.is_empty());
            assert!(scene.live_pools.is_empty());
            let later = NOW + std::time::Duration::from_secs(3600);
            assert_eq!(scene.calendar.due(&scene.pools, later), []);
        }
    }

    #[test]
    fn what_a_forgotten_pool_would_have_told_its_clients_takes_no_room() {
        let mut scene = Scene::new();
        let (.., pool) = scene.pool(Purpose::Clients);
        let mut welcome = Welcome::default();
        let place = scene.vars.find("application_name").expect("always tracked");
        scene.vars.set(&mut welcome.vars, place, b"psql");
        scene.pools[pool].welcome = Some(welcome);
        assert_eq!(scene.vars.usage().texts, 1);
        scene.registrar().forget_pool(pool);
        assert_eq!(scene.vars.usage().texts, 0);
    }

    #[test]
    fn a_pool_with_somebody_in_it_is_not_forgotten() {
        let mut scene = Scene::new();
        let (database, user, pool) = scene.pool(Purpose::Lookups);
        let client = crate::pool::ids::ClientId::from_bits(1);
        scene.pools[pool].lookups.push_back(Lookup::new("ann", "select 1", client, NOW));
        scene.registrar().forget_pool(pool);
        assert_eq!(scene.directory.find_pool(database, user, Purpose::Lookups), Some(pool));
        assert_eq!(scene.live_pools.ids(&scene.pools), [pool]);
    }

    #[test]
    fn a_database_brings_the_users_that_its_line_names() {
        let mut scene = Scene::new();
        let users = (Some("joe".into()), Some("looker".into()));
        let line = DatabaseLine { user: users.0, auth_user: users.1, ..line("db") };
        let id = scene.registrar().insert_database(line);
        assert_eq!(scene.directory.find_database("db"), Some(id));
        let joe = scene.directory.find_user("joe");
        assert!(joe.is_some() && scene.databases[id].forced_user == joe);
        assert!(scene.directory.find_user("looker").is_some());
        assert_eq!(joe, Some(scene.registrar().ensure_user("joe")), "there is one of a name");
        scene.databases[id].line.user = None;
        scene.registrar().adopt_forced_user(id);
        assert_eq!(scene.databases[id].forced_user, None);
        assert_eq!(scene.directory.find_user("joe"), joe, "a user stays");
    }

    #[test]
    fn a_forgotten_database_takes_its_pools_along_and_gives_its_histograms_back() {
        let mut scene = Scene::new();
        let (database, user, pool) = scene.pool(Purpose::Clients);
        let place = scene.databases[database].latency;
        scene.registrar().forget_database(database);
        assert_eq!(scene.directory.find_database("db"), None);
        assert!(!scene.pools.contains(pool) && scene.users[user].pools.is_empty());
        let (again, ..) = scene.pool(Purpose::Clients);
        assert_ne!(again, database);
        assert_eq!(scene.databases[again].latency, place);
    }

    #[test]
    fn a_removed_database_leaves_its_name_to_the_next() {
        let mut scene = Scene::new();
        let old = scene.registrar().insert_database(line("db"));
        assert!(scene.registrar().remove_database(old));
        assert_eq!(scene.directory.find_database("db"), None);
        let new = scene.registrar().insert_database(line("db"));
        assert!(!scene.registrar().remove_database(old), "it is removed already");
        assert_eq!(scene.directory.find_database("db"), Some(new));
        scene.registrar().forget_database(old);
        assert_eq!(scene.directory.find_database("db"), Some(new));
    }

    #[test]
    fn a_database_made_from_a_star_or_removed_may_go_until_a_line_names_it() {
        let mut scene = Scene::new();
        let of_file = scene.registrar().insert_database(line("file"));
        let [kept, left] =
            ["a", "b"].map(|name| scene.registrar().insert_auto_database(line(name)));
        assert_eq!(scene.transients(), [kept, left]);
        scene.registrar().keep_database(kept);
        assert_eq!(scene.transients(), [left]);
        assert!(!scene.databases[kept].is_auto);
        for id in [left, of_file] {
            scene.registrar().remove_database(id);
        }
        assert_eq!(scene.transients(), [left, of_file], "each once");
        scene.registrar().forget_database(left);
        assert_eq!(scene.transients(), [of_file]);
    }
}

//! Lists names of users and databases in one line.

/// The most names in one line.
const NAMES_MAX: usize = 5;

/// The first names and the number of the others; None if there is no name.
pub fn names<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let names: Vec<&str> = names.collect();
    let (told, more) = names.split_at(names.len().min(NAMES_MAX));
    match (told, more.len()) {
        ([], _) => None,
        (told, 0) => Some(told.join(", ")),
        (told, more) => Some(format!("{} and {more} more", told.join(", "))),
    }
}

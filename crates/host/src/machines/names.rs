//! Names for ephemeral machines, and the nearest name to a mistyped one.

use std::hash::{BuildHasher, RandomState};

const ADJECTIVES: [&str; 40] = [
    "amber", "bold", "brave", "brisk", "calm", "clever", "cosy", "crisp", "deft", "eager", "fair",
    "fleet", "fond", "gentle", "glad", "golden", "grand", "happy", "hardy", "keen", "kind",
    "lively", "lucid", "merry", "mild", "nimble", "noble", "plucky", "proud", "quick", "quiet",
    "ready", "silver", "snug", "spry", "steady", "sunny", "swift", "tidy", "warm",
];
const NOUNS: [&str; 40] = [
    "acorn", "badger", "beacon", "birch", "bison", "brook", "cedar", "comet", "crane", "delta",
    "dune", "falcon", "fern", "finch", "fjord", "grove", "harbor", "heron", "island", "lark",
    "lynx", "maple", "marten", "meadow", "otter", "owl", "pebble", "pine", "plover", "puffin",
    "quartz", "raven", "reef", "robin", "sparrow", "spruce", "tern", "tulip", "willow", "wren",
];

/// A number that differs from call to call; good for names, not for secrets.
pub fn random_seed() -> u64 {
    RandomState::new().hash_one("name")
}

/// Names to try in turn: first plain ones, then numbered ones. It ends.
pub fn candidates(seed: u64) -> impl Iterator<Item = String> {
    let pairs = ADJECTIVES.len() * NOUNS.len();
    let start = (seed % pairs as u64) as usize;
    (0..4 * pairs).map(move |step| {
        // 7 has no divisor in common with the number of pairs, so each comes once a round.
        let pair = (start + step * 7) % pairs;
        let (adjective, noun) = (ADJECTIVES[pair / NOUNS.len()], NOUNS[pair % NOUNS.len()]);
        match step / pairs {
            0 => format!("{adjective}-{noun}"),
            round => format!("{adjective}-{noun}-{}", round + 1),
        }
    })
}

/// The name most like `name`, if one is alike.
pub fn nearest(name: &str, names: &[String]) -> Option<String> {
    let (distance, nearest) =
        names.iter().map(|known| (distance(name, known), known)).min_by_key(|pair| pair.0)?;
    (distance <= name.len().max(nearest.len()) / 3).then(|| nearest.clone())
}

/// Levenshtein's distance in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::machines::check_name;

    #[test]
    fn candidates_are_good_names_and_all_different() {
        let names: Vec<String> = candidates(12345).collect();
        assert!(names.iter().all(|name| check_name(name).is_ok()));
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        assert!(names.len() > crate::machines::MACHINES_MAX);
    }

    #[test]
    fn the_nearest_name_is_near() {
        let names = ["web", "database", "brave-otter"].map(str::to_owned);
        let check = |name, expected: Option<&str>| {
            assert_eq!(nearest(name, &names).as_deref(), expected, "{name}");
        };
        check("wev", Some("web"));
        check("databse", Some("database"));
        check("brave-oter", Some("brave-otter"));
        check("mail", None);
    }
}

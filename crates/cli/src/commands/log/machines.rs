//! Machines, moments and recordings that go on from one another, as lines of a tree and as JSON.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use stackvm_host::machines::{Lifetime, Listed, MachineSpec, Machines, Status};
use stackvm_machine::Instant;
use stackvm_machine::instant::Ticks;

use super::tree::Node;
use crate::commands::past::{kind, seconds};
use crate::commands::rows;

/// A machine.
pub(super) struct Row {
    member: Member,
    row: rows::Row,
    spec: MachineSpec,
    label: String,
    /// The line that was entered last since it left its parent.
    last: Option<String>,
}

/// All that go on from the oldest machine that `id` goes on from and that is still there, with that
/// one; parents before children.
pub(super) fn rows(machines: &Machines, id: &str) -> Result<Vec<Row>> {
    let mut all = machines.list()?;
    // A server's own: nobody is ever at one.
    all.retain(|machine| machine.spec.lifetime != Lifetime::Held);
    let specs: Vec<&MachineSpec> = all.iter().map(|machine| &machine.spec).collect();
    let start = specs.iter().position(|spec| spec.name == id);
    let start = start.with_context(|| format!("machine {id} has just gone"))?;
    let row = |member: Member| {
        let machine = &all[member.machine];
        Row {
            member,
            row: rows::Row::new(machines, machine.clone()),
            spec: machine.spec.clone(),
            label: machine.label().to_owned(),
            last: last(machines, machine, member.parent.map(|(_, at)| at)),
        }
    };
    Ok(family(&specs, start).into_iter().map(row).collect())
}

impl Row {
    /// As a line of a tree.
    pub(super) fn node(&self) -> Node {
        let (parent, at) = self.member.parent.unzip();
        Node {
            parent,
            from: Ticks::new(at.map_or(0, Instant::ticks)),
            words: self.words(),
            notes: Vec::new(),
        }
    }

    /// For programs. `rows` are all of the tree.
    pub(super) fn json(&self, rows: &[Row]) -> Value {
        let parent = self.member.parent;
        json!({
            "id": self.spec.name,
            "name": self.label,
            "kind": kind(&self.spec),
            "parent": parent.map(|(place, _)| rows[place].spec.name.clone()),
            "at_ns": parent.map(|(_, at)| at.ns()),
            "until_ns": self.spec.recorded_until().map(|until| until.ns()),
            "created_unix_s": self.spec.created_unix_s,
            "state": self.row.state(),
            "last": self.last,
        })
    }

    fn words(&self) -> String {
        let at = self.member.parent.map(|(_, at)| seconds(at.ns()));
        let until = self.spec.recorded_until().map(|until| seconds(until.ns()));
        let (kind, runs) = (kind(&self.spec), self.spec.lifetime.runs());
        let place = match (at, until) {
            (Some(at), Some(until)) => format!("  {kind} from {at} to {until}"),
            (Some(at), None) if runs => format!("  at {at}"),
            (Some(at), None) => format!("  {kind} at {at}"),
            (None, _) if runs => String::new(),
            (None, _) => format!("  {kind}"),
        };
        // What never runs is always saved.
        let state = if runs { format!("  {}", self.row.state()) } else { String::new() };
        let last = self.last.as_ref().map(|line| format!("  {}", line.trim()));
        format!("{}{place}{state}{}", self.label, last.unwrap_or_default())
    }
}

/// Its place in the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Member {
    /// Its place in the list of all machines.
    machine: usize,
    /// Its parent's place in the tree, and the instant at which it leaves it.
    parent: Option<(usize, Instant)>,
}

/// One whose journal cannot be read has no last line, and does not keep the others.
fn last(machines: &Machines, machine: &Listed, from: Option<Instant>) -> Option<String> {
    let id = &machine.spec.name;
    if machine.status == Status::Running {
        // What is written already counts if its lab does not answer.
        let _ = machines.write_shown(id);
    }
    machines.last_entered(id, from.unwrap_or_default()).ok().flatten()
}

/// The tree in which `start` is. A machine is in it once, whatever the specs say.
fn family(specs: &[&MachineSpec], start: usize) -> Vec<Member> {
    let parent = |child: usize| specs.iter().position(|other| specs[child].leaves(other).is_some());
    let (mut root, mut seen) = (start, BTreeSet::new());
    while seen.insert(root) {
        root = parent(root).unwrap_or(root);
    }
    let mut members = vec![Member { machine: root, parent: None }];
    let mut placed = BTreeSet::from([root]);
    let mut next = 0;
    while let Some(member) = members.get(next).copied() {
        for (machine, spec) in specs.iter().enumerate() {
            if let Some(at) = spec.leaves(specs[member.machine])
                && placed.insert(machine)
            {
                members.push(Member { machine, parent: Some((next, at)) });
            }
        }
        next += 1;
    }
    members
}

#[cfg(test)]
mod tests {
    use stackvm_host::machines::{Source, StartFrom};

    use super::*;

    /// A machine that was made at a second, and which it goes on from, after how many ticks.
    fn spec(name: &str, created_unix_s: u64, of: Option<(&str, u64)>) -> MachineSpec {
        let source = Source::Image { name: "tiny".to_owned(), hash: None };
        let start = of.map_or(StartFrom::Cold, |(of, at_ticks)| StartFrom::Moment {
            journal: format!("/data/machines/{of}/journal").into(),
            at_ticks,
            until_ticks: None,
        });
        let lifetime = Lifetime::Named;
        MachineSpec { created_unix_s, start, lifetime, ..MachineSpec::new(name, source) }
    }

    /// The tree in which a machine is, as `name<parent@ticks`.
    fn check(specs: &[MachineSpec], start: &str, expected: &[&str]) {
        let specs: Vec<&MachineSpec> = specs.iter().collect();
        let place = specs.iter().position(|spec| spec.name == start).unwrap();
        let members = family(&specs, place);
        let name = |member: &Member| specs[member.machine].name.clone();
        let shown = |member: &Member| match member.parent {
            None => name(member),
            Some((parent, at)) => {
                format!("{}<{}@{}", name(member), name(&members[parent]), at.ticks())
            }
        };
        assert_eq!(members.iter().map(shown).collect::<Vec<_>>(), expected, "{start}");
    }

    #[test]
    fn a_tree_begins_with_the_oldest_that_is_there() {
        let specs = [
            spec("child", 3, Some(("gone", 5))),
            spec("grandchild", 4, Some(("child", 6))),
            spec("other", 2, None),
            spec("second", 5, Some(("child", 5))),
            spec("third", 6, Some(("grandchild", 9))),
        ];
        let tree = ["child", "grandchild<child@6", "second<child@5", "third<grandchild@9"];
        check(&specs, "third", &tree);
        check(&specs, "child", &tree);
        check(&specs, "other", &["other"]);
    }

    #[test]
    fn names_that_were_given_again_make_no_rings() {
        // The first "a" is gone; the second one goes on from what went on from that.
        check(&[spec("a", 7, Some(("b", 2))), spec("b", 5, Some(("a", 1)))], "a", &["b", "a<b@2"]);
        let ring = [spec("a", 7, Some(("b", 2))), spec("b", 7, Some(("a", 1)))];
        let specs: Vec<&MachineSpec> = ring.iter().collect();
        assert_eq!(family(&specs, 0).len(), 2);
    }
}

//! A tree of lines, as `git log --graph` draws commits: what hangs where. Pure; what the lines say is
//! their makers'.

use stackvm_machine::instant::Ticks;

use crate::player::tenths;

/// A line, and what is noted below it.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Its parent's place in the list.
    pub(super) parent: Option<usize>,
    /// Where it leaves its parent.
    pub(super) from: Ticks,
    /// What it says; control characters are shown as such.
    pub(super) words: String,
    /// Remarks about instants.
    pub(super) notes: Vec<(Ticks, String)>,
}

/// The tree.
pub(super) fn draw(nodes: &[Node]) -> String {
    let mut text = String::new();
    for (root, node) in nodes.iter().enumerate().filter(|(_, node)| node.parent.is_none()) {
        text += &format!("* {}\n", clean(&node.words));
        below(nodes, root, "", &mut text);
    }
    text
}

fn below(nodes: &[Node], parent: usize, indent: &str, text: &mut String) {
    let mut children: Vec<usize> =
        (0..nodes.len()).filter(|n| nodes[*n].parent == Some(parent)).collect();
    children.sort_by_key(|n| nodes[*n].from);
    let rail = if children.is_empty() { "   " } else { "|  " };
    for (at, note) in &nodes[parent].notes {
        let note: String = note.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        text.push_str(&format!("{indent}{rail} {}  {note}\n", tenths(*at)));
    }
    let last = children.last().copied();
    for child in children {
        let (own, next) = if Some(child) == last { ("`-", "   ") } else { ("|-", "|  ") };
        text.push_str(&format!("{indent}{own}* {}\n", clean(&nodes[child].words)));
        below(nodes, child, &format!("{indent}{next}"), text);
    }
}

fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

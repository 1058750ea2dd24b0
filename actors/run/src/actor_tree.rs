//! The actor tree in words.

use ractor::ActorCell;

/// The names of an actor and all below it, one a line, indented by depth.
pub(crate) fn actor_tree(root: &ActorCell) -> String {
    let mut lines = Vec::new();
    draw(root, "", &mut lines);
    lines.join("\n")
}

fn draw(actor: &ActorCell, indent: &str, lines: &mut Vec<String>) {
    lines.push(format!("{indent}{}", actor.get_name().unwrap_or_else(|| "unnamed".into())));
    let mut children = actor.get_children();
    children.sort_by_key(ActorCell::get_name);
    for child in &children {
        draw(child, &format!("{indent}  "), lines);
    }
}

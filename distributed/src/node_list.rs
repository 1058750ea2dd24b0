//! The first machine of a list as Slurm writes it: `node[003-005,010],login1` is `node003`.

/// The first name of the list; `None` if it is empty or not of this form.
pub(crate) fn first_node(list: &str) -> Option<String> {
    let mut depth = 0;
    let end = list.char_indices().find(|(_, c)| {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        *c == ',' && depth == 0
    });
    let first = end.map_or(list, |(at, _)| &list[..at]).trim();
    let mut name = String::new();
    let mut rest = first;
    while let Some((before, ranges)) = rest.split_once('[') {
        let (ranges, after) = ranges.split_once(']')?;
        name.push_str(before);
        name.push_str(ranges.split([',', '-']).next()?);
        rest = after;
    }
    name.push_str(rest);
    (!name.is_empty() && !name.contains(']')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::first_node;

    #[test]
    fn the_first_node_of_a_list_is_found_in_every_form() {
        let found = [
            ("node1", "node1"),
            ("node1,node2", "node1"),
            ("node[003-005,010],login1", "node003"),
            ("gpu-[7,9]", "gpu-7"),
            ("r[1-2]c[04-08].cluster", "r1c04.cluster"),
        ];
        for (list, first) in found {
            assert_eq!(first_node(list).as_deref(), Some(first), "{list}");
        }
        for list in ["", "node[3", "node]3"] {
            assert_eq!(first_node(list), None, "{list}");
        }
    }
}

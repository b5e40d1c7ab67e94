//! A persistent radix tree over byte keys with two wild bytes: editing copies the nodes on one path and shares the rest.

use std::sync::Arc;

/// In a key: one or more bytes other than `/`, as far as they go.
pub(super) const PARAM: u8 = 0;
/// In a key, last: nothing but an optional `/` may follow.
pub(super) const END: u8 = 1;

/// As many lists as ordinary tables meet; beyond it they spill to the heap.
const INLINE: usize = 12;

/// A node and, through its edges, the tree below it.
#[derive(Debug, Clone)]
pub(super) struct Node<V> {
    values: Vec<V>,
    /// Sorted by the first byte of the label, which no two share; so the wild ones come first.
    edges: Vec<Edge<V>>,
}

#[derive(Debug, Clone)]
struct Edge<V> {
    /// The first byte of the label, here so that a search among edges does not touch the labels of all.
    first: u8,
    /// Length of what is literal at the beginning of the label, or less: it is compared at once.
    literal: u16,
    /// Never empty.
    label: Box<[u8]>,
    node: Arc<Node<V>>,
}

/// The value lists that a path met on its way.
#[derive(Debug)]
pub(super) struct Met<'t, V> {
    first: [&'t [V]; INLINE],
    len: usize,
    more: Vec<&'t [V]>,
}

// === impl Node ===

impl<V> Default for Node<V> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            edges: Vec::new(),
        }
    }
}

impl<V> Node<V> {
    /// The values under exactly `key`; wild bytes mean themselves.
    pub(super) fn get(&self, mut key: &[u8]) -> &[V] {
        let mut node = self;
        while let Some(&byte) = key.first() {
            let Some(edge) = node.edge(byte) else { return &[] };
            let Some(rest) = key.strip_prefix(&*edge.label) else {
                return &[];
            };
            (node, key) = (&edge.node, rest);
        }
        &node.values
    }

    /// Collects the values of every key that `path` satisfies or begins with.
    pub(super) fn walk<'t>(&'t self, path: &[u8], met: &mut Met<'t, V>) {
        let (mut node, mut path) = (self, path);
        loop {
            if !node.values.is_empty() {
                met.push(&node.values);
            }
            for edge in node.edges.iter().take_while(|edge| edge.first <= END) {
                if let Some(rest) = edge.descend(path) {
                    edge.node.walk(rest, met);
                }
            }
            let Some(edge) = path
                .first()
                .filter(|&&byte| byte > END)
                .and_then(|&byte| node.edge(byte))
            else {
                return;
            };
            let Some(rest) = edge.descend(path) else {
                return;
            };
            (node, path) = (&edge.node, rest);
        }
    }

    /// Whether there are no keys.
    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty() && self.edges.is_empty()
    }

    /// Calls `visit` with every value.
    pub(super) fn each<'t>(&'t self, visit: &mut impl FnMut(&'t V)) {
        self.values.iter().for_each(&mut *visit);
        for edge in &self.edges {
            edge.node.each(visit);
        }
    }

    fn edge(&self, first: u8) -> Option<&Edge<V>> {
        let at = self.edges.binary_search_by_key(&first, |edge| edge.first).ok()?;
        self.edges.get(at)
    }
}

impl<V: Clone> Node<V> {
    /// Changes the values under `key`, which start empty; keys whose values end empty vanish.
    pub(super) fn edit(&mut self, key: &[u8], change: impl FnOnce(&mut Vec<V>)) {
        let Some(&byte) = key.first() else {
            change(&mut self.values);
            // Most nodes hold one value or two; a vector's growth policy would waste half.
            self.values.shrink_to_fit();
            return;
        };
        let at = match self.edges.binary_search_by_key(&byte, |edge| edge.first) {
            Ok(at) => at,
            Err(at) => {
                self.edges.reserve_exact(1);
                self.edges.insert(at, Edge::new(key.into(), Arc::default()));
                at
            }
        };
        let edge = &mut self.edges[at];
        let common = edge.label.iter().zip(key).take_while(|(a, b)| a == b).count();
        edge.split(common);
        Arc::make_mut(&mut edge.node).edit(&key[common..], change);
        if edge.node.is_empty() {
            self.edges.remove(at);
        } else {
            edge.join();
        }
    }
}

// === impl Edge ===

impl<V> Edge<V> {
    fn new(label: Box<[u8]>, node: Arc<Node<V>>) -> Self {
        let literal = label.iter().take_while(|byte| **byte > END).count();
        Self {
            first: label.first().copied().unwrap_or(END),
            literal: u16::try_from(literal).unwrap_or(u16::MAX),
            label,
            node,
        }
    }

    /// What is left of `path` after the label, if it fits.
    fn descend<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        let (literal, wild) = self.label.split_at_checked(usize::from(self.literal))?;
        let path = path.strip_prefix(literal)?;
        if wild.is_empty() {
            Some(path)
        } else {
            descend(wild, path)
        }
    }

    /// Puts a node between the first `at` bytes of the label and the rest, if there is a rest.
    fn split(&mut self, at: usize) {
        if at < self.label.len() {
            let (head, tail) = self.label.split_at(at);
            let (head, tail): (Box<[u8]>, Box<[u8]>) = (head.into(), tail.into());
            let below = Self::new(tail, std::mem::take(&mut self.node));
            let between = Node {
                values: Vec::new(),
                edges: vec![below],
            };
            *self = Self::new(head, Arc::new(between));
        }
    }

    /// Undoes [`Edge::split`] where nothing hangs on the node between.
    fn join(&mut self) {
        if self.node.values.is_empty()
            && let [below] = self.node.edges.as_slice()
        {
            let label = [&*self.label, &*below.label].concat();
            *self = Self::new(label.into(), Arc::clone(&below.node));
        }
    }
}

// === impl Met ===

impl<'t, V: 't> Met<'t, V> {
    pub(super) fn new() -> Self {
        Self {
            first: [&[]; INLINE],
            len: 0,
            more: Vec::new(),
        }
    }

    fn push(&mut self, values: &'t [V]) {
        match self.first.get_mut(self.len) {
            Some(slot) => {
                *slot = values;
                self.len += 1;
            }
            None => self.more.push(values),
        }
    }

    /// Takes the least value of all lists, each of which is sorted.
    pub(super) fn next(&mut self) -> Option<&'t V>
    where
        V: Ord,
    {
        let lists = self.first.iter_mut().take(self.len).chain(&mut self.more);
        let least = lists
            .filter(|list| !list.is_empty())
            .min_by(|a, b| a.first().cmp(&b.first()))?;
        let (value, rest) = least.split_first()?;
        *least = rest;
        Some(value)
    }
}

/// What is left of `path` after `label`, if it fits.
fn descend<'p>(label: &[u8], mut path: &'p [u8]) -> Option<&'p [u8]> {
    for &byte in label {
        path = match byte {
            PARAM => match path.iter().position(|&byte| byte == b'/').unwrap_or(path.len()) {
                0 => return None,
                end => path.get(end..)?,
            },
            END if path.is_empty() || path == b"/" => path,
            END => return None,
            byte => path.strip_prefix(&[byte])?,
        };
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(tree: &Node<u32>, path: &str) -> Vec<u32> {
        let mut met = Met::new();
        tree.walk(path.as_bytes(), &mut met);
        std::iter::from_fn(|| met.next().copied()).collect()
    }

    fn tree(keys: &[(&str, u32)]) -> Node<u32> {
        let mut tree = Node::default();
        for (key, value) in keys {
            tree.edit(key.as_bytes(), |values| values.push(*value));
        }
        tree
    }

    #[test]
    fn walk_meets_every_prefix_and_wild_key() {
        let tree = tree(&[
            ("/a", 1),
            ("/a/\0/c", 2),
            ("/a/b", 3),
            ("/a/\0\u{1}", 4),
            ("", 5),
            ("/ab", 6),
        ]);
        let cases: &[(&str, &[u32])] = &[
            ("/a/b/c", &[1, 2, 3, 5]),
            ("/a/b", &[1, 3, 4, 5]),
            ("/a/x/", &[1, 4, 5]),
            ("/a//c", &[1, 5]),
            ("/ab", &[1, 5, 6]),
            ("/a/\0/c", &[1, 2, 5]),
            ("x", &[5]),
        ];
        for (path, want) in cases {
            assert_eq!(met(&tree, path), *want, "{path}");
        }
    }

    #[test]
    fn more_lists_than_fit_inline_keep_their_order() {
        let keys: Vec<String> = (0..40).map(|n| "x".repeat(n)).collect();
        let mut tree = Node::default();
        for (n, key) in (0_u32..).zip(&keys) {
            tree.edit(key.as_bytes(), |values| values.push(100 - n));
        }
        let want: Vec<u32> = (61..=100).collect();
        assert_eq!(met(&tree, &"x".repeat(50)), want);
    }

    #[test]
    fn a_label_may_be_longer_than_what_is_compared_at_once() {
        let long = "x".repeat(70_000);
        let tree = tree(&[(&format!("{long}/\0/y\u{1}"), 1)]);
        assert_eq!(met(&tree, &format!("{long}/abc/y/")), [1]);
        for path in [format!("{long}z/abc/y"), long.replacen('x', "z", 69_000), long] {
            assert!(met(&tree, &path).is_empty());
        }
    }

    #[test]
    fn removing_gives_back_the_tree_before() {
        let before = tree(&[("/pets", 1), ("/pet", 2)]);
        let mut after = before.clone();
        after.edit(b"/pe", |values| values.push(3));
        assert_eq!(after.get(b"/pe"), [3]);
        after.edit(b"/pe", Vec::clear);
        assert_eq!(format!("{after:?}"), format!("{before:?}"));
        after.edit(b"/nothing/here", Vec::clear);
        assert_eq!(format!("{after:?}"), format!("{before:?}"));
        after.edit(b"/pet", Vec::clear);
        after.edit(b"/pets", Vec::clear);
        assert_eq!(format!("{after:?}"), format!("{:?}", Node::<u32>::default()));
    }

    #[test]
    fn a_change_shares_what_it_does_not_touch() {
        let before = tree(&[("/a/1", 1), ("/b/1", 2)]);
        let mut after = before.clone();
        after.edit(b"/a/2", |values| values.push(3));
        let node = |tree: &Node<u32>, byte| Arc::as_ptr(&tree.edges[0].node.edge(byte).expect("edge").node);
        assert_eq!(node(&before, b'b'), node(&after, b'b'));
        assert_ne!(node(&before, b'a'), node(&after, b'a'));
        assert!(before.get(b"/a/2").is_empty());
    }
}

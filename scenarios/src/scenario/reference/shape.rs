//! Reads a JSON Schema: follows references, merges what a schema is composed of, tells tables from plain values.
//!
//! It covers what schemars derives and the hand-written schemas of this crate use: `$ref`, `allOf`, `then`, `oneOf`, `anyOf`,
//! `const`, `enum`, objects, maps and lists. In the terms of TOML, an object with `properties` is a table.

use serde_json::Value;

/// A schema inside the document that its references point into.
#[derive(Clone, Copy)]
pub(super) struct Shape<'a> {
    pub(super) root: &'a Value,
    pub(super) schema: &'a Value,
}

/// What a key holds, as far as the layout of the page depends on it.
pub(super) enum Holds<'a> {
    /// A value, which is one row of its section.
    Value,
    /// A table with keys of its own: a section.
    Table(Shape<'a>),
    /// A list of tables with keys of their own.
    Tables(Shape<'a>),
    /// Tables under names that the user chooses.
    NamedTables(Shape<'a>),
}

impl<'a> Shape<'a> {
    pub(super) fn at(self, schema: &'a Value) -> Self {
        Shape { schema, ..self }
    }

    /// The schema and everything it includes by `$ref`, `allOf` and `then`, outermost first: keys that only some tables may have are
    /// described too.
    pub(super) fn layers(self) -> Vec<&'a Value> {
        let mut layers = Vec::new();
        self.collect_layers(self.schema, &mut layers);
        layers
    }

    fn collect_layers(self, schema: &'a Value, layers: &mut Vec<&'a Value>) {
        if layers.iter().any(|known| std::ptr::eq(*known, schema)) {
            return;
        }
        layers.push(schema);
        if let Some(pointer) = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'))
            && let Some(target) = self.root.pointer(pointer)
        {
            self.collect_layers(target, layers);
        }
        for part in schema["allOf"].as_array().into_iter().flatten().chain(schema.get("then")) {
            self.collect_layers(part, layers);
        }
    }

    /// The innermost schema that is referred to: what two uses of the same definition have in common.
    pub(super) fn definition(self) -> &'a Value {
        let layers = self.layers();
        layers.last().copied().unwrap_or(self.schema)
    }

    /// The value of a keyword, of the outermost layer that has it.
    pub(super) fn keyword(self, name: &str) -> Option<&'a Value> {
        self.layers().into_iter().find_map(|layer| layer.get(name))
    }

    /// The description of a key: the one beside the reference, else that of the definition.
    pub(super) fn description(self) -> Option<&'a str> {
        self.keyword("description")?.as_str()
    }

    /// The description of a section: that of the definition, which is the longer one, else the
    /// one beside the reference.
    pub(super) fn definition_description(self) -> Option<&'a str> {
        self.layers().into_iter().rev().find_map(|layer| layer["description"].as_str())
    }

    /// The keys of a table, in the order of the schema.
    pub(super) fn keys(self) -> Vec<(&'a str, Shape<'a>)> {
        let mut keys: Vec<(&str, Shape<'a>)> = Vec::new();
        for layer in self.layers() {
            for (name, schema) in layer["properties"].as_object().into_iter().flatten() {
                if keys.iter().all(|(known, _)| known != name) {
                    keys.push((name, self.at(schema)));
                }
            }
        }
        keys
    }

    /// Whether a table without this key is refused.
    pub(super) fn requires(self, key: &str) -> bool {
        let required = |layer: &Value| {
            layer["required"].as_array().is_some_and(|names| names.iter().any(|name| name == key))
        };
        self.layers().into_iter().any(required)
    }

    /// What it may be, one of several; empty if it is one thing only. `null`, which TOML lacks, is left out.
    pub(super) fn alternatives(self) -> Vec<Shape<'a>> {
        let lists = self.layers().into_iter().flat_map(|layer| [&layer["oneOf"], &layer["anyOf"]]);
        let all = lists.filter_map(Value::as_array).flatten().map(|schema| self.at(schema));
        all.filter(|shape| shape.keyword("type").is_none_or(|kind| kind != "null")).collect()
    }

    /// The only value it may have.
    pub(super) fn constant(self) -> Option<&'a Value> {
        self.keyword("const")
    }

    /// The schema of the values of a map: a table under names of the user's own.
    pub(super) fn map_values(self) -> Option<Shape<'a>> {
        let values = self.keyword("additionalProperties").filter(|values| values.is_object())?;
        self.keys().is_empty().then(|| self.at(values))
    }

    /// The schema of a list's elements.
    pub(super) fn items(self) -> Option<Shape<'a>> {
        self.keyword("items").map(|items| self.at(items))
    }

    /// Whether it is a table and nothing else: with keys, or one of several tables with keys.
    pub(super) fn is_table(self) -> bool {
        let alternatives = self.alternatives();
        match alternatives.is_empty() {
            true => !self.keys().is_empty(),
            false => alternatives.into_iter().all(Shape::is_table),
        }
    }

    /// The tables among its alternatives, or itself.
    pub(super) fn tables(self) -> Vec<Shape<'a>> {
        if self.is_table() {
            return vec![self];
        }
        self.alternatives().into_iter().flat_map(Shape::tables).collect()
    }

    /// The table in a schema that also allows other things, such as `false` or nothing at all.
    pub(super) fn only_table(self) -> Shape<'a> {
        if !self.keys().is_empty() {
            return self;
        }
        let mut with_tables = self.alternatives().into_iter().filter(|shape| !shape.tables().is_empty());
        match (with_tables.next(), with_tables.next()) {
            (Some(only), None) => only.only_table(),
            _ => self,
        }
    }

    pub(super) fn holds(self) -> Holds<'a> {
        if self.is_table() {
            return Holds::Table(self);
        }
        if let Some(items) = self.items().filter(|items| items.is_table()) {
            return Holds::Tables(items);
        }
        match self.map_values() {
            // `rewards.NAME = false` removes a reward; the value is otherwise a table.
            Some(values) if values.is_table_or_constant() => Holds::NamedTables(values),
            Some(_) | None => Holds::Value,
        }
    }

    fn is_table_or_constant(self) -> bool {
        let alternatives = self.alternatives();
        let tables = self.tables();
        !tables.is_empty()
            && (alternatives.is_empty()
                || alternatives.iter().all(|shape| shape.is_table() || shape.constant().is_some()))
    }
}

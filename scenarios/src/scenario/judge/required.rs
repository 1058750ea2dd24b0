//! Keys that a kind of judge cannot do without.

use schemars::Schema;

/// Takes the default out of a key's schema. The key may still be left to an arm or to `--set`, so the schema does not
/// require it; that it is set in the end is checked when the scenario is read.
pub(super) fn must_be_set(schema: &mut Schema) {
    schema.remove("default");
}

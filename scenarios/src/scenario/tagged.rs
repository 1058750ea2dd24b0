//! Reads tables with variants, where one key, the tag, selects the variant: `[judge]` with its `kind`.
//!
//! serde's internally tagged enums do not serve here. They copy a table before they read it, which loses the places of
//! its values, and together with `flatten` they accept unknown keys. This module gives the table's entries to the
//! struct of the variant, which refuses unknown keys, and reads the keys that all variants share on the way.
//!
//! - TAGGED-1 a key of another variant is an unknown key; [`super::de`] reports the variant that it belongs to.
//! - TAGGED-2 every error has the place of its key or value. For this the tag has to come first, as it does in a
//!   scenario's tree ([`super::tree::Node`]). From other sources, keys of a variant before the tag are buffered.

use std::collections::VecDeque;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IntoDeserializer as _, MapAccess};

/// The keys that all variants of a table share.
pub(crate) trait SharedKeys<'de>: Default {
    /// Reads the value of `key` if it is one of these keys, and returns whether it is.
    ///
    /// Errors: the value of the key does not fit.
    fn read<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error>;

    /// Whether `key` is one of these keys.
    fn has(key: &str) -> bool;
}

/// A table that has been read up to its tag.
pub(crate) struct Tagged<A, T, S> {
    /// The value of the tag, if the table has it.
    pub(crate) tag: Option<T>,
    /// The shared keys that have been read so far.
    shared: S,
    /// The keys before the tag that are not shared.
    early: VecDeque<(String, toml::Value)>,
    map: A,
}

impl<'de, A: MapAccess<'de>, T: Deserialize<'de>, S: SharedKeys<'de>> Tagged<A, T, S> {
    /// Reads a table up to the key `tag`, or to its end if it has none.
    ///
    /// Errors: the tag's value or a shared one does not fit.
    pub(crate) fn open(tag: &str, mut map: A) -> Result<Self, A::Error> {
        let (mut shared, mut early) = (S::default(), VecDeque::new());
        let tag = loop {
            match map.next_key::<String>()? {
                None => break None,
                Some(key) if key == tag => break Some(map.next_value()?),
                Some(key) => {
                    if !shared.read(&key, &mut map)? {
                        early.push_back((key, map.next_value()?));
                    }
                }
            }
        };
        Ok(Self { tag, shared, early, map })
    }

    /// Reads the rest of the table. Keys that are not shared are read into a `V`.
    ///
    /// Errors: a key is neither shared nor a field of `V`, or a value does not fit.
    pub(crate) fn variant<V: Deserialize<'de>>(self) -> Result<(V, S), A::Error> {
        let Self { mut shared, early, map, .. } = self;
        let rest = Rest { shared: &mut shared, early, value: None, map, lifetime: PhantomData };
        let variant = V::deserialize(MapAccessDeserializer::new(rest))?;
        Ok((variant, shared))
    }
}

/// The keys of a variant that has only the shared ones.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoKeys {}

/// The entries of a table for the struct of its variant. Shared keys are read and left out.
struct Rest<'a, 'de, A, S> {
    shared: &'a mut S,
    early: VecDeque<(String, toml::Value)>,
    /// The value of the early key that was returned last.
    value: Option<toml::Value>,
    map: A,
    lifetime: PhantomData<&'de ()>,
}

impl<'de, A: MapAccess<'de>, S: SharedKeys<'de>> MapAccess<'de> for Rest<'_, 'de, A, S> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        if let Some((key, value)) = self.early.pop_front() {
            self.value = Some(value);
            let key: StrDeserializer<'_, A::Error> = key.as_str().into_deserializer();
            return seed.deserialize(key).map(Some);
        }
        let mut seed = Some(seed);
        loop {
            let key = KeySeed::<K, S> { own: &mut seed, shared: PhantomData };
            match self.map.next_key_seed(key)? {
                None => return Ok(None),
                Some(Key::Own(key)) => return Ok(Some(key)),
                Some(Key::Shared(key)) => {
                    self.shared.read(&key, &mut self.map)?;
                }
            }
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        match self.value.take() {
            Some(value) => seed.deserialize(value).map_err(|error| A::Error::custom(error.message())),
            None => self.map.next_value_seed(seed),
        }
    }
}

enum Key<K> {
    Shared(String),
    Own(K),
}

/// Reads a key with the variant's own seed unless it is shared. This happens within the call to the underlying map, so
/// that the map adds the key's place to an error.
struct KeySeed<'a, K, S> {
    own: &'a mut Option<K>,
    shared: PhantomData<S>,
}

impl<'de, K: DeserializeSeed<'de>, S: SharedKeys<'de>> DeserializeSeed<'de> for KeySeed<'_, K, S> {
    type Value = Key<K::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let key = String::deserialize(deserializer)?;
        if S::has(&key) {
            return Ok(Key::Shared(key));
        }
        let Some(own) = self.own.take() else { return Err(D::Error::custom("a key was read twice")) };
        let name: StrDeserializer<'_, D::Error> = key.as_str().into_deserializer();
        own.deserialize(name).map(Key::Own)
    }
}
